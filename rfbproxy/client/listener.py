"""What one listening port accepts, and for whom."""

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.web.server import Site

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.stream import ClientStream

OpenConsole = Callable[[ConsoleRequest, ClientStream], None]


@dataclass(frozen=True, slots=True)
class Listener:
    """The same for all connections of a port.

    Attributes:
        open_console: told of every client that asks for a console, once its stream is open.
        pages: what plain HTTP gets.
        head_timeout_s: seconds within which a request's head must be there.
        ping_interval_s: seconds between the pings of a WebSocket.
        trusted_proxies: whether an address may say who its client is (PROXY protocol, `X-Forwarded-*`, `Forwarded`).
        clock: the reactor.
        tls: the TLS side of clients that come in encrypted; None: there is no certificate.
        tls_only: whether clients that do not are refused, health checks excepted.
        waiting_room: where connections without a good token are counted.
        connect_by_get: whether a GET for a console's URL is meant as a CONNECT, as nova-xvpvncproxy took it.
        is_spice: whether its consoles are SPICE, whose viewers may put TLS inside a CONNECT.
        is_native: whether clients speak SPICE from the first byte, and no HTTP.
    """

    open_console: OpenConsole
    pages: Site
    head_timeout_s: float
    ping_interval_s: float
    trusted_proxies: Callable[[str], bool]
    clock: IReactorTime
    tls: IOpenSSLServerConnectionCreator | None = None
    tls_only: bool = False
    connect_by_get: bool = False
    is_spice: bool = False
    is_native: bool = False
    waiting_room: WaitingRoom = field(default_factory=WaitingRoom)
