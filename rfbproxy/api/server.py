"""The listener of the API: HTTP, and TLS where there is a certificate; the first byte of a connection tells which."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IOpenSSLServerConnectionCreator, IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.server import Site

from rfbproxy.api.request import ApiChannel, ApiRequest
from rfbproxy.api.resource import Api, ApiRules
from rfbproxy.client.factory import source_of
from rfbproxy.client.tls import TLS_HANDSHAKE, inside_tls
from rfbproxy.client.waiting_room import Place, WaitingRoom

IDLE_S = 30.0  # of a connection between its bytes
STRANGER_S = 30.0  # for a connection to bring a good token, head and body of the request included


class ApiSite(Site):
    """twisted.web's site without its access log, which would hold tokens."""

    protocol = ApiChannel  # type: ignore[assignment]  # HTTP/2 is not spoken
    requestFactory = ApiRequest  # noqa: N815

    def log(self, request: http.Request) -> None:
        """Log nothing: a URL may hold a token."""


@dataclass(frozen=True, slots=True)
class ApiListener:
    """What clients of the API meet.

    Attributes:
        rules: how requests are answered.
        clock: the reactor.
        tls: the TLS side of clients that come in encrypted; None: there is no certificate.
        waiting_room: where connections are counted, beside those of clients that want consoles.
    """

    rules: ApiRules
    clock: Any
    tls: IOpenSSLServerConnectionCreator | None = None
    waiting_room: WaitingRoom = field(default_factory=WaitingRoom)

    def site(self) -> Site:
        """What speaks HTTP."""
        return ApiSite(Api(self.rules), timeout=IDLE_S, reactor=self.clock)


class ApiFactory(Factory):
    """Builds a connection for every client, and knows those that live."""

    noisy = False

    def __init__(self, listener: ApiListener) -> None:
        self._connections: set[ApiConnection] = set()
        self.renew(listener)

    def renew(self, listener: ApiListener) -> None:
        """What the clients to come meet."""
        self._listener, self._site = listener, listener.site()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """See `IProtocolFactory`."""
        channel = self._site.buildProtocol(addr)
        connection = ApiConnection(self._listener, source_of(addr), channel, self._connections.discard)
        self._connections.add(connection)
        return connection

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def abort_all(self) -> None:
        """Drop all connections."""
        for connection in list(self._connections):
            connection.abort()


class ApiConnection(Protocol):
    """One client: HTTP at once, or inside TLS.

    Args:
        gone: told when the connection is lost.
    """

    def __init__(
        self, listener: ApiListener, source: str, channel: Any, gone: Callable[["ApiConnection"], None]
    ) -> None:
        self._listener = listener
        self._source = source
        self._place = Place(listener.waiting_room, self.abort)
        self._channel = channel
        channel.admitted = self._admit
        self._gone = gone
        self._owner: IProtocol | None = None
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Wait for a good token."""
        self._place.take(self._source)
        self._deadline = self._listener.clock.callLater(STRANGER_S, self._too_late)

    def dataReceived(self, data: bytes) -> None:
        """Pass on; the first byte tells to whom."""
        if self._owner is None:
            tls = self._listener.tls if data[0] == TLS_HANDSHAKE else None
            self._owner = self._channel if tls is None else inside_tls(self._channel, tls, self._listener.clock)
            self._owner.makeConnection(self.transport)
        self._owner.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Pass on."""
        self._stop_waiting()
        self._place.leave()
        if self._owner is not None:
            self._owner.connectionLost(reason)
        self._gone(self)

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def _admit(self) -> None:
        self._stop_waiting()
        self._place.leave()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self.abort()
