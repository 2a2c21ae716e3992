"""What systemd and this program tell each other: sockets handed over (sd_listen_fds(3)), and sd_notify(3)."""

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A listening socket that somebody else bound, and the name he gave it; "" is none."""

    name: str
    socket: socket.socket


def take_sockets() -> list[HandedOver]:
    """The sockets that are meant for this process; what told of them is removed, so that no child believes it too."""
    told = _environment_at_start()
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    count = told.get("LISTEN_FDS", "")
    if told.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    named = told.get("LISTEN_FDNAMES", "").split(":")
    taken = []
    for index in range(int(count)):
        handed_over = socket.socket(fileno=FIRST_DESCRIPTOR + index)
        handed_over.set_inheritable(False)
        handed_over.setblocking(False)
        taken.append(HandedOver(named[index] if index < len(named) else "", handed_over))
    return taken


def _environment_at_start() -> dict[str, str]:
    """Twisted has taken `LISTEN_FDS` out of the present one when it was imported, for an endpoint of its own."""
    try:
        started_with = os.fsdecode(Path("/proc/self/environ").read_bytes())
    except OSError:
        return dict(os.environ)
    return dict(entry.partition("=")[::2] for entry in started_with.split("\0"))


def watchdog_s() -> float | None:
    """Seconds after which this process is taken for hanging unless it tells otherwise (sd_watchdog_enabled(3))."""
    told, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not told.isdecimal() or int(told) == 0 or process not in (None, str(os.getpid())):
        return None
    return int(told) / 1_000_000


def notify(state: str) -> None:
    """Tell systemd how this service is, such as `READY=1`; nothing where nobody asked to be told."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    if state == "RELOADING=1":
        state += f"\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
    path = "\0" + where[1:] if where.startswith("@") else where
    # Whoever asked may have gone, and there may be no descriptor free.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
        telling.sendto(state.encode(), path)
