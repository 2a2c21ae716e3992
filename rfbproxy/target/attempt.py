"""Connecting to an address: the socket is the reactor's descriptor until it stands, and its transport's from then on.

Twisted's own client begins a turn later, and asks for what can be read as well.
"""

import socket
from contextlib import suppress
from errno import EALREADY, EINPROGRESS, EISCONN
from os import strerror
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, getConnectError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.interactive import make_interactive
from rfbproxy.prompt import PromptClient
from rfbproxy.transport import TransportStream


def connect(reactor: Any, address: str, port: int, timeout_s: float) -> Deferred[TransportStream]:
    """Connect to an IPv4 or IPv6 address, which may have a zone; fails as Twisted words it, and may be cancelled.

    Raises:
        OSError: there is no such address, or no socket.
        OverflowError: there is no such port.
    """
    family, where = _where(address, port)
    connecting = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    make_interactive(connecting)
    attempt = _Attempt(reactor, connecting, where, timeout_s)
    connected = attempt.connected
    try:
        attempt.go_on()
    except OSError as error:  # the reactor does not take it
        attempt.connectionLost(Failure(error))
    return connected


@implementer(IReadWriteDescriptor)
class _Attempt:
    """The one attempt to connect with a socket.

    Attributes:
        connected: fires with the stream; not there any more once it has.
    """

    __slots__ = ("_reactor", "_socket", "_timer", "_where", "connected", "fileno")

    def __init__(self, reactor: Any, connecting: socket.socket, where: tuple[Any, ...], timeout_s: float) -> None:
        self._reactor = reactor
        self._socket = connecting
        self._where = where
        self.fileno = connecting.fileno
        self.connected: Deferred[TransportStream] = Deferred(self._cancelled)
        self._timer = reactor.callLater(timeout_s, self._fail, ConnectTimeoutError())

    def go_on(self) -> None:
        """Connect, or see whether that has ended: an event may have been of whoever had the descriptor before."""
        error = self._socket.connect_ex(self._where)
        if error in (EINPROGRESS, EALREADY):
            self._reactor.addWriter(self)
        elif error in (0, EISCONN):
            self._succeed()
        else:
            self._fail(getConnectError((error, strerror(error))))

    doRead = doWrite = go_on

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "dial"

    def connectionLost(self, reason: Failure) -> None:
        """It has failed, or the reactor goes."""
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        lost = ConnectError(string=reason.getErrorMessage())
        self._fail(getConnectError((error, strerror(error))) if error else lost)

    def _succeed(self) -> None:
        stream = TransportStream(self._reactor)
        stream.protocol.makeConnection(PromptClient(self._socket, stream.protocol, self._reactor))
        self._end().callback(stream)

    def _fail(self, error: Exception) -> None:
        self._give_up().errback(Failure(error))

    def _cancelled(self, _: Deferred[Any]) -> None:
        self._give_up()

    def _give_up(self) -> Deferred[TransportStream]:
        connected = self._end()
        with suppress(OSError):  # there is no connection, but there may be one by now, with bytes that nobody reads
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        return connected

    def _end(self) -> Deferred[TransportStream]:
        """Leave the reactor, and let go of the Deferred, which knows this."""
        if self._timer.active():
            self._timer.cancel()
        self._reactor.removeWriter(self)
        connected = self.connected
        del self.connected
        return connected


def _where(address: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """What the system wants to know of an address, for IPv6 the interface of its zone."""
    if not 0 <= port < 65536:
        raise OverflowError(f"there is no port {port}")
    if ":" not in address:
        return socket.AF_INET, (address, port)
    host, _, *zone = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]
    return socket.AF_INET6, (host, port, *zone)
