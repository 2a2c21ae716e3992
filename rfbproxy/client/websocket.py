"""Clients that come by WebSocket (RFC 6455): Autobahn speaks it, a `ClientStream` comes out.

Autobahn is fed a head of our own making that holds only what RFC 6455 needs: it refuses odd Origins and repeated
headers by itself, which the session judges instead. Messages are a byte stream (their boundaries mean nothing to RFB),
so frames are passed on as they come and never gathered.
"""

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger

from rfbproxy.client.http_head import HttpError, RequestHead
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.stream import ClientStream

VERSIONS = (13, 8)
SUBPROTOCOL = "binary"
FRAME_LIMIT = 16 * 1024 * 1024  # bytes; RFB's longest client message that anybody sends is far shorter
MESSAGE_LIMIT = 64 * 1024 * 1024
CLOSE_TIMEOUT_S = 30.0  # for a slow client to take what was sent before the close, and to answer it
PINGS_UNANSWERED = 2

_log = Logger()


class WebSocketStream(ClientStream):
    """The stream of one WebSocket client."""

    def __init__(self, protocol: "ClientWebSocket") -> None:
        super().__init__()
        self._protocol = protocol
        self.reading = True

    def send(self, data: bytes) -> None:
        """Send one binary message."""
        if not self.lost:
            self._protocol.sendMessage(data, isBinary=True)

    def send_eof(self) -> None:
        """Close: a WebSocket has no halves; the reason is the target's, who alone ends a stream this way."""
        reason = CloseReason.TARGET_CLOSED
        self.close_because(Refused(reason, reason.sentence))

    def close(self) -> None:
        """See `Stream.close`."""
        self._protocol.close(1000, "")

    def close_because(self, refused: Refused) -> None:
        """See `ClientStream.close_because`."""
        self._protocol.close(refused.websocket_code, refused.sentence)

    def abort(self) -> None:
        """See `Stream.abort`."""
        self._protocol.transport.abortConnection()

    def pause(self) -> None:
        """See `Stream.pause`."""
        self.reading = False
        self._protocol.transport.pauseProducing()

    def resume(self) -> None:
        """See `Stream.resume`."""
        self.reading = True
        if not self.lost:
            self._protocol.transport.resumeProducing()

    def feed_from(self, producer: IPushProducer | None) -> None:
        """See `Stream.feed_from`."""
        self._protocol.unregisterProducer()
        if producer is not None:
            self._protocol.registerProducer(producer, True)


class ClientWebSocket(WebSocketServerProtocol):  # type: ignore[misc]
    """Autobahn's protocol as an adapter of a `WebSocketStream`."""

    factory: "ClientWebSocketFactory"

    def __init__(self, opened: Callable[[WebSocketStream], None]) -> None:
        super().__init__()
        self.stream = WebSocketStream(self)
        self._opened = opened
        self._pings_unanswered = 0
        self._next_ping: IDelayedCall | None = None

    def onConnect(self, request: Any) -> str | None:
        """Echo `binary` if it was offered; other offers are tolerated and not answered."""
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        """Hand the stream to the session."""
        self._ping_later()
        self._opened(self.stream)

    def onMessageBegin(self, is_binary: bool) -> None:
        """Refuse text (RFC 6455 section 7.4.1, code 1003); websockify and nova do the same."""
        super().onMessageBegin(is_binary)
        if not is_binary:
            self.failedByMe = True  # the rest of the message is dropped
            self.close(1003, "Text frames are not supported")
            self.stream.deliver_eof()

    def onMessageFrameData(self, payload: bytes) -> None:
        """Deliver a piece of a frame as it comes."""
        if not self.failedByMe and not self.stream.ended:
            self.stream.deliver(bytes(payload))

    def onMessageFrameEnd(self) -> None:
        """Nothing: the pieces are delivered already."""

    def onMessageEnd(self) -> None:
        """Nothing: boundaries of messages mean nothing to RFB."""

    def onPong(self, payload: bytes) -> None:
        """The client lives."""
        self._pings_unanswered = 0

    def onCloseFrame(self, code: int | None, reason: bytes | None) -> bool | None:
        """Let the session take leave before the connection goes; it goes even if what is owed is never read."""
        self.stream.deliver_eof()
        self.factory.clock.callLater(CLOSE_TIMEOUT_S, self._drop)
        ended: bool | None = super().onCloseFrame(code, reason)
        return ended

    def onClose(self, was_clean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone."""
        if self._next_ping is not None:
            self._next_ping.cancel()
            self._next_ping = None
        self.stream.deliver_lost()

    def close(self, code: int, sentence: str) -> None:
        """Start the closing handshake; the connection ends by itself if the client does not answer."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=sentence.encode("ascii")[:123])

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        """Autobahn found the client breaking RFC 6455: the session hears of it as the end of the stream."""
        super()._fail_connection(code, reason)
        self.stream.deliver_eof()

    def _drop(self) -> None:
        if not self.stream.lost:
            self.stream.abort()

    def _ping_later(self) -> None:
        self._next_ping = self.factory.clock.callLater(self.factory.ping_interval_s, self._ping)

    def _ping(self) -> None:
        self._next_ping = None
        if self._pings_unanswered >= PINGS_UNANSWERED:
            _log.info("client left {pings} pings unanswered", pings=self._pings_unanswered)
            self.stream.abort()
            return
        if self.stream.reading:  # while the target does not keep up, the client's pong cannot be heard either
            self._pings_unanswered += 1
        self.sendPing()
        self._ping_later()


class ClientWebSocketFactory(WebSocketServerFactory):  # type: ignore[misc]
    """Builds the protocol of each WebSocket client.

    Args:
        ping_interval_s: seconds between pings; a client that leaves two in a row unanswered is dropped.
        clock: the reactor.
    """

    def __init__(self, ping_interval_s: float, clock: IReactorTime) -> None:
        super().__init__(server="")
        self.ping_interval_s = ping_interval_s
        self.clock = clock
        self.setProtocolOptions(
            versions=list(VERSIONS),
            webStatus=False,
            failByDrop=False,
            echoCloseCodeReason=True,
            requireMaskedClientFrames=True,
            utf8validateIncoming=False,
            maxFramePayloadSize=FRAME_LIMIT,
            maxMessagePayloadSize=MESSAGE_LIMIT,
            openHandshakeTimeout=0,  # the listener's deadline for the head has passed already
            closeHandshakeTimeout=CLOSE_TIMEOUT_S,
            tcpNoDelay=True,
        )

    def build(self, opened: Callable[[WebSocketStream], None]) -> ClientWebSocket:
        """Make the protocol of one client; `opened` gets its stream once the WebSocket is open."""
        protocol = ClientWebSocket(opened)
        protocol.factory = self
        protocol.is_open = Deferred()
        protocol.is_closed = Deferred()
        return protocol


def opening_handshake(head: RequestHead) -> bytes:
    """Judge a client's opening handshake (RFC 6455 section 4.2.1) and write it anew, with nothing else in it.

    Raises:
        HttpError: 400 or 426, what is missing or wrong.
    """
    version = head.get_one("sec-websocket-version")
    if version is None or not version.isdecimal() or int(version) not in VERSIONS:
        supported = ", ".join(map(str, VERSIONS))
        raise HttpError(426, f"WebSocket version {(version or 'none')[:20]} is not supported; {supported} are.")
    key = head.get_one("sec-websocket-key")
    if not key:
        raise HttpError(400, "The header Sec-WebSocket-Key is missing.")
    lines = [
        "GET / HTTP/1.1",
        "Host: proxy",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Key: {key}",
    ]
    offered = [word.strip() for word in (head.get("sec-websocket-protocol") or "").split(",")]
    if SUBPROTOCOL in offered:
        lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
