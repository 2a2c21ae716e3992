"""TCP between two ends of this machine, where nothing is ever congested.

BBR, which operators choose for clients that are far away, spaces what it sends by timers (`net/ipv4/tcp_bbr.c`,
`tcp_output.c`). To a load balancer on the same machine that is waste, and costs more than all else about a relay.
"""

import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

_SYSTEM = Path("/proc/sys/net/ipv4/tcp_congestion_control")
_PACING = ("bbr",)  # the beginnings of names
_UNPACED = b"reno"  # which every Linux has, and lets everybody choose


@cache
def system_paces() -> bool:
    """Whether this system's connections are spaced by timers unless they ask for something else."""
    with suppress(OSError):
        return _SYSTEM.read_text().startswith(_PACING)
    return False


def send_unpaced_within_machine(connection: socket.socket) -> None:
    """Have a TCP connection send without timers if both its ends have one address."""
    if system_paces():
        with suppress(OSError):  # it is lost already, or the system forbids it
            if connection.getsockname()[0] == connection.getpeername()[0]:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _UNPACED)
