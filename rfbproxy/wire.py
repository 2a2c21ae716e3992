"""What generator parsers pull bytes from.

A conversation with one peer is a generator: it asks the `Reader` for bytes, and `yield` means "feed me". So the order
of the spec stays on the page, and a short read cannot be got wrong. Nothing here does I/O.
"""

from collections.abc import Generator
from struct import Struct
from typing import TypeVar

from rfbproxy.errors import RemoteProtocolError

T = TypeVar("T")
Reading = Generator[None, None, T]

_U16 = Struct("!H")
_U32 = Struct("!I")


class EndOfStream(RemoteProtocolError):
    """The peer closed while bytes were still due."""


class Reader:
    """A buffer that a parser reads from in order, all numbers big-endian (RFC 6143 section 7)."""

    __slots__ = ("_buffer", "_ended")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes of the peer."""
        self._buffer += data

    def feed_eof(self) -> None:
        """The peer will send nothing more."""
        self._ended = True

    def take(self, size: int) -> Reading[bytes]:
        """Exactly `size` bytes; the caller has judged `size` against its limit.

        Raises:
            EndOfStream: the peer closed before.
        """
        buffer = self._buffer
        while len(buffer) < size:
            if self._ended:
                raise EndOfStream(f"closed after {len(buffer)} of {size} bytes")
            yield
        data = bytes(buffer[:size])
        del buffer[:size]
        return data

    def take_some(self, most: int) -> Reading[bytes]:
        """What is there: at least one byte, and at most `most`.

        Raises:
            EndOfStream: the peer closed before.
        """
        buffer = self._buffer
        while not buffer:
            if self._ended:
                raise EndOfStream("closed after 0 of 1 bytes")
            yield
        data = bytes(buffer[:most])
        del buffer[:most]
        return data

    def take_until(self, end: bytes, limit: int) -> Reading[bytes]:
        """Everything up to and including `end`, at most `limit` bytes.

        Raises:
            RemoteProtocolError: `end` did not come within `limit` bytes.
            EndOfStream: the peer closed before.
        """
        buffer = self._buffer
        searched = 0
        while (found := buffer.find(end, searched, limit)) < 0:
            if len(buffer) >= limit:
                raise RemoteProtocolError(f"no {end!r} within {limit} bytes")
            if self._ended:
                raise EndOfStream(f"closed after {len(buffer)} bytes, before {end!r}")
            searched = max(0, len(buffer) - len(end) + 1)
            yield
        size = found + len(end)
        data = bytes(buffer[:size])
        del buffer[:size]
        return data

    def begins_with(self, start: bytes) -> Reading[bool]:
        """Whether the next bytes are `start`, which stay unread; told at the first byte that differs."""
        while not self._buffer.startswith(start):
            if self._ended or not start.startswith(self._buffer):
                return False
            yield
        return True

    def u8(self) -> Reading[int]:
        """One unsigned byte."""
        return (yield from self.take(1))[0]

    def u16(self) -> Reading[int]:
        """An unsigned 16-bit number."""
        return int(_U16.unpack((yield from self.take(2)))[0])

    def u32(self) -> Reading[int]:
        """An unsigned 32-bit number."""
        return int(_U32.unpack((yield from self.take(4)))[0])

    def unread(self) -> bytes:
        """Hand over all that no parser asked for, and keep nothing."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


class Conversation:
    """One peer speaking in a fixed order: bytes in, meanings and owed bytes out.

    Subclasses write `_converse`, a generator over `self._reader`, which reports what happened with `_event` and answers
    the peer with `_send`. Where it waits for this side, it yields until that is so, and whoever makes it so calls
    `_advance`. After an error the conversation is over: every later call raises it again.
    """

    def __init__(self) -> None:
        self._reader = Reader()
        self._owed = bytearray()
        self._events: list[object] = []
        self._script = self._converse()
        self._error: RemoteProtocolError | None = None
        self.finished = False
        self._advance()

    def _converse(self) -> Reading[None]:
        raise NotImplementedError

    def _event(self, event: object) -> None:
        self._events.append(event)

    def _send(self, data: bytes) -> None:
        self._owed += data

    def _advance(self) -> None:
        if self.finished:
            return
        try:
            next(self._script)
        except StopIteration:
            self.finished = True
        except RemoteProtocolError as error:
            self._error = error
            self.finished = True
            raise

    def receive_data(self, data: bytes) -> list[object]:
        """Take bytes of the peer; returns the events they led to, in order.

        Raises:
            RemoteProtocolError: the peer broke its protocol; `data_to_send` may still hold an answer for it.
        """
        if self._error is not None:
            raise self._error
        self._reader.feed(data)
        self._advance()
        return self.events()

    def receive_eof(self) -> list[object]:
        """The peer closed its side; as `receive_data`."""
        if self._error is not None:
            raise self._error
        self._reader.feed_eof()
        self._advance()
        return self.events()

    def events(self) -> list[object]:
        """Fetch the events that `receive_data` has not returned: those of other calls to the machine."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Bytes owed to the peer; each byte is handed out once."""
        data = bytes(self._owed)
        self._owed.clear()
        return data

    def unread(self) -> bytes:
        """Bytes that came after the conversation: they belong to what follows."""
        return self._reader.unread()
