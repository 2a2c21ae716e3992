"""Rectangles of pixels, and a set of them that stays small."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle, in pixels from the top left; empty where a side is not positive."""

    x: int
    y: int
    width: int
    height: int

    def __bool__(self) -> bool:
        return self.width > 0 and self.height > 0

    def __contains__(self, point: tuple[int, int]) -> bool:
        return self.x <= point[0] < self.right and self.y <= point[1] < self.bottom

    @property
    def right(self) -> int:
        """The first column beyond."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row beyond."""
        return self.y + self.height

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.width * self.height if self else 0

    def __and__(self, other: "Rect") -> "Rect":
        """What both cover; perhaps empty."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Rect(x, y, max(0, width), max(0, height))

    def __or__(self, other: "Rect") -> "Rect":
        """The smallest rectangle around both."""
        if not self or not other:
            return self or other
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Rect(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)

    def inset(self, across: int, down: int) -> "Rect":
        """Smaller by `across` pixels left and right, and by `down` above and below."""
        return Rect(self.x + across, self.y + down, self.width - 2 * across, self.height - 2 * down)


class DirtyRegion:
    """Rectangles that changed, merged where that costs few pixels, so that there are never many."""

    __slots__ = ("_rects",)

    LIMIT = 16  # rectangles; beyond it the nearest ones are merged whatever it costs

    def __init__(self) -> None:
        self._rects: list[Rect] = []

    def __bool__(self) -> bool:
        return bool(self._rects)

    def add(self, rect: Rect) -> None:
        """Note that `rect` changed."""
        while rect:
            index = self._companion(rect)
            if index is None:
                self._rects.append(rect)
                return
            rect = self._rects.pop(index) | rect

    def _companion(self, rect: Rect) -> int | None:
        """Which rectangle to merge `rect` with, if any."""
        nearest, waste = None, 0
        for index, known in enumerate(self._rects):
            extra = (known | rect).area - known.area - rect.area
            if nearest is None or extra < waste:
                nearest, waste = index, extra
        if nearest is None or (len(self._rects) < self.LIMIT and waste * 4 > self._rects[nearest].area + rect.area):
            return None
        return nearest

    def take(self, within: Rect) -> list[Rect]:
        """The changed parts of `within`, which are forgotten; what lies outside stays."""
        taken, kept = [], []
        for rect in self._rects:
            inside = rect & within
            if inside:
                taken.append(inside)
            if inside != rect:
                kept += _around(rect, inside) if inside else [rect]
        self._rects = []
        for rect in kept:
            self.add(rect)
        return taken


def _around(rect: Rect, hole: Rect) -> list[Rect]:
    """What of `rect` lies outside `hole`, which lies inside it."""
    parts = (
        Rect(rect.x, rect.y, rect.width, hole.y - rect.y),
        Rect(rect.x, hole.bottom, rect.width, rect.bottom - hole.bottom),
        Rect(rect.x, hole.y, hole.x - rect.x, hole.height),
        Rect(hole.right, hole.y, rect.right - hole.right, hole.height),
    )
    return [part for part in parts if part]
