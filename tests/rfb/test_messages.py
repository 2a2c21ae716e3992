import re
import struct
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.rfb.constants import ClientMessage, Encoding, XvpCode
from rfbproxy.rfb.messages import CHAT_LIMIT, CUT_TEXT_LIMIT, HELD_LIMIT, ClientMessageFilter
from tests.cuts import segmentations

BODY_LIMIT = 64 * 1024
CLIPBOARD = Encoding.EXTENDED_CLIPBOARD


def set_encodings(*encodings):
    return b"".join(
        [
            b"\x02\x00",  # message-type, padding
            struct.pack("!H", len(encodings)),  # number-of-encodings
            struct.pack(f"!{len(encodings)}i", *encodings),  # encoding-type
        ]
    )


def cut_text(text, length=None):
    return b"\x06\x00\x00\x00" + struct.pack("!i", len(text) if length is None else length) + text


def extended_cut_text(flags, data=b""):
    """One that rfbproto's "Extended Clipboard" describes: the length is negative."""
    return cut_text(struct.pack("!I", flags) + data, -4 - len(data))


def gii(data, *, big_endian=True):
    order = ">" if big_endian else "<"
    return bytes([253, 0x82 if big_endian else 0x02]) + struct.pack(f"{order}H", len(data)) + data


def set_desktop_size(screens):
    return b"\xfb\x00" + struct.pack("!HH", 1024, 768) + bytes([screens, 0]) + bytes(range(16)) * screens


def xvp(code, version=1):
    return bytes([250, 0, version, code])


FENCE = b"\xf8\x00\x00\x00\x80\x00\x00\x01"  # message-type, padding, flags
MESSAGES = {
    "SetPixelFormat": b"\x00\x00\x00\x00\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00",
    "SetPixelFormat that makes no sense (wire_R33)": b"\x00\x00\x00\x00\x20\x18\x00\x01" + bytes(6) + b"\xff" * 6,
    "SetEncodings": set_encodings(7, 1, 16, 5, -223),
    "SetEncodings of nothing (wire_R24)": set_encodings(),
    "FramebufferUpdateRequest": b"\x03\x01\x00\x00\x00\x00\x04\x00\x03\x00",
    "KeyEvent": b"\x04\x01\x00\x00\x00\x00\x00\x61",
    "PointerEvent": b"\x05\x01\x00\x10\x00\x20",
    "PointerEvent with the Back button (wire_R27)": b"\x05\x80\x00\x10\x00\x20",
    "ClientCutText": cut_text(b"caf\xe9"),
    "ClientCutText of nothing": cut_text(b""),
    "TextChat": b"\x0b\x00\x00\x00\x00\x00\x00\x02hi",
    "TextChat opens": b"\x0b\x00\x00\x00\xff\xff\xff\xff",
    "TextChat finishes": b"\x0b\x00\x00\x00\xff\xff\xff\xfd",
    "EnableContinuousUpdates": b"\x96\x01\x00\x00\x00\x00\x04\x00\x03\x00",
    "ClientFence": FENCE + b"\x04\xff\x02\x03\x04",
    "ClientFence without payload": FENCE + b"\x00",
    "ClientFence beyond its limit (wire_R28)": FENCE + b"\xff" + bytes(255),
    "xvp": xvp(XvpCode.RESET),
    "SetDesktopSize": set_desktop_size(1),
    "SetDesktopSize of 255 screens (wire_R29)": set_desktop_size(255),
    "gii": gii(b"\x01" * 7),
    "gii, little-endian": gii(b"\x02" * 0x102, big_endian=False),
    "gii, the longest (wire_R32)": gii(b"\xfa" * 0xFFFF),
    "gii, the longest, little-endian (wire_R32)": gii(b"\xfa" * 0xFFFF, big_endian=False),
    "QEMU extended key event": b"\xff\x00\x00\x01\x00\x00\x00\x61\x00\x00\x00\x1e",
    "QEMU audio on": b"\xff\x01\x00\x00",
    "QEMU audio off": b"\xff\x01\x00\x01",
    "QEMU audio format": b"\xff\x01\x00\x02\x03\x02\x00\x00\xac\x44",
}
EXTENDED = {
    "caps": extended_cut_text(0x01000003, bytes(8)),
    "request": extended_cut_text(0x02000001),
    "notify": extended_cut_text(0x08000001),
    "provide": extended_cut_text(0x10000001, b"x\x9c" + bytes(50)),
}
STRICT = set_encodings(0, Encoding.EXTENDED_MOUSE_BUTTONS)  # asks for something that is withheld
STRICT_PASSED = set_encodings(0)
BROKEN = {
    "wire_R23 unknown type 77": (b"\x4d", "client message type 77, allowed are "),
    "FixColourMapEntries": (b"\x01", "client message type 1, "),
    "UltraVNC file transfer": (b"\x07", "client message type 7, "),
    "Tight file transfer, which was not negotiated": (b"\x82", "client message type 130, "),
    "VMware": (b"\x7f", "client message type 127, "),
    "wire_R25 the longest length": (b"\x06\x00\x00\x00\x7f\xff\xff\xff", f"allowed are {CUT_TEXT_LIMIT}"),
    "wire_R25 the lowest length": (b"\x06\x00\x00\x00\x80\x00\x00\x00", f"allowed are {CUT_TEXT_LIMIT}"),
    "an extended clipboard that was not listed": (EXTENDED["notify"], f"of {2**32 - 4} bytes"),
    "TextChat beyond the limit": (b"\x0b\x00\x00\x00\x00\x00\x10\x01", f"of {CHAT_LIMIT + 1} bytes"),
    "TextChat of a length without meaning": (b"\x0b\x00\x00\x00\xff\xff\xff\xfc", "TextChat of -4 bytes"),
    "wire_R30 QEMU submessage 2": (b"\xff\x02", "submessage type 2"),
    "wire_R30 QEMU audio operation 9": (b"\xff\x01\x00\x09", "audio operation 9"),
}


def passed(segments, **named):
    """What goes on to the target, and the error that ends it, if any; what is kept stays bounded."""
    screen = ClientMessageFilter(**named)
    out = bytearray()
    for segment in segments:
        try:
            out += screen.receive_data(segment)
        except RemoteProtocolError as error:
            out += screen.data_to_send()
            with pytest.raises(RemoteProtocolError, match=re.escape(str(error))):
                screen.receive_data(b"\x05\x00\x00\x00\x00\x00")
            return bytes(out + screen.data_to_send()), str(error)
        assert len(screen._held) < HELD_LIMIT
    return bytes(out), None


def run(data, **named):
    outcomes = [passed(segments, **named) for segments in segmentations(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    return outcomes[0]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_passes_and_what_follows_it_is_seen(name):
    message = MESSAGES[name]
    assert run(message * 2) == (message * 2, None)
    out, error = run(STRICT + message + b"\x4d")
    assert out == STRICT_PASSED + message
    assert error.startswith("client message type 77, ")


def test_all_messages_in_a_row():
    stream = b"".join(MESSAGES.values())
    assert run(stream) == (stream, None)


@pytest.mark.parametrize("name", EXTENDED)
def test_the_extended_clipboard_passes_once_it_is_listed(name):
    stream = set_encodings(0, CLIPBOARD) + EXTENDED[name] + MESSAGES["KeyEvent"]
    assert run(stream) == (stream, None)


def test_the_extended_clipboard_is_over_once_it_is_listed_no_more():
    stream = set_encodings(0, CLIPBOARD) + EXTENDED["notify"] + set_encodings(0)
    out, error = run(stream + EXTENDED["notify"])
    assert out == stream
    assert "ClientCutText of" in error


@pytest.mark.parametrize(
    "message",
    [
        cut_text(b"", -3),
        cut_text(b"", -1),
        cut_text(b"", -(2**31)),
        cut_text(b"", -CUT_TEXT_LIMIT - 1),
        extended_cut_text(0x01000003, bytes(7)),
    ],
    ids=["wire_R25 -3", "-1", "wire_R25 INT_MIN", "too long", "wire_R25 caps without a size for each format"],
)
def test_an_extended_clipboard_that_cannot_be(message):
    stream = set_encodings(CLIPBOARD)
    out, error = run(stream + message + bytes(100))
    assert out == stream
    assert error


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol(name):
    message, words = BROKEN[name]
    before = MESSAGES["KeyEvent"] + MESSAGES["ClientCutText"]
    out, error = run(STRICT + before + message)
    assert out == STRICT_PASSED + before
    assert words in error


@pytest.mark.parametrize("stream", [b"\x4d", b"hello, this is no RFB", b"\x01" + bytes(10_000)])
def test_a_client_from_which_nothing_is_withheld_is_passed_on_unseen_after_an_unknown_type(stream):
    kinds = []
    before = MESSAGES["KeyEvent"] + MESSAGES["SetEncodings"]
    for segments in segmentations(before + stream + xvp(4)):
        kinds.clear()
        denied = {ClientMessage.XVP: lambda head: False}
        assert passed(segments, judges=denied, lost_sight=kinds.append) == (before + stream + xvp(4), None)
        assert kinds == [stream[0]]


def test_a_message_whose_end_need_not_be_awaited_passes_as_it_comes():
    screen = ClientMessageFilter()
    assert screen.receive_data(MESSAGES["KeyEvent"][:3]) == MESSAGES["KeyEvent"][:3]
    assert screen.receive_data(MESSAGES["KeyEvent"][3:]) == MESSAGES["KeyEvent"][3:]


def test_wire_R31_a_judge_drops_messages_and_nothing_else():
    seen = []

    def judge(head):
        seen.append(head)
        return head[3] == XvpCode.RESET

    stream = b"".join([xvp(9, version=2), MESSAGES["KeyEvent"], xvp(4), xvp(2), MESSAGES["PointerEvent"]])
    for segments in segmentations(stream):
        seen.clear()
        out, error = passed(segments, judges={ClientMessage.XVP: judge})
        assert (out, error) == (MESSAGES["KeyEvent"] + xvp(4) + MESSAGES["PointerEvent"], None)
        assert seen == [xvp(9, version=2), xvp(4), xvp(2)]


@pytest.mark.parametrize("kind", [kind for kind in ClientMessage if kind is not ClientMessage.SET_ENCODINGS])
def test_any_message_can_be_dropped_with_its_body(kind):
    of_kind = [message for message in MESSAGES.values() if message[0] == kind]
    stream = b"".join(message + MESSAGES["SetEncodings"] for message in of_kind)
    out, error = run(stream, judges={kind: lambda head: False})
    assert (out, error) == (MESSAGES["SetEncodings"] * len(of_kind), None)


@pytest.mark.parametrize(
    ("listed", "kept"),
    [
        ((7, -316, 1), (7, 1)),
        ((-309, 0, -309), (0,)),
        ((-316,), ()),
        ((0, CLIPBOARD, -308, 0x574D5664), (0, CLIPBOARD, -308, 0x574D5664)),
    ],
)
def test_withheld_encodings_are_not_heard_of(listed, kept):
    stream = set_encodings(*listed) + MESSAGES["KeyEvent"]
    assert run(stream, withheld={Encoding.XVP}) == (set_encodings(*kept) + MESSAGES["KeyEvent"], None)


def test_xvp_is_heard_of_unless_it_is_withheld():
    assert run(set_encodings(0, Encoding.XVP)) == (set_encodings(0, Encoding.XVP), None)


def test_wire_R24_the_longest_list_even_byte_by_byte():
    numbers = [*range(65534), Encoding.XVP]
    screen = ClientMessageFilter(withheld={Encoding.XVP})
    message = set_encodings(*numbers)
    out = b"".join(screen.receive_data(message[i : i + 1]) for i in range(len(message)))
    assert out == set_encodings(*numbers[:-1])


def test_one_whole_message_is_not_copied():
    message = bytes(MESSAGES["PointerEvent"])
    assert ClientMessageFilter().receive_data(message) is message


def test_bodies_are_streamed():
    screen = ClientMessageFilter()
    assert screen.receive_data(cut_text(b"", CUT_TEXT_LIMIT)) == cut_text(b"", CUT_TEXT_LIMIT)
    for _ in range(CUT_TEXT_LIMIT // BODY_LIMIT):
        assert screen.receive_data(bytes(BODY_LIMIT)) == bytes(BODY_LIMIT)
        assert not screen._held
    assert screen.receive_data(MESSAGES["KeyEvent"]) == MESSAGES["KeyEvent"]


def test_nothing_is_nothing():
    assert ClientMessageFilter().receive_data(b"") == b""


STREAMS = st.lists(
    st.one_of(
        st.sampled_from([*MESSAGES.values(), *EXTENDED.values()]).filter(lambda message: len(message) < 5000),
        st.binary(max_size=40),
        st.lists(st.sampled_from([0, 7, -316, -309, CLIPBOARD]), max_size=6).map(
            lambda numbers: set_encodings(*numbers)
        ),
        st.binary(max_size=300).map(cut_text),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(STREAMS, st.data())
def test_any_segmentation_has_the_same_outcome(stream, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    segments = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    named = {"judges": {ClientMessage.XVP: lambda head: head[2:] == b"\x01\x04"}, "withheld": {Encoding.XVP}}
    assert passed(segments, **named) == passed([stream], **named)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
@example(b"\x02\x00\xff\xff")
def test_random_bytes_break_the_protocol_or_pass(stream):
    out, error = passed([stream])
    assert len(out) <= len(stream)
    if error is None and stream[:1] != b"\x02":
        assert stream.startswith(out) or Encoding.EXTENDED_MOUSE_BUTTONS.to_bytes(4, "big", signed=True) in stream


@settings(max_examples=200, deadline=None)
@given(STREAMS)
def test_what_passed_passes_again_unchanged(stream):
    """The output is framed as the input was, and what is to be withheld is not in it."""
    named = {"judges": {ClientMessage.XVP: lambda head: False}, "withheld": {Encoding.XVP}}
    out, _ = passed([stream], **named)
    assert passed([out], **named) == (out, None)
