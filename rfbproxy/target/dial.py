"""Reaching a target, within one deadline.

An address is connected to at once; of a name every address is tried, IPv6 and IPv4 at once (RFC 8305).
"""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from rfbproxy.congestion import send_unpaced_within_machine
from rfbproxy.interactive import make_interactive
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.target.attempt import connect
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
        address = _literal(host)
        where = address_text(address or repr(host)[1:-1], port)
        try:
            if address is not None:
                return await connect(self._reactor, address, port, self._connect_timeout_s)
            return await self._connect(host, port)
        except (DeferredTimeout, ConnectTimeoutError) as error:
            raise self._unreachable(where, f"no answer within {self._connect_timeout_s:g} s") from error
        except (ConnectError, DNSLookupError, OSError, OverflowError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._unreachable(where, why) from error

    async def _connect(self, name: str, port: int) -> TransportStream:
        endpoint = HostnameEndpoint(self._reactor, name, port, timeout=self._connect_timeout_s)
        connecting = endpoint.connect(_StreamFactory(self._reactor))
        connecting.addTimeout(self._connect_timeout_s, self._reactor, _too_late)
        stream = cast(StreamProtocol, await connecting).stream
        transport = cast(Any, stream.protocol.transport)
        # Not through the endpoint's wrapper, which of half-close and the end of a TLS handshake tells only the latter.
        transport.protocol = stream.protocol
        make_interactive(transport.getHandle())
        send_unpaced_within_machine(transport.getHandle())
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


@lru_cache(maxsize=1024)
def _literal(host: str) -> str | None:
    """An address, without the brackets that people write around IPv6; None: it is a name."""
    try:
        return str(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        return None


def _too_late(_: object, timeout_s: float) -> Failure:
    """The endpoint fails in several ways when it is cancelled; all mean the same here."""
    return Failure(DeferredTimeout(timeout_s))


def _unreachable(where: str, why: str) -> Refused:
    return Refused(CloseReason.TARGET_UNREACHABLE, f"target {where} is unreachable: {why}")
