"""PIXEL_FORMAT (RFC 6143 section 7.4), and palette indices turned into a viewer's pixels."""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

from rfbproxy.demo.palette import PALETTE
from rfbproxy.errors import RemoteProtocolError

PIXEL_FORMAT_SIZE = 16
_PIXEL_FORMAT = Struct("!BBBBHHHBBB3x")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A true colour format; each colour is a number up to `*_max`, shifted left by `*_shift` bits."""

    bits_per_pixel: int = 32
    depth: int = 24
    big_endian: bool = False
    red_max: int = 255
    green_max: int = 255
    blue_max: int = 255
    red_shift: int = 16
    green_shift: int = 8
    blue_shift: int = 0

    @classmethod
    def parse(cls, data: bytes) -> "PixelFormat":
        """The format of 16 bytes.

        Raises:
            RemoteProtocolError: a size that RFB does not know, a colour map, or a colour too large for a pixel.
        """
        bits, depth, big_endian, true_colour, *colours = _PIXEL_FORMAT.unpack(data)
        if bits not in (8, 16, 32):
            raise RemoteProtocolError(f"pixels of {bits} bits, allowed are 8, 16, 32 (RFC 6143 section 7.4)")
        if not true_colour:
            raise RemoteProtocolError("a colour-map format, this desktop has true colour (RFC 6143 section 7.4)")
        for most, shift in zip(colours[:3], colours[3:], strict=True):
            if most == 0 or shift >= bits or most << shift >> bits:
                raise RemoteProtocolError(
                    f"a colour up to {most} shifted by {shift} does not fit into {bits} bits (RFC 6143 section 7.4)"
                )
        return cls(bits, depth, big_endian != 0, *colours)

    @property
    def message(self) -> bytes:
        """The 16 bytes, as ServerInit carries them."""
        return _PIXEL_FORMAT.pack(
            self.bits_per_pixel,
            self.depth,
            self.big_endian,
            True,
            self.red_max,
            self.green_max,
            self.blue_max,
            self.red_shift,
            self.green_shift,
            self.blue_shift,
        )

    def encode(self, indices: bytes) -> bytes:
        """The pixels that palette indices stand for."""
        tables = _byte_tables(self)
        if len(tables) == 1:
            return indices.translate(tables[0])
        pixels = bytearray(len(indices) * len(tables))
        for place, table in enumerate(tables):
            pixels[place :: len(tables)] = indices.translate(table)
        return bytes(pixels)


@lru_cache(maxsize=16)
def _byte_tables(pixel_format: PixelFormat) -> tuple[bytes, ...]:
    """For each byte of a pixel, in the order of the wire, its value for every palette index."""
    size = pixel_format.bits_per_pixel // 8
    used = (
        pixel_format.red_max << pixel_format.red_shift
        | pixel_format.green_max << pixel_format.green_shift
        | pixel_format.blue_max << pixel_format.blue_shift
    )
    unused = (1 << pixel_format.bits_per_pixel) - 1 & ~used  # set: noVNC 1.3 takes them in Raw for opacity
    pixels = [
        (
            (red * pixel_format.red_max + 127) // 255 << pixel_format.red_shift
            | (green * pixel_format.green_max + 127) // 255 << pixel_format.green_shift
            | (blue * pixel_format.blue_max + 127) // 255 << pixel_format.blue_shift
            | unused
        ).to_bytes(size, "big" if pixel_format.big_endian else "little")
        for red, green, blue in PALETTE
    ]
    return tuple(bytes(pixel[place] for pixel in pixels).ljust(256, b"\0") for place in range(size))
