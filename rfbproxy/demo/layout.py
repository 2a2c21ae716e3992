"""Where the parts of the demo desktop lie, for every size it can have."""

from dataclasses import dataclass
from enum import Enum

from rfbproxy.demo.font import ADVANCE, GLYPH_HEIGHT, SCALE
from rfbproxy.demo.geometry import Rect

MIN_SIZE = (320, 200)  # pixels
MAX_SIZE = (2560, 1600)
DEFAULT_SIZE = (800, 600)

COLUMN = ADVANCE * SCALE  # pixels of a character
LINE = GLYPH_HEIGHT * SCALE + 4  # pixels of a line of text, with the space between lines
_ROOMY = (640, 420)  # from this size on there is a column beside the text area


class Button(Enum):
    """The buttons, and what is written on them."""

    COPY = "Copy text"
    CLEAR = "Clear"
    BELL = "Bell"


@dataclass(frozen=True, slots=True)
class Layout:
    """Rectangles of the parts; a part that there is no room for is empty."""

    bar: Rect
    paper: Rect  # the sheet of the text area, with its head
    head: Rect
    text: Rect  # where lines stand
    tray: Rect  # the card that the buttons lie on
    buttons: dict[Button, Rect]
    clipboard: Rect
    status: Rect

    @property
    def columns(self) -> int:
        """Characters in a line of the text area."""
        return self.text.width // COLUMN

    @property
    def rows(self) -> int:
        """Lines that the text area shows."""
        return self.text.height // LINE

    def button_at(self, x: int, y: int) -> Button | None:
        """The button under a point."""
        return next((button for button, rect in self.buttons.items() if (x, y) in rect), None)


def layout_for(width: int, height: int) -> Layout:
    """The layout for a desktop of this size, which lies between `MIN_SIZE` and `MAX_SIZE`."""
    return _roomy(width, height) if width >= _ROOMY[0] and height >= _ROOMY[1] else _narrow(width, height)


def _roomy(width: int, height: int) -> Layout:
    bar, status, margin = 52, 32, 20
    side = max(216, min(340, width * 28 // 100))
    top, bottom = bar + margin, height - status - margin
    paper = Rect(margin, top, width - side - 3 * margin, bottom - top)
    head = Rect(paper.x, paper.y, paper.width, 38)
    side_x = paper.right + margin
    tray = Rect(side_x, top, side, 16 + len(Button) * 48 + 4)
    buttons = {button: Rect(side_x + 16, top + 16 + place * 48, side - 32, 36) for place, button in enumerate(Button)}
    clipboard = Rect(side_x, tray.bottom + margin, side, bottom - tray.bottom - margin)
    return Layout(
        Rect(0, 0, width, bar),
        paper,
        head,
        _whole_lines(Rect(paper.x + 16, head.bottom + 12, paper.width - 32, paper.bottom - head.bottom - 20)),
        tray,
        buttons,
        clipboard,
        Rect(0, height - status, width, status),
    )


def _narrow(width: int, height: int) -> Layout:
    bar, margin, tray_height = 32, 8, 44
    status = 28 if height >= 280 else 0
    tray = Rect(margin, height - status - margin - tray_height, width - 2 * margin, tray_height)
    room = tray.width - 16 - 8 * (len(Button) - 1)
    share = room // sum(len(button.value) + 2 for button in Button)
    buttons, x = {}, tray.x + 8
    for button in Button:
        buttons[button] = Rect(x, tray.y + 8, share * (len(button.value) + 2), tray_height - 16)
        x = buttons[button].right + 8
    clip_height = 84 if height >= 400 else 0
    clipboard = Rect(margin, tray.y - margin - clip_height, tray.width, clip_height)
    paper_bottom = (clipboard.y if clip_height else tray.y) - margin
    paper = Rect(margin, bar + margin, width - 2 * margin, paper_bottom - bar - margin)
    return Layout(
        Rect(0, 0, width, bar),
        paper,
        Rect(0, 0, 0, 0),
        _whole_lines(paper.inset(10, 8)),
        tray,
        buttons,
        clipboard,
        Rect(0, height - status, width, status),
    )


def _whole_lines(rect: Rect) -> Rect:
    return Rect(rect.x, rect.y, rect.width, rect.height // LINE * LINE)
