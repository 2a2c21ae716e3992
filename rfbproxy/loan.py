"""Lending a socket: whoever moves bytes faster takes it out of its transport for a while.

A loan stands where the protocol's transport stood. What it can do, the borrower does; for anything else the borrower
gives the socket back first, so that every end of a connection is the transport's own.
"""

from collections.abc import Sequence
from socket import socket
from typing import Any
from typing import Protocol as Interface

from twisted.internet.interfaces import IPullProducer, IPushProducer, IReactorFDSet, ITransport
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.websocket import FrameReader, WebSocketError


class Borrower(Interface):
    """Who has a socket."""

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
    """A socket that is out of its transport, in whose place this is.

    It is the transport's producer, too, for that is told before the socket is closed, whoever closes it.

    Attributes:
        transport: the real one.
        producer: is told when the socket takes no more, and when it does again.
        framed: the stream, if what it sends and receives is in frames.
        borrower: set by whoever has the socket.
    """

    __slots__ = ("_lender", "borrower", "framed", "producer", "reactor", "socket", "transport")
    borrower: Borrower

    def __init__(self, lender: Lender, framed: Framed | None) -> None:
        transport: Connection = lender.transport
        self.transport = transport
        self.producer: Any = transport.producer  # an IPushProducer
        self.reactor: IReactorFDSet = transport.reactor
        self.socket: socket = transport.getHandle()
        self.framed = framed
        self._lender = lender
        transport.stopReading()
        transport.stopWriting()
        transport.unregisterProducer()
        transport.registerProducer(self, True)
        lender.transport = self

    def end(self, owed: bytes = b"", *, paused: bool = False) -> None:
        """Put the socket back into its transport, and the transport into its place.

        Args:
            owed: what the borrower has not sent yet.
            paused: whether the transport is to read only once it is told to.
        """
        transport = self._lender.transport = self.transport
        transport.unregisterProducer()
        transport.registerProducer(self.producer, True)
        if not paused:
            transport.resumeProducing()
        if owed:
            transport.write(owed)
            if not transport.producerPaused:
                self.producer.resumeProducing()

    def lost(self, reason: Failure) -> None:
        """Tell the transport, which has its socket again, what the borrower has seen: the connection is lost."""
        self.transport.connectionLost(reason)

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

    def recalled(self) -> Connection:
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
    """Whether it is a socket without TLS, in a reactor of descriptors."""
    return isinstance(transport, Connection) and not transport.TLS and IReactorFDSet.providedBy(transport.reactor)


def lend(lender: Lender, framed: Framed | None = None) -> Loan | None:
    """Lend a protocol's socket; None while its transport owes bytes that the kernel does not take, or ends."""
    transport = lender.transport
    if not transport.connected or transport.disconnecting or not _is_emptied(transport):
        return None
    return Loan(lender, framed)


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
