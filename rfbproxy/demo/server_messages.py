"""Messages to a viewer (RFC 6143 sections 7.3.2 and 7.6, rfbproto "ExtendedDesktopSize")."""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

from rfbproxy.demo.geometry import Rect
from rfbproxy.demo.pixel_format import PixelFormat
from rfbproxy.rfb.constants import Encoding, ServerMessage

_SERVER_INIT = Struct("!HH16sI")
_UPDATE = Struct("!BxH")
_RECTANGLE = Struct("!HHHHi")
_ONE_SCREEN = Struct("!B3xIHHHHI")  # number of screens, then the one: id, x, y, width, height, flags
_CUT_TEXT = Struct("!B3xI")

BELL = bytes([ServerMessage.BELL])


class ResizeReason(IntEnum):
    """Why an ExtendedDesktopSize rectangle is sent: its x-position."""

    SERVER = 0  # the desktop's own doing, or no change
    THIS_CLIENT = 1  # the answer to a SetDesktopSize
    OTHER_CLIENT = 2


class ResizeStatus(IntEnum):
    """What became of a SetDesktopSize: the y-position of an ExtendedDesktopSize rectangle."""

    OK = 0
    PROHIBITED = 1
    OUT_OF_RESOURCES = 2
    INVALID_LAYOUT = 3


def server_init(width: int, height: int, pixel_format: PixelFormat, name: str) -> bytes:
    """A ServerInit message."""
    encoded = name.encode("utf-8", "replace")
    return _SERVER_INIT.pack(width, height, pixel_format.message, len(encoded)) + encoded


def framebuffer_update(rectangles: Iterable[bytes]) -> bytes:
    """A FramebufferUpdate of rectangles that have their headers."""
    parts = list(rectangles)
    return b"".join([_UPDATE.pack(ServerMessage.FRAMEBUFFER_UPDATE, len(parts)), *parts])


def pixel_rectangle(rect: Rect, encoding: Encoding, body: bytes) -> bytes:
    """A rectangle of pixels in `encoding`."""
    return _RECTANGLE.pack(rect.x, rect.y, rect.width, rect.height, encoding) + body


def desktop_size(width: int, height: int) -> bytes:
    """A DesktopSize rectangle (RFC 6143 section 7.8.2)."""
    return _RECTANGLE.pack(0, 0, width, height, Encoding.DESKTOP_SIZE)


def extended_desktop_size(width: int, height: int, reason: ResizeReason, status: ResizeStatus) -> bytes:
    """An ExtendedDesktopSize rectangle with one screen over all of the desktop."""
    header = _RECTANGLE.pack(reason, status, width, height, Encoding.EXTENDED_DESKTOP_SIZE)
    return header + _ONE_SCREEN.pack(1, 0, 0, 0, width, height, 0)


def server_cut_text(text: str) -> bytes:
    """A ServerCutText message; what latin-1 cannot say becomes a question mark (RFC 6143 section 7.6.4)."""
    encoded = text.encode("latin-1", "replace")
    return _CUT_TEXT.pack(ServerMessage.SERVER_CUT_TEXT, len(encoded)) + encoded
