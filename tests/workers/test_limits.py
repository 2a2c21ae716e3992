"""Limits over several workers: two of them, their links, and the supervisor's one count."""

from random import Random

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.limits import Limits
from rfbproxy.workers.limits import ANSWER_S, KEPT, KEPT_S, TIGHT, SharedLimits, WorkersLimits
from tests.workers.fakes import Pair

HERE, THERE, NEAR_THERE = "192.0.2.1", "2001:db8::1", "2001:db8::2"
NOW = 1_000_000.0


class Workers:
    """Two workers, `a` and `b`."""

    def __init__(self, *limits):
        self.clock = Clock()
        self.links = {}
        self.limits = Limits(*limits)
        self.shared = SharedLimits(self.limits, lambda but: [
            pair.here for name, pair in self.links.items() if name != but
        ])  # fmt: skip
        self.a, self.b = self._worker("a"), self._worker("b")

    def _worker(self, name):
        pair = self.links[name] = Pair(hears=self.shared.hears(name))
        worker = WorkersLimits(pair.there, self.clock)
        pair.there.hears = worker.hears()
        return worker

    def pump(self):
        for _ in range(2):  # what one says may be passed on to the other
            for pair in self.links.values():
                pair.pump()

    def enter(self, worker, source):
        """Whether there was room."""
        entering = Deferred.fromCoroutine(worker.enter(source))
        self.pump()
        results = []
        entering.addCallbacks(lambda _: results.append(None), lambda failure: results.append(failure.value))
        (refused,) = results
        if refused is not None:
            assert isinstance(refused, Refused)
            assert refused.reason is CloseReason.LIMIT
        return refused is None

    def enters_at_once(self, worker, source):
        """Whether it gets in without a word to the supervisor; if not, it is not waited for."""
        entering = Deferred.fromCoroutine(worker.enter(source))
        if entering.called:
            return True
        entering.addErrback(lambda _: None).cancel()
        self.pump()
        return False


def is_full(worker, source):
    try:
        worker.check(source)
    except Refused as refused:
        return refused.reason is CloseReason.LIMIT
    return False


def test_sessions_of_all_workers_are_counted_together():
    workers = Workers(3, 0)
    assert workers.enter(workers.a, HERE)
    assert workers.enter(workers.b, HERE)
    assert not is_full(workers.a, THERE)
    assert workers.enter(workers.a, THERE)
    assert is_full(workers.a, THERE)
    assert is_full(workers.b, HERE), "before it costs anything"
    assert not workers.enter(workers.b, HERE)
    workers.a.leave(HERE)
    workers.pump()
    assert not is_full(workers.b, HERE)
    assert workers.enter(workers.b, HERE)


def test_sessions_of_one_source_are_counted_together():
    workers = Workers(0, 2)
    assert workers.enter(workers.a, THERE)
    assert workers.enter(workers.b, NEAR_THERE)
    assert is_full(workers.a, NEAR_THERE)
    assert is_full(workers.b, THERE)
    assert not is_full(workers.b, HERE)
    assert not workers.enter(workers.a, THERE)
    workers.b.leave(NEAR_THERE)
    workers.pump()
    assert workers.enter(workers.a, THERE)


def test_of_a_worker_that_is_gone_nothing_is_counted():
    workers = Workers(2, 0)
    assert workers.enter(workers.a, HERE)
    assert workers.enter(workers.a, THERE)
    assert is_full(workers.b, HERE)
    workers.shared.forget("a")
    workers.shared.forget("a")
    workers.pump()
    assert workers.enter(workers.b, HERE)
    assert workers.enter(workers.b, HERE)
    assert not workers.enter(workers.b, HERE)


def test_limits_that_change_are_told_to_all():
    workers = Workers(0, 0)
    assert workers.enter(workers.a, HERE)
    assert not is_full(workers.b, HERE)
    workers.shared.allow(0, 1)
    workers.pump()
    assert is_full(workers.b, HERE)
    assert not is_full(workers.b, THERE)
    workers.shared.allow(1, 0)
    workers.pump()
    assert is_full(workers.b, THERE)
    workers.shared.allow(0, 0)
    workers.pump()
    assert not is_full(workers.b, HERE)


def test_a_visit_that_ends_while_it_is_asked_for_is_not_counted():
    workers = Workers(1, 0)
    entering = Deferred.fromCoroutine(workers.a.enter(HERE))
    entering.addErrback(lambda _: None)
    entering.cancel()
    workers.pump()
    assert workers.enter(workers.b, HERE)
    refused = Deferred.fromCoroutine(workers.a.enter(HERE))
    refused.addErrback(lambda _: None)
    refused.cancel()  # there is no room, so there is nothing to give back
    workers.pump()
    assert not workers.enter(workers.a, HERE)


def test_a_supervisor_that_says_nothing_is_not_waited_for():
    workers = Workers(1, 0)
    entering = Deferred.fromCoroutine(workers.a.enter(HERE))
    workers.clock.advance(ANSWER_S)
    with pytest.raises(Refused) as refused:
        entering.result.raiseException()
    assert refused.value.reason is CloseReason.INTERNAL
    entering.addErrback(lambda _: None)
    workers.pump()
    assert workers.enter(workers.b, HERE), "the late answer was given back"


def test_a_supervisor_that_is_gone_lets_nobody_in():
    workers = Workers(1, 0)
    workers.links["a"].there.connectionLost(Failure(ConnectionDone()))
    entering = Deferred.fromCoroutine(workers.a.enter(HERE))
    with pytest.raises(Refused) as refused:
        entering.result.raiseException()
    assert refused.value.reason is CloseReason.INTERNAL
    entering.addErrback(lambda _: None)


def test_a_token_denied_by_one_is_denied_by_all_and_its_source_waits_everywhere():
    workers = Workers()
    workers.a.bad_tokens.deny(HERE, "dead", CloseReason.TOKEN_UNKNOWN, NOW)
    workers.pump()
    with pytest.raises(Refused) as refused:
        workers.b.bad_tokens.check("dead", NOW + 0.5)
    assert refused.value.reason is CloseReason.TOKEN_UNKNOWN
    for worker in (workers.a, workers.b):
        assert worker.bad_tokens.delay_s(HERE, NOW) == pytest.approx(0.1), "counted once"
        assert worker.bad_tokens.delay_s(THERE, NOW) == 0


class TestKeptPlaces:
    """Places of sessions that have ended, which a worker keeps for the next ones of their sources."""

    @pytest.mark.parametrize("limits", [(0, 0), (200, 0), (0, 200), (4 * TIGHT, 2 * TIGHT)])
    def test_the_next_session_of_the_source_asks_nobody(self, limits):
        workers = Workers(*limits)
        assert workers.enter(workers.a, HERE)
        for _ in range(3):
            workers.a.leave(HERE)
            assert not workers.enters_at_once(workers.a, THERE)
            assert not workers.enters_at_once(workers.b, HERE)
            assert workers.enters_at_once(workers.a, HERE)
        assert not workers.enters_at_once(workers.a, HERE), "there was one place"

    def test_they_are_given_back_a_moment_later(self):
        workers = Workers(200, 0)
        assert workers.enter(workers.a, HERE)
        workers.a.leave(HERE)
        workers.pump()
        assert list(workers.limits.networks) == [HERE]
        workers.clock.advance(KEPT_S)
        workers.pump()
        assert list(workers.limits.networks) == []
        assert not workers.enters_at_once(workers.a, HERE)
        assert workers.clock.getDelayedCalls() == []

    def test_a_session_that_lives_longer_leaves_at_once(self):
        workers = Workers(200, 0)
        assert workers.enter(workers.a, HERE)
        assert workers.enter(workers.a, HERE)
        workers.a.leave(HERE)
        workers.clock.advance(KEPT_S)
        workers.a.leave(HERE)
        workers.pump()
        assert list(workers.limits.networks) == []

    def test_there_are_not_many(self):
        workers = Workers(0, 0)
        for _ in range(KEPT + 1):
            assert workers.enter(workers.a, HERE)
        for _ in range(KEPT + 1):
            workers.a.leave(HERE)
        workers.pump()
        assert [workers.enters_at_once(workers.a, HERE) for _ in range(KEPT + 1)] == [True] * KEPT + [False]

    def test_where_room_gets_tight_the_others_have_them(self):
        workers = Workers(2 * TIGHT, 0)
        for _ in range(KEPT):
            assert workers.enter(workers.a, HERE)
        for _ in range(KEPT):
            workers.a.leave(HERE)
        entered = [workers.enter(workers.b, THERE) for _ in range(2 * TIGHT + 1)]
        assert entered == [True] * 2 * TIGHT + [False]

    def test_where_one_source_has_little_room_others_keep_theirs(self):
        workers = Workers(0, 2 * TIGHT)
        for source in (HERE, THERE):
            assert workers.enter(workers.a, source)
            workers.a.leave(source)
        for _ in range(TIGHT + 1):
            assert workers.enter(workers.b, NEAR_THERE)
        assert not workers.enters_at_once(workers.a, THERE)
        assert workers.enters_at_once(workers.a, HERE)

    @pytest.mark.parametrize("limits", [(TIGHT, 0), (0, TIGHT)])
    def test_small_limits_leave_none(self, limits):
        workers = Workers(*limits)
        assert workers.enter(workers.a, HERE)
        workers.a.leave(HERE)
        workers.pump()
        assert list(workers.limits.networks) == []

    def test_limits_that_change_take_them_back(self):
        workers = Workers(0, 0)
        assert workers.enter(workers.a, HERE)
        workers.a.leave(HERE)
        workers.shared.allow(1, 0)
        workers.pump()
        assert not workers.enters_at_once(workers.a, HERE)
        assert workers.enter(workers.b, THERE)

    def test_those_of_a_worker_that_is_gone_are_gone_too(self):
        workers = Workers(200, 0)
        assert workers.enter(workers.a, HERE)
        workers.a.leave(HERE)
        workers.shared.forget("a")
        assert list(workers.limits.networks) == []

    @pytest.mark.parametrize("seed", range(20))
    def test_whatever_happens_there_are_never_too_many_nor_one_too_few(self, seed):
        random = Random(seed)
        limit = 2 * TIGHT + seed
        workers = Workers(limit, 0)
        live, refused = [], 0
        for _ in range(1500):
            worker = random.choice([workers.a, workers.b])
            if random.random() < 0.6:
                room = len(live) < limit
                source = random.choice([HERE, THERE, NEAR_THERE])
                entered = workers.enter(worker, source)
                assert entered is room
                refused += not entered
                if entered:
                    live.append((worker, source))
            elif live:
                leaving, source = live.pop(random.randrange(len(live)))
                leaving.leave(source)
                workers.pump()
            if random.random() < 0.1:
                workers.clock.advance(KEPT_S / 3)
        assert refused > 0, "it came to the limit"
