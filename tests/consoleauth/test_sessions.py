import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import delete, func, select

from rfbproxy.consoleauth.rows import SessionRow, worker_of
from rfbproxy.consoleauth.schema import PROXIES, SESSIONS, TOKENS
from rfbproxy.consoleauth.sessions import (
    ALIVE_S,
    BEAT_S,
    CUT_OFF_S,
    POLICY,
    RECONNECT_S,
    REVOKED,
)
from rfbproxy.consoleauth.sql import CLOCKS_S, SqlStore
from rfbproxy.errors import StoreError
from tests.consoleauth.stores import NOW, create, opened, run, use
from tests.consoleauth.test_sql import novas  # noqa: F401 - a fixture

A, B = "node1:17", "node2:17"
CLIENT, STRANGER = "192.0.2.7/32", "192.0.2.8/32"


@pytest.fixture(params=["file", "memory"])
def stores(request, file):
    """What two proxies see of one database; a memory database has only one to see it."""
    with contextlib.ExitStack() as stack:
        if request.param == "file":
            yield [stack.enter_context(opened(file)) for _ in range(2)]
            return
        store = SqlStore("sqlite://")
        store.open()
        stack.callback(store.close)
        yield [store] * 2


@pytest.fixture
def one(stores):
    return stores[0]


@pytest.fixture
def other(stores):
    return stores[1]


@pytest.fixture
def token(one):
    return create(one)[1]


BETWEEN, LATER = "2026-11-27T00:00:00.200Z", "2026-11-27T00:00:00.300Z"  # since the others start


def row(id_, token, proxy=A, **fields):
    values = {
        "id": id_,
        "type": token.console_type,
        "client": "192.0.2.7",
        "target": token.target,
        "instance": token.instance_uuid,
        "started": "2026-11-27T00:00:00.000Z",
        "bytes_to_client": 0,
        "bytes_to_target": 0,
        "proxy": proxy,
        "token_hash": token.token_hash,
        "expires": token.expires,
    }
    return SessionRow(**values | fields)


def tell(store, *rows_, now=NOW, proxy=A):
    return store.sessions.tell(proxy, {row.id: row for row in rows_}, now)


def listed(store, now=NOW):
    return [session.id for session in store.sessions.list(now)]


def count(store, table):
    with store.own_database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar()


class TestTell:
    def test_every_proxy_knows_of_all_sessions(self, one, other, token):
        first, second = row("a", token), row("b", token, B, started="2026-11-27T00:00:01.000Z")
        assert tell(one, first) == {}
        assert tell(other, second, proxy=B) == {}
        assert other.sessions.list(NOW) == [replace(first, expires=0), replace(second, expires=0)]

    def test_what_is_not_told_of_is_over(self, one, other, token):
        tell(one, row("a", token), row("b", token))
        tell(one, row("b", token))
        assert listed(other) == ["b"]
        tell(one)
        assert listed(other) == []

    def test_bytes_are_counted_now_and_then(self, one, other, token):
        tell(one, row("a", token))
        later = row("a", token, bytes_to_client=7, bytes_to_target=8)
        tell(one, later, now=NOW + 1)
        assert other.sessions.list(NOW)[0].bytes_to_client == 0, "not at every look"
        tell(one, later, now=NOW + BEAT_S)
        assert other.sessions.list(NOW) == [replace(later, expires=0)]

    def test_sessions_of_a_dead_proxy_are_not_listed(self, one, other, token):
        tell(one, row("a", token))
        assert listed(other, NOW + ALIVE_S - 1) == ["a"]
        assert listed(other, NOW + ALIVE_S) == []
        assert other.sessions.end("a", NOW + ALIVE_S) == 0

    def test_and_are_forgotten(self, one, other, token):
        tell(one, row("a", token))
        tell(other, row("b", token, B), now=NOW + ALIVE_S, proxy=B)
        other.purge(NOW + ALIVE_S)
        assert listed(one, NOW + 1) == ["b"]

    def test_a_proxy_that_was_taken_for_dead_tells_again(self, one, other, token):
        tell(one, row("a", token))
        other.sessions.purge(NOW + ALIVE_S)
        assert tell(one, row("a", token), now=NOW + ALIVE_S) == {}
        assert listed(other, NOW + ALIVE_S) == ["a"]

    def test_a_living_proxy_forgets_the_dead(self, one, other, token):
        tell(one, row("a", token))
        for now in range(NOW, NOW + ALIVE_S + BEAT_S, BEAT_S):
            tell(other, row("b", token, B), now=now, proxy=B)
            assert count(one, SESSIONS) == (2 if now < NOW + ALIVE_S else 1)
        assert count(one, PROXIES) == 1

    def test_one_that_was_away_itself_forgets_nobody(self, one, other, token):
        tell(one, row("a", token))
        tell(other, row("b", token, B), proxy=B)
        tell(other, row("b", token, B), now=NOW + ALIVE_S, proxy=B)
        assert count(one, SESSIONS) == 2
        assert tell(one, row("a", token), now=NOW + ALIVE_S) == {}
        assert sorted(listed(other, NOW + ALIVE_S)) == ["a", "b"]


class TestEnd:
    def test_by_its_id(self, one, other, token):
        tell(one, row("a", token), row("b", token))
        assert other.sessions.end("a", NOW) == 1
        assert other.sessions.end("x", NOW) == 0
        assert tell(one, row("a", token), row("b", token)) == {"a": REVOKED}

    def test_it_is_said_until_the_session_is_over(self, one, other, token):
        tell(one, row("a", token))
        other.sessions.end("a", NOW)
        for _ in range(2):
            assert tell(one, row("a", token)) == {"a": REVOKED}
        assert tell(one) == {}

    @pytest.mark.parametrize("selector", ["token_hash", "instance_uuid", "id"])
    def test_by_withdrawing_its_token(self, one, other, token, selector):
        _, another = create(one, instance_uuid="another")
        tell(one, row("a", token), row("b", another))
        assert other.revoke(**{selector: getattr(token, selector)}) == 1
        assert tell(one, row("a", token), row("b", another)) == {"a": REVOKED}

    def test_by_withdrawing_a_token_that_has_expired_and_is_purged(self, one, other, token):
        tell(one, row("a", token))
        other.purge(token.expires + CLOCKS_S)
        assert one.list(0) == []
        assert tell(one, row("a", token), now=token.expires) == {}, "a session outlives its token's time"
        assert other.revoke(instance_uuid=token.instance_uuid) == 0
        assert tell(one, row("a", token)) == {"a": REVOKED}

    def test_one_that_begins_while_its_token_is_withdrawn(self, one, other, token):
        other.revoke(token_hash=token.token_hash)
        assert tell(one, row("a", token)) == {"a": REVOKED}
        assert tell(one, row("b", token), now=token.expires) == {}, "which is not told from purged"

    def test_one_whose_token_nova_deletes_from_our_table(self, one, token):
        _, another = create(one, instance_uuid="another")
        sessions = [row("a", token), row("b", another)]
        assert tell(one, *sessions) == {}
        of_token = delete(TOKENS).where(TOKENS.c.token_hash == token.token_hash)
        one.own_database.transact(lambda connection: connection.execute(of_token))
        assert tell(one, *sessions) == {"a": REVOKED}

    def test_one_of_a_proxy_that_was_cut_off_meanwhile(self, one, other, token):
        back = NOW + ALIVE_S
        tell(one, row("a", token), row("b", token))
        other.sessions.end("a", NOW)
        other.purge(back)
        assert listed(other, back) == []
        assert tell(one, row("a", token), row("b", token), now=back) == {"a": REVOKED}
        assert sorted(listed(other, back)) == ["a", "b"]

    def test_one_of_a_proxy_that_never_comes_back_is_forgotten_in_the_end(self, one, other, token):
        tell(one, row("a", token))
        other.sessions.end("a", NOW)
        other.sessions.purge(NOW + CUT_OFF_S - 1)
        assert (count(other, SESSIONS), count(other, PROXIES)) == (1, 1)
        other.sessions.purge(NOW + CUT_OFF_S)
        assert (count(other, SESSIONS), count(other, PROXIES)) == (0, 0)

    def test_one_though_the_store_of_its_token_fails(self, novas, tmp_path):  # noqa: F811
        with opened(novas, tmp_path / "state.sqlite") as store:
            token = store.find("N")
            sessions = [row("a", token), row("b", token)]
            tell(store, *sessions)
            novas.rename(tmp_path / "elsewhere")
            store.sessions.end("a", NOW)
            assert tell(store, *sessions) == {"a": REVOKED}
            with pytest.raises(StoreError, match="the file is gone"):
                tell(store, sessions[1])

    def test_one_whose_token_nova_deletes(self, novas, tmp_path):  # noqa: F811
        with opened(novas, tmp_path / "state.sqlite") as store:
            token = store.find("N")
            now = token.expires - 1
            assert tell(store, row("a", token), now=now) == {}
            run(novas, "DELETE FROM console_auth_tokens")
            assert tell(store, row("a", token), now=now) == {"a": REVOKED}
            assert tell(store, row("a", token), now=token.expires) == {}, "nova deletes expired ones, too"


class TestAlone:
    def test_a_session_that_ends_the_others(self, one, other, token):
        _, same = create(one)
        _, another = create(one, instance_uuid="another")
        tell(one, row("a", token), row("c", another))
        assert other.sessions.enter(row("b", same, B), NOW, alone="exclusive")
        assert tell(one, row("a", token), row("c", another)) == {"a": POLICY}
        assert tell(other, row("b", same, B), proxy=B) == {}

    def test_a_session_that_yields_to_others(self, one, other, token):
        assert one.sessions.enter(row("a", token), NOW, alone="refuse")
        assert not other.sessions.enter(row("b", token, B), NOW, alone="refuse")
        assert listed(one) == ["a"]
        tell(one)
        assert other.sessions.enter(row("b", token, B), NOW, alone="refuse")

    def test_it_yields_to_nobody_who_is_dead_or_ending(self, one, other, token):
        tell(one, row("a", token))
        other.sessions.end("a", NOW)
        assert other.sessions.enter(row("b", token, B), NOW, alone="refuse")
        assert one.sessions.enter(row("c", token), NOW + ALIVE_S, alone="refuse")

    def test_those_that_began_before_it_and_were_told_of_later_end(self, one, other, token):
        before, after = row("a", token), row("c", token, started=LATER)
        alone = row("b", token, B, started=BETWEEN)
        assert other.sessions.enter(alone, NOW, alone="exclusive")
        assert tell(one, before, after) == {}
        other.sessions.settle(alone, NOW, alone="exclusive")
        assert tell(one, before, after) == {"a": POLICY}
        assert tell(other, alone, proxy=B) == {}

    def test_it_yields_to_those_that_began_before_it_and_were_told_of_later(self, one, other, token):
        before, alone = row("a", token), row("b", token, B, started=BETWEEN)
        assert other.sessions.enter(alone, NOW, alone="refuse")
        tell(one, before)
        other.sessions.settle(alone, NOW, alone="refuse")
        assert tell(one, before) == {}
        assert tell(other, alone, proxy=B) == {"b": POLICY}

    @pytest.mark.parametrize("alone", ["exclusive", "refuse"])
    def test_one_that_is_to_end_itself_ends_nobody(self, one, other, token, alone):
        first, second = row("a", token), row("b", token, B, started=BETWEEN)
        tell(one, first)
        tell(other, second, proxy=B)
        other.sessions.end("b", NOW)
        other.sessions.settle(second, NOW, alone=alone)
        assert tell(one, first) == {}
        assert tell(other, second, proxy=B) == {"b": REVOKED}

    @pytest.mark.parametrize("alone", ["exclusive", "refuse"])
    def test_beside_those_that_began_later_it_stays(self, one, other, token, alone):
        first, second = row("a", token), row("b", token, B, started=LATER)
        assert one.sessions.enter(first, NOW, alone=alone)
        tell(other, second, proxy=B)
        one.sessions.settle(first, NOW, alone=alone)
        assert tell(one, first) == tell(other, second, proxy=B) == {}

    def test_of_many_that_come_at_once_one_gets_in(self, stores, token):
        with ThreadPoolExecutor(8) as threads:
            entering = [
                threads.submit(stores[i % 2].sessions.enter, row(str(i), token, (A, B)[i % 2]), NOW, alone="refuse")
                for i in range(8)
            ]
        assert sum(entered.result() for entered in entering) == 1


class TestOneTime:
    def use(self, store, session="a", client=CLIENT, now=NOW):
        return use(store, "t" * 64, session, client, now)

    def test_one_client_uses_it(self, one, other):
        assert self.use(one)
        assert not self.use(other, "b", STRANGER)

    def test_its_client_comes_again_for_a_while(self, one, other):
        self.use(one)
        one.sessions.leave("t" * 64, "a", NOW)
        assert not self.use(other, "b", STRANGER, NOW + 1)
        assert self.use(other, "b", now=NOW + RECONNECT_S - 1)
        other.sessions.leave("t" * 64, "b", NOW + 100)
        assert not self.use(other, "c", now=NOW + 100 + RECONNECT_S)

    def test_its_client_comes_again_before_the_first_session_is_known_to_be_lost(self, one, other, token):
        tell(one, row("a", token))
        self.use(one)
        assert self.use(other, "b")
        assert tell(one, row("a", token)) == {"a": POLICY}
        one.sessions.leave("t" * 64, "a", NOW)
        assert self.use(one, "c", now=NOW + RECONNECT_S), "the end of a session that it left is not its end"

    def test_its_client_comes_again_before_the_proxy_has_told_of_the_first_session(self, one, other, token):
        first = row("a", token)
        assert one.sessions.use(first, CLIENT, NOW)
        assert listed(other) == ["a"]
        assert other.sessions.use(row("b", token, B), CLIENT, NOW)
        assert tell(one, first) == {"a": POLICY}

    def test_it_may_be_alone_too(self, one, other, token):
        first, second = row("a", token), row("b", token, B)
        assert one.sessions.use(first, CLIENT, NOW)
        assert one.sessions.enter(first, NOW, alone="refuse")
        assert not other.sessions.enter(second, NOW, alone="refuse")

    def test_it_is_forgotten_with_its_token(self, one, token):
        assert use(one, token.token_hash, "a", CLIENT, NOW)
        one.revoke(token_hash=token.token_hash)
        assert use(one, token.token_hash, "b", STRANGER, NOW)

    def test_of_many_that_come_at_once_one_client_gets_it(self, stores):
        with ThreadPoolExecutor(8) as threads:
            using = [threads.submit(self.use, stores[i % 2], str(i), f"192.0.2.{i}/32") for i in range(8)]
        assert sum(used.result() for used in using) == 1


class TestMove:
    def test_tokens_are_pointed_elsewhere(self, one, other):
        token, console = create(one, tls_port=5901)
        create(one, instance_uuid="another")
        assert other.move(console.instance_uuid, "node2") == 1
        assert one.find(token) == replace(console, host="node2")
        assert other.move(console.instance_uuid, "node3", 6000, 6001) == 1
        assert one.find(token) == replace(console, host="node3", port=6000, tls_port=6001)
        assert other.move(console.instance_uuid, "node3", 6000) == 1
        assert one.find(token) == replace(console, host="node3", port=6000, tls_port=None)
        assert other.move("nobody", "node2") == 0


def test_threads_may_tell_of_a_new_proxy_at_once(one, token):
    """As the last telling of a service may overtake the one before."""
    with ThreadPoolExecutor(4) as pool:
        for number in range(50):
            proxy = f"node{number}:1"
            telling = [pool.submit(tell, one, row(f"s{number}", token, proxy), proxy=proxy) for _ in range(4)]
            assert [each.result() for each in telling] == [{}] * 4
    assert len(listed(one)) == 50


def test_a_list_names_the_service_whichever_of_its_workers_has_the_session(one, token):
    for number in (1, 2):
        proxy = worker_of(A, number)
        tell(one, row(f"s{number}", token, proxy), proxy=proxy)
    assert [each.proxy for each in one.sessions.list(NOW)] == [A, A]


def test_a_dead_worker_is_forgotten_alone(one, other, token):
    first, second = worker_of(A, 1), worker_of(A, 2)
    for number, proxy in enumerate((first, second)):
        tell(one, row(f"s{number}", token, proxy), proxy=proxy)
    (hash_,) = {each.token_hash for each in one.sessions.list(NOW)}
    assert other.sessions.forget(first, NOW) == {"s0": hash_}
    assert [each.id for each in one.sessions.list(NOW)] == ["s1"]
    assert not other.sessions.forget(first, NOW)


def test_a_one_time_token_of_a_dead_worker_may_come_again_for_a_while(one, token):
    session = row("s0", token, A)
    tell(one, session)
    assert use(one, session.token_hash, "s0", CLIENT, NOW)
    one.sessions.forget(A, NOW)
    assert not use(one, session.token_hash, "s1", CLIENT, NOW + RECONNECT_S)
    assert use(one, session.token_hash, "s1", CLIENT, NOW + RECONNECT_S - 1)
