"""Pipes, through which the kernel moves bytes from socket to socket without showing them.

A pipe is taken for one turn, and kept for longer only while a sink does not take what is in it; so few serve all
sessions.
"""

import fcntl
import os
from typing import NamedTuple

SIZE = 1024 * 1024  # bytes; with a fourth of it, copying is as fast
LIMIT = 32  # pipes of this process: what they hold counts for all processes of a user (pipe(7))
IDLE_LIMIT = 4  # that are kept for the next turn

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK if hasattr(os, "splice") else None


class Pipe(NamedTuple):
    """One pipe, by the descriptors of its ends."""

    reading: int
    writing: int

    def fill(self, descriptor: int, most: int) -> int:
        """Move up to `most` bytes that a socket has received into the pipe; says how many, 0 at the stream's end."""
        return os.splice(descriptor, self.writing, min(most, SIZE), flags=_FLAGS or 0)

    def empty(self, descriptor: int, size: int) -> int:
        """Send `size` bytes of the pipe, or as many as the socket takes; says how many."""
        return os.splice(self.reading, descriptor, size, flags=_FLAGS or 0)

    def read(self, size: int) -> bytes:
        """Take `size` bytes out, which are in it."""
        pieces = []
        while size:
            pieces.append(os.read(self.reading, size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        """Have it no more."""
        os.close(self.reading)
        os.close(self.writing)


class Pipes:
    """The pipes of this process."""

    __slots__ = ("_idle", "_taken")

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._taken = 0

    def take(self) -> Pipe | None:
        """An empty pipe; None where there is none, or none that is large enough to be worth it."""
        pipe = self._idle.pop() if self._idle else self._make()
        self._taken += pipe is not None
        return pipe

    def put_back(self, pipe: Pipe) -> None:
        """Have an empty pipe for the next turn."""
        self._taken -= 1
        if len(self._idle) < IDLE_LIMIT:
            self._idle.append(pipe)
        else:
            pipe.close()

    def _make(self) -> Pipe | None:
        if _FLAGS is None or self._taken >= LIMIT:
            return None
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:  # no descriptors are left
            return None
        try:
            fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, SIZE)
        except OSError:  # the user has too many, or the system's greatest is smaller (pipe(7))
            pipe.close()
            return None
        return pipe


pipes = Pipes()
