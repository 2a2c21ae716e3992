"""Reaching a target: every address of its name is tried, IPv6 and IPv4 at once (RFC 8305), within one deadline."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.transport import StreamProtocol, TransportStream


def address_text(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 literal."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Dialler:
    """Connects to targets; names are resolved in the reactor's own, bounded thread pool.

    Args:
        failed: told of every target that cannot be reached.
    """

    def __init__(
        self, reactor: IReactorTime, connect_timeout_s: float, failed: Callable[[], None] = lambda: None
    ) -> None:
        self._reactor = reactor
        self._connect_timeout_s = connect_timeout_s
        self._failed = failed

    async def dial(self, host: str, port: int) -> TransportStream:
        """Connect, with TCP_NODELAY and keepalive.

        Raises:
            Refused: target-unreachable; the detail says which address and why.
        """
        host = _literal(host)
        where = address_text(repr(host)[1:-1], port)
        try:
            kind = TCP6ClientEndpoint if "%" in host else HostnameEndpoint  # which loses an IPv6 address's zone
            endpoint = kind(self._reactor, host, port, timeout=self._connect_timeout_s)
            connecting = endpoint.connect(_StreamFactory(self._reactor))
            connecting.addTimeout(self._connect_timeout_s, self._reactor, _too_late)
            protocol = await connecting
        except (DeferredTimeout, ConnectTimeoutError) as error:
            raise self._unreachable(where, f"no answer within {self._connect_timeout_s:g} s") from error
        except (ConnectError, DNSLookupError, OSError, OverflowError, ValueError) as error:
            raise self._unreachable(where, str(error) or type(error).__name__) from error
        stream = cast(StreamProtocol, protocol).stream
        # Not through the endpoint's wrapper, which of half-close and the end of a TLS handshake tells only the latter.
        cast(Any, stream.protocol.transport).protocol = stream.protocol
        return stream

    def _unreachable(self, where: str, why: str) -> Refused:
        self._failed()
        return _unreachable(where, why)


class _StreamFactory(Factory):
    """One stream for every attempt that connects; the endpoint keeps one of them."""

    noisy = False

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol:
        return TransportStream(self._clock).protocol


def _literal(host: str) -> str:
    """An IPv6 literal without the brackets that people write around it."""
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(bare))
    except ValueError:
        return host


def _too_late(_: object, timeout_s: float) -> Failure:
    """The endpoint fails in several ways when it is cancelled; all mean the same here."""
    return Failure(DeferredTimeout(timeout_s))


def _unreachable(where: str, why: str) -> Refused:
    return Refused(CloseReason.TARGET_UNREACHABLE, f"target {where} is unreachable: {why}")
