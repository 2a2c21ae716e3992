"""One worker as its supervisor sees it: a child with the listening sockets and a link."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

from rfbproxy.workers.link import Hears, Link

LINK_DESCRIPTOR = 3
FIRST_SOCKET = 4  # the descriptor of the first listening socket, in the order of the places
_FOR_THE_SUPERVISOR = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")  # by systemd


class State(Enum):
    """How far a worker has come."""

    STARTING = "it was started, and does not accept clients yet"
    SERVING = "it accepts clients"
    LEAVING = "it accepts none, and goes when those that it has are gone"
    GONE = "the process has ended"


class WorkerProcess(ProcessProtocol):
    """A worker.

    Args:
        number: of its place, from 1.
        options: which reading of the options it has, from 1.
        on_serving: told when it accepts clients.
        on_gone: told, with a sentence's end that says how, when the process has ended.
    """

    def __init__(
        self,
        number: int,
        options: int,
        reactor: Any,
        on_serving: Callable[["WorkerProcess"], None],
        on_gone: Callable[["WorkerProcess", str], None],
    ) -> None:
        self.number = number
        self.options = options
        self.state = State.STARTING
        self.pid: int | None = None
        self.ended_well = False
        self._hears: dict[str, Callable[..., Any]] = {"serving": self._serves}
        self.link = Link(self._hears, self._link_lost)
        self._how: str | None = None  # it has ended, once that is known
        self._reactor = reactor
        self._on_serving = on_serving
        self._on_gone = on_gone

    def start(self, sockets: Sequence[int], begin: Mapping[str, object], hears: Hears) -> None:
        """Start the process; where that fails it has ended at once.

        Args:
            sockets: descriptors of the listening ones.
            begin: what it is told.
            hears: what is done about what it tells and asks.
        """
        self._hears.update(hears)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptors = [0, 1, 2, theirs.fileno(), *sockets]
        command = [sys.executable, "-P", "-m", "rfbproxy.workers", type(self._reactor).__module__]
        environment = {name: value for name, value in os.environ.items() if name not in _FOR_THE_SUPERVISOR}
        try:
            self._reactor.spawnProcess(self, command[0], command, environment, childFDs=dict(enumerate(descriptors)))
        except OSError as error:
            ours.close()
            self._how = f"before it began: {error.strerror}"
            self._reactor.callLater(0, self._link_lost)
            return
        finally:
            theirs.close()
        factory = Factory.forProtocol(lambda: self.link)
        factory.noisy = False
        self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
        ours.close()
        self.link.tell("begin", **begin)

    def connectionMade(self) -> None:
        """The process runs."""
        process: IProcessTransport = self.transport  # type: ignore[assignment]
        self.pid = process.pid

    def retire(self) -> None:
        """Let it accept nobody any more, and go when its last session has ended."""
        self.state = State.LEAVING
        self.link.tell("retire")

    def drain(self) -> None:
        """Let it end its sessions within the drain timeout, and go."""
        if self.state is State.STARTING:
            self.kill()  # it has none
        else:
            self.state = State.LEAVING
            self.link.tell("drain")

    def abort(self) -> None:
        """End the process at once, unless it is stopped; it writes down where it was (see `__main__`)."""
        self._signal(signal.SIGABRT)

    def kill(self) -> None:
        """End the process at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(number)  # type: ignore[union-attr]

    def processEnded(self, reason: Failure) -> None:
        """The process has ended, and its status was read."""
        ended = reason.value
        assert isinstance(ended, ProcessDone | ProcessTerminated)  # noqa: S101 - IProcessProtocol
        if ended.signal is not None:
            self._how = f"by {signal.Signals(ended.signal).name}"
        else:
            self.ended_well = ended.exitCode == 0
            self._how = f"with status {ended.exitCode}"
        if not self.link.connected:
            self._gone(self._how)

    def _serves(self) -> None:
        if self.state is State.STARTING:
            self.state = State.SERVING
            self._on_serving(self)

    def _link_lost(self) -> None:
        """The last that it said has been heard."""
        if self._how is not None:
            self._gone(self._how)

    def _gone(self, how: str) -> None:
        self.state = State.GONE
        self._on_gone(self, how)
