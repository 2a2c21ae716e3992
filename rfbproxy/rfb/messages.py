"""Where a client's messages begin and end after its ClientInit, and which of them go on to the target.

RFC 6143 section 7.5 and rfbproto, "Client to Server Messages". Nothing on the wire says how long a message of an
unknown type is, and to pass it on is to lose sight of all that follows. So it ends the conversation of a client that
has asked for something that is withheld from it. Of any other client nothing need be held back: what it says is passed
on unseen from there, for the target to judge.
"""

import sys
from collections.abc import Callable, Collection, Mapping
from struct import Struct, iter_unpack, pack

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.rfb.constants import ClientMessage, Encoding

CUT_TEXT_LIMIT = 16 * 1024 * 1024  # bytes; servers take 1 MiB at most, and are left to say so
CHAT_LIMIT = 4096  # bytes (UltraVNC's TextChat)
HELD_LIMIT = 4 + 4 * 65535  # bytes; the longest SetEncodings, the one message that is held until it is whole

Judge = Callable[[bytes], bool]

# Bytes that tell how long a message is, for each type.
_HEAD_SIZES: dict[int, int] = {
    ClientMessage.SET_PIXEL_FORMAT: 20,
    ClientMessage.SET_ENCODINGS: 4,
    ClientMessage.FRAMEBUFFER_UPDATE_REQUEST: 10,
    ClientMessage.KEY_EVENT: 8,
    ClientMessage.POINTER_EVENT: 6,
    ClientMessage.CLIENT_CUT_TEXT: 8,
    ClientMessage.TEXT_CHAT: 8,
    ClientMessage.ENABLE_CONTINUOUS_UPDATES: 10,
    ClientMessage.CLIENT_FENCE: 9,
    ClientMessage.XVP: 4,
    ClientMessage.SET_DESKTOP_SIZE: 8,
    ClientMessage.GII: 4,
    ClientMessage.QEMU: 2,
}
_ENDLESS = sys.maxsize
_FIXED = (
    ClientMessage.SET_PIXEL_FORMAT,
    ClientMessage.FRAMEBUFFER_UPDATE_REQUEST,
    ClientMessage.KEY_EVENT,
    ClientMessage.POINTER_EVENT,
    ClientMessage.ENABLE_CONTINUOUS_UPDATES,
    ClientMessage.XVP,
)  # their head is all of them
_EXTENDED_HEAD = 12  # bytes of a ClientCutText up to the flags of the extended clipboard
_CAPS, _FORMATS = 1 << 24, 0xFFFF  # of those flags
_QEMU_KEY, _QEMU_AUDIO = 0, 1
_QEMU_AUDIO_SIZES = {0: 4, 1: 4, 2: 10}  # bytes, by operation

_U16, _U32, _S32 = Struct("!H"), Struct("!I"), Struct("!i")


class ClientMessageFilter:
    """Follow a client's messages, and hold back those that its session may not send.

    Bodies pass through as they come; no more than a message's head is kept, or one SetEncodings.

    Args:
        judges: by message type; is shown the head of each message of that type and says whether the message goes on.
        withheld: encodings that the target is not to hear of. ExtendedMouseButtons always is one: what it does to the
            length of a PointerEvent depends on what the target answers, which is not read.
        lost_sight: told once of the message type from which on a client is passed on unseen.
    """

    def __init__(
        self,
        judges: Mapping[int, Judge] | None = None,
        withheld: Collection[int] = (),
        lost_sight: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._judges = judges or {}
        self._lost_sight = lost_sight
        self._strict = False  # whether the client has asked for something that is withheld
        self._withheld = {Encoding.EXTENDED_MOUSE_BUTTONS, *withheld}
        self._whole: dict[int, int] = {kind: _HEAD_SIZES[kind] for kind in _FIXED if kind not in self._judges}
        self._held = bytearray()
        self._body_left = 0
        self._passes = True  # whether the message that the body belongs to goes on
        self._extended_clipboard = False  # whether the client's last SetEncodings listed it
        self._owed = bytearray()
        self._error: RemoteProtocolError | None = None

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes of the client; returns those that go on to the target.

        Raises:
            RemoteProtocolError: the client broke its protocol, now or before; what it sent before that is in
                `data_to_send`.
        """
        if data and not self._held:
            if not self._body_left and self._short_messages(data, 0) == len(data):
                return data
            if self._passes and len(data) <= self._body_left:
                self._body_left -= len(data)
                return data
        if self._error is not None:
            raise self._error
        self._held += data
        done = 0
        try:
            while size := self._pass_next(done):
                done += size
        except RemoteProtocolError as error:
            self._error = error
            raise
        finally:
            del self._held[:done]
        return self.data_to_send()

    def data_to_send(self) -> bytes:
        """Bytes owed to the target after an error; each byte is handed out once."""
        data = bytes(self._owed)
        self._owed.clear()
        return data

    def _pass_next(self, start: int) -> int:
        """Deal with what is held from `start` on: a piece of a body, short messages, a head; 0: it is not all there."""
        if self._body_left:
            piece = self._held[start : start + self._body_left]
            self._body_left -= len(piece)
            if self._passes:
                self._owed += piece
            return len(piece)
        if run := self._short_messages(self._held, start):
            self._owed += self._held[start : start + run]
            return run
        if start < len(self._held) and (unseen := self._unseen(self._held[start])):
            self._body_left, self._passes = unseen, True
            return self._pass_next(start)
        head, self._body_left = self._head(start)
        if head:
            judge = self._judges.get(head[0])
            self._passes = judge is None or judge(head)
            if self._passes:
                self._owed += self._filter_encodings(head) if head[0] == ClientMessage.SET_ENCODINGS else head
        return len(head)

    def _short_messages(self, data: bytes | bytearray, start: int) -> int:
        """How many bytes are whole messages of fixed length that nobody judges: most of what a viewer sends."""
        whole, end, limit = self._whole, start, len(data)
        while end < limit and (size := whole.get(data[end])) and end + size <= limit:
            end += size
        return end - start

    def _unseen(self, kind: int) -> int:
        """How many bytes of a message that need not be seen may pass as they come."""
        if kind in _HEAD_SIZES or self._strict:
            return self._whole.get(kind, 0)
        self._lost_sight(kind)
        return _ENDLESS

    def _head(self, start: int) -> tuple[bytes, int]:
        """The next message's head, and how long its body is; no bytes where the head is not all there."""
        if start == len(self._held):
            return b"", 0
        kind = self._held[start]
        size = _HEAD_SIZES.get(kind)
        if size is None:
            raise RemoteProtocolError(
                f"client message type {kind}, allowed are {sorted(map(int, _HEAD_SIZES))} (RFC 6143 section 7.5)"
            )
        while len(self._held) - start >= size:
            head = bytes(self._held[start : start + size])
            size, body = self._measure(head)
            if size == len(head):
                return head, body
        return b"", 0

    def _measure(self, head: bytes) -> tuple[int, int]:
        """How long a message's head and body are, as its head tells so far."""
        match head[0]:
            case ClientMessage.SET_ENCODINGS:
                return 4 + 4 * int(_U16.unpack_from(head, 2)[0]), 0
            case ClientMessage.CLIENT_CUT_TEXT:
                return self._measure_cut_text(head)
            case ClientMessage.TEXT_CHAT:
                return 8, _chat_length(head)
            case ClientMessage.CLIENT_FENCE:
                return 9, head[8]
            case ClientMessage.SET_DESKTOP_SIZE:
                return 8, 16 * head[6]
            case ClientMessage.GII:
                return 4, int.from_bytes(head[2:4], "big" if head[1] & 0x80 else "little")
            case ClientMessage.QEMU:
                return _measure_qemu(head), 0
        return len(head), 0

    def _measure_cut_text(self, head: bytes) -> tuple[int, int]:
        """A negative length announces the extended clipboard, flags first (rfbproto "Extended Clipboard")."""
        length = int(_S32.unpack_from(head, 4)[0])
        extended = length < 0 and self._extended_clipboard
        size = -length if extended else length & 0xFFFFFFFF
        if size > CUT_TEXT_LIMIT:
            raise RemoteProtocolError(f"ClientCutText of {size} bytes, allowed are {CUT_TEXT_LIMIT}")
        if not extended:
            return 8, size
        formats = 0
        if len(head) == _EXTENDED_HEAD:
            flags = int(_U32.unpack_from(head, 8)[0])
            formats = (flags & _FORMATS).bit_count() if flags & _CAPS else 0
        if size < 4 + 4 * formats:
            raise RemoteProtocolError(f"an extended clipboard message of {size} bytes, due are {4 + 4 * formats}")
        return _EXTENDED_HEAD, size - 4

    def _filter_encodings(self, message: bytes) -> bytes:
        listed = [number for (number,) in iter_unpack("!i", message[4:])]
        self._extended_clipboard = Encoding.EXTENDED_CLIPBOARD in listed
        passed = [number for number in listed if number not in self._withheld]
        self._strict = self._strict or len(passed) != len(listed)
        if len(passed) == len(listed):
            return message
        return message[:2] + pack(f"!H{len(passed)}i", len(passed), *passed)


def _chat_length(head: bytes) -> int:
    """Three negative lengths open, close and finish a chat, without a text."""
    length = int(_S32.unpack_from(head, 4)[0])
    if length in (-1, -2, -3):
        return 0
    if not 0 <= length <= CHAT_LIMIT:
        raise RemoteProtocolError(f"TextChat of {length} bytes, allowed are {CHAT_LIMIT}")
    return length


def _measure_qemu(head: bytes) -> int:
    """An extended key event, or a wish about audio (rfbproto "QEMU Client Message")."""
    if head[1] == _QEMU_KEY:
        return 12
    if head[1] != _QEMU_AUDIO:
        raise RemoteProtocolError(f"QEMU client message of submessage type {head[1]}, allowed are 0 and 1 (rfbproto)")
    if len(head) < 4:
        return 4
    operation = int(_U16.unpack_from(head, 2)[0])
    if operation not in _QEMU_AUDIO_SIZES:
        raise RemoteProtocolError(f"QEMU audio operation {operation}, allowed are 0 to 2 (rfbproto)")
    return _QEMU_AUDIO_SIZES[operation]
