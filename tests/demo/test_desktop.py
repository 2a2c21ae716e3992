"""The demo desktop's model: keys, pointer, size, and which pixels they touch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.demo import Desktop
from rfbproxy.demo.desktop import Effect
from rfbproxy.demo.font import ADVANCE, GLYPH_HEIGHT, text_mask
from rfbproxy.demo.geometry import DirtyRegion, Rect
from rfbproxy.demo.layout import MAX_SIZE, MIN_SIZE, Button, layout_for
from rfbproxy.demo.palette import PALETTE, Colour
from rfbproxy.demo.text_area import TEXT_LIMIT, wrapped

RETURN, BACKSPACE, TAB, CONTROL, SHIFT = 0xFF0D, 0xFF08, 0xFF09, 0xFFE3, 0xFFE1
NOON = 1_700_000_000.0


def desktop() -> Desktop:
    fresh = Desktop()
    fresh.paint(NOON)
    return fresh


def press(target: Desktop, *keysyms: int | str) -> None:
    for keysym in keysyms:
        for code in [ord(character) for character in keysym] if isinstance(keysym, str) else [keysym]:
            target.key(code, down=True)
            target.key(code, down=False)


def click(target: Desktop, button: Button) -> Effect | None:
    rect = target.layout.buttons[button]
    target.pointer(rect.x + 5, rect.y + 5, 1, NOON)
    return target.pointer(rect.x + 6, rect.y + 6, 0, NOON)


def everything(target: Desktop) -> bytes:
    return target.read(Rect(0, 0, target.width, target.height))


def test_typed_text_is_kept_and_seen() -> None:
    target = desktop()
    area = target.layout.text
    before = target.read(area)
    press(target, "Hi", RETURN, TAB, "x", BACKSPACE, "y")
    assert target.text == "Hi\n\ty"
    dirty = target.paint(NOON)
    assert target.read(area) != before
    assert Colour.INK in target.read(area)
    assert any(rect & area for rect in dirty)


def test_typing_dirties_its_line_alone() -> None:
    target = desktop()
    press(target, "a", RETURN, "b")
    target.paint(NOON)
    press(target, "c")
    dirty = [rect for rect in target.paint(NOON) if rect & target.layout.text]
    assert dirty
    assert all(rect.height < 30 for rect in dirty)


def test_nothing_new_is_nothing_dirty() -> None:
    target = desktop()
    assert target.paint(NOON + 0.5) == []


def test_clock_goes_on_with_time() -> None:
    target = desktop()
    before = everything(target)
    (clock,) = target.paint(NOON + 1)
    assert clock in [clock & target.layout.bar]
    assert everything(target) != before
    assert target.next_change(NOON + 1.25) == NOON + 2


def test_commands_are_not_typed() -> None:
    target = desktop()
    target.key(CONTROL, down=True)
    press(target, "c")
    target.key(CONTROL, down=False)
    press(target, SHIFT, "d", 0x010020AC, 0xE9)
    assert target.text == "d\u20ac\u00e9"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("ab cd", ["ab", "cd"]),
        ("abcdef", ["abcd", "ef"]),
        ("ab\n\ncd\n", ["ab", "", "cd", ""]),
        ("\tx", ["   ", "x"]),
    ],
)
def test_wrapping(text: str, lines: list[str]) -> None:
    assert list(wrapped(text, 4)) == lines


@given(st.text(), st.integers(min_value=1, max_value=12))
def test_wrapped_lines_fit_and_lose_no_ink(text: str, columns: int) -> None:
    lines = list(wrapped(text, columns))
    assert all(len(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_text_scrolls_and_is_bounded() -> None:
    target = desktop()
    for _ in range(target.layout.rows + 5):
        press(target, "x", RETURN)
    press(target, "last")
    target.paint(NOON)
    bottom = target.layout.text
    last_line = Rect(bottom.x, bottom.bottom - 22, bottom.width, 22)
    assert Colour.INK in target.read(last_line)
    for _ in range(TEXT_LIMIT):
        target.key(ord("z"), down=True)
    assert target.text == "z" * TEXT_LIMIT


def test_buttons() -> None:
    target = desktop()
    press(target, "abc")
    assert click(target, Button.COPY) is Effect.CUT_TEXT
    assert click(target, Button.BELL) is Effect.BELL
    assert target.text == "abc"
    assert click(target, Button.CLEAR) is None
    assert target.text == ""


def test_click_that_ends_elsewhere_is_none() -> None:
    target = desktop()
    rect = target.layout.buttons[Button.BELL]
    target.pointer(rect.x + 5, rect.y + 5, 1, NOON)
    assert target.pointer(1, 1, 0, NOON) is None


def test_hovered_button_looks_different() -> None:
    target = desktop()
    rect = target.layout.buttons[Button.BELL]
    before = target.read(rect)
    target.pointer(rect.x + 3, rect.bottom - 2, 0, NOON)
    target.paint(NOON)
    assert target.read(rect) != before


def test_trail_fades_and_leaves_nothing() -> None:
    target, untouched = desktop(), desktop()
    untouched.pointer(400, 400, 0, NOON)
    untouched.paint(NOON)
    target.pointer(100, 300, 0, NOON)
    target.pointer(400, 400, 0, NOON)
    looks = []
    for step in range(10):
        target.paint(NOON + step / 10)
        looks.append(everything(target))
    assert len(set(looks)) > 4
    assert looks[-1] == everything(untouched)
    assert target.next_change(NOON + 0.95) == NOON + 1


@pytest.mark.parametrize("size", [(320, 200), (640, 420), (639, 419), (480, 400), (1024, 768), (2560, 1600)])
def test_resize_paints_all(size: tuple[int, int]) -> None:
    target = desktop()
    press(target, "some text")
    target.receive_cut_text("clip" * 400)
    target.resize(*size)
    assert (target.width, target.height) == size
    assert target.paint(NOON) == [Rect(0, 0, *size)]
    assert len(everything(target)) == size[0] * size[1]
    assert max(everything(target)) < len(PALETTE) <= 256


def test_resize_keeps_the_limits() -> None:
    target = desktop()
    target.resize(1, 65535)
    assert (target.width, target.height) == (MIN_SIZE[0], MAX_SIZE[1])


@given(
    st.integers(min_value=MIN_SIZE[0], max_value=MAX_SIZE[0]),
    st.integers(min_value=MIN_SIZE[1], max_value=MAX_SIZE[1]),
)
def test_every_layout_lies_inside_and_apart(width: int, height: int) -> None:
    layout = layout_for(width, height)
    screen = Rect(0, 0, width, height)
    parts = [layout.bar, layout.paper, layout.tray, layout.clipboard, layout.status]
    assert all(part & screen == part for part in parts if part)
    assert all(not one & other for place, one in enumerate(parts) for other in parts[place + 1 :])
    assert all(rect & layout.tray == rect for rect in layout.buttons.values())
    assert layout.text & layout.paper == layout.text
    assert layout.rows > 1
    assert layout.columns > 10


@given(st.data())
def test_dirty_rectangles_tell_every_changed_pixel(data: st.DataObject) -> None:
    """A copy that is only told of dirty rectangles stays equal to the desktop."""
    target = Desktop(width=400, height=300)
    target.paint(NOON)
    width = target.width
    mirror, now = bytearray(everything(target)), NOON
    for _ in range(data.draw(st.integers(min_value=1, max_value=6))):
        for _ in range(data.draw(st.integers(min_value=0, max_value=4))):
            action = data.draw(st.sampled_from(["key", "pointer", "clip", "viewers"]))
            if action == "key":
                target.key(data.draw(st.sampled_from([RETURN, BACKSPACE, TAB, 0x41, 0x20, 0x0100263A])), down=True)
            elif action == "pointer":
                x, y = data.draw(st.integers(0, 420)), data.draw(st.integers(0, 320))
                target.pointer(x, y, data.draw(st.integers(0, 1)), now)
            elif action == "clip":
                target.receive_cut_text(data.draw(st.text(max_size=30)))
            else:
                target.set_viewers(data.draw(st.integers(0, 3)))
        now += data.draw(st.sampled_from([0.0, 0.05, 0.4, 1.0]))
        for rect in target.paint(now):
            for row in range(rect.height):
                start = (rect.y + row) * width + rect.x
                line = target.read(Rect(rect.x, rect.y + row, rect.width, 1))
                mirror[start : start + rect.width] = line
        assert mirror == everything(target)


RECTS = st.builds(Rect, st.integers(0, 90), st.integers(0, 90), st.integers(0, 30), st.integers(0, 30))


@given(st.lists(RECTS, max_size=60), RECTS)
def test_dirty_region_forgets_nothing_and_stays_small(rects: list[Rect], window: Rect) -> None:
    region = DirtyRegion()
    for rect in rects:
        region.add(rect)
    taken = region.take(window)
    rest = region.take(Rect(0, 0, 200, 200))
    assert len(taken) <= DirtyRegion.LIMIT
    assert len(rest) <= DirtyRegion.LIMIT
    assert all(rect & window == rect for rect in taken)
    points = {(x, y) for rect in rects for x in (rect.x, rect.right - 1) for y in (rect.y, rect.bottom - 1) if rect}
    for point in points:
        assert any(point in rect for rect in (taken if point in window else rest))


def test_font_has_every_character_of_ascii_and_a_box() -> None:
    shapes = {text_mask(chr(code)) for code in range(0x20, 0x7F)}
    assert len(shapes) == 95
    assert text_mask("\u2603") == text_mask("\u00e9")
    assert text_mask("\u2603") not in shapes
    assert [len(row) for row in text_mask("abc", 2)] == [3 * ADVANCE * 2] * GLYPH_HEIGHT * 2
