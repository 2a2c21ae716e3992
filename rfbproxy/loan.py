"""Lending a socket: whoever moves bytes faster takes it out of its transport for a while.

A loan stands where the protocol's transport stood. What it can do, the borrower does; for anything else the borrower
gives the socket back first, so that every end of a connection is the transport's own.
"""

from collections.abc import Sequence
from socket import socket
from typing import Any
from typing import Protocol as Interface

from OpenSSL import SSL
from twisted.internet.interfaces import IPullProducer, IPushProducer, IReactorFDSet, ITransport
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.tls_layer import TlsLayer, layer_of
from rfbproxy.websocket import FrameReader, WebSocketError


class Borrower(Interface):
    """Who has a socket, as the reactor's descriptor of it."""

    def write(self, data: bytes) -> None:
        """Send bytes as they are, after all that is owed."""

    def pauseProducing(self) -> None:
        """Read no more."""

    def resumeProducing(self) -> None:
        """Read again."""

    def give_back(self) -> None:
        """Call `Loan.end`, if that was not done before."""


class Framed(Interface):
    """A stream whose bytes are inside WebSocket frames.

    Attributes:
        frames: reads them, whoever reads the socket.
    """

    frames: FrameReader

    def received(self, pieces: Sequence[memoryview | bytes]) -> None:
        """Take payload that `frames` gave, and the control frames that came with it."""

    def broke(self, error: WebSocketError) -> None:
        """The peer broke RFC 6455."""


class Lender(Interface):
    """A protocol, as far as its transport goes."""

    transport: Any


@implementer(IPushProducer)
class Loan:
    """A socket that is out of its transport, in whose place this is from `begin` to `end`.

    It is the transport's producer, too, for that is told before the socket is closed, whoever closes it.

    Args:
        wire: the transport whose socket it is.
        layer: the TLS between the two transports; None: they are the same.

    Attributes:
        transport: the real one.
        producer: is told when the socket takes no more, and when it does again.
        framed: the stream, if what it sends and receives is in frames.
        borrower: who has the socket.
    """

    __slots__ = (
        "_descriptor",
        "_layer",
        "_lender",
        "_wire",
        "borrower",
        "framed",
        "producer",
        "reactor",
        "socket",
        "transport",
    )
    borrower: Borrower

    def __init__(self, lender: Lender, framed: Framed | None, wire: Connection, layer: TlsLayer | None) -> None:
        self.transport = lender.transport
        self.producer: Any = wire.producer if layer is None else layer.producer  # an IPushProducer
        self.reactor: Any = wire.reactor  # an IReactorFDSet
        self.socket: socket = wire.socket
        self.framed = framed
        self._lender = lender
        self._layer = layer
        self._wire = wire
        # Where TLS began in the middle, its wire goes round it to the same transport.
        self._descriptor = self.transport if isinstance(self.transport, Connection) else wire

    @property
    def tls(self) -> SSL.Connection | None:
        """What reads and makes the records that are on the socket; None: it has bare bytes."""
        return None if self._layer is None else self._layer.connection

    def begin(self, borrower: Borrower) -> None:
        """Let somebody have the socket, and read it."""
        self.borrower = borrower
        self._become_producer(self)
        self._lender.transport = self
        _hand_over(self.reactor, self._descriptor, borrower)

    def end(self, owed: bytes = b"", *, paused: bool = False) -> None:
        """Put the socket back into its transport, and the transport into its place.

        Args:
            owed: what the borrower has not sent yet, as it is on the socket.
            paused: whether the transport is to read only once it is told to.
        """
        self._lender.transport = self.transport
        self._become_producer(self.producer)
        if paused:
            self.reactor.removeReader(self.borrower)
        else:
            _hand_over(self.reactor, self.borrower, self._descriptor)
        if owed:
            self._wire.write(owed)
            if not self._wire.producerPaused:
                self.producer.resumeProducing()

    def _become_producer(self, producer: IPushProducer) -> None:
        self.transport.unregisterProducer()
        self.transport.registerProducer(producer, True)

    def lost(self, reason: Failure) -> None:
        """Tell the transport, which has its socket again, what the borrower has seen: the connection is lost."""
        self._wire.connectionLost(reason)

    def failed(self, failure: Failure) -> None:
        """Tell the transport, which has its socket again, what the borrower has heard from `tls`: it is over."""
        if self._layer is not None:
            self._layer.fail(failure)

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        self.borrower.write(data)

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.borrower.pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.borrower.resumeProducing()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the transport is about to close the socket."""
        self.borrower.give_back()

    def recalled(self) -> Any:
        """The transport, which has its socket again."""
        self.borrower.give_back()
        return self.transport

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self.recalled().unregisterProducer()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See `IConsumer`."""
        self.recalled().registerProducer(producer, streaming)

    def loseConnection(self) -> None:
        """See `ITransport`."""
        self.recalled().loseConnection()

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        self.recalled().abortConnection()


def has_socket(transport: ITransport | None) -> bool:
    """Whether it has a socket in a reactor of descriptors, be it in clear or inside TLS."""
    return _socket_under(transport) is not None


def lend(lender: Lender, framed: Framed | None = None) -> Loan | None:
    """Lend a protocol's socket; None while its transport owes bytes that the kernel does not take, or ends."""
    found = _socket_under(lender.transport)
    if found is None:
        return None
    wire, layer = found
    if not wire.connected or wire.disconnecting or (layer is not None and not layer.is_still()):
        return None
    is_emptied = not getattr(wire, "waits", True) or _is_emptied(wire)
    return Loan(lender, framed, wire, layer) if is_emptied else None


def _socket_under(transport: Any) -> tuple[Connection, TlsLayer | None] | None:
    """The transport that has the socket, and the TLS around it."""
    layer = layer_of(transport)
    if layer is not None:
        wire = layer.wire
    elif isinstance(transport, Connection) and not transport.TLS:
        wire = transport
    else:
        return None
    return (wire, layer) if IReactorFDSet.providedBy(wire.reactor) else None


def _hand_over(reactor: Any, reader: Any, successor: Any) -> None:
    """Let another descriptor read the same socket; this service's own reactor need not tell the system."""
    if hasattr(reactor, "hand_over"):
        reactor.hand_over(reader, successor)
    else:
        reactor.removeReader(reader)
        reactor.addReader(successor)


def _is_emptied(transport: Connection) -> bool:
    """Let a transport send what it has, and see whether it has more."""
    producer, emptied = transport.producer, _Emptied()
    transport.unregisterProducer()
    transport.registerProducer(emptied, False)
    emptied.heard = False
    transport.doWrite()  # should this find the connection lost, so will the reactor
    transport.unregisterProducer()
    if producer is not None:
        transport.registerProducer(producer, True)
    return emptied.heard


@implementer(IPullProducer)
class _Emptied:
    """Hears from a transport that it has sent all that it had; and once when it is registered."""

    __slots__ = ("heard",)

    def resumeProducing(self) -> None:
        """See `IPullProducer`."""
        self.heard = True

    def stopProducing(self) -> None:
        """Nothing: it is not there for long."""
