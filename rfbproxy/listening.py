"""Sockets that listen, bound before anything else starts: a port that is taken must not leave a service half alive."""

import contextlib
import os
import socket
import stat
from pathlib import Path

from rfbproxy.config import Address
from rfbproxy.errors import ConfigError

BACKLOG = 1024


def listen(address: Address, *, unix_mode: int = 0o660) -> socket.socket:
    """A listening socket; `::` accepts IPv4 too.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        return _listen_unix(address.path, unix_mode) if address.path is not None else _listen_tcp(address)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address}: {error.strerror or error}") from error


def _listen_tcp(address: Address) -> socket.socket:
    found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
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
