"""Pipes, through which the kernel moves bytes from socket to socket without showing them.

A pipe is taken for one turn, and kept for longer only while a sink does not take what is in it; so a few serve all
sessions.
"""

import contextlib
import fcntl
import os
from typing import NamedTuple

SIZE = 256 * 1024  # bytes; where the system gives less, a turn moves less
CAN_SPLICE = hasattr(os, "splice")

_IDLE_LIMIT = 8  # pipes that nobody uses
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK if CAN_SPLICE else 0

_idle: list["Pipe"] = []


class Pipe(NamedTuple):
    """One pipe, by the descriptors of its ends."""

    reading: int
    writing: int

    def fill(self, descriptor: int) -> int:
        """Move what a socket has received into the pipe; says how many bytes, 0 at the stream's end."""
        return os.splice(descriptor, self.writing, SIZE, flags=_FLAGS)

    def empty(self, descriptor: int, size: int) -> int:
        """Send `size` bytes of the pipe, or as many as the socket takes; says how many."""
        return os.splice(self.reading, descriptor, size, flags=_FLAGS)

    def read(self, size: int) -> bytes:
        """Take `size` bytes out, which are in it."""
        pieces = []
        while size:
            pieces.append(os.read(self.reading, size))
            size -= len(pieces[-1])
        return b"".join(pieces)


def take() -> Pipe | None:
    """An empty pipe; None where the system has none, or cannot splice."""
    if _idle:
        return _idle.pop()
    if not CAN_SPLICE:
        return None
    try:
        pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:  # no descriptors are left
        return None
    with contextlib.suppress(OSError):  # a user's pipes share a limit (pipe(7), pipe-user-pages-soft)
        fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, SIZE)
    return pipe


def put_back(pipe: Pipe) -> None:
    """Have an empty pipe for the next one."""
    if len(_idle) < _IDLE_LIMIT:
        _idle.append(pipe)
    else:
        for descriptor in pipe:
            os.close(descriptor)
