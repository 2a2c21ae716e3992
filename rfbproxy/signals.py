"""What SIGTERM, SIGINT and SIGHUP mean to a service."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from twisted.internet.defer import Deferred


class Stoppable(Protocol):
    """What a signal may stop."""

    def stopService(self) -> Deferred[None]:
        """Begin to stop; fires once everything has."""


def install_signals(service: Stoppable, reactor: Any, hang_up: Callable[[], None] | None = None) -> None:
    """End cleanly, with status 0, on SIGTERM and SIGINT; the reactor's own handlers would end with the signal.

    Args:
        hang_up: what SIGHUP means; None: the end of the program, as a terminal wants it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if not reactor.running:
            raise SystemExit(0)
        reactor.callFromThread(lambda: service.stopService().addBoth(lambda _: _stop_reactor(reactor)))

    def tell(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(hang_up)

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if hang_up is not None:
            signal.signal(signal.SIGHUP, tell)

    install()
    reactor.callWhenRunning(install)  # again: the reactor puts its own there when it starts


def _stop_reactor(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()
