"""Streams over Twisted's transports: nothing is framed, and TLS may begin in the middle."""

from typing import cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.loan import Loan, has_socket, lend
from rfbproxy.stream import Stream, TlsSide
from rfbproxy.tls import tls_failure

CLOSE_TIMEOUT_S = 3.0  # for a slow peer to take what was sent before the close


class TransportStream(Stream):
    """A stream over a Twisted transport.

    Args:
        clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock
        self._closing: IDelayedCall | None = None
        self._tls: TlsSide | None = None
        self._securing: Deferred[None] | None = None  # while TLS is being set up
        self.protocol = StreamProtocol(self)

    def start_tls(self, side: TlsSide) -> Deferred[None]:
        """See `Stream.start_tls`."""
        if self._buffer:
            raise RemoteProtocolError(
                f"{len(self._buffer)} bytes came in clear where TLS is due: somebody may have injected them"
            )
        self._tls = side
        securing: Deferred[None] = Deferred(self._not_secured)
        self._securing = securing
        if self.lost or self.protocol.transport is None:
            self.deliver_insecure("the connection is gone")
        else:
            self.protocol.transport.startTLS(side)  # type: ignore[attr-defined]
        return securing

    def deliver_secured(self, connection: SSL.Connection) -> None:
        """TLS stands; whether the peer is who it should be is judged before it hears a byte."""
        try:
            if self._tls is not None:
                self._tls.check(connection)
        except SecurityFailure as error:
            if securing := self._secured():
                securing.errback(Failure(error))
            self.abort()
        else:
            if securing := self._secured():
                securing.callback(None)

    def deliver_insecure(self, why: str | None) -> None:
        """The connection ends while TLS is around it; `why` are OpenSSL's words, if TLS itself failed."""
        if self._tls is None:
            return
        explained = self._tls.explain()
        self.tls_failure = f"{explained} ({why})" if explained and why else explained or why
        if securing := self._secured():
            securing.errback(Failure(SecurityFailure(f"TLS failed: {self.tls_failure or 'the peer closed'}")))

    def _not_secured(self, _: Deferred[None]) -> None:
        self._securing = None

    def _secured(self) -> Deferred[None] | None:
        securing, self._securing = self._securing, None
        return securing

    @property
    def has_socket(self) -> bool:
        """See `Stream.has_socket`."""
        return has_socket(self.protocol.transport)

    def lend(self) -> Loan | None:
        """See `Stream.lend`."""
        return None if self.ended or self._closing is not None else lend(self.protocol)

    def send(self, data: bytes) -> None:
        """See `Stream.send`."""
        if (transport := self.protocol.transport) is not None:
            transport.write(data)

    def send_eof(self) -> None:
        """Shut down the sending half; where the transport has no halves (TLS), close."""
        end_sending(self.protocol.transport)

    def close(self) -> None:
        """See `Stream.close`; a peer that does not take what is owed to it is dropped after a while."""
        if self.protocol.transport is not None and self._closing is None and not self.lost:
            self.protocol.transport.loseConnection()
            if not self.lost:
                self._closing = self._clock.callLater(CLOSE_TIMEOUT_S, self.abort)

    def deliver_lost(self) -> None:
        """See `Stream.deliver_lost`."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        super().deliver_lost()

    def abort(self) -> None:
        """See `Stream.abort`."""
        if self.protocol.transport is not None and not self.lost:
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
        if transport is None or self.lost:  # one whose TLS began in its middle knows no producers once it is lost
            return
        transport.unregisterProducer()  # type: ignore[attr-defined]
        if producer is not None:
            transport.registerProducer(producer, True)  # type: ignore[attr-defined]


def end_sending(transport: ITransport | None) -> bool:
    """Shut down the sending half, or close where there are no halves; says whether the other half is still open.

    A TLS transport claims to be the TCP transport under it, whose halves are not its own.
    """
    if isinstance(transport, Loan):
        transport = transport.recalled()
    if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
        transport.loseWriteConnection()
        return True
    if transport is not None:
        transport.loseConnection()
    return False


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class StreamProtocol(Protocol):
    """The Twisted side of a `TransportStream`."""

    def __init__(self, stream: TransportStream) -> None:
        self.stream = stream

    def dataReceived(self, data: bytes) -> None:
        """Deliver."""
        self.stream.deliver(data)

    def readConnectionLost(self) -> None:
        """Deliver the end; the sending half stays open."""
        self.stream.deliver_eof()

    def writeConnectionLost(self) -> None:
        """Nothing: this side closed its sending half itself."""

    def handshakeCompleted(self) -> None:
        """Deliver that TLS stands."""
        self.stream.deliver_secured(cast(SSL.Connection, self.transport.getHandle()))  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Deliver the loss."""
        self.stream.deliver_insecure(tls_failure(reason))
        self.stream.deliver_lost()
