"""SPICE without WebSocket: native viewers, which begin with a link message, and those inside a CONNECT."""

from typing import Any, cast

from twisted.internet.interfaces import IHalfCloseableProtocol, IOpenSSLServerConnectionCreator, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.client.connect import ConnectStream
from rfbproxy.client.raw import RawStream
from rfbproxy.client.tls import TLS_HANDSHAKE, inside_tls

WAY_IN = "spice"
EARLY_LIMIT = 65536  # bytes before the answer to a CONNECT

_log = Logger()


class NativeSpiceStream(RawStream):
    """A native viewer, whose token is its SPICE password."""

    @property
    def token_inside(self) -> bool:
        """See `ClientStream.token_inside`."""
        return True


@implementer(IHalfCloseableProtocol)
class Tunnel(Protocol):
    """What follows a CONNECT: SPICE, or TLS with SPICE inside; the first byte tells.

    Args:
        stream: of the client; it is outside of TLS until its CONNECT is answered, which nothing inside overtakes.
        tls: None: there is no certificate.
    """

    def __init__(self, stream: ConnectStream, tls: IOpenSSLServerConnectionCreator | None, clock: IReactorTime) -> None:
        self._stream = stream
        self._tls = tls
        self._clock = clock
        self._inside: IProtocol = stream.protocol
        self._is_decided = False
        self._early = b""  # what came before the answer
        stream.on_accept = self._accepted

    def connectionMade(self) -> None:
        """Let the stream have the connection."""
        self._inside.makeConnection(cast(Any, self.transport))

    def dataReceived(self, data: bytes) -> None:
        """Pass on, into TLS if that is what the client begins with."""
        if not self._stream.is_accepted:
            self._early += data
            if len(self._early) > EARLY_LIMIT:
                _log.info("a viewer sends too much before its CONNECT is answered")
                self._stream.abort()
            return
        if data and not self._is_decided:
            self._is_decided = True
            if data[0] == TLS_HANDSHAKE and not self._start_tls():
                return
        self._inside.dataReceived(data)

    def readConnectionLost(self) -> None:
        """Pass on; TLS has no halves."""
        if IHalfCloseableProtocol.providedBy(self._inside):
            self._inside.readConnectionLost()
        else:
            cast(Any, self.transport).loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing: this side closed its sending half itself."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Pass on."""
        self._inside.connectionLost(reason)

    def _accepted(self) -> None:
        early, self._early = self._early, b""
        if early:
            self.dataReceived(early)

    def _start_tls(self) -> bool:
        """Put TLS between; says whether that can be."""
        if self._tls is None:
            _log.info("a viewer wants TLS inside its CONNECT, and there is no certificate")
            self._stream.abort()
            return False
        self._stream.inside_tls = True
        self._inside = inside_tls(self._stream.protocol, self._tls, self._clock)
        self._inside.makeConnection(cast(Any, self.transport))
        return True
