"""What all workers count, gathered by the supervisor; what one counted that has gone stays counted."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from rfbproxy.deferreds import following
from rfbproxy.exposition import process_snapshot, remains_of, summed
from rfbproxy.metrics import Snapshot

ANSWER_S = 2.0  # for each worker; what one has said last counts where it says nothing


class Answering(Protocol):
    """A `Link`, as it is used here."""

    def ask(self, what: str) -> Deferred[Any]:
        """See `Link.ask`."""


class Counting(Protocol):
    """A `WorkerProcess`, as it is used here."""

    @property
    def link(self) -> Answering:
        """Of it."""


class WorkersFigures:
    """The supervisor's side of `/metrics`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._last: dict[Counting, Snapshot] = {}  # what each that lives has said last
        self._remains: Snapshot = {}  # of all that have gone

    def hears(self, worker: Counting) -> dict[str, Callable[..., Any]]:
        """What a worker says of this; see `Link`."""
        self._last[worker] = {}
        return {
            "all_figures": lambda: Deferred.fromCoroutine(self._gather()),
            "last_figures": lambda figures: self._note(worker, figures),
        }

    def forget(self, worker: Counting) -> None:
        """A worker has gone."""
        self._remains = summed([self._remains, remains_of(self._last.pop(worker))])

    async def _gather(self) -> list[Snapshot]:
        """Snapshots of all processes, this one's included."""
        asked = []
        for worker in self._last:
            asking = following(worker.link.ask("figures")).addTimeout(ANSWER_S, self._clock)
            asking.addCallbacks(lambda figures, of=worker: self._note(of, figures), lambda _: None)
            asked.append(asking)
        await DeferredList(asked)
        return [*self._last.values(), self._remains, process_snapshot()]

    def _note(self, worker: Counting, figures: Snapshot) -> None:
        if worker in self._last:
            self._last[worker] = figures
