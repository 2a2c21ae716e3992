"""The steps of one visit's story: one at a time, each within its deadline; the visit's end from outside cancels it."""

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from rfbproxy.reasons import Refused

T = TypeVar("T")


def unstoppable(step: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Begin a step that goes on to its end even where nobody waits for it any more; then nobody hears how it ended."""
    going_on = Deferred.fromCoroutine(step)
    if going_on.called:
        return going_on
    outcome: Deferred[T] = Deferred()

    def succeed(result: T) -> None:
        if not outcome.called:
            outcome.callback(result)

    def fail(failure: Failure) -> None:
        if not outcome.called:
            outcome.errback(failure)

    going_on.addCallbacks(succeed, fail)
    return outcome


class Steps:
    """What the parts of a visit take their steps by. All deadlines share one timer, which moves from step to step."""

    __slots__ = ("_awaited", "_ending", "_has_deadline", "_is_late", "_timer", "clock")

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._awaited: Deferred[Any] | None = None  # by the present step
        self._ending: Refused | None = None
        self._timer: IDelayedCall | None = None  # which a step without a deadline leaves to the next one
        self._has_deadline = False  # whether the present step does
        self._is_late = False  # whether it did not keep that

    def end(self, refused: Refused) -> None:
        """Take no further step, and leave the present one; the first reason counts."""
        if self._ending is None:
            self._ending = refused
            self._leave_step()

    def stop(self) -> None:
        """Keep no timer, there being no step to come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @coroutine
    def take(
        self,
        step: Coroutine[Any, Any, T] | Deferred[T],
        timeout_s: float | None = None,
        too_late: Callable[[], Refused] | None = None,
    ) -> Generator[Deferred[Any], Any, T]:
        """Await one step, and know which Deferred it waits for: cancelling that leaves the step.

        So a step needs no Deferred of its own, which costs more than most steps do.

        Raises:
            Refused: what `end` was called with, or `too_late()` after `timeout_s` seconds.
        """
        if self._ending is not None:
            if isinstance(step, Deferred):
                step.addErrback(lambda _: None)
                step.cancel()
            else:
                step.close()
            raise self._ending
        self._set_deadline(timeout_s)
        running = step.__await__()
        go_on, given = running.send, None
        try:
            while True:
                self._awaited = go_on(given)
                if self._ending is not None:  # it came while the step ran
                    self._awaited.cancel()
                try:
                    go_on, given = running.send, (yield self._awaited)
                except Exception as error:
                    go_on, given = running.throw, error
        except StopIteration as returned:
            if self._ending is not None:  # it came while the step's last callbacks ran
                raise self._ending from None
            return returned.value  # type: ignore[no-any-return]
        except Exception:
            if self._ending is not None:  # a cancelled step fails in its own words
                raise self._ending from None
            if self._is_late:
                raise (too_late() if too_late is not None else DeferredTimeout(timeout_s)) from None
            raise
        finally:
            self._awaited = None

    def _set_deadline(self, timeout_s: float | None) -> None:
        self._is_late = False
        self._has_deadline = timeout_s is not None
        if timeout_s is None:
            return
        if self._timer is not None:
            self._timer.reset(timeout_s)
        else:
            self._timer = self.clock.callLater(timeout_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._has_deadline:
            self._is_late = self._awaited is not None
            self._leave_step()

    def _leave_step(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
