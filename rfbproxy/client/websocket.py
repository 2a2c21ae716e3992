"""Clients that come by WebSocket (RFC 6455): Autobahn speaks it, a `ClientStream` comes out.

Autobahn is fed a head of our own making that holds only what RFC 6455 needs: it refuses odd Origins and repeated
headers by itself, which the session judges instead. Messages are a byte stream (their boundaries mean nothing to RFB),
so frames are passed on as they come and never gathered.
"""

import re
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from rfbproxy.client.http_head import HttpError, RequestHead
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.stream import ClientStream
from rfbproxy.transport import end_sending

VERSIONS = (13, 8)
SUBPROTOCOL = "binary"
FRAME_LIMIT = 16 * 1024 * 1024  # bytes; RFB's longest client message that anybody sends is far shorter
MESSAGE_LIMIT = 64 * 1024 * 1024
CLOSE_TIMEOUT_S = 30.0  # for a slow client to take what was sent before the close, and to answer it
PINGS_UNANSWERED = 2

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64 (RFC 6455 section 4.1)

_log = Logger()


class WebSocketStream(ClientStream):
    """The stream of one WebSocket client."""

    def __init__(self, protocol: "ClientWebSocket") -> None:
        super().__init__()
        self._protocol = protocol
        self.reading = True

    def send(self, data: bytes) -> None:
        """Send one binary message; after a close frame, of either side, nobody would read it."""
        if self._protocol.is_up:
            self._protocol.sendMessage(data, isBinary=True)

    def send_eof(self) -> None:
        """Close: a WebSocket has no halves; the reason is the target's, who alone ends a stream this way."""
        reason = CloseReason.TARGET_CLOSED
        self.close_because(Refused(reason, reason.sentence))

    def close(self) -> None:
        """See `Stream.close`."""
        self._protocol.sendCloseFrame(1000, b"")

    def close_because(self, refused: Refused) -> None:
        """See `ClientStream.close_because`."""
        self._protocol.sendCloseFrame(refused.websocket_code, refused.sentence.encode("ascii")[:123])

    def abort(self) -> None:
        """See `Stream.abort`."""
        self._protocol.transport.abortConnection()

    def pause(self) -> None:
        """See `Stream.pause`; once the WebSocket closes it is read on, for the answer to the close frame."""
        if self._protocol.is_up:
            self.reading = False
            self._protocol.excuse_silence()
            self._protocol.transport.pauseProducing()

    def resume(self) -> None:
        """See `Stream.resume`."""
        if not self.reading and not self.lost:
            self.reading = True
            self._protocol.transport.resumeProducing()

    def feed_from(self, producer: IPushProducer | None) -> None:
        """See `Stream.feed_from`."""
        self._protocol.feed_from(producer)


@implementer(IPushProducer)
class ClientWebSocket(WebSocketServerProtocol):  # type: ignore[misc]
    """Autobahn's protocol as an adapter of a `WebSocketStream`.

    It is the transport's producer itself, because what Autobahn sends by itself must be bounded too: pongs.
    """

    factory: "ClientWebSocketFactory"

    def __init__(self, opened: Callable[[WebSocketStream], None]) -> None:
        super().__init__()
        self.stream = WebSocketStream(self)
        self._opened = opened
        self._timer: IDelayedCall | None = None  # the next ping; once the WebSocket closes, the end
        self._pings_unanswered = 0
        self._pong_owed: bytes | None = None
        self._congested = False
        self._producer: IPushProducer | None = None

    @property
    def is_up(self) -> bool:
        """Whether no close frame was sent or received yet."""
        return bool(self.state == self.STATE_OPEN)

    def onConnect(self, request: Any) -> str | None:
        """Echo `binary` if it was offered; other offers are tolerated and not answered."""
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        """Hand the stream to the session."""
        self.registerProducer(self, True)
        self._set_timer(self.factory.ping_interval_s, self._ping)
        self._opened(self.stream)

    def onMessageBegin(self, is_binary: bool) -> None:
        """Refuse text (RFC 6455 section 7.4.1, code 1003); websockify and nova do the same."""
        super().onMessageBegin(is_binary)
        if not is_binary:
            self._fail_connection(1003, "Text frames are not supported")

    def onMessageFrameData(self, payload: bytes) -> None:
        """Deliver a piece of a frame as it comes."""
        if self.is_up:
            self.stream.deliver(bytes(payload))

    def onMessageFrameEnd(self) -> None:
        """Nothing: the pieces are delivered already."""

    def onMessageEnd(self) -> None:
        """Nothing: boundaries of messages mean nothing to RFB."""

    def onPing(self, payload: bytes) -> None:
        """Answer; of those that come while nothing can be sent, only the last (RFC 6455 section 5.5.3)."""
        self._pong_owed = payload
        if not self._congested:
            self._send_pong()

    def onPong(self, payload: bytes) -> None:
        """The client lives."""
        self.excuse_silence()

    def excuse_silence(self) -> None:
        """Count unanswered pings anew: the client has shown that it lives, or cannot be heard."""
        self._pings_unanswered = 0

    def onCloseFrame(self, code: int | None, reason: bytes | None) -> bool | None:
        """Echo the client's close, then tell the session."""
        ended: bool | None = super().onCloseFrame(code, reason)
        self.stream.deliver_eof()
        return ended

    def onClose(self, was_clean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone."""
        self._set_timer(None)
        self.stream.deliver_lost()

    def sendCloseFrame(  # noqa: N802
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,  # noqa: N803
        isReply: bool = False,  # noqa: N803
    ) -> None:
        """Start or answer the closing handshake, once; the connection ends by itself if the client does not."""
        if self.is_up:
            super().sendCloseFrame(code, reasonUtf8, isReply)
            self._set_timer(CLOSE_TIMEOUT_S, self.stream.abort)
            self.stream.resume()

    def processData(self) -> bool:
        """Go on with what came, unless the client broke RFC 6455: then nothing of it counts (section 7.1.7)."""
        return not self.failedByMe and bool(super().processData())

    def consumeData(self) -> None:  # noqa: N802
        """Keep nothing that will never be looked at."""
        super().consumeData()
        if self.failedByMe or self.state == self.STATE_CLOSED:
            self.data = b""

    def feed_from(self, producer: IPushProducer | None) -> None:
        """Say which producer is told to pause while the client does not keep up."""
        self._producer = producer
        if producer is not None and self._congested:
            producer.pauseProducing()

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the client does not keep up."""
        self._congested = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`: the client took what was owed, so it lives."""
        self._congested = False
        self.excuse_silence()
        self._send_pong()
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the client is gone."""
        if self._producer is not None:
            self._producer.stopProducing()

    def _send_pong(self) -> None:
        payload, self._pong_owed = self._pong_owed, None
        if payload is not None:
            self.sendPong(payload)

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        """Autobahn found the client breaking RFC 6455: the session hears of it as the end of a broken stream."""
        if self.failedByMe:
            return
        self.stream.broken = f"WebSocket: {reason}"
        in_time = self.is_up
        super()._fail_connection(code, CloseReason.PROTOCOL_ERROR.sentence)
        if in_time:
            self.unregisterProducer()
            end_sending(self.transport)
        self.stream.deliver_eof()

    def _closeConnection(self, abort: bool = False) -> None:
        """Close after all that is owed, even where Autobahn would not wait; the timer does not wait for ever."""
        super()._closeConnection(abort=False)

    def _set_timer(self, seconds: float | None, call: Callable[[], None] | None = None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None or call is None else self.factory.clock.callLater(seconds, call)

    def _ping(self) -> None:
        if self._pings_unanswered == PINGS_UNANSWERED:
            _log.info("client left {pings} pings unanswered", pings=self._pings_unanswered)
            self.stream.abort()
            return
        if self.stream.reading:  # while the target does not keep up, the client's pong cannot be heard
            self._pings_unanswered += 1
        self.sendPing()
        self._set_timer(self.factory.ping_interval_s, self._ping)


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
            closeHandshakeTimeout=0,  # `ClientWebSocket` has its own, which ends with the connection
            tcpNoDelay=True,
        )

    def build(self, opened: Callable[[WebSocketStream], None]) -> ClientWebSocket:
        """Make the protocol of one client; `opened` gets its stream once the WebSocket is open."""
        protocol = ClientWebSocket(opened)
        protocol.factory = self
        return protocol


def opening_handshake(head: RequestHead) -> bytes:
    """Judge a client's opening handshake (RFC 6455 section 4.2.1) and write it anew, with nothing else in it.

    Raises:
        HttpError: 400 or 426, what is missing or wrong.
    """
    version = head.get_one("sec-websocket-version")
    if version not in [str(number) for number in VERSIONS]:
        raise HttpError(426, f"The supported WebSocket versions are {' and '.join(map(str, VERSIONS))}.")
    key = head.get_one("sec-websocket-key")
    if key is None or not _KEY.fullmatch(key):
        raise HttpError(400, "The header Sec-WebSocket-Key is missing or not 16 bytes in base64.")
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
