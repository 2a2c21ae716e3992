"""One of the supervisor's places for workers: where one dies another comes, and the present one may be replaced."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

FIRST_DELAY_S = 0.1  # before another worker is started in the place of one that has died
LONGEST_DELAY_S = 30.0
LONG_LIFE_S = 60.0  # after which a death says nothing of the next one
START_S = 60.0  # for a worker to accept clients, or be killed

_log = Logger()


class Worker(Protocol):
    """A `WorkerProcess`, as it is used here."""

    pid: int | None

    @property
    def options(self) -> int:
        """Which reading of the options it has."""

    def retire(self) -> None:
        """See `WorkerProcess.retire`."""

    def kill(self) -> None:
        """See `WorkerProcess.kill`."""


class Slot:
    """Keeps one worker serving.

    Args:
        number: from 1.
        start: starts a worker with the present options; the slot is to be told when it `serves` and is `gone`.
        on_serving: told when a worker accepts clients.

    Attributes:
        serving: the one that accepts clients; None: there is none at the moment.
    """

    def __init__(
        self, number: int, start: Callable[["Slot"], Worker], clock: IReactorTime, on_serving: Callable[[], None]
    ) -> None:
        self.number = number
        self.serving: Worker | None = None
        self._coming: Worker | None = None
        self._start = start
        self._clock = clock
        self._on_serving = on_serving
        self._began = 0.0
        self._delay_s = FIRST_DELAY_S
        self._waiting: IDelayedCall | None = None  # for the next start, or for the one that is coming
        self._told: list[Deferred[None]] = []
        self._stopped = False

    def begin(self) -> None:
        """Start a worker; where there is one already, it retires once the new one serves."""
        self._began = self._clock.seconds()
        self._waiting = self._clock.callLater(START_S, self._give_up)
        self._coming = self._start(self)

    def has_others_than(self, options: int) -> bool:
        """Whether the worker here does not serve with this reading of the options."""
        return self.serving is None or self.serving.options != options

    def replace(self) -> Deferred[None]:
        """Begin, unless one is about to come anyway; fires when that one serves."""
        told: Deferred[None] = Deferred()
        self._told.append(told)
        if self._coming is None and self._waiting is None:
            self.begin()
        return told

    def stop(self) -> None:
        """Start no more."""
        self._stopped = True
        self._wait_no_more()

    def serves(self, worker: Worker) -> None:
        """A worker accepts clients."""
        if self._stopped or worker is not self._coming:
            return
        self._wait_no_more()
        before, self.serving, self._coming = self.serving, worker, None
        _log.info("worker {number} serves (process {pid})", number=self.number, pid=worker.pid)
        if before is not None:
            before.retire()
        told, self._told = self._told, []
        for deferred in told:
            deferred.callback(None)
        self._on_serving()

    def gone(self, worker: Worker, how: str) -> None:
        """A worker's process has ended."""
        if self._stopped or worker not in (self.serving, self._coming):
            _log.info("worker {number} (process {pid}) has gone {how}", number=self.number, pid=worker.pid, how=how)
            return
        if worker is self._coming:
            self._wait_no_more()
            self._coming = None
            problem = "ended before it served anybody"
        else:
            self.serving = None
            problem = "died"
        if self._coming is not None or self._waiting is not None:  # another one is on its way already
            _log.error("worker {number} (process {pid}) {problem} {how}", number=self.number, pid=worker.pid,
                       problem=problem, how=how)  # fmt: skip
            return
        if self._clock.seconds() - self._began >= LONG_LIFE_S:
            self._delay_s = FIRST_DELAY_S
        _log.error("worker {number} (process {pid}) {problem} {how}; another is started in {delay_s} s",
                   number=self.number, pid=worker.pid, problem=problem, how=how, delay_s=self._delay_s)  # fmt: skip
        self._waiting = self._clock.callLater(self._delay_s, self._begin_again)
        self._delay_s = min(LONGEST_DELAY_S, 2 * self._delay_s)

    def _begin_again(self) -> None:
        self._waiting = None
        self.begin()

    def _give_up(self) -> None:
        self._waiting = None
        if self._coming is not None:
            _log.error("worker {number} (process {pid}) does not begin to serve, and is killed", number=self.number,
                       pid=self._coming.pid)  # fmt: skip
            self._coming.kill()

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
