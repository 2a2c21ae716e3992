"""Whether workers still answer: one whose reactor hangs serves nobody, and lets nobody go."""

from collections.abc import Callable, Collection
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

LOOK_S = 15.0
PATIENCE = 4  # looks in a row; a machine that sleeps, or is too busy, misses fewer of them

_log = Logger()


class Asked(Protocol):
    """A `Link`, as it is used here."""

    def ask(self, what: str) -> Deferred[Any]:
        """See `Link.ask`."""


class Watched(Protocol):
    """A `WorkerProcess`, as it is used here."""

    number: int
    pid: int | None

    @property
    def link(self) -> Asked:
        """To it."""

    def abort(self) -> None:
        """See `WorkerProcess.abort`."""

    def kill(self) -> None:
        """See `WorkerProcess.kill`."""


class Watch:
    """Ends workers that do not answer.

    Args:
        workers: gives all that live.
    """

    def __init__(self, workers: Callable[[], Collection[Watched]], clock: IReactorTime) -> None:
        self._workers = workers
        self._unanswered: dict[Watched, int] = {}  # looks since a worker was asked
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Begin."""
        self._looking.start(LOOK_S, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        workers = self._workers()
        self._unanswered = {worker: looks + 1 for worker, looks in self._unanswered.items() if worker in workers}
        for worker in workers:
            looks = self._unanswered.setdefault(worker, 0)
            if looks == 0:
                worker.link.ask("alive").addCallbacks(
                    lambda _, of=worker: self._unanswered.pop(of, None), lambda _: None
                )
            elif looks == PATIENCE:
                _log.error("worker {number} (process {pid}) has not answered for {seconds:.0f} s, and is ended",
                           number=worker.number, pid=worker.pid, seconds=looks * LOOK_S)  # fmt: skip
                worker.abort()
            elif looks > PATIENCE:
                worker.kill()
