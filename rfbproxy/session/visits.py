"""All live visits of this process: where each begins, who may still come in, and how all are ended."""

import uuid
from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.audit import AuditLog
from rfbproxy.session.visit import Surroundings, Visit
from rfbproxy.stream import ClientStream

_log = Logger()


class Visits:
    """Receives the clients that a listener lets through.

    Args:
        max_visits: how many may live at once; 0 is no limit.
        max_visits_per_source: the same for one client address, which anybody can use up before a token is asked for.
    """

    def __init__(
        self, surroundings: Surroundings, audit: AuditLog, *, max_visits: int = 0, max_visits_per_source: int = 0
    ) -> None:
        self._surroundings = surroundings
        self._audit = audit
        self._max_visits = max_visits
        self._max_visits_per_source = max_visits_per_source
        self._live: dict[Visit, ClientStream] = {}
        self._sources: Counter[str] = Counter()
        self._closing: Refused | None = None
        self._on_empty: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._live)

    @property
    def accepting(self) -> bool:
        """Whether new visits are let in: not once `close_all` was called."""
        return self._closing is None

    def open(self, request: ConsoleRequest, client: ClientStream) -> None:
        """Begin a visit; it lives until it ends by itself or by `close_all`."""
        visit = Visit(uuid.uuid4().hex[:16], request, client, self._surroundings)
        _log.info("[{session}] {client} comes by {way_in}", session=visit.record.session, client=request.source,
                  way_in=request.way_in)  # fmt: skip
        self._live[visit] = client
        self._sources[request.source] += 1
        living = Deferred.fromCoroutine(visit.run(lambda: self._admit(request.source)))
        living.addCallback(self._audit.write)
        living.addErrback(lambda failure: _log.failure("[{session}] failed", failure, session=visit.record.session))
        living.addCallback(lambda _: self._ended(visit, request.source))

    def close_all(self, refused: Refused) -> Deferred[None]:
        """Let nobody in any more and end all visits; fires when the last one has ended."""
        self._closing = refused
        emptied: Deferred[None] = Deferred()
        self._on_empty.append(lambda: emptied.callback(None))
        for visit in list(self._live):
            visit.end(refused)
        self._tell_if_empty()
        return emptied

    def abort_all(self) -> None:
        """Drop the connections of all visits, whatever is still owed to their clients."""
        for client in list(self._live.values()):
            client.abort()

    def _admit(self, source: str) -> None:
        if self._closing is not None:
            raise self._closing
        if 0 < self._max_visits < len(self._live):
            raise Refused(CloseReason.LIMIT, f"{len(self._live)} visits live, allowed are {self._max_visits}")
        if 0 < self._max_visits_per_source < self._sources[source]:
            raise Refused(
                CloseReason.LIMIT,
                f"{self._sources[source]} visits from {source}, allowed are {self._max_visits_per_source}",
            )

    def _ended(self, visit: Visit, source: str) -> None:
        del self._live[visit]
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if not self._live:
            tell, self._on_empty = self._on_empty, []
            for emptied in tell:
                emptied()
