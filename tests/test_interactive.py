import socket
from contextlib import closing

from rfbproxy.interactive import make_interactive


def is_interactive(sock):
    """Whether small writes go at once, and a peer that vanishes is noticed within about a minute."""
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    idle, interval, count = (sock.getsockopt(socket.IPPROTO_TCP, name) for name in names)
    at_once = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    probed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return bool(at_once and probed and 30 <= idle + interval * count <= 60)


def test_a_tcp_socket():
    for family in (socket.AF_INET, socket.AF_INET6):
        with closing(socket.socket(family)) as sock:
            assert not is_interactive(sock)
            make_interactive(sock)
            assert is_interactive(sock)


def test_a_unix_socket_has_no_such_options():
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        make_interactive(sock)
