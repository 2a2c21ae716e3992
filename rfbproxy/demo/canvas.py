"""A sheet of palette indices, and the few strokes that the demo desktop is painted with."""

from functools import lru_cache

from rfbproxy.demo.font import GLYPH_HEIGHT, SCALE, text_mask, text_width
from rfbproxy.demo.geometry import Rect
from rfbproxy.demo.palette import MIX_STEPS, Colour, mixed


class Canvas:
    """Pixels of one byte, row after row; strokes must lie inside, `fill` alone is clipped."""

    __slots__ = ("height", "pixels", "width")

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.pixels = bytearray(width * height)

    @property
    def rect(self) -> Rect:
        """All of it."""
        return Rect(0, 0, self.width, self.height)

    def read(self, rect: Rect) -> bytes:
        """The indices inside `rect`, which lies on the canvas, row after row."""
        pixels, width = self.pixels, self.width
        if rect.width == width:
            return bytes(pixels[rect.y * width : rect.bottom * width])
        first = rect.y * width + rect.x
        starts = range(first, first + rect.height * width, width)
        return b"".join([pixels[start : start + rect.width] for start in starts])

    def fill(self, rect: Rect, colour: int) -> None:
        """Paint `rect`, as far as it lies on the canvas."""
        rect = rect & self.rect
        self._write_rows(rect.x, rect.y, [bytes([colour]) * rect.width] * rect.height)

    def rounded(self, rect: Rect, radius: int, colour: Colour, behind: Colour) -> None:
        """Paint `rect` with smooth round corners on `behind`; the pair must be known to the palette."""
        self.fill(rect, colour)
        shades = bytes(mixed(colour, behind, quarters) for quarters in range(MIX_STEPS + 1)).ljust(256, b"\0")
        for row, quarters in enumerate(_corner(radius)):
            left = quarters.translate(shades)
            for y in (rect.y + row, rect.bottom - 1 - row):
                self._write_rows(rect.x, y, [left])
                self._write_rows(rect.right - radius, y, [left[::-1]])

    def disc(self, x: int, y: int, radius: int, colour: Colour, behind: Colour) -> None:
        """Paint a smooth disc around the pixel corner at `x`, `y`."""
        self.rounded(Rect(x - radius, y - radius, 2 * radius, 2 * radius), radius, colour, behind)

    def text(self, x: int, y: int, text: str, colour: int, behind: int, scale: int = SCALE) -> Rect:
        """Paint one line of text with its ground; returns the rectangle that it fills."""
        table = bytes([behind, colour]).ljust(256, b"\0")
        self._write_rows(x, y, [row.translate(table) for row in text_mask(text, scale)])
        return Rect(x, y, text_width(len(text), scale), GLYPH_HEIGHT * scale)

    def copy(self, source: "Canvas", rect: Rect) -> None:
        """Take over `rect` of a canvas of the same size."""
        for start in range(rect.y * self.width + rect.x, rect.bottom * self.width + rect.x, self.width):
            self.pixels[start : start + rect.width] = source.pixels[start : start + rect.width]

    def _write_rows(self, x: int, y: int, rows: list[bytes]) -> None:
        start = y * self.width + x
        for row in rows:
            self.pixels[start : start + len(row)] = row
            start += self.width


@lru_cache
def _corner(radius: int) -> tuple[bytes, ...]:
    """Of each pixel of a top left corner, how many quarters lie inside the circle."""
    samples = [(sample + 0.5) / 4 for sample in range(4)]

    def quarters(x: int, y: int) -> int:
        inside = sum(
            (radius - x - across) ** 2 + (radius - y - down) ** 2 <= radius**2 for across in samples for down in samples
        )
        return round(inside * MIX_STEPS / 16)

    return tuple(bytes(quarters(x, y) for x in range(radius)) for y in range(radius))
