import os

import pytest

from rfbproxy.consoleauth import token_file
from rfbproxy.consoleauth.sessions import ALIVE_S, REVOKED
from rfbproxy.consoleauth.spice_sessions import SpiceClaim
from rfbproxy.consoleauth.state import GRANT_KEPT_S
from rfbproxy.consoleauth.token import ConsoleToken, Grant, hash_token
from rfbproxy.consoleauth.token_file import NEVER, TokenFile
from rfbproxy.consoleauth.vmware_ports import VmwarePorts
from rfbproxy.errors import ConfigError, StoreError, StoreReadOnly
from tests.consoleauth.stores import KEPT, NOW, keep_grant, opened, rows, use
from tests.consoleauth.test_sessions import row, tell
from tests.consoleauth.test_token import console_token


@pytest.fixture
def lines(tmp_path):
    return tmp_path / "tokens"


@pytest.fixture
def reports():
    return []


@pytest.fixture
def store(lines, tmp_path, reports):
    lines.write_text("")
    store = TokenFile(f"file://{lines}", f"sqlite:///{tmp_path}/state.sqlite", reports.append)
    store.open()
    yield store
    store.close()


def target(store, token):
    found = store.find(token)
    return (found.host, found.port) if found is not None else None


class TestLines:
    def test_a_token(self, store, lines):
        lines.write_text("one: node1:5900\n")
        assert store.find("one") == ConsoleToken(
            token_hash=hash_token("one"),
            console_type=None,
            host="node1",
            port=5900,
            instance_uuid=None,
            expires=NEVER,
            access_url_base=None,
        )
        assert store.find("two") is None

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("T: node1:5900", ("node1", 5900)),
            ("  T:   node1:5900  ", ("node1", 5900)),
            ("T:\t192.0.2.1:1", ("192.0.2.1", 1)),
            ("T: [::1]:5900", ("::1", 5900)),
            ("T: ::1:5900", ("::1", 5900)),
            ("T: [fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
            ("T: node_1.example.net:5900", ("node_1.example.net", 5900)),
        ],
    )
    def test_targets(self, store, lines, line, expected):
        lines.write_text(line)
        assert target(store, "T") == expected

    def test_a_token_may_hold_colons(self, store, lines):
        lines.write_text("a:b: node1:5900")
        assert target(store, "a:b") == ("node1", 5900)

    def test_comments_and_empty_lines_are_nothing(self, store, lines, reports):
        lines.write_text("# T: other:1\n\n   \n  # more\nT: node1:5900\n")
        assert target(store, "T") == ("node1", 5900)
        assert store.find("# T") is None
        assert reports == []

    def test_the_last_of_several_counts(self, store, lines):
        lines.write_text("T: node1:5900\nT: node2:5901\n")
        assert target(store, "T") == ("node2", 5901)

    def test_bytes_that_are_no_text(self, store, lines):
        lines.write_bytes(b"\xff\xfe: node1:5900\r\nT: node2:5901\r\n")
        assert target(store, "T") == ("node2", 5901)

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("geheim", "space after the first colon"),
            ("geheim:node1:5900", "space after the first colon"),
            (": node1:5900", "space after the first colon"),
            ("geheim: node1:5900: more", "space after the first colon"),
            ("geheim: node1", "does not end with a port"),
            ("geheim: node1:0", "does not end with a port"),
            ("geheim: node1:65536", "does not end with a port"),
            ("geheim: node1:\u0665", "does not end with a port"),
            ("geheim: node1:" + "9" * 5000, "does not end with a port"),
            ("geheim: [node1]:5900", "not an IPv6 address"),
            ("geheim: 1:2:3:5900", "not an IPv6 address"),
            ("geheim: node 1:5900", "neither a name nor an address"),
            ("geheim: :5900", "neither a name nor an address"),
            ("geheim: unix_socket:/run/vm.sock", "UNIX sockets (unix_socket:PATH) cannot be targets"),
        ],
    )
    def test_a_malformed_line_is_reported_once_and_the_others_work(self, store, lines, reports, line, why):
        lines.write_text(f"# first\n{line}\nT: node1:5900\n")
        assert target(store, "T") == ("node1", 5900)
        assert target(store, "T") == ("node1", 5900)
        (report,) = reports
        assert f"line 2 of {lines} is ignored" in report
        assert why in report
        assert "geheim" not in report
        os.utime(lines, (1, 1))
        store.ping()
        assert len(reports) == 1

    def test_one_that_was_mended_and_broken_again_is_reported_again(self, store, lines, reports):
        for text in ("x\n", "x: node1:5900\n", "x\n"):
            lines.write_text(text)
            store.ping()
        assert len(reports) == 2


class TestChanges:
    def test_a_line_rewritten_in_place(self, store, lines):
        for port in range(5900, 5950):
            lines.write_text(f"T: node1:{port}")
            assert target(store, "T") == ("node1", port)

    def test_a_file_replaced_by_one_of_the_same_time_and_size(self, store, lines, tmp_path):
        lines.write_text("T: node1:5900")
        os.utime(lines, (1, 1))
        assert target(store, "T") == ("node1", 5900)
        (tmp_path / "new").write_text("T: node2:5900")
        os.utime(tmp_path / "new", (1, 1))
        (tmp_path / "new").rename(lines)
        assert target(store, "T") == ("node2", 5900)

    def test_one_that_has_not_changed_is_not_read_again(self, store, lines, monkeypatch):
        monkeypatch.setattr("rfbproxy.consoleauth.token_file._SETTLED_NS", -(10**12))
        lines.write_text("T: node1:5900")
        store.ping()
        monkeypatch.setattr(TokenFile, "_parsed", None)
        assert target(store, "T") == ("node1", 5900)

    def test_one_that_is_gone_is_an_error_until_it_is_back(self, store, lines):
        lines.unlink()
        for call in (store.ping, lambda: store.find("T"), lambda: store.list(NOW)):
            with pytest.raises(StoreError, match=r"tokens: No such file or directory"):
                call()
        lines.write_text("T: node1:5900")
        assert target(store, "T") == ("node1", 5900)

    def test_one_that_is_too_big(self, store, lines, monkeypatch):
        monkeypatch.setattr("rfbproxy.consoleauth.token_file.SIZE_LIMIT", 10)
        lines.write_text("T: node1:5900")
        with pytest.raises(StoreError, match="more than 10 bytes"):
            store.find("T")


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "folder").mkdir()
        return tmp_path / "folder"

    @pytest.fixture
    def store(self, folder, tmp_path, reports):
        store = TokenFile(f"file://{folder}", f"sqlite:///{tmp_path}/state.sqlite", reports.append)
        store.open()
        yield store
        store.close()

    def test_all_its_files_are_read_and_no_folder_in_it(self, store, folder, reports):
        (folder / "a").write_text("A: node1:5900\nbad\n")
        (folder / "b.cfg").write_text("B: node2:5901\n")
        (folder / "more").mkdir()
        (folder / "more" / "c").write_text("C: node3:5902\n")
        assert [target(store, token) for token in "ABC"] == [("node1", 5900), ("node2", 5901), None]
        assert len(reports) == 1
        assert f"line 2 of {folder / 'a'}" in reports[0]

    def test_files_come_and_go(self, store, folder):
        assert store.find("A") is None
        (folder / "a").write_text("A: node1:5900\n")
        assert target(store, "A") == ("node1", 5900)
        (folder / "a").unlink()
        assert store.find("A") is None


class TestStore:
    def test_it_lists_its_tokens(self, store, lines):
        lines.write_text("one: node1:5900\ntwo: node2:5901\n")
        listed = store.list(NOW)
        assert [token.id for token in listed] == [hash_token("one")[:8], hash_token("two")[:8]]
        assert [token.target for token in listed] == ["node1:5900", "node2:5901"]

    def test_it_is_only_read(self, store, lines):
        lines.write_text("T: node1:5900")
        calls = (
            lambda: store.create("U", console_token(token_hash=hash_token("U")), NOW),
            lambda: store.revoke(token_hash=hash_token("T")),
            lambda: store.revoke(instance_uuid="i"),
        )
        for call in calls:
            with pytest.raises(StoreReadOnly, match="is only read: its tokens are lines of files, so change those"):
                call()
        assert store.purge(NOW) == 0
        assert lines.read_text() == "T: node1:5900"

    def test_grants_and_spice_sessions_are_in_the_state_database(self, store, lines, tmp_path):
        lines.write_text("T: node1:5900")
        claimed = SpiceClaim(hash_token("T"), "a", "192.0.2.7/32")
        assert store.spice_sessions.claim(hash_token("T"), "a", "192.0.2.7/32", NOW, take_over=False) == claimed
        with opened(tmp_path / "state.sqlite") as state:
            state.create("T", console_token(grant=Grant("user")), NOW)
        assert store.find("T").grant == Grant("user")
        assert store.list(NOW)[0].grant == Grant()

    def test_a_missing_file_cannot_be_opened(self, tmp_path):
        with pytest.raises(StoreError, match="none: No such file or directory"):
            TokenFile(f"file://{tmp_path}/none", "sqlite://", print).open()

    def test_a_path_may_be_quoted(self, tmp_path):
        (tmp_path / "two words").write_text("T: node1:5900")
        store = TokenFile(f"file://{tmp_path}/two%20words", "sqlite://", print)
        store.open()
        assert target(store, "T") == ("node1", 5900)
        store.close()

    @pytest.mark.parametrize("url", ["file://", "file:///", "file://host/path", "file:///path?x=1", "file:///a%00b"])
    def test_other_addresses_are_refused(self, url):
        with pytest.raises(ConfigError, match="file:///PATH"):
            TokenFile(url, "sqlite://", print)


class TestSessions:
    @pytest.fixture(autouse=True)
    def settled(self, monkeypatch):
        """As if every change were long ago."""
        monkeypatch.setattr(token_file, "_SETTLED_NS", -(10**12))

    def test_a_session_ends_when_its_line_is_removed(self, store, lines, monkeypatch):
        lines.write_text("one: node1:5900\ntwo: node1:5901\n")
        sessions = [row(name, store.find(name), type="", instance="") for name in ("one", "two")]
        assert tell(store, *sessions) == {}
        with monkeypatch.context() as changing:
            changing.setattr(token_file, "_SETTLED_NS", 10**12)
            lines.write_text("")
            assert tell(store, *sessions) == {}, "somebody may still be writing"
        lines.write_text("two: node1:5901\n")
        assert tell(store, *sessions) == {"one": REVOKED}

    def test_tokens_without_an_instance_are_not_of_the_same_one(self, store, lines):
        lines.write_text("one: node1:5900\ntwo: node1:5901\n")
        one, two, again = (
            row(id_, store.find(id_.split()[0]), type="", instance="") for id_ in ("one", "two", "one again")
        )
        tell(store, one)
        assert store.sessions.enter(two, NOW, alone="refuse")
        assert not store.sessions.enter(again, NOW, alone="refuse")

    def test_what_is_dead_of_them_is_purged(self, store, lines):
        lines.write_text("one: node1:5900\n")
        tell(store, row("one", store.find("one"), type="", instance=""))
        assert store.purge(NOW + ALIVE_S) == 0
        assert store.sessions.list(NOW) == []

    def test_what_is_kept_of_lines_that_are_gone_goes_a_day_later(self, store, lines, tmp_path):
        state = tmp_path / "state.sqlite"
        for token in ("one", "two"):
            keep_grant(state, token, NOW, one_time=True)
            assert use(store, hash_token(token), token, "192.0.2.7/32", NOW)
        lines.write_text("two: node1:5901\n")
        late = NOW + GRANT_KEPT_S
        for now, left in ((late - 1, 2), (late, 2), (late, 1), (late, 1)):
            store.purge(now)
            assert [rows(state, f"SELECT count(*) FROM {table}") for table in KEPT] == [[(left,)]] * 2
        assert store.find("two").grant == Grant(one_time=True)

    def test_what_is_kept_of_a_line_that_comes_back_stays(self, store, lines, tmp_path):
        keep_grant(tmp_path / "state.sqlite", "one", NOW, one_time=True)
        for text in ("", "one: node1:5901\n", "", "one: node1:5901\n"):
            lines.write_text(text)
            store.purge(NOW + GRANT_KEPT_S)
        assert store.find("one").grant == Grant(one_time=True)

    def test_ports_of_vmware_machines_are_beside_them(self, store):
        assert VmwarePorts(store.own_database).allocate("a", "node1", [5900]) == 5900

    def test_tokens_are_not_moved(self, store):
        with pytest.raises(StoreReadOnly, match="lines of files"):
            store.move("a", "node2")
