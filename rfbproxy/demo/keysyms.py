"""Keysyms of X11, as KeyEvent carries them (RFC 6143 section 7.5.4): what they type, and what they are called."""

from enum import IntEnum


class Keysym(IntEnum):
    """The keysyms that the demo desktop obeys, or that it names oddly enough to need a word."""

    BACKSPACE = 0xFF08
    TAB = 0xFF09
    RETURN = 0xFF0D
    ESCAPE = 0xFF1B
    HOME = 0xFF50
    LEFT = 0xFF51
    UP = 0xFF52
    RIGHT = 0xFF53
    DOWN = 0xFF54
    PAGE_UP = 0xFF55
    PAGE_DOWN = 0xFF56
    END = 0xFF57
    INSERT = 0xFF63
    KP_ENTER = 0xFF8D
    DELETE = 0xFFFF


MODIFIERS: dict[int, str] = {
    0xFFE3: "Ctrl",
    0xFFE4: "Ctrl",
    0xFFE9: "Alt",
    0xFFEA: "Alt",
    0xFFE7: "Meta",
    0xFFE8: "Meta",
    0xFFEB: "Super",
    0xFFEC: "Super",
}
"""Keys that turn what is typed into a command; Shift and AltGr are not among them, the keysym tells of these."""

SILENT = frozenset((0xFFE1, 0xFFE2, 0xFFE5, 0xFE03, 0xFF7E, 0xFF7F))
"""Keys that nobody needs to be told of: Shift, Caps Lock, AltGr, Num Lock."""

_TYPED: dict[int, str] = {Keysym.TAB: "\t", Keysym.RETURN: "\n", Keysym.KP_ENTER: "\n", 0xFF80: " ", 0xFFBD: "="}
_NAMES: dict[int, str] = {key.value: key.name.title().replace("_", " ") for key in Keysym}
_UNICODE = 0x01000000  # keysym of a Unicode character: this and its code point
_KEYPAD = range(0xFFAA, 0xFFBA)  # KP_Multiply to KP_9, in the order of ASCII
_FUNCTION_KEYS = range(0xFFBE, 0xFFCA)  # F1 to F12


def typed(keysym: int) -> str:
    """The character that a key types, "" for none."""
    if keysym in _TYPED:
        return _TYPED[keysym]
    if keysym in _KEYPAD:
        return chr(keysym - _KEYPAD.start + ord("*"))
    if 0x20 <= keysym <= 0x7E or 0xA0 <= keysym <= 0xFF:
        return chr(keysym)
    code_point = keysym - _UNICODE
    if 0xA0 <= code_point <= 0x10FFFF and not 0xD800 <= code_point <= 0xDFFF:
        return chr(code_point)
    return ""


def key_name(keysym: int) -> str:
    """What to call a key on the desktop."""
    if keysym in _NAMES:
        return _NAMES[keysym]
    if keysym in _FUNCTION_KEYS:
        return f"F{keysym - _FUNCTION_KEYS.start + 1}"
    character = typed(keysym)
    if character == " ":
        return "Space"
    return character or MODIFIERS.get(keysym) or f"0x{keysym:x}"
