import struct
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice.messages import HELD_LIMIT, SAYS_NOTHING, Message, MessageFilter, Rule, dropped, message
from tests.cuts import segmentations
from tests.spice.streams import frames, passed, run

LIMIT = 1000


def header(kind, size):
    return struct.pack("<HI", kind, size)


def screen(rules=None, *, nothing=b""):
    return MessageFilter("client on inputs", LIMIT, rules, in_place_of_dropped=nothing)


def through(data, rules=None, **named):
    return run(lambda: screen(rules, **named), data)


KEY_DOWN = header(101, 4) + b"\xe0\x4d\x00\x00"  # code: Right
ACK = header(2, 0)


def test_a_message_of_our_own():
    assert message(101, b"\xe0\x4d\x00\x00") == KEY_DOWN
    assert message(2) == ACK


def test_a_message_that_says_nothing():
    notify = bytes.fromhex(
        "0700"  # type: NOTIFY
        "18000000"  # size: 24
        "0000000000000000"  # time_stamp
        "00000000"  # severity: info
        "00000000"  # visibility: low
        "00000000"  # what
        "00000000"  # message_len
    )
    assert notify == SAYS_NOTHING


def test_what_has_no_rule_passes():
    stream = KEY_DOWN + ACK + message(999, bytes(LIMIT)) + message(1) + KEY_DOWN
    assert through(stream) == (stream, None)


BROKEN = {
    "wire_S28 a size of 4 GiB": header(101, 0xFFFFFFFF),
    "a size beyond the limit": header(101, LIMIT + 1),
    "wire_S29 a type of 1000": header(1000, 0),
    "wire_S29 a type of 65535": header(0xFFFF, 0),
    "wire_S29 a full header": struct.pack("<QHII", 1, 101, 4, 0) + b"\xe0\x4d\x00\x00",
    "wire_S30 a list of messages": header(8, 20) + bytes(20),
    "a list without a body": header(8, 0),
    "a rule's size beyond the limit": header(50, LIMIT + 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol(name):
    out, error = through(KEY_DOWN + BROKEN[name] + KEY_DOWN, {50: Rule(dropped, HELD_LIMIT, is_all=True)})
    if "full header" in name:  # its first half could be a message
        assert out == KEY_DOWN + BROKEN[name][:6]
        assert "type 0, allowed are 1 to 999: this is no mini header" in error
    else:
        assert out == KEY_DOWN
        assert error.startswith("client on inputs sends")
        assert ("a list of messages" in error) == ("list" in name)


def test_wire_S28_nothing_waits_for_a_body_that_is_too_long():
    followed = MessageFilter("client", LIMIT)
    with pytest.raises(RemoteProtocolError, match="type 101 and 4294967295 bytes, allowed are 1000"):
        followed.receive_data(header(101, 0xFFFFFFFF))


def test_one_whole_message_is_not_copied():
    sent = bytes(KEY_DOWN)
    assert MessageFilter("client", LIMIT).receive_data(sent) is sent


def test_bodies_are_streamed():
    followed = MessageFilter("target", 1 << 26)
    assert followed.receive_data(header(304, 1 << 26)) == header(304, 1 << 26)
    piece = bytes(1 << 16)
    for _ in range(1 << 10):
        assert followed.receive_data(piece) is piece
        assert not followed._held
    assert followed.receive_data(KEY_DOWN) == KEY_DOWN


def test_a_body_that_does_not_pass_is_streamed_to_nowhere():
    followed = MessageFilter("target", 1 << 26, {50: Rule(dropped)})
    assert followed.receive_data(header(50, 1 << 20)) == b""
    for _ in range(1 << 4):
        assert followed.receive_data(bytes(1 << 16)) == b""
        assert not followed._held
    assert followed.receive_data(KEY_DOWN) == KEY_DOWN


def test_nothing_is_nothing():
    assert MessageFilter("client", LIMIT).receive_data(b"") == b""


@pytest.mark.parametrize("nothing", [b"", SAYS_NOTHING])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 300])
@pytest.mark.parametrize("held", [0, 8])
def test_a_message_is_dropped_with_its_body(size, held, nothing):
    stream = KEY_DOWN + message(50, b"\x32" * size) + ACK + message(50, b"\x32" * size)
    assert through(stream, {50: Rule(dropped, held)}, nothing=nothing) == (KEY_DOWN + nothing + ACK + nothing, None)


def test_a_judge_is_shown_what_it_asks_for_and_no_more():
    seen = []

    def judge(shown):
        seen.append(shown)
        return shown

    stream = message(50, bytes(range(20))) + message(50, b"ab") + message(50)
    for segments in segmentations(stream):
        seen.clear()
        assert passed(segments, screen({50: Rule(judge, 4)})) == (stream, None)
        assert seen == [Message(50, 20, b"\x00\x01\x02\x03"), Message(50, 2, b"ab"), Message(50, 0, b"")]


def test_a_judge_may_change_the_beginning_and_its_length():
    rules = {
        50: Rule(lambda shown: shown.with_start(shown.start.upper()), 2),
        51: Rule(lambda shown: shown.with_start(b"longer"), 3, is_all=True),
        52: Rule(lambda shown: Message(99, shown.size, shown.start)),
    }
    stream = message(50, b"abcd") + message(51, b"abc") + message(52, b"xyz") + KEY_DOWN
    assert through(stream, rules) == (
        message(50, b"ABcd") + message(51, b"longer") + message(99, b"xyz") + KEY_DOWN,
        None,
    )


def test_a_message_that_is_shown_whole_may_not_be_longer():
    out, error = through(message(51, b"abcd"), {51: Rule(lambda shown: shown, 3, is_all=True)})
    assert out == b""
    assert error == "client on inputs sends a message of type 51 and 4 bytes, allowed are 3"


def test_a_body_does_not_print_itself():
    assert "swordfish" not in repr(Message(109, 9, b"swordfish"))


def upper(shown):
    return shown.with_start(shown.start.upper())


RULES = {
    50: Rule(dropped),
    51: Rule(dropped, 5),
    52: Rule(upper, 8),
    53: Rule(lambda shown: shown.with_start(b"abc"), 30, is_all=True),
}
MESSAGES = st.tuples(st.sampled_from([1, 2, 7, 50, 51, 52, 53, 101, 304, 999]), st.binary(max_size=30)).map(
    lambda pair: message(*pair)
)
STREAMS = st.lists(st.one_of(MESSAGES, MESSAGES, MESSAGES, st.binary(max_size=20)), max_size=10).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(STREAMS, st.data(), st.sampled_from([b"", SAYS_NOTHING]))
def test_P1_P4_any_segmentation_has_the_same_outcome(stream, data, nothing):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    segments = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    assert passed(segments, screen(RULES, nothing=nothing)) == passed([stream], screen(RULES, nothing=nothing))


@settings(max_examples=400, deadline=None)
@given(st.lists(MESSAGES, max_size=12))
def test_P6_as_many_messages_come_out_as_went_in(messages):
    out, error = through(b"".join(messages), RULES, nothing=SAYS_NOTHING)
    assert error is None
    came, went = frames(b"".join(messages)), frames(out)
    assert b"".join(message(*frame) for frame in went) == out, "out of step"
    assert len(came) == len(went)
    for (kind, body), (told, told_body) in zip(came, went, strict=True):
        assert told == (7 if kind in (50, 51) else kind)
        assert len(told_body) == {50: 24, 51: 24, 53: 3}.get(kind, len(body))


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
@example(KEY_DOWN + b"\x08\x00\xff\xff\xff\xff")
def test_P3_P5_random_bytes_break_the_protocol_or_pass(stream):
    out, _ = passed([stream], screen())
    assert stream.startswith(out)
