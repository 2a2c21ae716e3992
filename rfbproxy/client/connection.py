"""A client's connection: its first bytes tell how it comes in.

A load balancer may say first who its client is (PROXY protocol). An HTTP head is read by a small reader with limits.
`Upgrade: websocket` on any path opens a WebSocket, everything else goes to the pages, one request at a time: a proxy in
front may reuse a connection that served pages for a WebSocket.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.client import spice
from rfbproxy.client.connect import WAY_IN, ConnectStream, read_connect, wants_connect
from rfbproxy.client.forwarded import Forwarded, who_asks
from rfbproxy.client.http_head import HEAD_LIMIT, HeadReader, HttpError, RequestHead
from rfbproxy.client.listener import Listener
from rfbproxy.client.pages import PAGE_METHODS, PageChannel
from rfbproxy.client.proxy_protocol import ProxyHeader, ProxyHeaderReader, may_begin_header
from rfbproxy.client.request import ConsoleRequest, token_of
from rfbproxy.client.tls import TLS_HANDSHAKE, inside_tls
from rfbproxy.client.tls_only import check_plain
from rfbproxy.client.waiting_room import Place, crowd_out
from rfbproxy.client.websocket import WebSocketStream, opening_handshake
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.stream import ClientStream
from rfbproxy.tls import tls_failure
from rfbproxy.transport import end_sending

KEEP_ALIVE_S = 60.0  # a connection without a request
PAGE_TIMEOUT_S = 300.0  # for a client to take one page
LINGER_S = 2.0  # for a refused client to read why

_log = Logger()


@implementer(IHalfCloseableProtocol)
class ClientConnection(Protocol):
    """One client: its requests for pages are served one at a time, until it asks for TLS or for a console.

    Args:
        gone: told when the connection is lost.
        outside: the connection around this one, if this is already the inside of TLS.
    """

    def __init__(
        self,
        listener: Listener,
        source: str,
        gone: Callable[["ClientConnection"], None] | None = None,
        *,
        outside: "ClientConnection | None" = None,
    ) -> None:
        self._listener = listener
        self._gone = gone
        self._encrypted = outside is not None
        self._source = source
        self._client = Forwarded(source)  # who is behind the source
        self._place: Place = Place(listener.waiting_room, self.abort) if outside is None else outside._place
        self._may_preface = outside is None  # whether a load balancer may be about to say who its client is
        self._preface: ProxyHeaderReader | None = None  # once it has begun to
        self._owner: IProtocol | None = None  # TLS, a WebSocket, or bare RFB or SPICE; gets everything from then on
        self._page: PageChannel | None = None  # while it answers
        self._reader: HeadReader | None = None  # once a head has begun
        self._unheard = bytearray()  # what came after the request that is being answered
        self._hearing = False
        self._spoken = False  # whether a byte ever came
        self._half_closed = False
        self._leaving = False
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Wait for the first request."""
        self._place.take(None if self._listener.trusted_proxies(self._source) else self._source)
        self._set_deadline(self._listener.head_timeout_s)

    def dataReceived(self, data: bytes) -> None:
        """Pass on to whoever has the connection, or hear what the client wants."""
        if self._owner is not None:
            self._owner.dataReceived(data)
        elif not self._leaving:
            self._unheard += data
            self._hear()

    def readConnectionLost(self) -> None:
        """The client sends nothing more, but reads: what is owed still goes out; only a WebSocket goes on no more."""
        self._half_closed = True
        if IHalfCloseableProtocol.providedBy(self._owner):
            self._owner.readConnectionLost()
        elif self._owner is not None:
            self._leave(unread=False)
        elif self._leaving:
            self.transport.loseConnection()  # type: ignore[union-attr]
        else:
            self._hear()

    def writeConnectionLost(self) -> None:
        """Nothing: this side closed its sending half itself."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell whoever has the connection."""
        self._set_deadline(None)
        if self._encrypted and not self._spoken and (why := tls_failure(reason)):
            _log.info("{source} failed in TLS: {why}", source=self._source, why=why)
        for following in (self._page, self._owner):
            if following is not None:
                following.connectionLost(reason)
        self._page = self._owner = None
        self._place.leave()
        if self._gone is not None:
            self._gone(self)

    @property
    def has_console(self) -> bool:
        """Whether this connection carries a console, not pages."""
        if isinstance(self._owner, TLSMemoryBIOProtocol):
            return bool(self._owner.wrappedProtocol.has_console)
        return self._owner is not None

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def _set_deadline(self, timeout_s: float | None) -> None:
        if self._deadline is None:
            self._deadline = None if timeout_s is None else self._listener.clock.callLater(timeout_s, self._too_late)
        elif timeout_s is not None:
            self._deadline.reset(timeout_s)
        else:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._leaving or self._page is not None:
            self.abort()
        elif self._reader is not None:
            self._refuse(HttpError(408, "The request did not come in time."))
        else:
            self._leave(unread=False)

    def _hear(self) -> None:
        """Look at what came, request after request, as long as each is answered at once."""
        if self._hearing:
            return
        self._hearing = True
        while self._unheard and self._free:
            data = bytes(self._unheard)
            self._unheard.clear()
            if self._may_preface and self._preface is None:
                self._may_preface = may_begin_header(data)
            if self._may_preface:
                self._read_preface(data)
            elif data[0] == TLS_HANDSHAKE and not self._spoken and not self._encrypted:
                self._start_tls(data)
            elif self._listener.is_native:
                self._open_native(data)
            else:
                self._read(data)
        self._hearing = False
        if self._half_closed and self._free:
            self._leave(unread=False)
        elif self._page is not None and len(self._unheard) > HEAD_LIMIT:
            self.transport.pauseProducing()  # type: ignore[union-attr]  # the page resumes it once it is answered

    @property
    def _free(self) -> bool:
        return self._owner is None and self._page is None and not self._leaving

    def _read_preface(self, data: bytes) -> None:
        """Hear from a load balancer who its client is, if it says so; the rest is the client's."""
        preface = self._preface = self._preface or ProxyHeaderReader()
        try:
            for header in preface.receive_data(data):
                if not self._listener.trusted_proxies(self._source):
                    raise HttpError(400, "The PROXY protocol is understood from trusted proxies only.")
                self._source = cast(ProxyHeader, header).source or self._source
                self._client = Forwarded(self._source)
                self._place.take(self._source)
        except HttpError as error:
            self._refuse(error)
        except RemoteProtocolError as error:
            _log.info("{source}: {error}", source=self._source, error=error)
            self._refuse(HttpError(400, "The PROXY header is malformed."))
        else:
            if preface.finished:
                self._unheard += preface.unread()
                self._may_preface, self._preface = False, None

    def _read(self, data: bytes) -> None:
        self._spoken = True
        if (reader := self._reader) is None:
            reader = self._reader = HeadReader()
            self._set_deadline(self._listener.head_timeout_s)
        try:
            for head in reader.receive_data(data):
                self._unheard += reader.unread()
                self._serve(cast(RequestHead, head))
        except HttpError as error:
            self._refuse(error)

    def _start_tls(self, data: bytes) -> None:
        """Put TLS between, feed it the bytes that told, and look again inside it."""
        listener = self._listener
        if listener.tls is None:
            _log.info("{source} wants TLS, and there is no certificate", source=self._source)
            self._leaving = True
            self.abort()
            return
        inner = ClientConnection(listener, self._source, outside=self)
        self._hand_over(inside_tls(inner, listener.tls, listener.clock), data)

    def _serve(self, head: RequestHead) -> None:
        self._client = who_asks(self._source, head, self._listener.trusted_proxies)
        self._place.take(self._client.source)
        wants_page = not (head.wants_websocket or head.method == "CONNECT")
        if wants_page and self._listener.tls_only and not self._client_encrypts:
            check_plain(head, host=self._client.host, prefix=self._client.prefix)
        if wants_connect(head, by_get=self._listener.connect_by_get):
            self._open_connect(head)
            return
        if head.has_body:
            raise HttpError(400 if head.method in PAGE_METHODS else 405, "No request here has a body.")
        if head.wants_websocket:
            self._open_websocket(head)
        else:
            self._set_deadline(PAGE_TIMEOUT_S)
            client = self._client
            self._page = PageChannel(self._listener.pages, self._served, client.source, prefix=client.prefix.encode())
            self._page.makeConnection(self.transport)
            self._page.dataReceived(head.raw)

    def _open_websocket(self, head: RequestHead) -> None:
        answer = opening_handshake(head)
        request = self._console_request("websocket", head, token_of(head))
        stream = WebSocketStream(answer, self._listener.ping_interval_s, self._listener.clock)
        rest = bytes(self._unheard)
        self._unheard.clear()
        self._hand_over(stream)
        self._open_console(request, stream)
        stream.say_open()
        stream.dataReceived(rest)

    def _open_connect(self, head: RequestHead) -> None:
        asked = read_connect(head)
        request = self._console_request(WAY_IN, head, asked.token)
        stream = ConnectStream(asked, self._listener.clock)
        rest = bytes(self._unheard)
        self._unheard.clear()
        inside = spice.Tunnel(stream, self._listener.tls, self._listener.clock) if self._listener.is_spice else None
        self._hand_over(inside or stream.protocol, rest)
        self._open_console(request, stream)
        if self._half_closed:
            stream.deliver_eof()

    def _open_native(self, data: bytes) -> None:
        self._spoken = True
        stream = spice.NativeSpiceStream(self._listener.clock)
        request = ConsoleRequest(spice.WAY_IN, self._source, token=None, encrypted=self._encrypted)
        self._hand_over(stream.protocol, data)
        self._open_console(request, stream)
        if self._half_closed:
            stream.deliver_eof()

    def _console_request(self, way_in: str, head: RequestHead, token: str | None) -> ConsoleRequest:
        origin = head.get("origin")
        return ConsoleRequest(
            way_in=way_in,
            source=self._client.source,
            token=token,
            origin=origin if origin is not None else head.get("sec-websocket-origin"),
            host=self._client.host or head.get_one("host"),
            forwarded_proto=self._client.proto,
            encrypted=self._client_encrypts,
        )

    @property
    def _client_encrypts(self) -> bool:
        return self._encrypted or self._client.encrypted

    def _open_console(self, request: ConsoleRequest, stream: ClientStream) -> None:
        stream.on_authorised = self._place.leave
        self._place.drop = partial(crowd_out, stream)
        self._listener.open_console(request, stream)

    def _hand_over(self, protocol: IProtocol, data: bytes = b"") -> None:
        self._set_deadline(None)
        self._reader = None
        self._owner = protocol
        protocol.makeConnection(self.transport)  # type: ignore[arg-type]
        protocol.dataReceived(data)

    def _served(self) -> None:
        """A page was served and the connection stays: look again what the client wants."""
        self._page = None
        self._reader = None
        self._set_deadline(KEEP_ALIVE_S)
        self._hear()

    def _refuse(self, error: HttpError) -> None:
        """Say why, and leave the client time to read it: closing over unread bytes would reset the connection."""
        _log.info(
            "refused a request of {source}: {status} {sentence}",
            source=self._client.source,
            status=error.status,
            sentence=error.sentence,
        )
        answer = error.answer()
        if error.status == 426:
            answer = error.answer("close, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13, 8")
        elif error.status == 405:
            answer = error.answer("close", f"Allow: {', '.join(PAGE_METHODS)}")
        self.transport.write(answer)  # type: ignore[union-attr]
        self._leave(unread=not self._half_closed)

    def _leave(self, *, unread: bool) -> None:
        """Send what is owed and hear nothing more; where bytes may be `unread`, let the client close first."""
        self._leaving = True
        self._unheard.clear()
        self._set_deadline(LINGER_S)
        if unread:
            end_sending(self.transport)
        else:
            self.transport.loseConnection()  # type: ignore[union-attr]
