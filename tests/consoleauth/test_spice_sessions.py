import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from rfbproxy.consoleauth import spice_sessions
from rfbproxy.consoleauth.spice_sessions import (
    CHANNEL_KEPT_S,
    LIVE_S,
    ChannelRow,
    Location,
    SpiceClaim,
    SpiceSessionTable,
)
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.errors import StoreError
from tests.consoleauth.stores import NO_TABLE, NOW, opened, rows, run
from tests.consoleauth.test_sql import novas  # noqa: F401 - a fixture

T, U = "a" * 64, "b" * 64
NETWORK = "192.0.2.7/32"
NODE2 = Location("node2", 0, 5901, "C=DE,CN=node2")


@pytest.fixture(params=["file", "memory"])
def tables(request, file):
    """What two proxies see of one database; a memory database has only one to see it."""
    with contextlib.ExitStack() as stack:
        if request.param == "file":
            yield [stack.enter_context(opened(file)).spice_sessions for _ in range(2)]
            return
        store = SqlStore("sqlite://")
        store.open()
        stack.callback(store.close)
        yield [store.spice_sessions] * 2


@pytest.fixture
def one(tables):
    return tables[0]


@pytest.fixture
def other(tables):
    return tables[1]


def claim(table, session, token_hash=T, now=NOW, take_over=False):
    return table.claim(token_hash, session, NETWORK, now, take_over=take_over)


class TestClaim:
    def test_a_token_has_one_session(self, one, other):
        assert claim(one, "a") == SpiceClaim(T, "a", NETWORK)
        assert claim(other, "b") is None
        assert claim(one, "b") is None
        assert claim(other, "b", U) == SpiceClaim(U, "b", NETWORK)
        assert one.living(["a", "b", "c"], NOW) == {"a", "b"}

    def test_it_may_be_taken_over(self, one, other):
        claim(one, "a")
        one.begin(T, "a", 7, NOW)
        assert claim(other, "b", take_over=True) == SpiceClaim(T, "b", NETWORK)
        assert one.living(["a", "b"], NOW) == {"b"}
        assert one.find(T, 7, NOW) is None, "the id was the other session's"

    def test_nobody_has_a_claim_that_was_not_kept(self, one, other):
        claim(one, "a")
        assert claim(other, "b", now=NOW + LIVE_S - 1) is None
        assert one.living(["a"], NOW + LIVE_S - 1) == {"a"}
        assert one.living(["a"], NOW + LIVE_S) == frozenset()
        assert claim(other, "b", now=NOW + LIVE_S) == SpiceClaim(T, "b", NETWORK)

    def test_a_kept_claim_lives_on(self, one, other):
        claim(one, "a")
        claim(one, "b", U)
        one.keep({"a": T, "b": U, "unknown": "c" * 64}, NOW + 20)
        assert other.living(["a", "b", "unknown"], NOW + 20 + LIVE_S - 1) == {"a", "b"}
        assert other.living(["a", "b"], NOW + 20 + LIVE_S) == frozenset()

    def test_a_claim_that_lapsed_is_revived_where_nobody_took_it(self, one):
        claim(one, "a")
        one.keep({"a": T}, NOW + 100)
        assert one.living(["a"], NOW + 100) == {"a"}

    def test_nothing_to_keep_and_nothing_to_ask(self, one):
        one.keep({}, NOW)
        assert one.living([], NOW) == frozenset()

    def test_who_ends_lets_go(self, one, other):
        claim(one, "a")
        one.end(T, "a")
        assert one.living(["a"], NOW) == frozenset()
        assert claim(other, "b") == SpiceClaim(T, "b", NETWORK)

    def test_what_comes_late_from_one_that_was_taken_over_changes_nothing(self, one, other):
        claim(one, "a")
        claim(other, "b", take_over=True)
        other.begin(T, "b", 7, NOW)
        one.begin(T, "a", 8, NOW + 10)
        one.keep({"a": T}, NOW + 10)
        one.move(T, "a", NODE2, NOW + 1000)
        one.end(T, "a")
        assert other.find(T, 7, NOW) == SpiceClaim(T, "b", NETWORK, 7)
        assert other.living(["b"], NOW + LIVE_S) == frozenset(), "not kept by somebody else"

    def test_a_row_that_goes_while_it_would_be_taken_over(self, one, monkeypatch):
        claim_new = SpiceSessionTable._claim_new

        def just_too_early(table, *args):
            monkeypatch.undo()
            assert claim_new(table, *args) is None
            table.end(T, "a")

        claim(one, "a")
        monkeypatch.setattr(SpiceSessionTable, "_claim_new", just_too_early)
        assert claim(one, "b", take_over=True) == SpiceClaim(T, "b", NETWORK)


class TestFind:
    @pytest.mark.parametrize("connection_id", [1, 0xFFFFFFFF])
    def test_by_the_id_that_the_target_told(self, one, other, connection_id):
        claim(one, "a")
        assert other.find(T, connection_id, NOW) is None
        one.begin(T, "a", connection_id, NOW + 5)
        assert other.find(T, connection_id, NOW + 5) == SpiceClaim(T, "a", NETWORK, connection_id)
        assert other.find(T, connection_id - 1, NOW + 5) is None
        assert other.find(U, connection_id, NOW + 5) is None, "ids of several targets may be the same"

    def test_beginning_keeps_the_claim(self, one):
        claim(one, "a")
        one.begin(T, "a", 7, NOW + 5)
        assert one.find(T, 7, NOW + 5 + LIVE_S - 1) is not None
        assert one.find(T, 7, NOW + 5 + LIVE_S) is None


class TestMove:
    @pytest.mark.parametrize("location", [NODE2, Location("2001:db8::7", 5900)])
    def test_the_next_session_is_told(self, one, other, location):
        claim(one, "a")
        one.begin(T, "a", 7, NOW)
        one.move(T, "a", location, NOW + 600)
        assert one.living(["a"], NOW) == frozenset()
        assert one.find(T, 7, NOW) is None
        assert claim(other, "b") == SpiceClaim(T, "b", NETWORK, moved_to=location)
        other.begin(T, "b", 8, NOW)
        assert one.find(T, 8, NOW) == SpiceClaim(T, "b", NETWORK, 8, location)

    def test_it_is_remembered_for_its_time_whoever_comes_and_goes(self, one):
        claim(one, "a")
        one.move(T, "a", NODE2, NOW + 600)
        for session, now in (("b", NOW + 100), ("c", NOW + 300), ("d", NOW + 599)):
            assert claim(one, session, now=now).moved_to == NODE2
            assert one.purge(now) == 0
            one.end(T, session)
            assert one.purge(now) == 0
        assert claim(one, "e", now=NOW + 600).moved_to is None

    def test_a_session_that_outlives_that_is_joined_where_it_is(self, one, other):
        claim(one, "a")
        one.move(T, "a", NODE2, NOW + 5)
        claim(one, "b", now=NOW + 4)
        one.begin(T, "b", 8, NOW + 4)
        one.keep({"b": T}, NOW + 10)
        assert other.find(T, 8, NOW + 10).moved_to == NODE2
        one.end(T, "b")
        assert claim(other, "c", now=NOW + 10).moved_to is None
        other.begin(T, "c", 9, NOW + 10)
        assert one.find(T, 9, NOW + 10).moved_to is None

    def test_the_last_move_counts(self, one):
        claim(one, "a")
        one.move(T, "a", NODE2, NOW + 600)
        claim(one, "b")
        one.move(T, "b", Location("node3", 5900), NOW + 10)
        assert claim(one, "c").moved_to == Location("node3", 5900)
        assert claim(one, "d", now=NOW + 10, take_over=True).moved_to is None


class TestChannels:
    def test_they_are_counted_and_taken_once(self, one, other):
        one.note_channel("a", "link1", "display", 1, 2, NOW)
        one.note_channel("a", "link1", "display", 1 << 40, 3, NOW)
        other.note_channel("a", "link2", "display", 5, 6, NOW)
        other.note_channel("b", "link1", "cursor", 7, 8, NOW)
        assert one.take_channels("a") == [ChannelRow("display", 1 << 40, 3), ChannelRow("display", 5, 6)]
        assert one.take_channels("a") == []
        assert one.take_channels("b") == [ChannelRow("cursor", 7, 8)]

    def test_what_they_have_relayed_so_far_is_told_as_often_as_one_asks(self, one, other):
        one.note_channel("a", "link2", "inputs", 5, 6, NOW)
        other.note_channel("a", "link1", "display", 1, 2, NOW)
        other.note_channel("b", "link1", "cursor", 7, 8, NOW)
        for table in (one, other, one):
            assert table.channels(["a", "c"]) == {"a": [ChannelRow("display", 1, 2), ChannelRow("inputs", 5, 6)]}
        assert one.channels([]) == {}
        one.take_channels("a")
        assert other.channels(["a", "b"]) == {"b": [ChannelRow("cursor", 7, 8)]}

    def test_two_that_add_the_same_one_at_once(self, one, other, monkeypatch):
        done = SpiceSessionTable._done

        def just_too_early(table, statement):
            monkeypatch.undo()
            changed = done(table, statement)
            other.note_channel("a", "link1", "display", 1, 2, NOW)
            return changed

        monkeypatch.setattr(SpiceSessionTable, "_done", just_too_early)
        one.note_channel("a", "link1", "display", 3, 4, NOW)
        assert one.take_channels("a") == [ChannelRow("display", 3, 4)]


class TestPurge:
    def test_what_was_let_go(self, one):
        claim(one, "a")
        one.end(T, "a")
        assert one.purge(NOW) == 1
        assert one.purge(NOW) == 0

    def test_sessions(self, one):
        claim(one, "a")
        claim(one, "b", U, now=NOW + 1)
        assert one.purge(NOW + LIVE_S) == 1
        assert one.living(["a", "b"], NOW + 1) == {"b"}

    def test_moves(self, one):
        claim(one, "a")
        one.move(T, "a", NODE2, NOW + 600)
        assert one.purge(NOW + 599) == 0
        assert one.purge(NOW + 600) == 1

    def test_a_live_session_outlives_the_move_before_it(self, one):
        claim(one, "a")
        one.move(T, "a", NODE2, NOW + 5)
        claim(one, "b")
        assert one.purge(NOW + 10) == 0
        assert one.living(["b"], NOW + 10) == {"b"}

    def test_channels(self, one):
        one.note_channel("a", "link1", "display", 1, 2, NOW)
        one.note_channel("a", "link2", "cursor", 3, 4, NOW + 1)
        assert one.purge(NOW + CHANNEL_KEPT_S) == 1
        assert one.take_channels("a") == [ChannelRow("cursor", 3, 4)]

    def test_by_bounded_batches(self, one, monkeypatch):
        monkeypatch.setattr(spice_sessions, "PURGED_AT_ONCE", 3)
        for number in range(7):
            claim(one, f"s{number}", f"{number}" * 64)
            one.note_channel("a", f"link{number}", "display", 1, 2, NOW)
        assert one.purge(NOW + LIVE_S) == 7
        assert one.purge(NOW + CHANNEL_KEPT_S) == 7

    def test_the_store_purges_them_uncounted(self, store, file):
        claim(store.spice_sessions, "a")
        store.spice_sessions.note_channel("a", "link1", "display", 1, 2, NOW)
        assert store.purge(NOW + CHANNEL_KEPT_S) == 0
        for table in ("console_spice_sessions", "console_spice_channels"):
            assert rows(file, f"SELECT count(*) FROM {table}") == [(0,)]


class TestRaces:
    THREADS = 8

    def together(self, tables, job):
        """What `job(table, number)` returns in each of several threads that begin at once."""
        start = threading.Barrier(self.THREADS)

        def run_one(number):
            start.wait(5)
            return job(tables[number % 2], number)

        with ThreadPoolExecutor(self.THREADS) as pool:
            return list(pool.map(run_one, range(self.THREADS)))

    @pytest.mark.parametrize("before", ["nothing", "lapsed", "moved"])
    def test_exactly_one_wins(self, tables, before):
        if before != "nothing":
            claim(tables[0], "a")
        if before == "moved":
            tables[0].move(T, "a", NODE2, NOW + 600)
        won = self.together(tables, lambda table, n: claim(table, f"s{n}", now=NOW + LIVE_S))
        (winner,) = filter(None, won)
        assert winner.moved_to == (NODE2 if before == "moved" else None)
        assert tables[1].living([f"s{n}" for n in range(self.THREADS)], NOW + LIVE_S) == {winner.session}

    def test_all_may_take_over_and_one_is_left(self, tables):
        won = self.together(tables, lambda table, n: claim(table, f"s{n}", take_over=True))
        assert [winner.session for winner in won] == [f"s{n}" for n in range(self.THREADS)]
        assert len(tables[0].living([f"s{n}" for n in range(self.THREADS)], NOW)) == 1

    def test_whole_lives_at_once(self, tables):
        def live(table, number):
            session = f"s{number}"
            for turn in range(10):
                if claim(table, session, take_over=number < 2) is not None:
                    table.begin(T, session, number, NOW)
                    table.keep({session: T}, NOW)
                    table.end(T, session)
                table.note_channel("a", f"{number}.{turn}", "display", 1, 1, NOW)
                table.purge(NOW)

        self.together(tables, live)
        assert tables[0].living([f"s{n}" for n in range(self.THREADS)], NOW) == frozenset()
        assert len(tables[0].take_channels("a")) == self.THREADS * 10


class TestPlaces:
    def test_of_novas_tokens_they_are_in_the_state_database(self, novas, tmp_path):  # noqa: F811
        before = novas.read_bytes()
        with opened(novas, tmp_path / "state.sqlite") as first, opened(novas, tmp_path / "state.sqlite") as second:
            assert claim(first.spice_sessions, "a")
            assert claim(second.spice_sessions, "b") is None
            assert second.purge(NOW + LIVE_S) == 0
            assert rows(tmp_path / "state.sqlite", "SELECT count(*) FROM console_spice_sessions") == [(0,)]
        assert novas.read_bytes() == before

    def test_without_one_there_are_none(self, novas):  # noqa: F811
        with opened(novas) as store, pytest.raises(StoreError, match="no state database beside it"):
            _ = store.spice_sessions

    def test_a_store_that_is_not_open(self, file):
        with pytest.raises(StoreError, match="is not open"):
            _ = SqlStore(f"sqlite:///{file}").spice_sessions

    def test_a_database_that_fails(self, store, file):
        run(file, "DROP TABLE console_spice_sessions; DROP TABLE console_spice_channels")
        table = store.spice_sessions
        for call in (
            lambda: claim(table, "a"),
            lambda: table.begin(T, "a", 7, NOW),
            lambda: table.find(T, 7, NOW),
            lambda: table.keep({"a": T}, NOW),
            lambda: table.living(["a"], NOW),
            lambda: table.move(T, "a", NODE2, NOW),
            lambda: table.end(T, "a"),
            lambda: table.note_channel("a", "link1", "display", 1, 2, NOW),
            lambda: table.take_channels("a"),
            lambda: table.purge(NOW),
        ):
            with pytest.raises(StoreError, match=NO_TABLE):
                call()


class Model(RuleBasedStateMachine):
    """The claims of two tokens, beside what a dictionary says of them."""

    sessions = Bundle("sessions")

    def __init__(self):
        super().__init__()
        self.store = SqlStore("sqlite://")
        self.store.open()
        self.table = self.store.spice_sessions
        self.now, self.numbers = NOW, 0
        self.claims: dict[str, tuple[SpiceClaim, int]] = {}  # by token, with the time that it is kept until
        self.moves: dict[str, tuple[Location, int]] = {}  # by token, with the time that it is remembered until

    def teardown(self):
        self.store.close()

    def holds(self, held):
        return held[0] in self.claims and self.claims[held[0]][0].session == held[1]

    @rule(target=sessions, token_hash=st.sampled_from([T, U]), take_over=st.booleans())
    def claim(self, token_hash, take_over):
        self.numbers += 1
        session = f"s{self.numbers}"
        claimed = claim(self.table, session, token_hash, self.now, take_over)
        location, until = self.moves.get(token_hash, (None, 0))
        expected = SpiceClaim(token_hash, session, NETWORK, moved_to=location if until > self.now else None)
        if token_hash in self.claims and self.claims[token_hash][1] > self.now and not take_over:
            assert claimed is None
        else:
            assert claimed == expected
            self.claims[token_hash] = (expected, self.now + LIVE_S)
        return token_hash, session

    @rule(held=sessions, connection_id=st.integers(1, 0xFFFFFFFF))
    def begin(self, held, connection_id):
        self.table.begin(*held, connection_id, self.now)
        if self.holds(held):
            claimed = replace(self.claims[held[0]][0], connection_id=connection_id)
            self.claims[held[0]] = (claimed, self.now + LIVE_S)

    @rule(kept=st.lists(sessions))
    def keep(self, kept):
        self.table.keep({session: token_hash for token_hash, session in kept}, self.now)
        for held in filter(self.holds, kept):
            self.claims[held[0]] = (self.claims[held[0]][0], self.now + LIVE_S)

    @rule(held=sessions, seconds=st.integers(1, 60), port=st.integers(0, 65535))
    def move(self, held, seconds, port):
        self.table.move(*held, Location("node2", port), self.now + seconds)
        if self.holds(held):
            del self.claims[held[0]]
            self.moves[held[0]] = (Location("node2", port), self.now + seconds)

    @rule(held=consumes(sessions))
    def end(self, held):
        self.table.end(*held)
        if self.holds(held):
            del self.claims[held[0]]

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def purge(self):
        self.table.purge(self.now)
        self.moves = {of: move for of, move in self.moves.items() if move[1] > self.now}
        # A row that says nothing goes; one that remembers a move stays, and what lapsed in it may be revived.
        self.claims = {of: held for of, held in self.claims.items() if held[1] > self.now or of in self.moves}

    @invariant()
    def those_that_live_are_known(self):
        live = [claimed for claimed, until in self.claims.values() if until > self.now]
        everybody = [f"s{number}" for number in range(self.numbers + 1)]
        assert self.table.living(everybody, self.now) == {claimed.session for claimed in live}
        for claimed in live:
            if claimed.connection_id is not None:
                found = self.table.find(claimed.token_hash, claimed.connection_id, self.now)
                assert replace(found, moved_to=None) == replace(claimed, moved_to=None)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
