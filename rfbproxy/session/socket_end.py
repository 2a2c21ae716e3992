"""One end of a socket pump: the reactor's descriptor for a socket, from which it reads, and to which it sends.

How an end reads depends on what comes there, and is said by its kind (`ends`, `tls_ends`).
"""

from socket import MSG_MORE
from typing import Any
from typing import Protocol as Interface

from twisted.internet import main
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.loan import Loan
from rfbproxy.session.flow import Flow
from rfbproxy.session.pipes import Pipe, pipes
from rfbproxy.websocket import header


class Pump(Interface):
    """What ends belong to.

    Attributes:
        over: whether the streams have their sockets again.
    """

    over: bool

    def give_back(self) -> None:
        """Let both streams have their sockets again, before this returns."""


@implementer(IReadWriteDescriptor)
class End:
    """One socket: the reactor's descriptor, and the borrower of a loan.

    Args:
        flow: of what is read here.
    """

    __slots__ = (
        "_failure",
        "_flow",
        "_is_framed",
        "_late",
        "_loan",
        "_other",
        "_owed",
        "_paused",
        "_pipe",
        "_piped",
        "_pump",
        "_reactor",
        "_socket",
        "_tls",
        "fileno",
    )

    def __init__(self, pump: Pump, loan: Loan, flow: Flow) -> None:
        self._pump = pump
        self._loan = loan
        self._flow = flow
        self._is_framed = loan.framed is not None
        self._reactor = loan.reactor
        self._socket = loan.socket
        self.fileno = loan.socket.fileno
        self._other: End = self
        self._paused = False
        self._owed = b""  # to the socket
        self._pipe: Pipe | None = None  # whose bytes are owed after those
        self._piped = 0  # bytes in it
        self._late = b""  # owed after them
        self._tls: Any = loan.tls  # which a `TlsEnd` has
        self._failure: Failure | None = None  # of it: why nothing more can be read

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "relay"

    def read_for(self, other: "End") -> None:
        """Begin."""
        self._other = other
        self._loan.begin(self)

    def return_socket(self) -> None:
        """Put the socket back."""
        self._reactor.removeWriter(self)
        owed, pipe = self._owed, self._pipe
        if pipe is not None:
            owed += pipe.read(self._piped)
            pipes.put_back(pipe)
        self._tls = None  # which holds much, and this may live until it is found as garbage
        self._loan.end(owed + self._late, paused=self._paused)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is lost, as the reactor or a call of the system says."""
        self._pump.give_back()
        if not reason.check(ConnectionDone):  # of which the transport hears by itself
            self._loan.lost(reason)

    # Reading

    def doRead(self) -> Any:
        """Read and pass on: once, but in bulk, where each turn costs, as much as other sessions can wait for."""
        if self._paused:  # since these events were asked for, which it still has if it is to send
            return None
        try:
            self._read()
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        return None

    def _read(self) -> None:
        """Read what is there; raises `OSError` of this socket alone."""
        raise NotImplementedError

    def _receive(self, room: memoryview) -> memoryview:
        """Read from the socket as much as there is room for; nothing: it has ended."""
        return room[: self._socket.recv_into(room)]

    def pauseProducing(self) -> None:
        """See `loan.Borrower`."""
        self._paused = True
        if not self._pump.over:
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """See `loan.Borrower`."""
        self._paused = False
        if not self._pump.over:
            self._reactor.addReader(self)

    def give_back(self) -> None:
        """See `loan.Borrower`."""
        self._pump.give_back()

    # Sending

    def write(self, data: bytes) -> None:
        """See `loan.Borrower`."""
        if self._pump.over:
            self._loan.transport.write(data)
        elif self._piped:
            self._late += data
        elif self._owed:
            self._owed += data
        else:
            self._send(data)

    def send(self, data: bytes | memoryview) -> None:
        """Send what the other end has read, when nothing is owed."""
        if not self._is_framed:
            self._send(data)
            return
        head = header(len(data))
        try:
            sent = self._socket.sendmsg((head, data))
        except OSError as error:
            sent = self._none_sent(error)
        if sent < len(head) + len(data):
            self._owe(b"".join((head, data))[sent:])

    def _send(self, data: bytes | memoryview) -> None:
        try:
            sent = self._socket.send(data)
        except OSError as error:
            sent = self._none_sent(error)
        if sent < len(data):
            self._owe(bytes(data[sent:]))

    def send_pipe(self, pipe: Pipe, size: int) -> None:
        """Send all `size` bytes of a pipe, when nothing is owed."""
        self._pipe, self._piped = pipe, size
        if self._is_framed:
            self._owed = header(size)
        try:
            self._send_owed()
        except OSError as error:
            self._none_sent(error)
        if self._piped:
            self._owe(self._owed)

    def _none_sent(self, error: OSError) -> int:
        """The socket takes nothing now, or is lost."""
        if not isinstance(error, BlockingIOError):
            self.connectionLost(Failure(main.CONNECTION_LOST))
        return 0

    def _owe(self, owed: bytes) -> None:
        """Stop the other end until what the socket did not take is gone."""
        if not self._pump.over:
            self._owed = owed
            self._reactor.addWriter(self)
            self._loan.producer.pauseProducing()

    def doWrite(self) -> Any:
        """Send what is owed."""
        if self._pump.over:  # since this turn's read
            return None
        try:
            self._send_owed()
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not self._owed and not self._piped:
            self._reactor.removeWriter(self)
            self._loan.producer.resumeProducing()
        return None

    def _send_owed(self) -> None:
        if self._owed:
            self._owed = self._owed[self._socket.send(self._owed, MSG_MORE if self._piped else 0) :]
        if self._pipe is None or self._owed:
            return
        while self._piped:
            self._piped -= self._pipe.empty(self.fileno(), self._piped)
        pipes.put_back(self._pipe)
        self._pipe = None
        self._owed, self._late = self._late, b""
