"""The colours of the demo desktop: named ones, their mixtures for smooth edges, and the shades of the pointer's trail.

A pixel is one byte, an index into `PALETTE`. Mixtures are palette entries of their own, prepared here for the pairs
that meet on the desktop, so that painting never computes a colour.
"""

from enum import IntEnum

RGB = tuple[int, int, int]


class Colour(IntEnum):
    """Named palette indices."""

    BLACK = 0
    WHITE = 1
    BACKDROP = 2
    BAR = 3
    BAR_TEXT = 4
    CARD = 5
    CARD_TEXT = 6
    MUTED = 7
    PAPER = 8
    PAPER_HEAD = 9
    PAPER_LINE = 10
    INK = 11
    FAINT = 12
    ACCENT = 13
    ACCENT_BRIGHT = 14
    ACCENT_DEEP = 15
    BUTTON = 16
    BUTTON_BRIGHT = 17
    BUTTON_DEEP = 18
    CORAL = 19
    AMBER = 20
    MINT = 21


_RGB: dict[Colour, int] = {
    Colour.BLACK: 0x0B0F18,
    Colour.WHITE: 0xFFFFFF,
    Colour.BACKDROP: 0x1E2740,
    Colour.BAR: 0x131A2C,
    Colour.BAR_TEXT: 0xF1F5FB,
    Colour.CARD: 0x2A3553,
    Colour.CARD_TEXT: 0xE3EAF6,
    Colour.MUTED: 0x8FA0C2,
    Colour.PAPER: 0xFCFDFF,
    Colour.PAPER_HEAD: 0xE7ECF5,
    Colour.PAPER_LINE: 0xD3DBE8,
    Colour.INK: 0x222B3F,
    Colour.FAINT: 0x7A869C,
    Colour.ACCENT: 0x2F9BFF,
    Colour.ACCENT_BRIGHT: 0x57B1FF,
    Colour.ACCENT_DEEP: 0x1F7BD6,
    Colour.BUTTON: 0x3D4B70,
    Colour.BUTTON_BRIGHT: 0x4D5D88,
    Colour.BUTTON_DEEP: 0x333F60,
    Colour.CORAL: 0xFF6B6B,
    Colour.AMBER: 0xFFC247,
    Colour.MINT: 0x3DD598,
}

MIX_STEPS = 4  # an edge pixel is covered by none to four quarters
_MEETING: tuple[tuple[Colour, Colour], ...] = (  # what is drawn with smooth edges, and on what
    (Colour.PAPER, Colour.BACKDROP),
    (Colour.PAPER_HEAD, Colour.BACKDROP),
    (Colour.CARD, Colour.BACKDROP),
    (Colour.CARD, Colour.BAR),
    (Colour.ACCENT, Colour.BAR),
    (Colour.MINT, Colour.BAR),
    (Colour.ACCENT, Colour.CARD),
    (Colour.ACCENT_BRIGHT, Colour.CARD),
    (Colour.ACCENT_DEEP, Colour.CARD),
    (Colour.BUTTON, Colour.CARD),
    (Colour.BUTTON_BRIGHT, Colour.CARD),
    (Colour.BUTTON_DEEP, Colour.CARD),
    (Colour.CORAL, Colour.PAPER_HEAD),
    (Colour.AMBER, Colour.PAPER_HEAD),
    (Colour.MINT, Colour.PAPER_HEAD),
)

_TRAIL: tuple[tuple[int, int], ...] = (  # from the newest point on: the tint, and how much of it in hundredths
    (0xFFC247, 85),
    (0xFFAE4E, 76),
    (0xFF9558, 66),
    (0xFF7C66, 56),
    (0xF36A86, 46),
    (0xD867B4, 36),
    (0xB968DE, 25),
    (0x9C6BFF, 13),
)


def mixed(colour: Colour, behind: Colour, quarters: int) -> int:
    """The palette index of `colour` over `behind`, of which `quarters` (0 to 4) are covered."""
    if quarters in (0, MIX_STEPS):
        return colour if quarters else behind
    return _FIRST_MIXTURE[colour, behind] + quarters - 1


def _rgb(value: int) -> RGB:
    return value >> 16, value >> 8 & 0xFF, value & 0xFF


def _between(behind: RGB, above: RGB, hundredths: int) -> RGB:
    red, green, blue = (low + (high - low) * hundredths // 100 for low, high in zip(behind, above, strict=True))
    return red, green, blue


_colours = [_rgb(_RGB[colour]) for colour in Colour]
_FIRST_MIXTURE: dict[tuple[Colour, Colour], int] = {}
_nearest = list(range(len(Colour)))  # of every index, the named colour that the trail takes it for
for _colour, _behind in _MEETING:
    _FIRST_MIXTURE[_colour, _behind] = len(_colours)
    for _quarters in range(1, MIX_STEPS):
        _colours.append(_between(_rgb(_RGB[_behind]), _rgb(_RGB[_colour]), _quarters * 100 // MIX_STEPS))
        _nearest.append(_colour if _quarters * 2 >= MIX_STEPS else _behind)

_shades = []
for _tint, _share in _TRAIL:
    _first = len(_colours)
    _colours += [_between(_rgb(_RGB[colour]), _rgb(_tint), _share) for colour in Colour]
    _shades.append(bytes(_first + index for index in _nearest).ljust(256, b"\0"))

TRAIL_SHADES: tuple[bytes, ...] = tuple(_shades)
"""For `bytes.translate`: from the desktop's indices to those under the trail, one table for each age, newest first."""

PALETTE: tuple[RGB, ...] = tuple(_colours)
"""Red, green and blue (0 to 255) of every index that a pixel can have."""
