"""A WebSocket upgrade against this very listener, over a transport in memory: what `/readyz` means by ready."""

from collections.abc import Iterable
from dataclasses import replace

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.client.connection import ClientConnection
from rfbproxy.client.listener import Listener
from rfbproxy.client.waiting_room import WaitingRoom

_REQUEST = (
    b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_ACCEPTED = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the pair of RFC 6455 section 1.3


@implementer(ITransport, IPushProducer)
class MemoryTransport:
    """Keeps what is written; the peer is this process."""

    disconnecting = False

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        self.written += data

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        self.written += b"".join(data)

    def loseConnection(self) -> None:
        """Nothing: there is no connection."""

    def abortConnection(self) -> None:
        """Nothing: there is no connection."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Nothing: memory is never full."""

    def unregisterProducer(self) -> None:
        """Nothing: memory is never full."""

    def pauseProducing(self) -> None:
        """Nothing: nobody sends."""

    def resumeProducing(self) -> None:
        """Nothing: nobody sends."""

    def stopProducing(self) -> None:
        """Nothing: nobody sends."""

    def getPeer(self) -> IPv4Address:
        """See `ITransport`."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    def getHost(self) -> IPv4Address:
        """See `ITransport`."""
        return IPv4Address("TCP", "127.0.0.1", 0)


def websocket_opens(listener: Listener) -> bool:
    """Whether an upgrade request to this listener gets as far as an open stream; begins no visit."""
    opened: list[object] = []
    connection = ClientConnection(
        replace(
            listener,
            open_console=lambda _, stream: opened.append(stream),
            trusted_proxies=lambda _: False,
            waiting_room=WaitingRoom(),
        ),
        "probe",
    )
    transport = MemoryTransport()
    connection.makeConnection(transport)
    connection.dataReceived(_REQUEST)
    connection.connectionLost(Failure(ConnectionDone()))
    return bool(opened) and transport.written.startswith(b"HTTP/1.1 101 ") and _ACCEPTED in transport.written
