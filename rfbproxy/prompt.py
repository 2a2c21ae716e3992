"""Sockets' transports that send at once.

Twisted's keep what is written, have the reactor tell when the socket takes more, and send it then. A handshake goes to
and fro in messages that the socket takes at any time: for each of them that is two calls of epoll_ctl(2), and a turn.
"""

from socket import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IProtocol

from rfbproxy.congestion import send_unpaced_within_machine
from rfbproxy.interactive import is_interactive, make_interactive


class _Prompt(tcp.Connection):
    """Sends what is written at once, unless something is owed that comes before it.

    Attributes:
        waits: for the socket, to send what is owed or to close.
    """

    waits = False

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if self.waits or self.TLS or not self.connected or not self._hears_of_room_only:
            super().write(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:  # should the connection be lost, so the reactor will find it
            sent = 0
        if sent < len(data):
            super().write(data[sent:])

    def writeSomeData(self, data: bytes) -> Any:
        """See `FileDescriptor`; where nothing is owed, the system is not asked."""
        return super().writeSomeData(data) if data else 0

    @property
    def _hears_of_room_only(self) -> bool:
        """Whether no producer is asked for more each time that all is sent, as the reactor sees it."""
        return self.producer is None or self.streamingProducer

    def startWriting(self) -> None:
        """See `FileDescriptor`."""
        self.waits = True
        super().startWriting()

    def stopWriting(self) -> None:
        """See `FileDescriptor`."""
        if self.waits:  # else it may be a borrower's socket by now
            self.waits = False
            super().stopWriting()

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`."""
        if self.waits or not self.connected or not self._hears_of_room_only:
            super().loseWriteConnection()
        else:
            self._writeDisconnected = True
            self._closeWriteConnection()

    def abortConnection(self) -> None:
        """See `ITCPTransport`; nothing is sent until the connection is gone."""
        super().abortConnection()
        self.waits = True


class PromptServer(_Prompt, tcp.Server):
    """The transport of a client that was accepted."""

    def __init__(self, sock: socket, *args: Any) -> None:
        super().__init__(sock, *args)
        if not is_interactive(sock):  # it came before the listening socket was set up
            make_interactive(sock)
        send_unpaced_within_machine(sock)


class PromptUnixServer(_Prompt, unix.Server):
    """The same of one that came to a UNIX socket."""


class PromptClient(_Prompt):
    """The transport of a target, whose socket is connected."""

    _tlsClientDefault = True  # noqa: N815 - which `startTLS` asks for

    def __init__(self, sock: socket, protocol: IProtocol, reactor: Any) -> None:
        super().__init__(sock, protocol, reactor)
        send_unpaced_within_machine(sock)
        self.connected = 1
        self.startReading()
