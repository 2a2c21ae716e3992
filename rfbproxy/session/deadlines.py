"""How long a session may go on: its longest time, and its longest time without a byte."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rfbproxy.reasons import CloseReason, Refused


class Deadlines:
    """Ends a session when its time is up.

    Args:
        end: told why.
    """

    def __init__(self, clock: IReactorTime, end: Callable[[Refused], None]) -> None:
        self._clock = clock
        self._end = end
        self._timers: dict[str, IDelayedCall] = {}

    def end_after(self, seconds: float) -> None:
        """End the session so much later."""
        why = Refused(CloseReason.TIME_LIMIT, f"open for {seconds:g} s")
        self._timers["end"] = self._clock.callLater(seconds, self._end, why)

    def end_idle(self, timeout_s: float, relayed: Callable[[], object]) -> None:
        """End the session once what `relayed` says has stayed the same for so long; looks ten times per timeout."""
        clock = self._clock
        seen, since = relayed(), clock.seconds()

        def look() -> None:
            nonlocal seen, since
            if (now := relayed()) != seen:
                seen, since = now, clock.seconds()
            if clock.seconds() - since >= timeout_s:
                self._end(Refused(CloseReason.IDLE, f"nothing was relayed for {timeout_s:g} s"))
            else:
                self._timers["idle"] = clock.callLater(timeout_s / 10, look)

        self._timers["idle"] = clock.callLater(timeout_s / 10, look)

    def stop(self) -> None:
        """The session has ended."""
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
