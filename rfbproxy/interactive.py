"""How sockets are set up for somebody who types, in a session that may be silent for hours."""

import socket

# Seconds of silence before a peer is probed, between probes, and probes without an answer before it is gone (tcp(7)).
_KEEPALIVE = {socket.TCP_KEEPIDLE: 25, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}


def make_interactive(sock: socket.socket) -> None:
    """Send small writes at once, and notice within about a minute that a silent peer has vanished.

    A socket has this from the listening one that it comes from, if that had it when the peer connected.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def is_interactive(sock: socket.socket) -> bool:
    """Whether it was set up so."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
