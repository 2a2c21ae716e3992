"""The kinds of ends that a socket pump has where the sockets carry bare bytes: each reads, and the other end sends."""

from typing import cast

from rfbproxy.loan import Framed, Loan
from rfbproxy.session.attention import attention
from rfbproxy.session.flow import Flow
from rfbproxy.session.pipes import SIZE as PIPE_SIZE
from rfbproxy.session.pipes import Pipe, pipes
from rfbproxy.session.socket_end import End, Pump
from rfbproxy.websocket import WebSocketError

READ_SIZE = 64 * 1024  # bytes; where a read gets as many, many come
COPY_SIZE = 256 * 1024  # bytes of a turn in bulk without a pipe
FRAMES_SIZE = 8 * 1024  # bytes of a turn whose frames are short, each of which costs time
RECORDS_SIZE = READ_SIZE - 4  # bytes that with the head of their frame fill whole TLS records (RFC 8446 section 5.1)
BULK_LEAST = 32 * 1024  # bytes; where a turn in bulk gets fewer, small reads cost less

buffer = memoryview(bytearray(COPY_SIZE))  # of whichever end has its turn; nothing stays in it
_short_buffer = buffer[:READ_SIZE]
_records_buffer = buffer[:RECORDS_SIZE]
_frames_buffer = buffer[:FRAMES_SIZE]


class CopyingEnd(End):
    """One whose bytes nobody looks at, and which are inside TLS here or at the other end."""

    __slots__ = ()

    def _read(self) -> None:
        data = self._receive(_records_buffer)
        if len(data) < BULK_LEAST:
            attention.little_turn(id(self._pump))
        self._flow.relayed += len(data)
        if data:
            self._other.send(data)
        else:
            self._pump.give_back()


class OpenEnd(End):
    """One whose bytes nobody looks at: while many come, the kernel moves them by itself."""

    __slots__ = ("_is_bulk",)

    def __init__(self, pump: Pump, loan: Loan, flow: Flow) -> None:
        super().__init__(pump, loan, flow)
        self._is_bulk = False

    def _read(self) -> None:
        if not self._is_bulk:
            attention.little_turn(id(self._pump))
            self._is_bulk = self._move(READ_SIZE) == READ_SIZE
            return
        left = attention.bulk_size(id(self._pump))
        while left and not self._paused and not self._pump.over:
            size = self._move(min(left, PIPE_SIZE))
            self._is_bulk = size >= BULK_LEAST
            left = left - size if size == PIPE_SIZE else 0  # where it got less, it has got all

    def _move(self, most: int) -> int:
        """Pass on up to `most` bytes; says how many, 0 at the stream's end."""
        pipe = pipes.take() if self._is_bulk else None
        size = self._copy(buffer[:most]) if pipe is None else self._splice(pipe, most)
        self._flow.relayed += size
        if not size:
            self._pump.give_back()
        return size

    def _copy(self, room: memoryview) -> int:
        size = self._socket.recv_into(room)
        if size:
            self._other.send(room[:size])
        return size

    def _splice(self, pipe: Pipe, most: int) -> int:
        size = 0
        try:
            size = pipe.fill(self.fileno(), most)
        finally:
            if not size:
                pipes.put_back(pipe)
        if size:
            self._other.send_pipe(pipe, size)
        return size


class WatchedEnd(End):
    """One whose messages are followed."""

    __slots__ = ()

    def _read(self) -> None:
        attention.little_turn(id(self._pump))
        data = self._receive(_short_buffer)
        if data:
            self._pass_on(bytes(data))
        else:
            self._pump.give_back()

    def _pass_on(self, data: bytes) -> None:
        flow = self._flow
        passed = flow.filtered(data)  # in which may be what ends the relay
        if not passed:
            return
        if self._pump.over or flow.is_cut:
            flow.pass_on(passed)
        else:
            flow.relayed += len(passed)
            self._other.send(passed)


class FramedEnd(WatchedEnd):
    """One whose messages come in WebSocket frames."""

    __slots__ = ("_framed", "_room")

    def __init__(self, pump: Pump, loan: Loan, flow: Flow) -> None:
        super().__init__(pump, loan, flow)
        self._framed = cast(Framed, loan.framed)
        self._room = _frames_buffer

    def _read(self) -> None:
        attention.little_turn(id(self._pump))
        received = self._receive(self._room)
        size = len(received)
        if not size:
            self._pump.give_back()
            return
        framed = self._framed
        try:
            pieces = framed.frames.receive(received)
        except WebSocketError as error:
            self._pump.give_back()
            framed.received(error.before)
            framed.broke(error)
            return
        data = b"".join(pieces)
        self._room = _short_buffer if (size - len(data)) * 16 < size else _frames_buffer
        if data:
            self._pass_on(data)
        if framed.frames.controls:
            framed.received(())
