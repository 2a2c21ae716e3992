"""One thing at a time, for each key."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from rfbproxy.session.turns import Turns


class Act:
    """Something that is done when the test says so."""

    def __init__(self, turns, happened, name, key):
        self.done = Deferred()
        self.outcome = []
        self._happened = happened
        self._name = name
        self.taking = Deferred.fromCoroutine(turns.take(key, self._act))
        self.taking.addBoth(self.outcome.append)

    async def _act(self):
        self._happened.append(f"{self._name} begins")
        try:
            return await self.done
        finally:
            self._happened.append(f"{self._name} ends")


@pytest.fixture
def happened():
    return []


@pytest.fixture
def turns():
    return Turns()


@pytest.fixture
def begin(turns, happened):
    return lambda name, key="key": Act(turns, happened, name, key)


def test_what_nobody_is_before_happens_at_once(begin, happened):
    act = begin("a")
    assert happened == ["a begins"]
    act.done.callback("what it gives")
    assert act.outcome == ["what it gives"]


def test_what_concerns_one_key_happens_in_the_order_that_it_was_asked_for(begin, happened):
    acts = [begin(name) for name in "abc"]
    for act in reversed(acts):
        act.done.callback(None)  # even where the later ones could be done at once
    assert happened == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    assert [act.outcome for act in acts] == [[None]] * 3


def test_other_keys_do_not_wait(begin, happened):
    begin("a")
    begin("b", "another key").done.callback(None)
    assert happened == ["a begins", "b begins", "b ends"]


def test_what_fails_fails_alone(begin, happened):
    first, second = begin("a"), begin("b")
    first.done.errback(ConnectionLost())
    assert first.outcome[0].check(ConnectionLost)
    second.done.callback(2)
    assert second.outcome == [2]
    assert happened == ["a begins", "a ends", "b begins", "b ends"]


def test_what_fails_before_it_waits_fails_alone_too(turns, begin):
    def fail():
        raise ConnectionLost

    outcome = []
    Deferred.fromCoroutine(turns.take("key", fail)).addBoth(outcome.append)
    assert outcome[0].check(ConnectionLost)
    begin("a").done.callback(None)


def test_who_waits_no_more_is_passed_over(begin, happened):
    first, second, third = begin("a"), begin("b"), begin("c")
    second.taking.cancel()
    assert len(second.outcome) == 1
    first.done.callback(None)
    third.done.callback(None)
    assert happened == ["a begins", "a ends", "c begins", "c ends"]


def test_who_is_given_up_lets_the_next_one_begin(begin, happened):
    first, second = begin("a"), begin("b")
    first.taking.cancel()
    assert happened == ["a begins", "a ends", "b begins"]
    second.done.callback(None)


def test_one_that_asks_again_as_it_ends_comes_last(turns, begin, happened):
    first, second = begin("a"), begin("b")
    again = []
    first.taking.addCallback(lambda _: again.append(begin("a again")))
    first.done.callback(None)
    assert happened == ["a begins", "a ends", "b begins"]
    second.done.callback(None)
    assert happened[-1] == "a again begins"
    again[0].done.callback(None)


@pytest.mark.parametrize("how", ["done", "failed", "cancelled"])
def test_of_keys_that_nothing_is_asked_for_nothing_is_remembered(turns, begin, how):
    for act in [begin(name) for name in "abc"]:
        assert len(turns._locks) == 1
        if how == "done":
            act.done.callback(None)
        elif how == "failed":
            act.done.errback(ConnectionLost())
        else:
            act.taking.cancel()
    assert turns._locks == {}
