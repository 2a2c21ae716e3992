"""What SPICE visits need of the world beside what every visit needs."""

from collections.abc import Callable
from dataclasses import dataclass

from rfbproxy.session.spice_sessions import SpiceSessions
from rfbproxy.session.ticket_keys import TicketKeys
from rfbproxy.spice import Destination
from rfbproxy.target.tls import TargetTls


@dataclass(frozen=True, slots=True)
class SpiceRules:
    """What SPICE visits are held to beside `VisitRules`.

    Attributes:
        take_over: whether a second viewer ends the first one's session, instead of being refused.
        native_tls: whether native viewers must come inside TLS.
        target_tls_only: whether targets are linked to inside TLS alone.
        public: where native viewers find this proxy, by which they may follow a machine that moves; None: nowhere.
        subject: of the proxy's certificate, as it is in its file; None: there is none.
    """

    take_over: bool = False
    native_tls: bool = False
    target_tls_only: bool = False
    public: Callable[[], Destination | None] = lambda: None
    subject: Callable[[], str | None] = lambda: None


@dataclass(frozen=True, slots=True)
class SpiceSurroundings:
    """What a SPICE visit needs of the world."""

    rules: SpiceRules
    sessions: SpiceSessions
    keys: TicketKeys
    target_tls: TargetTls
