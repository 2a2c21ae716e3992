"""Sockets that listen, bound before anything else starts: a port that is taken must not leave a service half alive."""

import contextlib
import os
import socket
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from rfbproxy.address import Address
from rfbproxy.errors import ConfigError
from rfbproxy.interactive import make_interactive
from rfbproxy.prompt import PromptServer, PromptUnixServer
from rfbproxy.systemd import HandedOver

BACKLOG = 1024
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

_log = Logger()


@dataclass(frozen=True, slots=True)
class Place:
    """A listening socket, and whether it was handed over by whoever started this program."""

    socket: socket.socket
    address: Address
    handed_over: bool = False
    listener: str = field(default="", compare=False)  # the name of the one that it serves

    def open(self, factory: IProtocolFactory, reactor: Any) -> IListeningPort:
        """Accept clients, whose sockets are set up as this one is from now on."""
        make_interactive(self.socket)
        if self.address.path is not None:
            port: IListeningPort = _UnixPort(self, factory, reactor)
            port.startListening()
        else:
            port = reactor.adoptStreamPort(self.socket.fileno(), self.socket.family, factory)
            cast(Any, port).transport = PromptServer
            self.socket.close()
        return port


def places(
    wanted: Mapping[str, Sequence[Address]],
    handed_over: Sequence[HandedOver] = (),
    *,
    unix_mode: int = 0o660,
    prefer_ipv6: bool = False,
    unasked: Collection[str] = (),
) -> tuple[list[Place], list[Place]]:
    """All sockets of the listeners, bound or handed over, and those handed over that are nobody's.

    A socket with a listener's name serves it in place of all its addresses, any other in place of its own address.

    Args:
        wanted: the addresses of each listener by its name.
        handed_over: what systemd has bound.
        unix_mode: of UNIX sockets that are made here.
        prefer_ipv6: whether a name means its IPv6 address.
        unasked: listeners that nobody asked for by an option: where they cannot listen they do without, with a warning.

    Raises:
        ConfigError: an address cannot be listened on; nothing is then.
    """
    given = [(each.name, Place(each.socket, _address_of(each.socket), handed_over=True)) for each in handed_over]
    found: list[Place] = []
    try:
        for name, addresses in wanted.items():
            if named := [place for its_name, place in given if its_name == name]:
                found += [replace(place, listener=name) for place in named]
                continue
            for address in addresses:
                known = next((place for _, place in given if place not in found and _serves(place, address)), None)
                try:
                    place = known or listen(address, unix_mode=unix_mode, prefer_ipv6=prefer_ipv6)
                except ConfigError as error:
                    if name not in unasked:
                        raise
                    _log.warn("no {name}: {error}", name=name, error=error)
                    continue
                found.append(replace(place, listener=name))
    except ConfigError:
        close(place for place in found if not place.handed_over)
        raise
    return found, [place for _, place in given if place not in found]


def close(unused: Iterable[Place]) -> None:
    """Listen on these no more."""
    for place in unused:
        place.socket.close()
        if place.address.path is not None and not place.handed_over:
            Path(place.address.path).unlink(missing_ok=True)


def listen(address: Address, *, unix_mode: int = 0o660, prefer_ipv6: bool = False) -> Place:
    """Bind and listen; `::` accepts IPv4 too.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        if address.path is not None:
            return Place(_listen_unix(address.path, unix_mode), address)
        listening = _listen_tcp(address, prefer_ipv6=prefer_ipv6)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address}: {error.strerror or error}") from error
    return Place(listening, _address_of(listening))


def _listen_tcp(address: Address, *, prefer_ipv6: bool) -> socket.socket:
    found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if prefer_ipv6:
        found.sort(key=lambda entry: entry[0] != socket.AF_INET6)
    family, kind, protocol, _, where = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(where)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _listen_unix(path: str, mode: int) -> socket.socket:
    """Replace a socket that nobody listens on any more; anything else at the path stays, and is an error."""
    if _is_stale(path):
        Path(path).unlink()
    listening = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o777 & ~mode)
    try:
        listening.bind(path)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(mask)
    return listening


def _is_stale(path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    return True
    return False


def _address_of(listening: socket.socket) -> Address:
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return Address(path=os.fsdecode(name))
    host, port, *more = name
    zone = more[1] if more else 0
    return Address(f"{host}%{socket.if_indextoname(zone)}" if zone and "%" not in host else host, port)


def _serves(place: Place, address: Address) -> bool:
    """Whether a socket that was handed over is what a listener would have bound; systemd binds `::` for a bare port."""
    there = place.address
    if address.path is not None or there.path is not None:
        return address.path == there.path
    if address.port != there.port:
        return False
    if address.host in _EVERYWHERE:
        return there.host in (address.host, "::")
    try:
        return ip_address(address.host) == ip_address(there.host)
    except ValueError:
        return there.host in _hosts_of(address.host)


def _hosts_of(name: str) -> set[object]:
    try:
        return {entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


class _UnixPort(unix.Port):
    """A UNIX socket bound before: it keeps its mode, and its path if somebody else made it.

    Others may listen on it too, so it is not shut down.
    """

    transport = PromptUnixServer

    def __init__(self, place: Place, factory: IProtocolFactory, reactor: Any) -> None:
        path = place.address.path or ""
        mode = 0 if path.startswith("\0") else stat.S_IMODE(Path(path).stat().st_mode)  # abstract ones have none
        super().__init__(os.fsencode(path), factory, BACKLOG, mode, reactor)
        self._preexistingSocket = place.socket
        self._shouldShutdown = False
        self._keeps_path = place.handed_over

    def connectionLost(self, reason: Failure) -> None:
        if self._keeps_path:
            tcp.Port.connectionLost(self, reason)
        else:
            super().connectionLost(reason)
