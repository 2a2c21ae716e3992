"""A network of the run's own, in which TCP is as Linux has it and not as this system's administrator wants it.

BBR for example spaces by timers what goes over loopback: then it is these timers that are measured, whatever the proxy.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from pathlib import Path

CONGESTION_CONTROL = "cubic"  # what Linux has by itself

_CLONE_NEWNET = 0x40000000  # sched.h
_SIOCSIFFLAGS = 0x8914  # linux/sockios.h
_IFF_UP = 1  # linux/if.h
_IN_USE = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def enter() -> bool:
    """Let this process, and programs started from now on, have nothing but a loopback interface of their own.

    Says whether: only root may. Else the system's own network serves.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        return False
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    _IN_USE.write_text(CONGESTION_CONTROL)
    return True


def described() -> str:
    """How TCP is here."""
    return f"{_IN_USE.read_text().strip()} as TCP's congestion control"
