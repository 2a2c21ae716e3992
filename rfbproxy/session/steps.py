"""The steps of one visit's story: one at a time, each within its deadline; the visit's end from outside cancels it."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from rfbproxy.reasons import Refused

T = TypeVar("T")


def unstoppable(step: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Begin a step that goes on to its end even where nobody waits for it any more; then nobody hears how it ended."""
    outcome: Deferred[T] = Deferred()

    def succeed(result: T) -> None:
        if not outcome.called:
            outcome.callback(result)

    def fail(failure: Failure) -> None:
        if not outcome.called:
            outcome.errback(failure)

    Deferred.fromCoroutine(step).addCallbacks(succeed, fail)
    return outcome


class Steps:
    """What the parts of a visit take their steps by."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._pending: Deferred[Any] | None = None
        self._ending: Refused | None = None

    def end(self, refused: Refused) -> None:
        """Take no further step, and leave the present one; the first reason counts."""
        if self._ending is None:
            self._ending = refused
            if self._pending is not None:
                self._pending.cancel()

    async def take(
        self,
        step: Coroutine[Any, Any, T] | Deferred[T],
        timeout_s: float | None = None,
        too_late: Callable[[], Refused] | None = None,
    ) -> T:
        """Await one step.

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
        pending = step if isinstance(step, Deferred) else Deferred.fromCoroutine(step)
        timer = None if timeout_s is None else self.clock.callLater(timeout_s, pending.cancel)
        self._pending = pending
        if self._ending is not None:  # it came while the step began
            pending.cancel()
        try:
            result = await pending
        except Exception:
            if self._ending is not None:  # a cancelled step fails in its own words
                raise self._ending from None
            if timer is not None and not timer.active():
                raise (too_late() if too_late is not None else DeferredTimeout(timeout_s)) from None
            raise
        finally:
            self._pending = None
            if timer is not None and timer.active():
                timer.cancel()
        if self._ending is not None:  # it came while the step's last callbacks ran
            raise self._ending
        return result
