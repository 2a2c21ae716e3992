"""One step at a time: what is awaited, what is cut short, and what goes on although nobody waits."""

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import Clock, deferLater

from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.steps import Steps, unstoppable

ENDED = Refused(CloseReason.SHUTDOWN, "the test ends")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def steps(clock):
    return Steps(clock)


def taking(steps, step, *limits):
    got = []
    Deferred.fromCoroutine(steps.take(step, *limits)).addBoth(
        lambda result: got.append(getattr(result, "value", result))
    )
    return got


async def awaiting(deferred):
    return await deferred


@pytest.fixture(params=["coroutine", "deferred"])
def form(request):
    """A step in either form, over a Deferred that the test fires."""
    return awaiting if request.param == "coroutine" else lambda deferred: deferred


def too_late():
    return Refused(CloseReason.INTERNAL, "too late")


def test_what_a_step_gives(steps, form):
    waiting = Deferred()
    got = taking(steps, form(waiting))
    assert got == []
    waiting.callback("given")
    assert got == ["given"]


def test_what_a_step_raises(steps, form):
    waiting, error = Deferred(), ZeroDivisionError()
    got = taking(steps, form(waiting))
    waiting.errback(error)
    assert got == [error]


def test_one_after_the_other(steps, form):
    for number in range(3):
        waiting = Deferred()
        got = taking(steps, form(waiting))
        waiting.callback(number)
        assert got == [number]


def test_the_end_cancels_the_present_step(steps, form):
    cancelled = []
    got = taking(steps, form(Deferred(cancelled.append)))
    steps.end(ENDED)
    assert len(cancelled) == 1
    assert got == [ENDED], "not in the words of what was cancelled"


def test_the_end_of_a_step_that_cannot_be_cancelled_in_time(steps):
    """It gives something although it is cancelled: that is let go."""
    got = taking(steps, Deferred(lambda waiting: waiting.callback("given")))
    steps.end(ENDED)
    assert got == [ENDED]


def test_after_the_end_no_step_is_taken(steps):
    begun = []

    async def step():
        begun.append(True)

    steps.end(ENDED)
    for _ in range(2):
        assert taking(steps, step()) == [ENDED]
    assert begun == []


def test_the_first_reason_counts(steps):
    got = taking(steps, Deferred())
    steps.end(ENDED)
    steps.end(Refused(CloseReason.INTERNAL, "later"))
    assert got == [ENDED]
    assert taking(steps, awaiting(Deferred())) == [ENDED]


def test_an_end_while_the_step_begins(steps):
    waiting = Deferred()

    async def step():
        steps.end(ENDED)
        await waiting

    assert taking(steps, step()) == [ENDED]
    assert waiting.called


def test_an_end_while_the_last_callbacks_run(steps, form):
    waiting = Deferred()
    waiting.addCallback(lambda given: (steps.end(ENDED), given)[1])
    got = taking(steps, form(waiting))
    waiting.callback("given")
    assert got == [ENDED]


def test_a_deadline(steps, form, clock):
    got = taking(steps, form(Deferred()), 10, too_late)
    clock.advance(9.99)
    assert got == []
    clock.advance(0.01)
    assert str(got[0]) == "too late"
    assert clock.getDelayedCalls() == []


def test_each_step_has_a_deadline_of_its_own(steps, clock):
    """The timer of the one before would come too early."""
    for _ in range(3):
        waiting = Deferred()
        got = taking(steps, waiting, 10, too_late)
        assert len(clock.getDelayedCalls()) == 1
        clock.advance(9)
        waiting.callback("given")
        assert got == ["given"]
    got = taking(steps, Deferred(), 2, too_late)
    clock.advance(2)
    assert str(got[0]) == "too late"


def test_a_step_without_a_deadline_after_one_that_had_one(steps, form, clock):
    waiting = Deferred()
    taking(steps, form(waiting), 10, too_late)
    waiting.callback(None)
    got = taking(steps, form(Deferred()))
    clock.advance(10)
    assert got == []
    assert clock.getDelayedCalls() == []


def test_a_deadline_is_over_with_its_step(steps, form, clock):
    waiting = Deferred()
    got = taking(steps, form(waiting), 10, too_late)
    waiting.callback("given")
    clock.advance(10)
    assert got == ["given"]
    assert clock.getDelayedCalls() == []
    waiting = Deferred()
    got = taking(steps, form(waiting), 10, too_late)
    clock.advance(9)
    waiting.callback("given")
    assert got == ["given"]


def test_a_step_that_is_late_and_goes_on_all_the_same(steps, clock):
    async def step():
        try:
            await Deferred()
        except CancelledError:
            return "given"

    got = taking(steps, step(), 10, too_late)
    clock.advance(10)
    assert got == ["given"]


def test_an_end_meets_whatever_the_step_waits_for_next(steps):
    cancelled = []

    async def step():
        for number in range(3):
            try:
                await Deferred(lambda _, number=number: cancelled.append(number))
            except CancelledError:
                continue

    got = taking(steps, step())
    steps.end(ENDED)
    assert cancelled == [0, 1, 2]
    assert got == [ENDED]


def test_a_step_handles_what_its_own_steps_raise(steps):
    waiting = Deferred()

    async def step():
        try:
            await awaiting(waiting)
        except ZeroDivisionError:
            return await awaiting(later)

    later = Deferred()
    got = taking(steps, step())
    waiting.errback(ZeroDivisionError())
    later.callback("given")
    assert got == ["given"]


def test_a_deadline_without_words_of_its_own(steps, form, clock):
    got = taking(steps, form(Deferred()), 10)
    clock.advance(10)
    assert isinstance(got[0], DeferredTimeout)


@pytest.mark.parametrize("how", ["given", "raised", "ended"])
def test_steps_that_are_over_leave_no_timer(steps, form, clock, how):
    waiting = Deferred()
    got = taking(steps, form(waiting), 10, too_late)
    if how == "given":
        waiting.callback(None)
    elif how == "raised":
        waiting.errback(ZeroDivisionError())
    else:
        steps.end(ENDED)
    assert len(got) == 1
    steps.stop()
    assert clock.getDelayedCalls() == []


def test_an_end_after_the_deadline_is_no_second_answer(steps, form, clock):
    got = taking(steps, form(Deferred()), 10, too_late)
    clock.advance(10)
    steps.end(ENDED)
    assert [str(each) for each in got] == ["too late"]


def test_a_timer_that_is_cancelled_with_its_step(steps, clock):
    taking(steps, deferLater(clock, 5))
    steps.end(ENDED)
    assert clock.getDelayedCalls() == []


def test_a_timer_that_comes_after_the_end_is_cancelled(steps, clock):
    steps.end(ENDED)
    assert taking(steps, deferLater(clock, 5)) == [ENDED]
    assert clock.getDelayedCalls() == []


# Steps that go on


@pytest.mark.parametrize("how", ["callback", "errback"])
def test_an_unstoppable_step_gives_what_it_gives(how):
    waiting, got = Deferred(), []
    unstoppable(awaiting(waiting)).addBoth(lambda result: got.append(getattr(result, "value", result)))
    outcome = ZeroDivisionError() if how == "errback" else "given"
    getattr(waiting, how)(outcome)
    assert got == [outcome]


@pytest.mark.parametrize("how", ["callback", "errback"])
def test_an_unstoppable_step_goes_on_and_nobody_hears(how):
    """Nor is an error of it left unhandled; the fixture `failures` sees to that."""
    waiting, got, done = Deferred(), [], []

    async def step():
        try:
            await waiting
        finally:
            done.append(True)

    outcome = unstoppable(step())
    outcome.addErrback(lambda failure: got.append(failure.value))
    outcome.cancel()
    assert isinstance(got[0], CancelledError)
    assert done == []
    getattr(waiting, how)(ZeroDivisionError())
    assert done == [True]
    assert len(got) == 1


def test_an_end_does_not_stop_it(steps):
    waiting, done = Deferred(), []

    async def step():
        done.append(await waiting)

    got = taking(steps, unstoppable(step()), 10, too_late)
    steps.end(ENDED)
    assert got == [ENDED]
    waiting.callback("given")
    assert done == ["given"]
