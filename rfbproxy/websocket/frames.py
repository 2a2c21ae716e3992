"""Frames of RFC 6455: those of a client are read here, and the heads of a server's are made."""

from struct import Struct

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.websocket.constants import (
    CONTROL_LIMIT,
    FRAME_LIMIT,
    MESSAGE_LIMIT,
    REASON_LIMIT,
    CloseCode,
    Opcode,
)
from rfbproxy.websocket.masks import unmask, xor

_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_WHOLE = _FIN | Opcode.BINARY  # first byte of a message of one frame: what clients send
_BLOCK = 4096  # bytes of short frames that are unmasked together
_HEAD_LIMIT = 14  # bytes of the longest head: two, a length of eight, the mask

_U16 = Struct("!BBH")
_U64 = Struct("!BBQ")


class WebSocketError(RemoteProtocolError):
    """The client broke RFC 6455.

    Attributes:
        code: what it is told in the close frame.
        before: payload that came, in the same call, before what broke it; see `FrameReader.receive`.
    """

    def __init__(self, code: CloseCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.before: list[memoryview | bytes] = []


def header(size: int, opcode: int = Opcode.BINARY) -> bytes:
    """The head of a server's frame, which is whole and not masked."""
    if size < 126:
        return bytes((_FIN | opcode, size))
    return _U16.pack(_FIN | opcode, 126, size) if size < 65536 else _U64.pack(_FIN | opcode, 127, size)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A close frame; the reason must be UTF-8, and what does not fit is cut off."""
    payload = code.to_bytes(2, "big") + reason[:REASON_LIMIT]
    return header(len(payload), Opcode.CLOSE) + payload


class FrameReader:
    """Reads the frames of a client, which must be masked; text is refused (websockify and nova do the same).

    Attributes:
        controls: opcode and payload of the control frames that came, oldest first; the caller takes them out.
        finished: whether nothing more is read: a close frame came, or an error.
    """

    __slots__ = ("_control", "_left", "_mask", "_message", "_opcode", "_partial", "controls", "finished")

    def __init__(self) -> None:
        self.controls: list[tuple[int, bytes]] = []
        self.finished = False
        self._partial = b""  # a head that is not whole yet
        self._opcode = 0  # of the frame whose payload comes
        self._left = 0  # bytes of it that are still to come
        self._mask = b""  # as it applies to the next of them
        self._control = b""  # payload of a control frame so far
        self._message: int | None = None  # bytes of the fragments of a message that goes on

    def receive(self, data: memoryview) -> list[memoryview | bytes]:
        """Take bytes of the client and give the payload in them, boundaries of frames and messages dropped.

        `data` must be writable: long payloads are unmasked in it and given as views of it, so the caller keeps it until
        they are used. A piece of a frame is not waited for. After a close frame or an error nothing is read.

        Raises:
            WebSocketError: the client broke RFC 6455; the payload before that is in the error, if it is wanted.
        """
        if self._is_one_short(data):
            return [xor(bytes(data[6:]), (bytes(data[2:6]) * 32)[: len(data) - 6])]
        pieces: list[memoryview | bytes] = []
        at, end = 0, len(data)
        try:
            while at < end and not self.finished:
                if self._left:
                    at = self._take_payload(data, at, pieces)
                elif self._partial or self._message is not None or data[at] != _WHOLE:
                    at = self._take_head(data, at)
                else:
                    at = self._take_short(data, at, pieces) or self._take_head(data, at)
        except WebSocketError as error:
            self.finished = True
            self._partial = self._control = b""
            error.before = pieces
            raise
        return pieces

    def _is_one_short(self, data: memoryview) -> bool:
        """Whether this is one whole message of one short frame, and nothing before it is left: somebody types."""
        return (
            6 < len(data) < 6 + 126
            and data[0] == _WHOLE
            and data[1] == _MASKED + len(data) - 6
            and not self._left
            and not self._partial
            and self._message is None
            and not self.finished
        )

    def _take_short(self, data: memoryview, at: int, pieces: list[memoryview | bytes]) -> int:
        """Take whole messages of one short frame that follow each other; gives where they end, 0: there is none.

        A flood of pointer events goes through here: what is done once a frame decides what it costs.
        """
        block = bytes(data[at : at + _BLOCK])  # slices of bytes cost half of those of a memoryview
        end = len(block)
        payloads: list[bytes] = []
        keystreams: list[bytes] = []
        start = 6
        while start <= end and block[start - 6] == _WHOLE and _MASKED <= (size := block[start - 5]) < _MASKED + 126:
            following = start + size - _MASKED
            if following > end:
                break
            payloads.append(block[start:following])
            keystreams.append((block[start - 4 : start] * 32)[: following - start])
            start = following + 6
        if not payloads:
            return 0
        pieces.append(xor(b"".join(payloads), b"".join(keystreams)))
        return at + start - 6

    def _take_head(self, data: memoryview, at: int) -> int:
        known = len(self._partial)
        head = self._partial + data[at : at + _HEAD_LIMIT - known]
        self._partial = head
        if len(head) < 2:
            return len(data)
        self._judge(head[0], head[1])
        size = head[1] & ~_MASKED
        start = 6 if size < 126 else 8 if size == 126 else 14
        if len(head) < start:
            return len(data)
        self._partial = b""
        self._opcode = head[0] & 0x0F
        self._left = size if size < 126 else _long_size(head[2 : start - 4])
        self._mask = head[start - 4 : start]
        if self._opcode < Opcode.CLOSE:
            self._count(head[0] & _FIN)
        elif not self._left:
            self._end_control()
        return at + start - known

    def _judge(self, first: int, second: int) -> None:
        """Judge the first two bytes of a head (section 5.2), which is all of it that need not be waited for."""
        opcode = first & 0x0F
        if first & _RESERVED:
            raise _broken("a reserved bit is set, and no extension was agreed on (RFC 6455 section 5.2)")
        if not second & _MASKED:
            raise _broken("a client's frame is not masked (RFC 6455 section 5.1)")
        if opcode >= Opcode.CLOSE:
            if opcode > Opcode.PONG:
                raise _broken(f"control opcode {opcode} is reserved (RFC 6455 section 5.2)")
            if not first & _FIN or second & ~_MASKED > CONTROL_LIMIT:
                raise _broken(f"a control frame is in fragments or over {CONTROL_LIMIT} bytes (RFC 6455 section 5.5)")
        elif opcode > Opcode.BINARY:
            raise _broken(f"data opcode {opcode} is reserved (RFC 6455 section 5.2)")
        elif (opcode == Opcode.CONTINUATION) is (self._message is None):
            raise _broken("a fragment continues nothing, or a message begins in another (RFC 6455 section 5.4)")
        elif opcode == Opcode.TEXT:
            raise WebSocketError(CloseCode.UNSUPPORTED_DATA, "text came, and only binary messages are understood")

    def _count(self, fin: int) -> None:
        """Count the payload of a data frame towards its message."""
        size = (self._message or 0) + self._left
        if size > MESSAGE_LIMIT:
            raise WebSocketError(CloseCode.MESSAGE_TOO_BIG, f"a message is over {MESSAGE_LIMIT} bytes")
        self._message = None if fin else size

    def _take_payload(self, data: memoryview, at: int, pieces: list[memoryview | bytes]) -> int:
        piece = data[at : at + self._left]
        size = len(piece)
        unmask(piece, self._mask)
        self._left -= size
        if self._opcode < Opcode.CLOSE:
            pieces.append(piece)
        else:
            self._control += piece
            if not self._left:
                self._end_control()
        turn = size % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        return at + size

    def _end_control(self) -> None:
        payload, self._control = self._control, b""
        if self._opcode == Opcode.CLOSE:
            _judge_close(payload)
            self.finished = True
        self.controls.append((self._opcode, payload))


def _broken(text: str) -> WebSocketError:
    return WebSocketError(CloseCode.PROTOCOL_ERROR, text)


def _long_size(length: bytes) -> int:
    size = int.from_bytes(length, "big")
    if size >> 63 or size < (126 if len(length) == 2 else 65536):
        raise _broken(f"a length of {size} is written in {len(length)} bytes (RFC 6455 section 5.2)")
    if size > FRAME_LIMIT:
        raise WebSocketError(CloseCode.MESSAGE_TOO_BIG, f"a frame of {size} bytes came, {FRAME_LIMIT} are allowed")
    return size


def _judge_close(payload: bytes) -> None:
    """Judge the code and the reason (sections 5.5.1 and 7.4)."""
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (1000 <= code <= 1003 or 1007 <= code <= 1011 or 3000 <= code <= 4999):
        raise _broken(f"a close frame has no code that may be sent, but {code} (RFC 6455 section 7.4)")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        text = "the reason of a close frame is not UTF-8 (RFC 6455 section 5.5.1)"
        raise WebSocketError(CloseCode.INVALID_PAYLOAD, text) from None
