"""The pointer and the trail behind it, laid over the desktop."""

from collections import deque
from dataclasses import dataclass
from functools import lru_cache

from rfbproxy.demo.canvas import Canvas
from rfbproxy.demo.geometry import Rect
from rfbproxy.demo.palette import TRAIL_SHADES, Colour

FADE_S = 0.9  # until a point of the trail is gone
STEP_S = 0.05  # between two looks at a fading trail
_RADII = (7, 7, 6, 6, 5, 4, 3, 2)  # pixels, one for each shade, newest first
_SPACING = 3  # pixels between two points
_POINTS_LIMIT = 240  # points of the trail
_LONGEST_STROKE = 120  # points drawn for one movement

_ARROW = """
#
##
#o#
#oo#
#ooo#
#oooo#
#ooooo#
#oooooo#
#ooooooo#
#oooooooo#
#ooooo#####
#oo#oo#
#o# #oo#
##  #oo#
#    #oo#
     #oo#
      ##
""".strip("\n").split("\n")
_ARROW_COLOURS = {"#": Colour.BLACK, "o": Colour.WHITE}


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of the trail as it is drawn now."""

    x: int
    y: int
    shade: int  # index into TRAIL_SHADES

    @property
    def rect(self) -> Rect:
        """What it covers."""
        radius = _RADII[self.shade]
        return Rect(self.x - radius, self.y - radius, 2 * radius + 1, 2 * radius + 1)


class Trail:
    """Where the pointer is and was; unseen until it first moves."""

    def __init__(self) -> None:
        self.position: tuple[int, int] | None = None
        self._points: deque[tuple[int, int, float]] = deque(maxlen=_POINTS_LIMIT)

    def __bool__(self) -> bool:
        return bool(self._points)

    def move(self, x: int, y: int, now: float) -> None:
        """The pointer is at `x`, `y`."""
        from_x, from_y = self.position or (x, y)
        self.position = (x, y)
        steps = min(max(abs(x - from_x), abs(y - from_y)) // _SPACING, _LONGEST_STROKE)
        for step in range(1, steps + 1):
            self._points.append((from_x + (x - from_x) * step // steps, from_y + (y - from_y) * step // steps, now))

    def dots(self, now: float) -> list[Dot]:
        """The trail as it looks now, oldest point first; points that faded out are forgotten."""
        while self._points and not 0 <= now - self._points[0][2] < FADE_S:
            self._points.popleft()
        count = len(TRAIL_SHADES)
        return [Dot(x, y, min(count - 1, max(0, int((now - moved) / FADE_S * count)))) for x, y, moved in self._points]


def arrow_rect(position: tuple[int, int]) -> Rect:
    """What the pointer covers at `position`."""
    return Rect(*position, max(map(len, _ARROW)), len(_ARROW))


def draw_dot(screen: Canvas, ground: Canvas, dot: Dot) -> None:
    """Tint the pixels of `ground` onto `screen`; where dots overlap the last one drawn is seen."""
    table, width, height = TRAIL_SHADES[dot.shade], screen.width, screen.height
    for down, half in _half_widths(_RADII[dot.shade]):
        y = dot.y + down
        left, right = max(0, dot.x - half), min(width, dot.x + half + 1)
        if 0 <= y < height and left < right:
            row = slice(y * width + left, y * width + right)
            screen.pixels[row] = ground.pixels[row].translate(table)


def draw_arrow(screen: Canvas, position: tuple[int, int]) -> None:
    """Draw the pointer with its tip at `position`."""
    for down, row in enumerate(_ARROW):
        for across, dot in enumerate(row):
            x, y = position[0] + across, position[1] + down
            if dot in _ARROW_COLOURS and x < screen.width and y < screen.height:
                screen.pixels[y * screen.width + x] = _ARROW_COLOURS[dot]


@lru_cache
def _half_widths(radius: int) -> tuple[tuple[int, int], ...]:
    reach = (radius + 0.4) ** 2
    return tuple((down, int((reach - down * down) ** 0.5)) for down in range(-radius, radius + 1))
