"""The demo desktop's RFB server on a transport in memory and a clock that stands still."""

import struct
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.demo.layout import Button
from rfbproxy.demo.rfb_server import Viewer
from tests.demo.viewer import (
    DESKTOP_SIZE,
    EXTENDED_DESKTOP_SIZE,
    GREETING,
    HELLO,
    RAW,
    ZLIB,
    Bench,
    Screen,
    bgrx,
    client_cut_text,
    key,
    pointer,
    request,
    set_desktop_size,
    set_encodings,
    set_pixel_format,
)


def test_session_byte_by_byte_is_the_session_whole() -> None:
    said = HELLO + b"".join(
        [
            set_encodings(ZLIB, RAW),
            key(0x48),
            key(0x69),
            client_cut_text(b"caf\xe9"),
            set_desktop_size(640, 480),
            set_encodings(RAW, EXTENDED_DESKTOP_SIZE),
            request(incremental=False),
        ]
    )
    answers = []
    for cuts in (range(0, len(said) + 1, len(said)), range(len(said) + 1), range(0, len(said) + 7, 7)):
        bench = Bench()
        viewer = bench.connect(b"")
        for start, end in pairwise(cuts):
            viewer.dataReceived(said[start:end])
        bench.clock.advance(1)
        answers.append(bench.sent(viewer))
        assert bench.server.desktop.text == "Hi"
        assert bench.server.desktop.clipboard == "caf\u00e9"
        assert (bench.server.desktop.width, bench.server.desktop.height) == (640, 480)
    assert answers[0].startswith(GREETING)
    assert answers[0] == answers[1] == answers[2]


def test_first_update_is_the_whole_picture() -> None:
    bench = Bench()
    viewer, screen = bench.connect(), Screen()
    assert screen.read(bench.ask(viewer, request(incremental=False))) == [("update", (RAW, 0, 0, 800, 600))]
    assert screen.pixels == bench.wanted(bgrx)


@pytest.mark.parametrize("encoding", [RAW, ZLIB])
def test_updates_follow_the_desktop(encoding: int) -> None:
    bench = Bench()
    viewer, screen = bench.connect(), Screen()
    screen.read(bench.ask(viewer, set_encodings(encoding, RAW), request(incremental=False)))
    for step in range(20):
        messages = [key(0x61 + step), pointer(40 * step, 25 * step), request()]
        ((kind, *rects),) = screen.read(bench.ask(viewer, *messages, wait=0.1))
        assert kind == "update"
        assert {rect[0] for rect in rects if isinstance(rect, tuple)} == {encoding}
        assert screen.pixels == bench.wanted(bgrx)


def test_raw_is_preferred_where_the_viewer_prefers_it() -> None:
    bench = Bench()
    viewer, screen = bench.connect(), Screen()
    assert screen.read(bench.ask(viewer, set_encodings(5, RAW, ZLIB), request(incremental=False))) == [
        ("update", (RAW, 0, 0, 800, 600))
    ]


FORMATS: list[tuple[bytes, int, Callable[[int, int, int], bytes]]] = [
    (
        set_pixel_format(bits=32, depth=24, big=1, maxima=(255, 255, 255), shifts=(16, 8, 0)),
        4,
        lambda red, green, blue: bytes((255, red, green, blue)),
    ),
    (
        set_pixel_format(bits=16, depth=16, maxima=(31, 63, 31), shifts=(11, 5, 0)),
        2,
        lambda red, green, blue: struct.pack(
            "<H", (red * 31 + 127) // 255 << 11 | (green * 63 + 127) // 255 << 5 | (blue * 31 + 127) // 255
        ),
    ),
    (
        set_pixel_format(bits=16, depth=15, big=1, maxima=(31, 31, 31), shifts=(10, 5, 0)),
        2,
        lambda red, green, blue: struct.pack(
            ">H", 0x8000 | (red * 31 + 127) // 255 << 10 | (green * 31 + 127) // 255 << 5 | (blue * 31 + 127) // 255
        ),
    ),
    (
        set_pixel_format(bits=8, depth=8, maxima=(7, 7, 3), shifts=(0, 3, 6)),
        1,
        lambda red, green, blue: bytes(
            [(red * 7 + 127) // 255 | (green * 7 + 127) // 255 << 3 | (blue * 3 + 127) // 255 << 6]
        ),
    ),
]


@pytest.mark.parametrize(("message", "size", "pixel"), FORMATS)
def test_pixel_formats(message: bytes, size: int, pixel: Callable[[int, int, int], bytes]) -> None:
    bench = Bench()
    viewer, screen = bench.connect(), Screen(size=size, pixels=bytearray(800 * 600 * size))
    screen.read(bench.ask(viewer, message, request(incremental=False)))
    assert screen.pixels == bench.wanted(pixel)


BROKEN: dict[str, bytes] = {
    "colour map": set_pixel_format(bits=8, depth=8, true=0, maxima=(0, 0, 0), shifts=(0, 0, 0)),
    "24 bits": set_pixel_format(bits=24, depth=24, maxima=(255, 255, 255), shifts=(16, 8, 0)),
    "wire_R33": set_pixel_format(bits=32, depth=24, maxima=(0, 0, 0), shifts=(255, 255, 255)),
    "too large a colour": set_pixel_format(bits=16, depth=16, maxima=(255, 255, 255), shifts=(16, 8, 0)),
    "wire_R23": b"\x4d",
    "FixColourMapEntries": b"\x01",
    "wire_R25": client_cut_text(b"", length=0x7FFFFFFF),
    "extended clipboard": client_cut_text(b"", length=0xFFFFFFFC),
    "extended clipboard of INT_MIN": client_cut_text(b"", length=0x80000000),
    "cut text beyond 1 MiB": client_cut_text(b"", length=(1 << 20) + 1),
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN.keys())
def test_broken_message_ends_the_connection_after_what_came_before(message: bytes) -> None:
    bench = Bench()
    viewer = bench.connect()
    viewer.dataReceived(key(0x41) + message + key(0x42))
    viewer.dataReceived(key(0x43))
    assert bench.transports[viewer].disconnecting
    assert bench.server.desktop.text == "A"
    bench.lose(viewer)
    assert bench.clock.getDelayedCalls() == []


def test_viewer_that_does_not_go_is_aborted() -> None:
    bench = Bench()
    viewer = bench.connect()
    viewer.dataReceived(b"\xff")
    bench.clock.advance(10)
    assert bench.transports[viewer].disconnected


def test_update_comes_only_when_asked_and_changed() -> None:
    bench = Bench()
    viewer, screen = bench.connect(), Screen()
    assert bench.ask(viewer, key(0x41), wait=0.9) == b""
    bench.ask(viewer, request(incremental=False), wait=0.2)  # the clock reads 1.1
    assert bench.ask(viewer, request(), wait=0.5) == b""
    ((_, *rects),) = screen.read(bench.ask(viewer, key(0x42)))
    assert (RAW, 0, 0, 800, 600) not in rects
    assert bench.ask(viewer, key(0x43)) == b""


def test_update_stays_inside_what_was_asked_for() -> None:
    bench = Bench()
    viewer = bench.connect()
    bench.ask(viewer, request(incremental=False))
    heard = Screen().read(bench.ask(viewer, key(0x41), request(width=200, height=580)))
    ((_, *rects),) = heard
    assert rects
    assert all(x + width <= 200 and y + height <= 580 for _, x, y, width, height in rects)  # type: ignore[misc]
    ((_, *rest),) = Screen().read(bench.ask(viewer, request()))
    assert rest


def test_updates_are_at_most_thirty_a_second() -> None:
    bench = Bench()
    viewer = bench.connect()
    bench.ask(viewer, request(incremental=False))
    count = 0
    for step in range(1000):
        count += bench.ask(viewer, pointer(step % 700, 300), request(), wait=0.001) != b""
    assert 25 <= count <= 31


def test_idle_costs_one_tick_a_second_and_nothing_without_viewers() -> None:
    bench = Bench()
    assert bench.clock.getDelayedCalls() == []
    waiting, idle = bench.connect(), bench.connect()
    bench.ask(waiting, request(incremental=False))
    bench.ask(waiting, request(), wait=0.5)
    calls = []
    real = bench.clock.callLater
    bench.clock.callLater = lambda *args, **kwargs: (calls.append(args), real(*args, **kwargs))[1]  # type: ignore[method-assign]
    for _ in range(1000):
        bench.clock.advance(0.01)
        if bench.sent(waiting):
            waiting.dataReceived(request())
    assert len(calls) <= 2 * 10 + 1  # a second costs a tick, and one update for the viewer that waits
    for viewer in (waiting, idle):
        bench.lose(viewer)
    assert bench.clock.getDelayedCalls() == []


def test_a_full_buffer_stops_updates() -> None:
    bench = Bench()
    viewer = bench.connect()
    producer = bench.transports[viewer].producer
    assert producer is viewer
    viewer.pauseProducing()
    copy = bench.server.desktop.layout.buttons[Button.COPY]
    bell = bench.server.desktop.layout.buttons[Button.BELL]
    clicks = [pointer(rect.x + 4, rect.y + 4, buttons=buttons) for rect in (copy, bell) * 3 for buttons in (1, 0)]
    assert bench.ask(viewer, request(incremental=False), key(0x41), *clicks, wait=3) == b""
    viewer.resumeProducing()
    bench.clock.advance(0.1)
    heard = Screen().read(bench.sent(viewer))
    assert heard == [("cut text", "A"), ("bell",), ("update", (RAW, 0, 0, 800, 600))]


def test_cut_text_of_a_viewer_is_shown() -> None:
    bench = Bench()
    viewer = bench.connect()
    before = bench.ask(viewer, request(incremental=False))
    after = bench.ask(viewer, client_cut_text(b"a\nb\xfc"), request(incremental=False))
    assert bench.server.desktop.clipboard == "a\nb\u00fc"
    assert after != before


def test_copied_text_reaches_every_viewer_in_latin_1() -> None:
    bench = Bench()
    viewers = [bench.connect(), bench.connect()]
    rect = bench.server.desktop.layout.buttons[Button.COPY]
    viewers[0].dataReceived(key(0x010020AC) + key(0xE9) + pointer(rect.x, rect.y, buttons=1) + pointer(rect.x, rect.y))
    for viewer in viewers:
        assert bench.sent(viewer) == b"\x03\0\0\0\0\0\0\x02?\xe9"


def test_resize_is_told_to_all_in_their_words() -> None:
    bench = Bench()
    asker, other, old, deaf = (bench.connect() for _ in range(4))
    screens = {viewer: Screen() for viewer in (asker, other, old, deaf)}
    known = {
        asker: (EXTENDED_DESKTOP_SIZE,),
        other: (EXTENDED_DESKTOP_SIZE, DESKTOP_SIZE),
        old: (DESKTOP_SIZE,),
        deaf: (),
    }
    for viewer, encodings in known.items():
        first = screens[viewer].read(bench.ask(viewer, set_encodings(*encodings), request(incremental=False)))
        extended = [(EXTENDED_DESKTOP_SIZE, 0, 0, 800, 600)] if EXTENDED_DESKTOP_SIZE in encodings else []
        assert first == [("update", *extended, (RAW, 0, 0, 800, 600))]
    for viewer in known:
        bench.ask(viewer, request(), wait=0)
    bench.ask(asker, set_desktop_size(1000, 500), wait=0.1)
    bench.clock.advance(0.1)
    wanted: dict[Viewer, tuple[int, ...]] = {
        asker: (EXTENDED_DESKTOP_SIZE, 1, 0, 1000, 500),
        other: (EXTENDED_DESKTOP_SIZE, 2, 0, 1000, 500),
        old: (DESKTOP_SIZE, 0, 0, 1000, 500),
        deaf: (RAW, 0, 0, 800, 500),
    }
    bench.transports[asker].clear()
    for viewer in (other, old, deaf):
        assert screens[viewer].read(bench.sent(viewer)) == [("update", wanted[viewer])]
    for viewer in (other, old):
        screens[viewer].read(bench.ask(viewer, request(width=1000, height=500)))
        assert screens[viewer].pixels == bench.wanted(bgrx)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (set_desktop_size(700, 500), (EXTENDED_DESKTOP_SIZE, 1, 0, 700, 500)),
        (set_desktop_size(9999, 10), (EXTENDED_DESKTOP_SIZE, 1, 0, 2560, 200)),
        (set_desktop_size(800, 600), (EXTENDED_DESKTOP_SIZE, 1, 0, 800, 600)),
        (set_desktop_size(0, 600), (EXTENDED_DESKTOP_SIZE, 1, 3, 800, 600)),
        (set_desktop_size(700, 500, screens=0), (EXTENDED_DESKTOP_SIZE, 1, 3, 800, 600)),
        (set_desktop_size(700, 500, screens=255), (EXTENDED_DESKTOP_SIZE, 1, 0, 700, 500)),  # wire_R29
    ],
)
def test_answer_to_set_desktop_size(message: bytes, answer: tuple[int, ...]) -> None:
    bench = Bench()
    viewer, screen = bench.connect(), Screen()
    screen.read(bench.ask(viewer, set_encodings(EXTENDED_DESKTOP_SIZE), request(incremental=False)))
    ((_, first, *_rest),) = screen.read(bench.ask(viewer, request(), message))
    assert first == answer


def test_a_lost_viewer_holds_no_keys() -> None:
    bench = Bench()
    gone, stays = bench.connect(), bench.connect()
    gone.dataReceived(key(0xFFE3))
    bench.lose(gone)
    stays.dataReceived(key(0x61))
    assert bench.server.desktop.text == "a"


MESSAGES = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda *values: struct.pack("!BBHHHH", 3, *values), st.integers(0, 1), *[st.integers(0, 0xFFFF)] * 4),
    st.builds(lambda *values: struct.pack("!BB2xI", 4, *values), st.integers(0, 1), st.integers(0, 0xFFFFFFFF)),
    st.builds(lambda *values: struct.pack("!BBHH", 5, *values), st.integers(0, 255), *[st.integers(0, 0xFFFF)] * 2),
    st.builds(client_cut_text, st.binary(max_size=40)),
    st.builds(set_desktop_size, st.integers(0, 900), st.integers(0, 900), screens=st.integers(0, 3)),
    st.lists(st.sampled_from([RAW, ZLIB, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE, 7]), max_size=4).map(
        lambda numbers: set_encodings(*numbers)
    ),
    st.binary(min_size=16, max_size=16).map(lambda pixel_format: b"\0\0\0\0" + pixel_format),
)


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.booleans())
def test_random_bytes_raise_nothing(messages: Iterable[bytes], greeted: bool) -> None:
    bench = Bench()
    viewer = bench.connect(HELLO if greeted else b"")
    for message in messages:
        viewer.dataReceived(message)
        bench.clock.advance(0.05)
    bench.lose(viewer)
    assert bench.server.viewers == ()
    assert bench.clock.getDelayedCalls() == []
