"""What one viewer has seen of the desktop, what it asked for, and the FramebufferUpdate that is due to it. No I/O."""

import zlib
from collections.abc import Sequence

from rfbproxy.demo.desktop import Desktop
from rfbproxy.demo.geometry import DirtyRegion, Rect
from rfbproxy.demo.pixel_format import PixelFormat
from rfbproxy.demo.server_messages import (
    ResizeReason,
    ResizeStatus,
    desktop_size,
    extended_desktop_size,
    framebuffer_update,
    pixel_rectangle,
)
from rfbproxy.rfb.constants import Encoding

_COMPRESSION = 3  # flat colours compress well at once


class Picture:
    """One viewer's picture of the desktop."""

    def __init__(self, desktop: Desktop) -> None:
        self.pixel_format = PixelFormat()
        self._desktop = desktop
        self._size = (desktop.width, desktop.height)  # as the viewer knows it
        self._damage = DirtyRegion()
        self._requested: Rect | None = None
        self._encodings: frozenset[int] = frozenset()
        self._encoding = Encoding.RAW
        self._resize_due: tuple[ResizeReason, ResizeStatus] | None = None
        self._compressor = zlib.compressobj(_COMPRESSION)  # one stream for the connection (RFC 6143 section 7.7.6)

    @property
    def requested(self) -> bool:
        """Whether the viewer waits for an update."""
        return self._requested is not None

    @property
    def outdated(self) -> bool:
        """Whether something is to tell, as far as the desktop is painted."""
        return bool(self._damage) or self._resize_due is not None

    def set_encodings(self, encodings: Sequence[int]) -> None:
        """The viewer knows these, best first."""
        self._encodings = frozenset(encodings)
        known = [number for number in encodings if number in (Encoding.RAW, Encoding.ZLIB)]
        self._encoding = Encoding(known[0]) if known else Encoding.RAW

    def request(self, rect: Rect, *, incremental: bool) -> None:
        """The viewer asks for `rect`; requests that were not answered yet are answered with it."""
        self._requested = rect if self._requested is None else self._requested | rect
        if not incremental:
            self._damage.add(rect & self._visible)
            if Encoding.EXTENDED_DESKTOP_SIZE in self._encodings and self._resize_due is None:
                self._resize_due = (ResizeReason.SERVER, ResizeStatus.OK)

    def damage(self, rect: Rect) -> None:
        """Pixels of the desktop changed."""
        self._damage.add(rect)

    def resized(self, reason: ResizeReason, status: ResizeStatus) -> None:
        """The desktop has a new size, or a viewer asked for one in vain."""
        self._resize_due = (reason, status)

    def update(self) -> bytes:
        """The FramebufferUpdate that answers the viewer's request, b"" if nothing is to tell; the desktop is painted.

        A new size makes an update of its own, as what follows it is a new picture.
        """
        if self._requested is None:
            return b""
        resize = self._resize_rectangle()
        if (self._desktop.width, self._desktop.height) != self._size and resize:
            self._size = (self._desktop.width, self._desktop.height)
            self._damage.add(self._visible)
            self._requested = None
            return framebuffer_update([resize])
        pixels = [self._pixel_rectangle(rect) for rect in self._damage.take(self._requested & self._visible)]
        if not resize and not pixels:
            return b""
        self._requested = None
        return framebuffer_update([resize, *pixels] if resize else pixels)

    @property
    def _visible(self) -> Rect:
        """What exists and what a viewer that does not follow a resize has room for."""
        width, height = self._size
        return Rect(0, 0, min(width, self._desktop.width), min(height, self._desktop.height))

    def _resize_rectangle(self) -> bytes:
        width, height = self._desktop.width, self._desktop.height
        due, self._resize_due = self._resize_due, None
        if Encoding.EXTENDED_DESKTOP_SIZE in self._encodings:
            if due is None and (width, height) != self._size:
                due = (ResizeReason.SERVER, ResizeStatus.OK)
            return extended_desktop_size(width, height, *due) if due else b""
        if Encoding.DESKTOP_SIZE in self._encodings and (width, height) != self._size:
            return desktop_size(width, height)
        return b""

    def _pixel_rectangle(self, rect: Rect) -> bytes:
        body = self.pixel_format.encode(self._desktop.read(rect))
        if self._encoding is Encoding.ZLIB:
            packed = self._compressor.compress(body) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
            body = len(packed).to_bytes(4, "big") + packed
        return pixel_rectangle(rect, self._encoding, body)
