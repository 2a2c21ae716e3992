"""Native VNC viewers: raw RFB from the first byte, with TLS and the token inside it (VeNCrypt)."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.client.listener import Listener
from rfbproxy.client.proxy_protocol import ProxyHeader, ProxyHeaderReader
from rfbproxy.client.raw import RawStream
from rfbproxy.client.request import ConsoleRequest
from rfbproxy.client.waiting_room import Place, crowd_out
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.stream import TlsSide

WAY_IN = "rfb"
PREFACE_PATIENCE_S = 1.0  # for a trusted proxy to say who its client is; the client itself waits for the greeting

_log = Logger()


class NativeStream(RawStream):
    """A viewer that gives its token inside the handshake."""

    def __init__(self, clock: IReactorTime, tls: TlsSide) -> None:
        super().__init__(clock)
        self.inner_tls = tls
        self.silent = True


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class NativeConnection(Protocol):
    """One viewer, perhaps behind a load balancer.

    Args:
        gone: told when the connection is lost.
    """

    has_console = True

    def __init__(self, listener: Listener, source: str, gone: Callable[["NativeConnection"], None]) -> None:
        self._listener = listener
        self._source = source
        self._gone = gone
        self._place = Place(listener.waiting_room, self.abort)
        self._preface = ProxyHeaderReader() if listener.trusted_proxies(source) else None
        self._preface_begun = False
        self._patience: IDelayedCall | None = None
        self._stream: NativeStream | None = None

    def connectionMade(self) -> None:
        """Begin, unless a load balancer may have something to say first."""
        self._place.take(None if self._preface is not None else self._source)
        if self._preface is None:
            self._open()
        else:
            self._patience = self._listener.clock.callLater(PREFACE_PATIENCE_S, self._open)

    def dataReceived(self, data: bytes) -> None:
        """Pass on."""
        if self._stream is not None:
            self._stream.silent = False
            self._stream.protocol.dataReceived(data)
        elif self._preface is not None:
            self._read_preface(self._preface, data)

    def handshakeCompleted(self) -> None:
        """Pass on."""
        if self._stream is not None:
            self._stream.protocol.handshakeCompleted()

    def readConnectionLost(self) -> None:
        """Pass on."""
        if self._stream is not None:
            self._stream.protocol.readConnectionLost()
        else:
            self.abort()

    def writeConnectionLost(self) -> None:
        """Nothing: this side closed its sending half itself."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Pass on."""
        self._stop_waiting()
        self._place.leave()
        if self._stream is not None:
            self._stream.protocol.connectionLost(reason)
        self._gone(self)

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            cast(Any, self.transport).abortConnection()

    def _read_preface(self, preface: ProxyHeaderReader, data: bytes) -> None:
        try:
            for header in preface.receive_data(data):
                self._source = cast(ProxyHeader, header).source or self._source
        except RemoteProtocolError as error:
            _log.info("{source}: {error}", source=self._source, error=error)
            self.abort()
            return
        if preface.finished:
            self._place.take(self._source)
            self._open(preface.unread())
        elif not self._preface_begun:  # the greeting does not stop it any more
            self._preface_begun = True
            self._stop_waiting()
            self._patience = self._listener.clock.callLater(self._listener.head_timeout_s, self.abort)

    def _open(self, data: bytes = b"") -> None:
        self._stop_waiting()
        self._preface = None
        tls = cast(TlsSide, self._listener.tls)  # no listener for native viewers is made without
        self._stream = stream = NativeStream(self._listener.clock, tls)
        stream.protocol.makeConnection(cast(Any, self.transport))
        stream.on_authorised = self._place.leave
        self._place.drop = partial(crowd_out, stream)
        self._listener.open_console(ConsoleRequest(WAY_IN, self._source, token=None, encrypted=True), stream)
        if data:
            self.dataReceived(data)

    def _stop_waiting(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
