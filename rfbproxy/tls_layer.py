"""What Twisted's TLS keeps to itself, for whoever moves the bytes of a connection in its stead for a while.

All that is used of it and is not public stands here. It was written for Twisted 24.7 to 26.10; where a Twisted is
different (`is_known`), its TLS is left alone.
"""

from socket import MSG_PEEK
from typing import Any

from OpenSSL import SSL
from twisted.internet.tcp import Connection
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

_USED = (
    "_aborted",
    "_appSendBuffer",
    "_flushReceiveBIO",
    "_handshakeDone",
    "_lostTLSConnection",
    "_producer",
    "_tlsShutdownFinished",
)


class TlsLayer:
    """The TLS that is around a protocol, between it and a socket's transport.

    Attributes:
        wire: the transport that carries the records.
    """

    __slots__ = ("_protocol", "wire")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol  # a TLSMemoryBIOProtocol
        self.wire: Any = protocol.transport

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's, of memory BIOs; Twisted lets it go, with all its memory, as soon as it is lost."""
        connection: SSL.Connection = self._protocol.getHandle()
        return connection

    @property
    def producer(self) -> Any:
        """The producer that was registered; None: there is none."""
        membrane = self._protocol._producer
        return None if membrane is None else membrane._producer

    def is_still(self) -> bool:
        """Send what was gathered, and say whether there is nothing else to do: to send, to read, or to end."""
        protocol = self._protocol
        if isinstance(protocol, BufferingTLSTransport):
            protocol._aggregator.flush()
        if not protocol._handshakeDone or protocol._appSendBuffer or self._is_congested() or self._ends():
            return False
        try:
            self.connection.recv(1, MSG_PEEK)
        except SSL.WantReadError:
            return True
        except SSL.Error:
            self.fail(Failure())
        return False

    def _is_congested(self) -> bool:
        membrane = self._protocol._producer
        return membrane is not None and membrane._producerPaused

    def _ends(self) -> bool:
        protocol = self._protocol
        return bool(
            protocol.disconnecting or protocol._aborted or protocol._lostTLSConnection or self.connection.get_shutdown()
        )

    def fail(self, failure: Failure) -> None:
        """End the connection because of what OpenSSL has raised, as if Twisted had met it."""
        if self._protocol._lostTLSConnection:
            return
        if failure.check(SSL.ZeroReturnError):  # which it raises again
            self._protocol._flushReceiveBIO()
        else:
            self._protocol._tlsShutdownFinished(failure)


def is_known(protocol: Any) -> bool:
    """Whether it is a TLS of Twisted's whose inside is as it was when this was written."""
    if type(protocol) is BufferingTLSTransport:
        return _has(protocol, *_USED, "_aggregator") and _has(protocol._aggregator, "flush")
    return type(protocol) is TLSMemoryBIOProtocol and _has(protocol, *_USED)


def _has(thing: Any, *names: str) -> bool:
    return all(hasattr(thing, name) for name in names)


def layer_of(transport: Any) -> TlsLayer | None:
    """The TLS that a protocol with this transport is inside; None: there is none, or none that is known, or no socket.

    It is the transport itself, or where it began in the middle of a connection, between the transport and its protocol.
    """
    if isinstance(transport, Connection):
        protocol = getattr(transport, "protocol", None) if transport.TLS else None  # a lost one has none
    elif isinstance(getattr(transport, "transport", None), Connection) and not transport.transport.TLS:
        protocol = transport
    else:
        return None
    return TlsLayer(protocol) if is_known(protocol) else None
