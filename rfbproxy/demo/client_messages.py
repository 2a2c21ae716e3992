"""Messages of a viewer after the handshake (RFC 6143 section 7.5, rfbproto "Client to Server Messages")."""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct

from rfbproxy.demo.geometry import Rect
from rfbproxy.demo.pixel_format import PIXEL_FORMAT_SIZE, PixelFormat
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.rfb.constants import ClientMessage
from rfbproxy.wire import Conversation, Reading

CUT_TEXT_LIMIT = 1 << 20  # bytes; the length field allows 2 GiB
_EXTENDED = 1 << 31  # the sign bit of a length that announces an extended clipboard message
_SIGNED = Struct("!i")
_SCREEN_SIZE = 16  # bytes of one screen of SetDesktopSize


@dataclass(frozen=True, slots=True)
class SetPixelFormat:
    """Pixels are to be sent like this."""

    pixel_format: PixelFormat


@dataclass(frozen=True, slots=True)
class SetEncodings:
    """The encodings and pseudo-encodings that the viewer knows, best first."""

    encodings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FramebufferUpdateRequest:
    """The viewer wants to see `rect`: all of it, or what changed."""

    incremental: bool
    rect: Rect


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """A key went down or up."""

    down: bool
    keysym: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class PointerEvent:
    """The pointer is at `x`, `y` with these buttons held."""

    buttons: int  # bit 0 is the left one
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class ClientCutText:
    """The viewer's clipboard changed."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetDesktopSize:
    """The viewer wants the desktop to have this size."""

    width: int  # pixels
    height: int
    screens: int  # how many the viewer lays out on it


class ClientMessages(Conversation):
    """What a viewer says, one event a message."""

    def _converse(self) -> Reading[None]:
        readers: dict[int, Callable[[], Reading[None]]] = {
            ClientMessage.SET_PIXEL_FORMAT: self._read_pixel_format,
            ClientMessage.SET_ENCODINGS: self._read_encodings,
            ClientMessage.FRAMEBUFFER_UPDATE_REQUEST: self._read_update_request,
            ClientMessage.KEY_EVENT: self._read_key,
            ClientMessage.POINTER_EVENT: self._read_pointer,
            ClientMessage.CLIENT_CUT_TEXT: self._read_cut_text,
            ClientMessage.SET_DESKTOP_SIZE: self._read_desktop_size,
        }
        while True:
            message_type = yield from self._reader.u8()
            read = readers.get(message_type)
            if read is None:
                raise RemoteProtocolError(
                    f"client message type {message_type}, allowed are {list(map(int, readers))} (RFC 6143 section 7.5)"
                )
            yield from read()

    def _read_pixel_format(self) -> Reading[None]:
        yield from self._reader.take(3)
        self._event(SetPixelFormat(PixelFormat.parse((yield from self._reader.take(PIXEL_FORMAT_SIZE)))))

    def _read_encodings(self) -> Reading[None]:
        yield from self._reader.take(1)
        count = yield from self._reader.u16()
        listed = yield from self._reader.take(count * _SIGNED.size)
        self._event(SetEncodings(tuple(number for (number,) in _SIGNED.iter_unpack(listed))))

    def _read_update_request(self) -> Reading[None]:
        incremental = yield from self._reader.u8()
        x, y = (yield from self._reader.u16()), (yield from self._reader.u16())
        width, height = (yield from self._reader.u16()), (yield from self._reader.u16())
        self._event(FramebufferUpdateRequest(incremental != 0, Rect(x, y, width, height)))

    def _read_key(self) -> Reading[None]:
        down = yield from self._reader.u8()
        yield from self._reader.take(2)
        self._event(KeyEvent(down != 0, (yield from self._reader.u32())))

    def _read_pointer(self) -> Reading[None]:
        buttons = yield from self._reader.u8()
        x = yield from self._reader.u16()
        self._event(PointerEvent(buttons, x, (yield from self._reader.u16())))

    def _read_cut_text(self) -> Reading[None]:
        yield from self._reader.take(3)
        length = yield from self._reader.u32()
        if length & _EXTENDED:
            raise RemoteProtocolError("an extended clipboard message, which was not negotiated (rfbproto)")
        if length > CUT_TEXT_LIMIT:
            raise RemoteProtocolError(f"ClientCutText of {length} bytes, allowed are {CUT_TEXT_LIMIT}")
        text = yield from self._reader.take(length)
        self._event(ClientCutText(text.decode("latin-1")))  # RFC 6143 section 7.5.6

    def _read_desktop_size(self) -> Reading[None]:
        yield from self._reader.take(1)
        width, height = (yield from self._reader.u16()), (yield from self._reader.u16())
        screens = yield from self._reader.u8()
        yield from self._reader.take(1 + screens * _SCREEN_SIZE)
        self._event(SetDesktopSize(width, height, screens))
