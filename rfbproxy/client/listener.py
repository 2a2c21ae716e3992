"""One kind of listener: the first bytes of a client tell how it comes in.

An HTTP head is read by a small reader with limits. `Upgrade: websocket` on any path goes to Autobahn, everything else
to the pages, one request at a time: a proxy in front may reuse a connection that served pages for a WebSocket.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel
from twisted.web.http import Request as HttpRequest
from twisted.web.server import Site

from rfbproxy.client.http_head import HEAD_LIMIT, HeadReader, HttpError, RequestHead
from rfbproxy.client.request import ConsoleRequest, token_of
from rfbproxy.client.websocket import ClientWebSocketFactory, WebSocketStream, opening_handshake
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason
from rfbproxy.stream import ClientStream, end_sending
from rfbproxy.wire import EndOfStream

TLS_HANDSHAKE = 0x16  # content type of a TLS ClientHello (RFC 8446 section 5.1)
KEEP_ALIVE_S = 60.0  # a connection without a request
LINGER_S = 2.0  # for a refused client to read why

_log = Logger()

OpenConsole = Callable[[ConsoleRequest, ClientStream], None]


@dataclass(frozen=True, slots=True)
class Listener:
    """What one listening port accepts; the same for all its connections.

    Attributes:
        open_console: told of every client that asks for a console, once its stream is open.
        pages: what plain HTTP gets.
        websockets: speaks WebSocket.
        head_timeout_s: seconds within which a request's head must be there.
        trusted_proxies: whether an address may say who the client is (`X-Forwarded-*`).
        clock: the reactor.
        tls: the TLS side of clients that come in encrypted; None: there is no certificate.
        tls_only: whether clients that do not are refused.
    """

    open_console: OpenConsole
    pages: Site
    websockets: ClientWebSocketFactory
    head_timeout_s: float
    trusted_proxies: Callable[[str], bool]
    clock: IReactorTime
    tls: IOpenSSLServerConnectionCreator | None = None
    tls_only: bool = False


class ClientConnection(Protocol):
    """One client, until it is known what it wants; from then on everything goes to the protocol that it asked for."""

    def __init__(
        self,
        listener: Listener,
        source: str,
        gone: Callable[["ClientConnection"], None] | None = None,
        *,
        encrypted: bool = False,
    ) -> None:
        self._listener = listener
        self._gone = gone
        self._encrypted = encrypted
        self._source = source
        self._next: IProtocol | None = None
        self._deadline: IDelayedCall | None = None
        self._reader = HeadReader()
        self._started = False
        self._lingering = False

    def connectionMade(self) -> None:
        """Wait for the first request."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._await_head(self._listener.head_timeout_s)

    def dataReceived(self, data: bytes) -> None:
        """Tell TLS from a head by the first byte, read a head, or pass on to whoever has the connection."""
        if self._next is not None:
            self._next.dataReceived(data)
        elif data[0] == TLS_HANDSHAKE and not self._started and not self._encrypted:
            self._start_tls(data)
        elif not self._lingering:
            if not self._started:
                self._started = True
                self._set_deadline(self._listener.head_timeout_s)
            self._read(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell whoever has the connection."""
        self._set_deadline(None)
        if self._next is not None:
            following, self._next = self._next, None
            following.connectionLost(reason)
        if self._gone is not None:
            self._gone(self)

    @property
    def has_console(self) -> bool:
        """Whether this connection carries a console, not pages."""
        if isinstance(self._next, TLSMemoryBIOProtocol):
            return bool(self._next.wrappedProtocol.has_console)
        return self._next is not None and not isinstance(self._next, PageChannel)

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def _await_head(self, timeout_s: float) -> None:
        self._reader = HeadReader()
        self._started = False
        self._set_deadline(timeout_s)

    def _set_deadline(self, timeout_s: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if timeout_s is None else self._listener.clock.callLater(timeout_s, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if self._started and not self._lingering:
            self._refuse(HttpError(408, "The request did not come in time."))
        else:
            self.abort()

    def _read(self, data: bytes) -> None:
        try:
            heads = self._reader.receive_data(data)
            for head in heads:
                if isinstance(head, RequestHead):
                    self._set_deadline(None)
                    self._serve(head, self._reader.unread())
        except HttpError as error:
            self._refuse(error)
        except (EndOfStream, RemoteProtocolError) as error:
            self._refuse(HttpError(400, str(error)))

    def _start_tls(self, data: bytes) -> None:
        """Put TLS between, feed it the bytes that told, and look again inside it."""
        if self._listener.tls is None:
            _log.info("{source} wants TLS, and there is no certificate", source=self._source)
            self.abort()
            return
        self._set_deadline(None)
        inner = ClientConnection(self._listener, self._source, encrypted=True)
        factory = TLSMemoryBIOFactory(self._listener.tls, False, _Wrapped(inner))
        factory.noisy = False
        self._hand_over(factory.buildProtocol(None), data)

    def _serve(self, head: RequestHead, rest: bytes) -> None:
        if self._listener.tls_only and not self._encrypted:
            raise HttpError(403, CloseReason.TLS_REQUIRED.sentence)
        if head.wants_websocket:
            handshake = opening_handshake(head)
            request = self._console_request("websocket", head)
            websocket = self._listener.websockets.build(lambda stream: self._open(request, stream))
            self._hand_over(websocket, handshake + rest)
        else:
            if head.has_body:
                raise HttpError(405 if head.method not in ("GET", "HEAD") else 400, "No request here has a body.")
            page = PageChannel(self._listener.pages, lambda: self._served(rest))
            self._hand_over(page, head.raw)

    def _console_request(self, way_in: str, head: RequestHead) -> ConsoleRequest:
        trusted = self._listener.trusted_proxies(self._source)
        return ConsoleRequest(
            way_in=way_in,
            source=self._source,
            token=token_of(head),
            origin=head.get("origin") if head.get("origin") is not None else head.get("sec-websocket-origin"),
            host=head.get_one("host"),
            forwarded_proto=head.get("x-forwarded-proto") if trusted else None,
        )

    def _open(self, request: ConsoleRequest, stream: WebSocketStream) -> None:
        self._listener.open_console(request, stream)

    def _hand_over(self, protocol: IProtocol, data: bytes) -> None:
        self._next = protocol
        protocol.makeConnection(self.transport)  # type: ignore[arg-type]
        protocol.dataReceived(data)

    def _served(self, rest: bytes) -> None:
        """A page was served and the connection stays: look again what the client wants."""
        self._next = None
        self._await_head(KEEP_ALIVE_S)
        if rest:
            self.dataReceived(rest)

    def _refuse(self, error: HttpError) -> None:
        """Say why, and leave the client time to read it: closing over unread bytes would reset the connection."""
        _log.info("refused a request of {source}: {status} {sentence}", source=self._source, **vars(error))
        body = f"{error.sentence}\n".encode()
        head = [
            f"HTTP/1.1 {error.status} {RESPONSES.get(error.status, b'Refused').decode()}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
        ]
        if error.status == 426:
            head += ["Upgrade: websocket", "Sec-WebSocket-Version: 13, 8"]
        if error.status == 405:
            head.append("Allow: GET, HEAD, OPTIONS")
        self._lingering = True
        if self.transport is not None:
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
            self._set_deadline(LINGER_S if end_sending(self.transport) else None)


class _Wrapped(Factory):
    """The protocol inside TLS."""

    noisy = False

    def __init__(self, inner: ClientConnection) -> None:
        self._inner = inner

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        return self._inner


class PageChannel(HTTPChannel):
    """twisted.web for exactly one request, so that the connection's next request is looked at afresh."""

    MAX_LENGTH = HEAD_LIMIT  # the head was judged before; these limits must not be narrower
    totalHeadersSize = 2 * HEAD_LIMIT

    def __init__(self, site: Site, served: Callable[[], None]) -> None:
        super().__init__()
        self.site = site
        self.factory = site
        self.requestFactory = site.requestFactory
        self.timeOut = site.timeOut  # type: ignore[assignment]
        self._served = served

    def requestDone(self, request: HttpRequest) -> None:
        """Give the connection back, unless it ends with this request."""
        super().requestDone(request)
        if self.persistent:
            self.setTimeout(None)
            if self.transport is not None:
                self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self._served()


class ClientFactory(Factory):
    """Builds a `ClientConnection` for every client of one listener."""

    noisy = False

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._connections: set[ClientConnection] = set()
        self._waiting: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        """See `IProtocolFactory`."""
        connection = ClientConnection(self._listener, source_of(addr), self._connection_gone)
        self._connections.add(connection)
        return connection

    def when_consoles_gone(self) -> Deferred[None]:
        """Fires when no connection carries a console any more."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._tell()
        return waiting

    def abort_all(self) -> None:
        """Drop all connections."""
        for connection in list(self._connections):
            connection.abort()

    def _connection_gone(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self._tell()

    def _tell(self) -> None:
        if not any(connection.has_console for connection in self._connections):
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)


def source_of(address: IAddress | None) -> str:
    """A client's address without its port; IPv4 in IPv6 (`::ffff:a.b.c.d`) is IPv4; a UNIX socket is `unix`."""
    if not isinstance(address, IPv4Address | IPv6Address):
        return "unix"
    host = str(address.host)
    return host.removeprefix("::ffff:") if host.startswith("::ffff:") and "." in host else host
