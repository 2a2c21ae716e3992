"""Whether a process can serve a console, asked by many and found out seldom."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rfbproxy.deferreds import following

KEPT_S = 2.0

_log = Logger()


class Readiness:
    """Keeps an answer for two seconds.

    Args:
        check: finds out what keeps the process from serving, as a sentence; None: nothing.
    """

    def __init__(self, check: Callable[[], Coroutine[Any, Any, str | None]], clock: IReactorTime) -> None:
        self._check = check
        self._clock = clock
        self._kept: tuple[float, Deferred[str | None]] | None = None

    def answer(self) -> Awaitable[str | None]:
        """What keeps the process from serving; those who ask while that is found out wait for the same answer."""
        now = self._clock.seconds()
        if self._kept is None or now - self._kept[0] >= KEPT_S:
            asked: Deferred[str | None] = Deferred()
            self._kept = (now, asked)  # before it is asked for, which may lead here again
            Deferred.fromCoroutine(self._check()).addErrback(_failed).addCallback(asked.callback)
        return following(self._kept[1])


def _failed(failure: Failure) -> str:
    _log.failure("the readiness check failed", failure)
    return "The readiness check failed."
