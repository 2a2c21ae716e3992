import contextlib
import sqlite3
import stat

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.consoleauth import leftovers, sql
from rfbproxy.consoleauth.schema import OURS
from rfbproxy.consoleauth.sql import CLOCKS_S
from rfbproxy.consoleauth.state import GRANT_KEPT_S
from rfbproxy.consoleauth.token import Grant, hash_token
from rfbproxy.errors import ConfigError, StoreError, StoreReadOnly, TokenInUse
from rfbproxy.secret import Secret
from tests.consoleauth.stores import KEPT, NO_TABLE, NOW, create, keep_grant, opened, refused, rows, run, use
from tests.consoleauth.test_token import console_token

# As nova's migrations leave it on SQLite before `2903cd72dc14` added tls_port.
NOVAS_TABLE = """
CREATE TABLE console_auth_tokens (
    created_at DATETIME, updated_at DATETIME, id INTEGER NOT NULL, token_hash VARCHAR(255) NOT NULL,
    console_type VARCHAR(255) NOT NULL, host VARCHAR(255) NOT NULL, port INTEGER NOT NULL,
    internal_access_path VARCHAR(255), instance_uuid VARCHAR(36) NOT NULL, expires INTEGER NOT NULL,
    access_url_base VARCHAR(255), PRIMARY KEY (id),
    CONSTRAINT uniq_console_auth_tokens0token_hash UNIQUE (token_hash)
);
CREATE TABLE instances (id INTEGER PRIMARY KEY);
"""
NOVAS_ROW = "INSERT INTO console_auth_tokens VALUES (NULL, NULL, 1, ?, 'novnc', 'node1', 5900, NULL, 'i', ?, NULL)"


@pytest.fixture
def novas(tmp_path):
    """A file that nova made, with the token `N`."""
    file = tmp_path / "nova.sqlite"
    run(file, NOVAS_TABLE)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(NOVAS_ROW, (hash_token("N"), NOW + 10))
    return file


class TestOurs:
    def test_nova_T05_a_token_comes_back_whole(self, store):
        token, console = create(
            store,
            tls_port=5901,
            internal_access_path="/console?ref=1",
            access_url_base="https://example.net:6080",
            grant=Grant("user", Secret("geheim"), idle_timeout_s=60, time_limit_s=3600),
        )
        assert store.find(token) == console

    def test_nova_T05_an_unknown_token_is_not_found(self, store):
        create(store)
        assert store.find("unknown") is None

    def test_nova_W26_a_token_is_found_many_times(self, store):
        token, console = create(store)
        assert [store.find(token) for _ in range(3)] == [console] * 3

    def test_nova_W27_expired_exactly_now_is_not_valid(self, store):
        token, _ = create(store, expires=NOW)
        assert not store.find(token).expires > NOW
        assert store.list(NOW) == []
        assert [found.expires for found in store.list(NOW - 1)] == [NOW]

    def test_nova_T04_a_token_in_use_is_refused(self, store, file):
        token, console = create(store, grant=Grant(password=Secret("first")))
        with pytest.raises(TokenInUse) as caught:
            create(store, token, grant=Grant(password=Secret("second")))
        assert hash_token(token) not in str(caught.value)
        assert store.find(token) == console
        assert rows(file, "SELECT count(*) FROM console_grants") == [(1,)]

    def test_a_grant_that_cannot_be_stored_takes_the_row_with_it(self, store, file):
        run(file, "DROP TABLE console_grants")
        with pytest.raises(StoreError, match=NO_TABLE):
            create(store)
        assert rows(file, "SELECT count(*) FROM console_auth_tokens") == [(0,)]

    def test_a_console_of_another_token_is_a_mistake_of_ours(self, store):
        with pytest.raises(ValueError, match="not of this token"):
            store.create("T", console_token(token_hash=hash_token("U")), NOW)

    def test_a_value_that_the_driver_refuses_is_a_store_error_without_the_value(self, store):
        with pytest.raises(StoreError, match="refuses") as caught:
            create(store, internal_access_path="geheim\ud800")
        assert "geheim" not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_a_number_too_big_is_a_store_error(self, store):
        with pytest.raises(StoreError, match="refuses"):
            create(store, expires=1 << 70)

    def test_list_is_in_order_of_expiry_and_opens_no_grant(self, store):
        late, _ = create(store, expires=NOW + 20, grant=Grant(password=Secret("geheim")))
        early, _ = create(store, expires=NOW + 5)
        create(store, expires=NOW - 5)
        assert [found.token_hash for found in store.list(NOW)] == [hash_token(early), hash_token(late)]
        assert all(found.grant == Grant() for found in store.list(NOW))

    def test_purge_deletes_what_no_clock_takes_for_valid(self, store, file):
        create(store, expires=NOW - 1)
        create(store, expires=NOW)
        valid, _ = create(store, expires=NOW + 1)
        assert store.purge(NOW) == 0
        assert store.purge(NOW + CLOCKS_S) == 2
        assert store.purge(NOW + CLOCKS_S) == 0
        assert rows(file, "SELECT token_hash FROM console_auth_tokens") == [(hash_token(valid),)]
        assert rows(file, "SELECT token_hash FROM console_grants") == [(hash_token(valid),)]

    def test_purge_goes_by_bounded_batches(self, store, file, monkeypatch):
        monkeypatch.setattr(sql, "PURGED_AT_ONCE", 3)
        for number in range(7):
            create(store, expires=NOW - number)
        assert store.purge(NOW + CLOCKS_S) == 7
        assert rows(file, "SELECT count(*) FROM console_grants") == [(0,)]

    def test_what_is_kept_of_tokens_that_nova_deleted_goes_too(self, store, file, monkeypatch):
        """Nova's code (`clean_console_auths_for_instance`) knows of no table but `console_auth_tokens`."""
        monkeypatch.setattr(leftovers, "PURGED_AT_ONCE", 3)
        gone = [create(store, instance_uuid="a", grant=Grant(one_time=True))[1] for _ in range(7)]
        kept = [create(store, instance_uuid="b", grant=Grant(one_time=True))[1] for _ in range(7)]
        for console in (*gone, *kept):
            assert use(store, console.token_hash, "s", "192.0.2.7/32", NOW)
        run(file, "DELETE FROM console_auth_tokens WHERE instance_uuid = 'a'")
        assert store.purge(NOW) == 0
        for table in ("console_grants", "console_uses"):
            found = rows(file, f"SELECT token_hash FROM {table} ORDER BY token_hash")
            assert found == sorted((console.token_hash,) for console in kept)

    def test_ping_answers(self, store):
        store.ping()

    def test_ping_notices_a_lost_table(self, store, file):
        run(file, "DROP TABLE console_auth_tokens")
        with pytest.raises(StoreError, match=NO_TABLE):
            store.ping()

    @settings(max_examples=50)
    @given(token=st.text(st.characters(codec=None, exclude_categories=())))
    def test_odd_tokens_are_just_not_found(self, memory, token):
        assert memory.find(token) is None

    def test_a_row_without_a_grant_has_an_empty_one(self, store, file):
        columns = "token_hash, console_type, host, port, instance_uuid, expires"
        run(file, f"INSERT INTO console_auth_tokens ({columns}) VALUES ('{hash_token('T')}', 'novnc', 'h', 1, 'i', 2)")
        assert store.find("T").grant == Grant()


class TestRevoke:
    def test_by_hash(self, store, file):
        token, _ = create(store)
        other, _ = create(store)
        assert store.revoke(token_hash=hash_token(token)) == 1
        assert store.revoke(token_hash=hash_token(token)) == 0
        assert store.find(token) is None
        assert store.find(other) is not None
        assert rows(file, "SELECT count(*) FROM console_grants") == [(1,)]

    def test_nova_A02_by_instance(self, store):
        tokens = [create(store, instance_uuid="a")[0] for _ in range(10)]
        other, _ = create(store, instance_uuid="b")
        assert store.revoke(instance_uuid="a") == 10
        assert {store.find(token) for token in tokens} == {None}
        assert store.find(other) is not None

    @pytest.mark.parametrize("change", [str.lower, str.upper])
    def test_by_id(self, store, change):
        token, console = create(store, "T")
        create(store)
        assert store.revoke(id=change(console.id)) == 1
        assert store.find(token) is None

    def test_by_an_id_that_several_share(self, store, file):
        prefixes = ["abcdef01" + last for last in ("0" * 56, "f" * 56)]
        for number, token_hash in enumerate([*prefixes, "abcdef02" + "0" * 56, "abcdef00" + "f" * 56]):
            create(store, str(number))
            run(file, f"UPDATE console_auth_tokens SET token_hash='{token_hash}' WHERE id={number + 1}")
        assert store.revoke(id="abcdef01") == 2
        assert rows(file, "SELECT count(*) FROM console_auth_tokens") == [(2,)]

    @pytest.mark.parametrize("id_", ["", "0123456", "012345678", "0123456g", "0123456%", "0123456\n", "٠١٢٣٤٥٦٧"])
    def test_an_id_is_8_hex_digits(self, store, id_):
        with pytest.raises(ConfigError, match="first 8 hex digits") as caught:
            store.revoke(id=id_)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("selectors", [{}, {"id": "01234567", "instance_uuid": "a"}])
    def test_exactly_one_selector(self, store, selectors):
        with pytest.raises(TypeError, match="exactly one"):
            store.revoke(**selectors)


class TestNovas:
    def test_nova_T06_an_old_table_without_tls_port_is_read(self, novas):
        """A deviation: nova's peers of other versions leave out fields of messages; there are none here."""
        with opened(novas) as store:
            expected = console_token(token_hash=hash_token("N"), port=5900, instance_uuid="i", expires=NOW + 10)
            assert store.find("N") == expected
            assert store.list(NOW) == [expected]
            store.ping()

    def test_it_is_only_read(self, novas):
        before = novas.read_bytes()
        with opened(novas) as store:
            for write in (lambda: create(store), lambda: store.revoke(id="01234567")):
                with pytest.raises(StoreReadOnly, match=r"nova\.sqlite is nova's"):
                    write()
            assert store.purge(NOW + 100) == 0
        assert novas.read_bytes() == before
        assert [file.name for file in novas.parent.iterdir()] == ["nova.sqlite"]

    def test_its_grants_come_from_the_state_database(self, novas, tmp_path):
        state = tmp_path / "state.sqlite"
        with opened(novas, state) as store:
            assert store.find("N").grant == Grant()
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert rows(state, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") == [
            (name,) for name in sorted(table.name for table in OURS)
        ]
        grant = Grant(password=Secret("geheim"))
        with opened(tmp_path / "ours.sqlite") as ours:
            create(ours, "N", grant=grant)
        run(
            state,
            f"ATTACH '{tmp_path / 'ours.sqlite'}' AS o; INSERT INTO console_grants SELECT * FROM o.console_grants",
        )
        with opened(novas, state) as store:
            assert store.find("N").grant == grant
            assert store.list(NOW)[0].grant == Grant()

    def test_what_is_kept_of_tokens_that_nova_deleted_goes_a_day_later(self, novas, tmp_path):
        state = tmp_path / "state.sqlite"
        with opened(novas, state) as store:
            for token in ("N", "gone"):
                keep_grant(state, token, NOW, one_time=True)
                assert use(store, hash_token(token), "s", "192.0.2.7/32", NOW)
            for now in (NOW + GRANT_KEPT_S - 1, NOW + GRANT_KEPT_S):
                assert store.purge(now) == 0
                assert rows(state, "SELECT count(*) FROM console_grants") == [(2,)]
            store.purge(NOW + GRANT_KEPT_S)
        for table in KEPT:
            assert rows(state, f"SELECT token_hash FROM {table}") == [(hash_token("N"),)]

    def test_grants_are_never_put_into_novas_database(self, novas):
        assert "is nova's" in refused(f"sqlite:///{novas}", f"sqlite:///{novas}")
        assert ("console_grants",) not in rows(novas, "SELECT name FROM sqlite_master")

    def test_the_state_database_is_left_alone_where_the_tokens_are_ours(self, file, tmp_path):
        with opened(file, tmp_path / "state.sqlite") as store:
            token, console = create(store, grant=Grant("user"))
            assert store.find(token) == console
        assert not (tmp_path / "state.sqlite").exists()

    def test_a_table_that_lacks_a_needed_column_is_refused(self, file):
        run(file, "CREATE TABLE console_auth_tokens (token_hash VARCHAR(255), port INTEGER)")
        assert "lacks the columns ['console_type', 'expires', 'host', 'instance_uuid']" in refused(f"sqlite:///{file}")


class TestSecrecy:
    def test_the_database_alone_opens_nothing(self, file):
        with opened(file) as store:
            token, _ = create(store, grant=Grant("der-benutzer", Secret("das-geheimnis")))
            raw = b"".join(path.read_bytes() for path in file.parent.iterdir())
        raw += file.read_bytes()
        assert hash_token(token).encode() in raw
        for secret in (token, token.replace("-", ""), "das-geheimnis", "der-benutzer"):
            assert secret.encode() not in raw

    def test_a_grant_moved_to_another_token_does_not_open(self, store, file):
        _, rich = create(store, grant=Grant(password=Secret("geheim")))
        poor, console = create(store)
        run(file, f"DELETE FROM console_grants WHERE token_hash = '{console.token_hash}'")
        run(file, f"UPDATE console_grants SET token_hash = '{console.token_hash}'")
        assert store.list(NOW)
        with pytest.raises(StoreError, match="another token"):
            store.find(poor)
        assert store.find("T") is None
        assert rich.token_hash != console.token_hash

    @pytest.mark.parametrize(
        "change", ["policy = 'x'", "secrets = x'01'", "secrets = x''", "policy = '{\"later\": 1}'"]
    )
    def test_a_damaged_grant_is_an_error_and_not_an_empty_one(self, store, file, change):
        token, _ = create(store, grant=Grant(password=Secret("geheim")))
        run(file, f"UPDATE console_grants SET {change}")
        with pytest.raises(StoreError, match="of a console token"):
            store.find(token)


class TestMillion:
    ROWS = 1_000_000

    @pytest.fixture
    def million(self, file):
        """SQLite makes the rows itself, in the order of their hashes, and without the indexes of other questions."""
        with opened(file) as store:
            token, console = create(store)
        run(
            file,
            f"""
            PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -500000;
            DROP INDEX console_auth_tokens_instance_uuid_idx;
            DROP INDEX console_auth_tokens_host_expires_idx;
            DROP INDEX console_auth_tokens_token_hash_instance_uuid_idx;
            INSERT INTO console_auth_tokens (token_hash, console_type, host, port, instance_uuid, expires)
                WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {self.ROWS})
                SELECT printf('%08x%056d', i * 4294, 0), 'novnc', 'h', 1, 'i', 1 FROM n;
            CREATE INDEX console_auth_tokens_token_hash_instance_uuid_idx
                ON console_auth_tokens (token_hash, instance_uuid);
            """,
        )
        with opened(file) as store:
            yield store, token, console
        file.unlink()

    def test_a_lookup_is_answered_by_the_unique_index(self, million, file):
        store, token, console = million
        seen, steps = [], []

        def statement(_connection, _cursor, text, parameters, _context, _many):
            seen.append((text, parameters))

        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", statement)
        try:
            assert store.find(token) == console
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", statement)
        ((text, parameters),) = seen
        with contextlib.closing(sqlite3.connect(file)) as connection:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
            connection.set_progress_handler(lambda: steps.append(1), 1)
            assert len(connection.execute(text, parameters).fetchall()) == 1
        assert plan[0] == (
            "SEARCH console_auth_tokens USING INDEX sqlite_autoindex_console_auth_tokens_1 (token_hash=?)"
        )
        assert not any(line.startswith("SCAN") for line in plan)
        assert len(steps) < 200
