"""The sessions of this process as the store is told of them, and as it ends them."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from rfbproxy.consoleauth import Grant
from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.audit import VisitRecord
from rfbproxy.session.live_sessions import LOOK_S, SETTLE_S, STOP_S, Live, LiveSessions
from tests.session.fakes import STARTED, TOKEN, console_token

DOWN = StoreError("token store sqlite: it is down")


class FakeSessions:
    """A store whose answers a test sets; a Deferred is one that the test fires."""

    def __init__(self):
        self.told = []
        self.asked = []
        self.ending = {}
        self.answers = {"use": True, "enter": True, "settle": None, "leave": None}
        self.down = False

    def tell(self, proxy, sessions, now):
        self.told.append((proxy, sorted(sessions), now))
        return fail(DOWN) if self.down else succeed(dict(self.ending))

    def _answer(self, name, *arguments):
        self.asked.append((name, *arguments))
        answer = self.answers[name]
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def use(self, row, client, now):
        return self._answer("use", row.token_hash, row.id, client)

    def enter(self, row, now, *, alone):
        return self._answer("enter", row.id, alone)

    def settle(self, row, now, *, alone):
        return self._answer("settle", row.id, alone)

    def leave(self, token_hash, session, now):
        return self._answer("leave", token_hash, session)


class Bench:
    def __init__(self):
        self.clock = Clock()
        self.store = FakeSessions()
        self.live = LiveSessions(self.store, lambda: "node1:17", self.clock, lambda: STARTED + self.clock.seconds())
        self.ended = []

    def session(self, id_="a", **grant):
        token = console_token(grant=Grant(**grant))
        record = VisitRecord(session=id_, started="2026-11-27T00:00:00.000Z", client="198.51.100.9")
        return Live(token, record, lambda refused: self.ended.append((id_, refused)), lambda: (7, 8))

    def enter(self, session):
        """Whether it got in: None where that is not decided yet."""
        got = []
        Deferred.fromCoroutine(self.live.enter(session)).addBoth(got.append)
        return getattr(got[0], "value", True) if got else None

    @property
    def told(self):
        return [ids for _, ids, _ in self.store.told]


@pytest.fixture
def bench():
    return Bench()


def test_the_store_is_told_at_once_and_then_all_the_time(bench):
    session = bench.session()
    assert bench.enter(session)
    assert bench.store.told == [("node1:17", ["a"], int(STARTED))]
    bench.clock.pump([LOOK_S] * 2)
    assert bench.told == [["a"]] * 3
    bench.live.leave(session)
    bench.clock.pump([LOOK_S] * 3)
    assert bench.told == [["a"]] * 3 + [[]], "that there is none any more, and then nothing"
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("grant", "must_ask"),
    [
        ({}, False),
        ({"share": "share", "one_time": False}, False),
        ({"share": "exclusive"}, True),
        ({"share": "refuse"}, True),
        ({"one_time": True}, True),
    ],
)
def test_only_what_the_store_may_refuse_must_ask(bench, grant, must_ask):
    session = bench.session(**grant)
    assert session.must_ask is must_ask
    bench.enter(session)
    assert bool(bench.store.asked) is must_ask


def test_one_that_must_not_ask_begins_at_once(bench):
    session = bench.session()
    bench.live.begin(session)
    assert bench.told == [["a"]]
    assert bench.store.asked == []
    bench.live.leave(session)
    bench.clock.pump([LOOK_S] * 3)
    assert bench.told == [["a"], []]
    assert bench.clock.getDelayedCalls() == []


def test_what_it_is_told_of_a_session(bench):
    row = bench.session().row("node1:17")
    assert (row.id, row.type, row.client, row.target) == ("a", "novnc", "198.51.100.9", "192.0.2.7:5901")
    assert (row.bytes_to_client, row.bytes_to_target, row.proxy) == (7, 8, "node1:17")


@pytest.mark.parametrize("reason", [CloseReason.REVOKED, CloseReason.POLICY])
def test_a_session_is_ended_from_outside(bench, reason):
    bench.enter(bench.session())
    bench.enter(bench.session("b"))
    bench.store.ending = {"b": reason.value, "gone": reason.value}
    bench.clock.advance(LOOK_S)
    [(id_, refused)] = bench.ended
    assert (id_, refused.reason) == ("b", reason)


def test_sessions_live_on_while_the_store_is_down(bench, log):
    first, second = bench.session(), bench.session("b")
    bench.enter(first)
    bench.store.down = True
    bench.enter(second)
    bench.clock.advance(LOOK_S)
    bench.live.leave(first)
    bench.clock.advance(LOOK_S)
    assert bench.ended == []
    bench.store.down = False
    bench.clock.advance(LOOK_S)
    assert bench.told[-1] == ["b"]
    assert [event["log_level"].name for event in log] == ["warn", "info"]
    bench.live.leave(second)
    bench.clock.pump([LOOK_S] * 2)
    assert bench.clock.getDelayedCalls() == []


def test_it_is_told_even_of_a_session_that_ended_while_it_was_down(bench):
    session = bench.session()
    bench.enter(session)
    bench.store.down = True
    bench.live.leave(session)
    bench.clock.pump([LOOK_S] * 3)
    bench.store.down = False
    bench.clock.pump([LOOK_S] * 3)
    assert bench.told[-1] == []
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("share", ["exclusive", "refuse"])
def test_a_session_that_is_to_be_alone_asks_first(bench, share):
    assert bench.enter(bench.session(share=share))
    assert bench.store.asked == [("enter", "a", share)]


@pytest.mark.parametrize("share", ["exclusive", "refuse"])
def test_it_asks_again_once_all_proxies_have_told_of_theirs(bench, share):
    assert bench.enter(bench.session(share=share))
    bench.clock.pump([SETTLE_S / 2] * 6)
    assert bench.store.asked[1:] == [("settle", "a", share)]


def test_one_that_has_ended_meanwhile_does_not(bench):
    session = bench.session(share="exclusive")
    assert bench.enter(session)
    bench.live.leave(session)
    bench.clock.advance(SETTLE_S)
    assert bench.store.asked == [("enter", "a", "exclusive")]


def test_a_store_that_fails_then_ends_nobody(bench, log):
    bench.store.answers["settle"] = DOWN
    assert bench.enter(bench.session(share="exclusive"))
    bench.clock.advance(SETTLE_S)
    assert bench.ended == []
    assert [formatEvent(event) for event in log] == ["[a] may not be alone: token store sqlite: it is down"]


@pytest.mark.parametrize("grant", [{}, {"share": "share"}, {"one_time": False}])
def test_others_ask_nothing(bench, grant):
    session = bench.session(**grant)
    assert bench.enter(session)
    bench.live.leave(session)
    assert bench.store.asked == []


@pytest.mark.parametrize(
    ("grant", "asks", "reason"),
    [
        ({"share": "refuse"}, "enter", CloseReason.POLICY),
        ({"one_time": True}, "use", CloseReason.TOKEN_EXPIRED),
    ],
)
def test_one_that_is_not_let_in(bench, grant, asks, reason):
    bench.store.answers[asks] = False
    assert bench.enter(bench.session(**grant)).reason is reason
    assert bench.told == []
    bench.store.answers[asks] = DOWN
    refused = bench.enter(bench.session(**grant))
    assert (refused.reason, "it is down" in refused.detail) == (CloseReason.INTERNAL, True)


def test_a_one_time_token_is_used_and_left(bench):
    session = bench.session(one_time=True)
    assert bench.enter(session)
    bench.live.leave(session)
    hash_ = console_token().token_hash
    assert bench.store.asked == [("use", hash_, "a", "198.51.100.9"), ("leave", hash_, "a")]
    assert TOKEN not in repr(bench.store.asked)


def test_one_that_ends_while_the_store_is_asked(bench):
    bench.store.answers["use"] = asked = Deferred()
    session = bench.session(one_time=True)
    assert bench.enter(session) is None
    bench.live.leave(session)
    asked.callback(True)
    assert [name for name, *_ in bench.store.asked] == ["use", "leave"]
    assert bench.told == [[]]
    bench.clock.pump([LOOK_S] * 2)
    assert bench.clock.getDelayedCalls() == []


def test_the_end_of_the_service(bench):
    session = bench.session()
    bench.enter(session)
    bench.live.leave(session)
    stopped = Deferred.fromCoroutine(bench.live.stop())
    assert stopped.called
    assert bench.told == [["a"], []]
    assert bench.clock.getDelayedCalls() == []


def test_at_the_end_it_is_told_once_it_has_heard_what_it_is_being_told(bench):
    first, answer = bench.session(), Deferred()
    tell, bench.store.tell = bench.store.tell, lambda *_: answer
    bench.enter(first)
    bench.store.tell = tell
    bench.live.leave(first)
    stopped = Deferred.fromCoroutine(bench.live.stop())
    assert not stopped.called
    assert bench.told == []
    answer.callback({})
    assert stopped.called
    assert bench.told == [[]]


def test_it_waits_for_no_store_that_is_silent(bench):
    session = bench.session()
    bench.enter(session)
    bench.live.leave(session)
    bench.store.tell = lambda *_: Deferred()
    stopped = Deferred.fromCoroutine(bench.live.stop())
    assert not stopped.called
    bench.clock.advance(STOP_S)
    assert stopped.called


def test_nothing_is_told_where_no_session_was(bench):
    assert Deferred.fromCoroutine(bench.live.stop()).called
    assert bench.told == []


def test_an_unknown_reason_of_the_store_is_no_crash(bench, failures):
    bench.enter(bench.session())
    bench.store.ending = {"a": "whatever"}
    bench.clock.advance(LOOK_S)
    [(_, refused)] = bench.ended
    assert isinstance(refused, Refused)
    assert refused.reason is CloseReason.REVOKED
