"""Clients that come by WebSocket (RFC 6455): frames on the transport, bytes in the stream."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.client.http_head import HttpError, RequestHead
from rfbproxy.loan import Loan, has_socket, lend
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.stream import ClientStream
from rfbproxy.transport import end_sending
from rfbproxy.websocket import (
    SUBPROTOCOL,
    VERSIONS,
    CloseCode,
    FrameReader,
    Opcode,
    WebSocketError,
    answer,
    close_frame,
    header,
)

CLOSE_TIMEOUT_S = 30.0  # for a slow client to take what was sent before the close, and to answer it
PINGS_UNANSWERED = 2

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64 (RFC 6455 section 4.1)
_PING = header(0, Opcode.PING)

_log = Logger()


def opening_handshake(head: RequestHead) -> bytes:
    """Judge a client's opening handshake (RFC 6455 section 4.2.1), and give the answer that opens the WebSocket.

    `binary` is agreed on if it is offered; other offers are tolerated and not answered.

    Raises:
        HttpError: 400 or 426, what is missing or wrong.
    """
    version = head.get_one("sec-websocket-version")
    if version not in [str(number) for number in VERSIONS]:
        raise HttpError(426, f"The supported WebSocket versions are {' and '.join(map(str, VERSIONS))}.")
    key = head.get_one("sec-websocket-key")
    if key is None or not _KEY.fullmatch(key):
        raise HttpError(400, "The header Sec-WebSocket-Key is missing or not 16 bytes in base64.")
    offered = [word.strip() for word in (head.get("sec-websocket-protocol") or "").split(",")]
    return answer(key.encode("ascii"), binary=SUBPROTOCOL in offered)


@implementer(IPushProducer)
class WebSocketStream(ClientStream, Protocol):
    """The stream of one WebSocket client, once its handshake is answered.

    It is the transport's producer itself, because what it sends by itself must be bounded too: pongs.

    Args:
        answer: opens the WebSocket; it goes out with what is sent first, or by `say_open`.
        ping_interval_s: seconds between pings; a client that leaves two in a row unanswered is dropped.
        clock: the reactor.

    Attributes:
        frames: reads what the client sends.
        is_up: whether no close frame was sent or received yet.
        reading: whether the client is heard; False: whoever takes its bytes does not keep up.
    """

    transport: Any

    def __init__(self, answer: bytes, ping_interval_s: float, clock: IReactorTime) -> None:
        super().__init__()
        self.frames = FrameReader()
        self.is_up = False
        self.reading = True
        self._answer_owed = answer
        self._ping_interval_s = ping_interval_s
        self._clock = clock
        self._timer: IDelayedCall | None = None  # the next ping; once the WebSocket closes, the end
        self._pings_unanswered = 0
        self._pong_owed: bytes | None = None
        self._congested = False
        self._producer: IPushProducer | None = None

    def connectionMade(self) -> None:
        """Speak WebSocket from here on."""
        self.is_up = True
        self.transport.registerProducer(self, True)
        self._set_timer(self._ping_interval_s, self._ping)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Deliver the loss."""
        self.is_up = False
        self._set_timer(None)
        self.deliver_lost()

    # What the client sends

    def dataReceived(self, data: bytes) -> None:
        """Deliver the payload, and do what control frames ask for."""
        try:
            pieces = self.frames.receive(memoryview(bytearray(data)))
        except WebSocketError as error:
            self.received(error.before)
            self.broke(error)
        else:
            self.received(pieces)

    def received(self, pieces: Sequence[memoryview | bytes]) -> None:
        """Deliver payload that `frames` gave, then look at the control frames that came with it."""
        if pieces and self.is_up:
            self.deliver(b"".join(pieces))
        controls, self.frames.controls = self.frames.controls, []
        for opcode, payload in controls:
            if opcode == Opcode.PING:
                self._pinged(payload)
            elif opcode == Opcode.PONG:
                self._excuse_silence()
            else:
                self._closed(payload)

    def broke(self, error: WebSocketError) -> None:
        """The client broke RFC 6455: the session hears of it as the end of a broken stream."""
        self.broken = f"WebSocket: {error}"
        if self.is_up:
            self._say_close(close_frame(error.code, CloseReason.PROTOCOL_ERROR.sentence.encode("ascii")))
            self.transport.unregisterProducer()
            end_sending(self.transport)
        else:
            self._leave()
        self.deliver_eof()

    def _pinged(self, payload: bytes) -> None:
        """Answer; of pings that come while nothing can be sent, only the last (RFC 6455 section 5.5.3)."""
        self._pong_owed = payload
        if not self._congested:
            self._send_pong()

    def _closed(self, payload: bytes) -> None:
        """Echo the client's close, unless it is the answer to ours; then tell the session."""
        self._say_close(header(len(payload), Opcode.CLOSE) + payload)
        self._leave()
        self.deliver_eof()

    @property
    def has_socket(self) -> bool:
        """See `Stream.has_socket`."""
        return has_socket(self.transport)

    def lend(self) -> Loan | None:
        """See `Stream.lend`."""
        return lend(self, self) if self.is_up else None

    # What it is sent

    def say_open(self) -> None:
        """Send the answer to the opening handshake, unless it went out already."""
        if self._answer_owed:
            self._write(b"")

    def send(self, data: bytes) -> None:
        """Send one binary message; after a close frame, of either side, nobody would read it."""
        if self.is_up:
            self._write(header(len(data)) + data)

    def _write(self, data: bytes) -> None:
        if self._answer_owed:
            data, self._answer_owed = self._answer_owed + data, b""
        self.transport.write(data)

    def send_eof(self) -> None:
        """Close: a WebSocket has no halves; the reason is the target's, who alone ends a stream this way."""
        reason = CloseReason.TARGET_CLOSED
        self.close_because(Refused(reason, reason.sentence))

    def close(self) -> None:
        """See `Stream.close`."""
        self._say_close(close_frame(CloseCode.NORMAL))

    def close_because(self, refused: Refused) -> None:
        """See `ClientStream.close_because`."""
        self._say_close(close_frame(refused.websocket_code, refused.sentence.encode("ascii")))

    def abort(self) -> None:
        """See `Stream.abort`."""
        if not self.lost:
            self.transport.abortConnection()

    def _say_close(self, frame: bytes) -> None:
        """Start or answer the closing handshake, once; the connection ends by itself if the client does not."""
        if self.is_up:
            self._write(frame)
            self.is_up = False
            self._set_timer(CLOSE_TIMEOUT_S, self.abort)
            self.resume()

    def _leave(self) -> None:
        """End the connection after all that is owed; the timer does not wait for ever."""
        if not self.lost:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _send_pong(self) -> None:
        payload, self._pong_owed = self._pong_owed, None
        if payload is not None and self.is_up:
            self.transport.write(header(len(payload), Opcode.PONG) + payload)

    def _ping(self) -> None:
        if self._pings_unanswered == PINGS_UNANSWERED:
            _log.info("client left {pings} pings unanswered", pings=self._pings_unanswered)
            self.abort()
            return
        if self.reading:  # while the target does not keep up, the client's pong cannot be heard
            self._pings_unanswered += 1
        self.transport.write(_PING)
        self._set_timer(self._ping_interval_s, self._ping)

    def _excuse_silence(self) -> None:
        """Count unanswered pings anew: the client has shown that it lives, or cannot be heard."""
        self._pings_unanswered = 0

    def _set_timer(self, seconds: float | None, call: Callable[[], None] | None = None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None or call is None else self._clock.callLater(seconds, call)

    # Back-pressure

    def pause(self) -> None:
        """See `Stream.pause`; once the WebSocket closes it is read on, for the answer to the close frame."""
        if self.is_up:
            self.reading = False
            self._excuse_silence()
            self.transport.pauseProducing()

    def resume(self) -> None:
        """See `Stream.resume`."""
        if not self.reading and not self.lost:
            self.reading = True
            self.transport.resumeProducing()

    def feed_from(self, producer: IPushProducer | None) -> None:
        """See `Stream.feed_from`."""
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
        self._excuse_silence()
        self._send_pong()
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the client is gone."""
        if self._producer is not None:
            self._producer.stopProducing()
