"""One worker as its supervisor sees it: a child with a link, over which it is given the listening sockets."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

from rfbproxy.workers.link import Hears, Link

LINK_DESCRIPTOR = 3
_OF_SYSTEMD = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


class State(Enum):
    """How far a worker has come."""

    STARTING = "it was started, and does not accept clients yet"
    SERVING = "it accepts clients"
    LEAVING = "it accepts none, and goes when those that it has are gone"
    GONE = "the process has ended"


class WorkerProcess(ProcessProtocol):
    """A worker, which is started, and begins once it is known with what.

    Attributes:
        number: of its place, from 1; 0: it has not begun.
        options: which reading of them it has, from 1; 0: it has not begun.
    """

    def __init__(self, reactor: Any) -> None:
        self.number = 0
        self.options = 0
        self.state = State.STARTING
        self.pid: int | None = None
        self.ended_well = False
        self._hears: dict[str, Callable[..., Any]] = {"serving": self._serves}
        self.link = Link(self._hears, self._link_lost)
        self._how: str | None = None  # it has ended, once that is known
        self._reactor = reactor
        self._on_serving: Callable[[WorkerProcess], None] = lambda _: None
        self._on_gone: Callable[[WorkerProcess, str], None] = lambda *_: None

    def start(self) -> None:
        """Start the process, which gets ready to begin; where that fails it has ended at once."""
        command = [sys.executable, "-P", "-m", "rfbproxy.workers", type(self._reactor).__module__]
        environment = {name: value for name, value in os.environ.items() if name not in _OF_SYSTEMD}
        factory = Factory.forProtocol(lambda: self.link)
        factory.noisy = False
        try:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                descriptors = {0: 0, 1: 1, 2: 2, LINK_DESCRIPTOR: theirs.fileno()}
                self._reactor.spawnProcess(self, command[0], command, environment, childFDs=descriptors)
                self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
        except OSError as error:
            if self.pid is None:
                self._end(f"before it began: {error.strerror}")
            else:
                self.kill()  # its end will be heard of

    def begin(
        self,
        options: int,
        sockets: Iterable[int],
        told: Mapping[str, Any],
        hears: Hears,
        on_serving: Callable[["WorkerProcess"], None],
        on_gone: Callable[["WorkerProcess", str], None],
    ) -> None:
        """Let it serve.

        Args:
            options: which reading of them is in `told`.
            sockets: descriptors of the listening ones, in the order in which `told` speaks of them.
            told: what `rfbproxy.workers.worker.Worker` is to begin with.
            hears: what is done about what it tells and asks.
            on_serving: told when it accepts clients.
            on_gone: told, with a sentence's end that says how, when the process has ended.
        """
        self.number, self.options = told["number"], options
        self._hears.update(hears)
        self._on_serving, self._on_gone = on_serving, on_gone
        if self.state is State.GONE:
            self._reactor.callLater(0, on_gone, self, self._how)
            return
        for descriptor in sockets:
            self.link.give(descriptor)
        self.link.tell("begin", **told)

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
            self._end(self._how)

    def _serves(self) -> None:
        if self.state is State.STARTING:
            self.state = State.SERVING
            self._on_serving(self)

    def _link_lost(self) -> None:
        """The last that it said has been heard."""
        if self._how is not None:
            self._end(self._how)

    def _end(self, how: str) -> None:
        self.state, self._how = State.GONE, how
        self._on_gone(self, how)


def start_worker(reactor: Any) -> WorkerProcess:
    """One whose process has been started."""
    worker = WorkerProcess(reactor)
    worker.start()
    return worker
