"""The demo desktop as a model: what it shows, how keys and the pointer change it, and which pixels that touched.

No I/O and no clock: time is an argument. Input changes only the model; `Desktop.paint` brings the pixels up to date, so
that any amount of input between two looks costs one painting.
"""

from dataclasses import dataclass
from enum import Enum, auto

from rfbproxy.demo import view
from rfbproxy.demo.canvas import Canvas
from rfbproxy.demo.geometry import DirtyRegion, Rect
from rfbproxy.demo.keysyms import MODIFIERS, SILENT, Keysym, key_name, typed
from rfbproxy.demo.layout import DEFAULT_SIZE, MAX_SIZE, MIN_SIZE, Button, Layout, layout_for
from rfbproxy.demo.text_area import TextArea
from rfbproxy.demo.trail import STEP_S, Dot, Trail, arrow_rect, draw_arrow, draw_dot

_LEFT_BUTTON = 1  # of a PointerEvent's button mask
_WELCOME = "Welcome"


class Effect(Enum):
    """What a click asks of the viewers."""

    CUT_TEXT = auto()  # put `Desktop.text` on the viewers' clipboard
    BELL = auto()


class _Part(Enum):
    """What is painted by itself."""

    FRAME = auto()  # and so everything
    TEXT = auto()
    BUTTONS = auto()
    CLIPBOARD = auto()
    STATUS = auto()


@dataclass(frozen=True, slots=True)
class _Overlay:
    """What lies over the desktop."""

    dots: tuple[Dot, ...] = ()
    arrow: tuple[int, int] | None = None


class Desktop:
    """An interactive desktop of palette indices (`rfbproxy.demo.palette`).

    Args:
        name: what the title bar says.
        width: pixels, kept between `MIN_SIZE` and `MAX_SIZE`, as is the height.
    """

    def __init__(self, name: str = "Demo desktop", width: int = DEFAULT_SIZE[0], height: int = DEFAULT_SIZE[1]) -> None:
        self.name = name
        self.clipboard: str | None = None  # what a viewer's clipboard last said
        self.viewers = 0
        self._status = _WELCOME
        self._text_area = TextArea()
        self._trail = Trail()
        self._modifiers: set[int] = set()
        self._held_buttons = 0
        self._hovered: Button | None = None
        self._pressed: Button | None = None
        self._layout = layout_for(*_bounded(width, height))
        self._ground = Canvas(*_bounded(width, height))  # without pointer and trail
        self._screen = Canvas(*_bounded(width, height))
        self._lines: list[str] = []  # of the text area, as painted
        self._second = -1  # that the clock shows
        self._overlay = _Overlay()
        self._stale = {_Part.FRAME}
        self._size = _bounded(width, height)

    @property
    def text(self) -> str:
        """What the text area holds."""
        return self._text_area.text

    @property
    def width(self) -> int:
        """Pixels."""
        return self._size[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self._size[1]

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return self._layout

    def resize(self, width: int, height: int) -> None:
        """Take a new size, or the nearest one that is allowed."""
        size = _bounded(width, height)
        if size != self._size:
            self._size = size
            self._layout = layout_for(*size)
            self._hovered = self._pressed = None
            self._stale.add(_Part.FRAME)

    def set_viewers(self, count: int) -> None:
        """Tell how many look at the desktop; the status bar says so."""
        self.viewers = count
        self._stale.add(_Part.STATUS)

    def key(self, keysym: int, *, down: bool) -> None:
        """A key was pressed (or repeats), or was released; wherever the pointer is, it goes to the text area."""
        if keysym in SILENT:
            return
        if keysym in MODIFIERS:
            (self._modifiers.add if down else self._modifiers.discard)(keysym)
        if not down:
            return
        names = dict.fromkeys(name for code, name in MODIFIERS.items() if code in self._modifiers)
        if keysym not in MODIFIERS:
            names[key_name(keysym)] = None
        self._say(f"Key: {'-'.join(names)}")
        if self._modifiers:
            return
        if keysym == Keysym.BACKSPACE:
            self._text_area.backspace()
        else:
            self._text_area.type(typed(keysym))
        self._stale.add(_Part.TEXT)

    def pointer(self, x: int, y: int, buttons: int, now: float) -> Effect | None:
        """The pointer moved, or buttons changed; a click counts when it ends on the button that it began on.

        Args:
            buttons: a PointerEvent's mask.
            now: seconds since the epoch.
        """
        x, y = min(max(x, 0), self.width - 1), min(max(y, 0), self.height - 1)
        self._trail.move(x, y, now)
        was_down, is_down = self._held_buttons & _LEFT_BUTTON, buttons & _LEFT_BUTTON
        self._held_buttons = buttons
        before = (self._hovered, self._pressed)
        self._hovered = self._layout.button_at(x, y)
        clicked = None
        if is_down and not was_down:
            self._pressed = self._hovered
        elif was_down and not is_down:
            clicked = self._pressed if self._pressed is self._hovered else None
            self._pressed = None
        if (self._hovered, self._pressed) != before:
            self._stale.add(_Part.BUTTONS)
        return self._click(clicked) if clicked else None

    def receive_cut_text(self, text: str) -> None:
        """A viewer's clipboard says `text`."""
        self.clipboard = text
        self._stale.add(_Part.CLIPBOARD)
        self._say(f"Clipboard received: {_counted(len(text), 'character')}")

    def next_change(self, now: float) -> float:
        """When the desktop looks different by itself: a trail fades, or the clock goes on."""
        return now + STEP_S if self._trail else float(int(now) + 1)

    def paint(self, now: float) -> list[Rect]:
        """Bring the pixels up to date; returns where they may have changed since the last time."""
        dirty = DirtyRegion()
        if _Part.FRAME in self._stale:
            self._paint_frame(dirty)
        if int(now) != self._second:
            self._second = int(now)
            dirty.add(view.draw_clock(self._ground, self._layout, now))
        self._paint_parts(dirty)
        self._stale.clear()
        self._lay_over(dirty, now)
        return dirty.take(self._screen.rect)

    def read(self, rect: Rect) -> bytes:
        """Palette indices inside `rect`, row after row, as last painted."""
        return self._screen.read(rect)

    def _say(self, status: str) -> None:
        self._status = status
        self._stale.add(_Part.STATUS)

    def _click(self, button: Button) -> Effect | None:
        if button is Button.COPY:
            self._say(f"Copied to your clipboard: {_counted(len(self.text), 'character')}")
            return Effect.CUT_TEXT
        if button is Button.BELL:
            self._say("The bell rang")
            return Effect.BELL
        self._text_area.clear()
        self._stale.add(_Part.TEXT)
        self._say("Text cleared")
        return None

    def _paint_frame(self, dirty: DirtyRegion) -> None:
        self._ground, self._screen = Canvas(*self._size), Canvas(*self._size)
        self._lines, self._second, self._overlay = [], -1, _Overlay()
        self._stale = set(_Part)
        dirty.add(view.draw_frame(self._ground, self._layout, self.name))

    def _paint_parts(self, dirty: DirtyRegion) -> None:
        ground, layout = self._ground, self._layout
        if _Part.TEXT in self._stale:
            self._paint_text(dirty)
        if _Part.BUTTONS in self._stale:
            for button in Button:
                hovered, pressed = button is self._hovered, button is self._pressed is self._hovered
                dirty.add(view.draw_button(ground, layout, button, hovered=hovered, pressed=pressed))
        if _Part.CLIPBOARD in self._stale:
            dirty.add(view.draw_clipboard(ground, layout, self.clipboard))
        if _Part.STATUS in self._stale:
            facts = f"{self.width} x {self.height}, {_counted(self.viewers, 'viewer')}"
            dirty.add(view.draw_status(ground, layout, self._status, facts))

    def _paint_text(self, dirty: DirtyRegion) -> None:
        """Only lines that differ from what stands there, and those that hold or held the caret."""
        before, lines = self._lines, self._text_area.lines(self._layout.columns, self._layout.rows)
        self._lines = lines
        carets = {len(before) - 1, len(lines) - 1}
        for row in range(max(len(before), len(lines))):
            line = lines[row] if row < len(lines) else ""
            if row in carets or row >= len(before) or line != before[row]:
                dirty.add(view.draw_line(self._ground, self._layout, row, line, caret=row == len(lines) - 1))
        if not self.text:
            dirty.add(view.draw_hint(self._ground, self._layout))

    def _lay_over(self, dirty: DirtyRegion, now: float) -> None:
        """Put pointer and trail over the desktop, and take away what lay there before."""
        before = self._overlay
        self._overlay = after = _Overlay(tuple(self._trail.dots(now)), self._trail.position)
        for dot in set(before.dots) ^ set(after.dots):
            dirty.add(dot.rect & self._screen.rect)
        if before.arrow != after.arrow:
            for position in filter(None, (before.arrow, after.arrow)):
                dirty.add(arrow_rect(position) & self._screen.rect)
        touched = dirty.take(self._screen.rect)
        for rect in touched:
            self._screen.copy(self._ground, rect)
            dirty.add(rect)
        for dot in after.dots:
            draw_dot(self._screen, self._ground, dot)
        if after.arrow:
            draw_arrow(self._screen, after.arrow)


def _bounded(width: int, height: int) -> tuple[int, int]:
    return (
        min(max(width, MIN_SIZE[0]), MAX_SIZE[0]),
        min(max(height, MIN_SIZE[1]), MAX_SIZE[1]),
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
