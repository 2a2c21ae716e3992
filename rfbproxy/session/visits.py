"""All live visits of this process: where each begins, who may still come in, and how all are ended."""

import os
from collections import defaultdict
from collections.abc import Callable

from twisted.internet.defer import Deferred

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import CONSOLE_TYPES
from rfbproxy.metrics import SESSIONS, TO_CLIENT, TO_TARGET, Figures, key
from rfbproxy.quick_logger import QuickLogger
from rfbproxy.reasons import Refused
from rfbproxy.session.audit import AuditLog, VisitRecord
from rfbproxy.session.rfb_visit import RfbVisit
from rfbproxy.session.visit import Surroundings, Visit
from rfbproxy.stream import ClientStream

_log = QuickLogger()


class Visits:
    """Receives the clients that a listener lets through.

    Args:
        surroundings: of the visits to come.
        audit: where their records go.
        figures: where they are counted.
    """

    def __init__(self, surroundings: Surroundings, audit: AuditLog, figures: Figures | None = None) -> None:
        self._surroundings = surroundings
        self._audit = audit
        self._figures = figures or Figures()
        self._live: dict[Visit, ClientStream] = {}
        self._closing: Refused | None = None
        self._on_empty: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._live)

    @property
    def accepting(self) -> bool:
        """Whether new visits are let in: not once `close_all` was called."""
        return self._closing is None

    def open(self, request: ConsoleRequest, client: ClientStream, *, kind: type[Visit] = RfbVisit) -> None:
        """Begin a visit; it lives until it ends by itself or by `close_all`."""
        visit = kind(os.urandom(8).hex(), request, client, self._surroundings)
        _log.info("[{session}] {client} comes by {way_in}", session=visit.record.session, client=request.source,
                  way_in=request.way_in)  # fmt: skip
        self._live[visit] = client
        Deferred.fromCoroutine(self._attend(visit, client))

    def renew(self, surroundings: Surroundings, audit: AuditLog) -> None:
        """Hold the visits to come to other rules; those that live keep theirs."""
        self._surroundings = surroundings
        self._audit = audit

    def live_figures(self) -> dict[str, float]:
        """What is to be told of the visits that are not over, as part of a snapshot (see `rfbproxy.metrics`)."""
        figures: defaultdict[str, float] = defaultdict(float)
        for visit in self._live:
            to_client, to_target = visit.relayed()
            figures[key(TO_CLIENT.name, visit.protocol)] += to_client
            figures[key(TO_TARGET.name, visit.protocol)] += to_target
            if visit.is_session and visit.record.console_type in CONSOLE_TYPES:
                figures[key(SESSIONS.name, visit.protocol, visit.record.console_type)] += 1
        return figures

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

    async def _attend(self, visit: Visit, client: ClientStream) -> None:
        try:
            self._leave_record(visit, client, await visit.run(self._admit))
        except Exception:
            _log.failure("[{session}] failed", session=visit.record.session)
        self._ended(visit)

    def _admit(self) -> None:
        if self._closing is not None:
            raise self._closing

    def _leave_record(self, visit: Visit, client: ClientStream, record: VisitRecord | None) -> None:
        if record is None or client.silent:
            return
        self._audit.write(record)
        self._figures.visit_ended(visit.protocol, record.close_reason or "", refused=visit.handshake_s is None)

    def _ended(self, visit: Visit) -> None:
        del self._live[visit]
        self._figures.relayed(visit.protocol, *visit.relayed())
        if visit.handshake_s is not None:
            self._figures.negotiated(visit.protocol, visit.handshake_s)
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if not self._live:
            tell, self._on_empty = self._on_empty, []
            for emptied in tell:
                emptied()
