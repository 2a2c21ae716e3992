"""A peer's bytes, both ways, with its framing removed: what `client` and `target` give to `session`.

While the handshakes run, the session pulls with `receive`; once it relays, bytes are pushed into a `Sink`. In both
phases memory stays bounded: a stream that nobody reads from pauses its peer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.reasons import Refused

BUFFER_LIMIT = 65536  # bytes kept for a session that has not asked for them yet
CLOSE_TIMEOUT_S = 5.0  # for a slow peer to take what was sent before the close


class Sink(Interface):
    """What a relaying stream pushes into."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of the peer."""

    def eof_received(self) -> None:
        """Learn that the peer will send no more, but may still read."""

    def connection_lost(self) -> None:
        """Learn that the peer is gone, both ways."""


class Stream(ABC):
    """One peer's byte stream; the adapter that owns the connection calls the `deliver` methods."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: Deferred[bytes] | None = None
        self._sink: Sink | None = None
        self._paused = False
        self.ended = False  # nothing more will be received
        self.lost = False  # nothing more can be sent either
        self.broken: str | None = None  # how the peer broke the protocol around the bytes, if that is why they ended
        self.on_end: Callable[[], None] | None = None  # told once of an end that comes before `push_to`

    def deliver(self, data: bytes) -> None:
        """Bytes of the peer came in."""
        if self._sink is not None:
            self._sink.data_received(data)
            return
        self._buffer += data
        self._answer()
        if len(self._buffer) > BUFFER_LIMIT and not self._paused:
            self._paused = True
            self.pause()

    def deliver_eof(self) -> None:
        """The peer will send nothing more."""
        if self.ended:
            return
        self.ended = True
        if self._sink is not None:
            self._sink.eof_received()
            return
        if self.on_end is not None:
            self.on_end()
        self._answer()

    def deliver_lost(self) -> None:
        """The connection is gone, both ways."""
        if self.lost:
            return
        self.lost = True
        self.deliver_eof()
        if self._sink is not None:
            self._sink.connection_lost()

    def receive(self) -> Deferred[bytes]:
        """The next bytes, as many as there are; `b""` at the end of the stream. One call at a time."""
        self._waiting = Deferred(self._forget)
        waiting = self._waiting
        self._answer()
        return waiting

    def push_to(self, sink: Sink) -> None:
        """Push everything from here on into `sink`, first what is waiting already."""
        self._sink = sink
        data = self._take()
        if data:
            sink.data_received(data)
        if self.ended:
            sink.eof_received()
        if self.lost:
            sink.connection_lost()

    def unread(self, data: bytes) -> None:
        """Give back bytes that `receive` gave but a handshake did not need; they come first again."""
        self._buffer[:0] = data

    def _forget(self, _: Deferred[bytes]) -> None:
        self._waiting = None

    def _answer(self) -> None:
        if self._waiting is not None and (self._buffer or self.ended):
            waiting, self._waiting = self._waiting, None
            waiting.callback(self._take())

    def _take(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._paused:
            self._paused = False
            self.resume()
        return data

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes to the peer; never blocks, the producer registered by `feed_from` hears of back-pressure."""

    @abstractmethod
    def send_eof(self) -> None:
        """Tell the peer, after all bytes sent so far, that no more will come; it may still send."""

    @abstractmethod
    def close(self) -> None:
        """End the connection after all bytes sent so far."""

    @abstractmethod
    def abort(self) -> None:
        """End the connection now, whatever is still owed."""

    @abstractmethod
    def pause(self) -> None:
        """Take no more bytes from the peer until `resume`."""

    @abstractmethod
    def resume(self) -> None:
        """Take bytes from the peer again."""

    @abstractmethod
    def feed_from(self, producer: IPushProducer | None) -> None:
        """Say which producer is told to pause while the peer does not keep up; None: no longer."""


class ClientStream(Stream):
    """A client's stream, which can say why it is closed in the words of its way in.

    Attributes:
        greets_at_once: whether the client may be greeted before its target has accepted the login; one that may not
            waits for `accept`.
        on_authorised: told once the client's token is good.
        crowded_out: whether the connection was dropped before, because too many wait.
    """

    greets_at_once: bool = True
    on_authorised: Callable[[], None] | None = None
    crowded_out: bool = False

    def accept(self) -> None:
        """Tell the client, in the words of its way in, that desktop protocol follows."""

    @abstractmethod
    def close_because(self, refused: Refused) -> None:
        """End the connection with the reason's code and sentence, after all bytes sent so far."""


class TransportStream(Stream):
    """A stream over a Twisted transport: nothing is framed.

    Args:
        clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock
        self._closing: IDelayedCall | None = None
        self.protocol = StreamProtocol(self)

    def send(self, data: bytes) -> None:
        """See `Stream.send`."""
        self.protocol.write(data)

    def send_eof(self) -> None:
        """Shut down the sending half; where the transport has no halves (TLS), close."""
        end_sending(self.protocol.transport)

    def close(self) -> None:
        """See `Stream.close`; a peer that does not take what is owed to it is dropped after a while."""
        if self.protocol.transport is not None and self._closing is None and not self.lost:
            self._closing = self._clock.callLater(CLOSE_TIMEOUT_S, self.abort)
            self.protocol.transport.loseConnection()

    def deliver_lost(self) -> None:
        """See `Stream.deliver_lost`."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        super().deliver_lost()

    def abort(self) -> None:
        """See `Stream.abort`."""
        if self.protocol.transport is not None:
            self.protocol.transport.abortConnection()  # type: ignore[attr-defined]

    def pause(self) -> None:
        """See `Stream.pause`."""
        if self.protocol.transport is not None and not self.lost:
            self.protocol.transport.pauseProducing()  # type: ignore[attr-defined]

    def resume(self) -> None:
        """See `Stream.resume`."""
        if self.protocol.transport is not None and not self.ended:
            self.protocol.transport.resumeProducing()  # type: ignore[attr-defined]

    def feed_from(self, producer: IPushProducer | None) -> None:
        """See `Stream.feed_from`."""
        transport = self.protocol.transport
        if transport is None:
            return
        transport.unregisterProducer()  # type: ignore[attr-defined]
        if producer is not None:
            transport.registerProducer(producer, True)  # type: ignore[attr-defined]


def end_sending(transport: ITransport | None) -> bool:
    """Shut down the sending half, or close where there are no halves; says whether the other half is still open.

    A TLS transport claims to be the TCP transport under it, whose halves are not its own.
    """
    if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
        transport.loseWriteConnection()
        return True
    if transport is not None:
        transport.loseConnection()
    return False


@implementer(IHalfCloseableProtocol)
class StreamProtocol(Protocol):
    """The Twisted side of a `TransportStream`."""

    def __init__(self, stream: TransportStream) -> None:
        self.stream = stream

    def connectionMade(self) -> None:
        """Set the socket up for an interactive, long-lived connection."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)

    def write(self, data: bytes) -> None:
        """Write, unless the connection is not there."""
        if self.transport is not None:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Deliver."""
        self.stream.deliver(data)

    def readConnectionLost(self) -> None:
        """Deliver the end; the sending half stays open."""
        self.stream.deliver_eof()

    def writeConnectionLost(self) -> None:
        """Nothing: this side closed its sending half itself."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Deliver the loss."""
        self.stream.deliver_lost()
