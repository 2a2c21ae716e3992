"""How the parts of the demo desktop look; every function paints one part onto a canvas and returns what it covered."""

import time

from rfbproxy.demo.canvas import Canvas
from rfbproxy.demo.font import GLYPH_HEIGHT, SCALE
from rfbproxy.demo.geometry import Rect
from rfbproxy.demo.layout import COLUMN, LINE, Button, Layout
from rfbproxy.demo.palette import Colour
from rfbproxy.demo.text_area import wrapped

CAP_HEIGHT = 7 * SCALE  # pixels of a capital
CARET_WIDTH = 3  # pixels
_RADIUS = 10  # of a card's corners
_HINT = "Type: the text appears here."
_CLOCK = "00:00:00"
_SHOWN_LIMIT = 4096  # characters of a clipboard that are laid out; more than fit
_LIGHTS = (Colour.CORAL, Colour.AMBER, Colour.MINT)


def draw_frame(canvas: Canvas, layout: Layout, name: str) -> Rect:
    """Everything that only a resize changes: backdrop, title bar, cards and captions."""
    canvas.fill(canvas.rect, Colour.BACKDROP)
    _draw_bar(canvas, layout.bar, name)
    canvas.rounded(layout.paper, _RADIUS, Colour.PAPER, Colour.BACKDROP)
    if layout.head:
        _draw_head(canvas, layout.head)
    canvas.rounded(layout.tray, _RADIUS, Colour.CARD, Colour.BACKDROP)
    if layout.clipboard:
        canvas.rounded(layout.clipboard, _RADIUS, Colour.CARD, Colour.BACKDROP)
        x, y = layout.clipboard.x + 16, layout.clipboard.y + 14
        canvas.text(x, y, _fitted("Your clipboard", layout.clipboard.width - 32), Colour.MUTED, Colour.CARD)
    return canvas.rect


def draw_clock(canvas: Canvas, layout: Layout, now: float) -> Rect:
    """The time of day, local to this machine.

    Args:
        now: seconds since the epoch.
    """
    pill = _clock_rect(layout.bar)
    text = time.strftime("%H:%M:%S", time.localtime(now))
    return canvas.text(
        pill.x + (pill.width - len(text) * COLUMN + SCALE) // 2,
        _centred(pill),
        text,
        Colour.BAR_TEXT,
        Colour.CARD,
    )


def draw_line(canvas: Canvas, layout: Layout, row: int, line: str, *, caret: bool) -> Rect:
    """One line of the text area, with the caret behind it."""
    rect = Rect(layout.text.x, layout.text.y + row * LINE, layout.text.width, LINE)
    canvas.fill(rect, Colour.PAPER)
    canvas.text(rect.x, rect.y + 2, line, Colour.INK, Colour.PAPER)
    if caret:
        place = Rect(rect.x + len(line) * COLUMN, rect.y, CARET_WIDTH, LINE - 2)
        canvas.fill(place & layout.text, Colour.ACCENT)
    return rect


def draw_hint(canvas: Canvas, layout: Layout) -> Rect:
    """What an empty text area says, on its first line, behind the caret."""
    rect = draw_line(canvas, layout, 0, "", caret=True)
    room = rect.width - COLUMN
    canvas.text(rect.x + COLUMN, rect.y + 2, _fitted(_HINT, room), Colour.FAINT, Colour.PAPER)
    return rect


def draw_button(canvas: Canvas, layout: Layout, button: Button, *, hovered: bool, pressed: bool) -> Rect:
    """A button; the first one is the one that matters."""
    rect = layout.buttons[button]
    if button is Button.COPY:
        shades = (Colour.ACCENT, Colour.ACCENT_BRIGHT, Colour.ACCENT_DEEP)
    else:
        shades = (Colour.BUTTON, Colour.BUTTON_BRIGHT, Colour.BUTTON_DEEP)
    ground = shades[2 if pressed else 1 if hovered else 0]
    canvas.rounded(rect, 8, ground, Colour.CARD)
    label = button.value
    x = rect.x + (rect.width - len(label) * COLUMN + SCALE) // 2
    canvas.text(x, _centred(rect) + pressed, label, Colour.WHITE, ground)
    return rect


def draw_clipboard(canvas: Canvas, layout: Layout, text: str | None) -> Rect:
    """What a viewer's clipboard last said, as much as fits."""
    card = layout.clipboard
    if not card:
        return card
    ground = Rect(card.x + 16, card.y + 14 + LINE + 6, card.width - 32, card.height - LINE - 32)
    canvas.fill(ground, Colour.CARD)
    if text is None:
        text, colour = "Copy something on your side, it is shown here.", Colour.FAINT
    else:
        colour = Colour.CARD_TEXT
    rows = ground.height // LINE
    lines = list(wrapped(_printable(text[:_SHOWN_LIMIT]), ground.width // COLUMN))
    if len(lines) > rows > 0:
        lines[rows - 1] = lines[rows - 1][: ground.width // COLUMN - 3] + "..."
    for row, line in enumerate(lines[:rows]):
        canvas.text(ground.x, ground.y + row * LINE, line, colour, Colour.CARD)
    return ground


def draw_status(canvas: Canvas, layout: Layout, left: str, right: str) -> Rect:
    """The bar at the bottom; where both texts do not fit the left one stays."""
    bar = layout.status
    if not bar:
        return bar
    canvas.fill(bar, Colour.BAR)
    left = _fitted(_printable(left), bar.width - 32)
    canvas.text(bar.x + 16, _centred(bar), left, Colour.CARD_TEXT, Colour.BAR)
    width = len(right) * COLUMN
    if width + len(left) * COLUMN + 56 <= bar.width:
        canvas.text(bar.right - 16 - width, _centred(bar), right, Colour.MUTED, Colour.BAR)
    return bar


def _draw_bar(canvas: Canvas, bar: Rect, name: str) -> None:
    canvas.fill(bar, Colour.BAR)
    roomy = bar.height > 40
    logo = Rect(bar.x + (20 if roomy else 8), bar.y + (bar.height - 28) // 2, 36, 28)
    canvas.rounded(logo, 7, Colour.ACCENT, Colour.BAR)
    canvas.text(logo.x + 7, _centred(logo), ">_", Colour.WHITE, Colour.ACCENT)
    pill = _clock_rect(bar)
    canvas.rounded(pill, 8, Colour.CARD, Colour.BAR)
    room = pill.x - logo.right - 28
    canvas.text(logo.right + 14, _centred(bar), _fitted(_printable(name), room), Colour.BAR_TEXT, Colour.BAR)


def _draw_head(canvas: Canvas, head: Rect) -> None:
    canvas.rounded(head, _RADIUS, Colour.PAPER_HEAD, Colour.BACKDROP)
    canvas.fill(Rect(head.x, head.bottom - _RADIUS, head.width, _RADIUS), Colour.PAPER_HEAD)
    canvas.fill(Rect(head.x, head.bottom - 1, head.width, 1), Colour.PAPER_LINE)
    for place, light in enumerate(_LIGHTS):
        canvas.disc(head.x + 22 + place * 20, head.y + head.height // 2, 6, light, Colour.PAPER_HEAD)
    caption = "Text"
    x = head.x + (head.width - len(caption) * COLUMN) // 2
    canvas.text(x, _centred(head), caption, Colour.FAINT, Colour.PAPER_HEAD)


def _clock_rect(bar: Rect) -> Rect:
    width, height = len(_CLOCK) * COLUMN + 20, min(32, bar.height - 6)
    margin = 20 if bar.height > 40 else 6
    return Rect(bar.right - margin - width, bar.y + (bar.height - height) // 2, width, height)


def _centred(rect: Rect) -> int:
    """Where a line of text begins so that its capitals stand in the middle of `rect`."""
    y = rect.y + (rect.height - CAP_HEIGHT) // 2
    return min(y, rect.bottom - GLYPH_HEIGHT * SCALE)


def _fitted(text: str, room: int) -> str:
    columns = max(0, room // COLUMN)
    return text if len(text) <= columns else text[: max(0, columns - 2)] + ".." * (columns >= 2)


def _printable(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
