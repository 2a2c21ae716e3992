import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.websocket import FRAME_LIMIT, MESSAGE_LIMIT, FrameReader, WebSocketError, close_frame, header
from tests.client import frames as client
from tests.client.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, frame
from tests.cuts import segmentations
from tests.websocket.violations import VIOLATIONS


def receive(reader, segments):
    """What the reader gives for segments, each in a buffer that is overwritten afterwards, as a shared one is."""
    received = bytearray()
    for segment in segments:
        buffer = bytearray(segment)
        try:
            pieces = reader.receive(memoryview(buffer))
        except WebSocketError as error:
            return bytes(received) + b"".join(error.before), reader.controls, error.code
        received += b"".join(pieces)
        buffer[:] = bytes(len(buffer))
    return bytes(received), reader.controls, None


def everywhere(data):
    """The common outcome of all segmentations."""
    outcomes = [receive(FrameReader(), segments) for segments in segmentations(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    return outcomes[0]


# Data


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 127, 4090, 65535, 65536, 70000])
def test_a_frame_of_every_form_of_length(size):
    payload = bytes(i % 251 for i in range(size))
    assert receive(FrameReader(), [frame(payload)]) == (payload, [], None)
    assert receive(FrameReader(), [frame(payload)[i : i + 999] for i in range(0, size + 14, 999)]) == (
        payload,
        [],
        None,
    )


def test_short_and_long_frames_of_different_masks_keep_their_order():
    sizes = [*range(260), 1000, 20, 5000, 20, 20, 70000, 0, 125, 126]
    payloads = [bytes([i % 256]) * size for i, size in enumerate(sizes)]
    sent = b"".join(frame(payload, mask=bytes([i % 256, 7, 0, 255 - i % 256])) for i, payload in enumerate(payloads))
    for cut in (len(sent), 4096, 777):
        segments = [sent[i : i + cut] for i in range(0, len(sent), cut)]
        assert receive(FrameReader(), segments) == (b"".join(payloads), [], None)


def test_fragments_with_control_frames_in_between():
    sent = (
        frame(b"", fin=False)
        + frame(b"one", opcode=CONTINUATION, fin=False)
        + frame(b"!", opcode=PING)
        + frame(b"t" * 200, opcode=CONTINUATION, fin=False)
        + frame(b"?" * 125, opcode=PONG)
        + frame(b"", opcode=PING)
        + frame(b"three", opcode=CONTINUATION)
        + frame(b"four")
    )
    assert everywhere(sent) == (
        b"one" + b"t" * 200 + b"threefour",
        [(PING, b"!"), (PONG, b"?" * 125), (PING, b"")],
        None,
    )


def test_a_piece_of_a_frame_is_not_waited_for():
    reader = FrameReader()
    assert receive(reader, [frame(b"abcde", claimed=FRAME_LIMIT)]) == (b"abcde", [], None)
    assert not reader.finished


def test_long_payloads_are_unmasked_in_place():
    buffer = memoryview(bytearray(frame(b"a" * 1000)))
    (piece,) = FrameReader().receive(buffer)
    assert piece.obj is buffer.obj
    assert bytes(buffer[8:]) == b"a" * 1000


def test_the_limit_of_a_message_is_that_of_all_its_fragments():
    reader = FrameReader()
    opcode = BINARY
    for _ in range(MESSAGE_LIMIT // FRAME_LIMIT):
        receive(reader, [frame(opcode=opcode, fin=False, claimed=FRAME_LIMIT)])
        for _ in range(16):
            reader.receive(memoryview(bytearray(FRAME_LIMIT // 16)))
        opcode = CONTINUATION
    assert receive(reader, [frame(b"", opcode=CONTINUATION, fin=False)]) == (b"", [], None)
    assert receive(reader, [frame(b"1", opcode=CONTINUATION)]) == (b"", [], 1009)


# Control frames


def test_nothing_is_read_after_a_close():
    sent = frame(b"last") + client.close_frame(1001, "tschüß".encode()) + frame(b"after") + frame(b"", masked=False)
    assert everywhere(sent) == (b"last", [(CLOSE, (1001).to_bytes(2, "big") + "tschüß".encode())], None)
    reader = FrameReader()
    receive(reader, [sent])
    assert reader.finished
    assert receive(reader, [b"more"])[0] == b""


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_codes_of_a_close_that_may_be_sent(code):
    assert everywhere(client.close_frame(code, b"a" * 123))[2] is None


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
)
def test_codes_of_a_close_that_may_not(code):
    assert everywhere(client.close_frame(code)) == (b"", [], 1002)


@pytest.mark.parametrize("case", VIOLATIONS)
def test_a_violation(case):
    data, code = VIOLATIONS[case]
    assert everywhere(frame(b"before") + frame(b"!", opcode=PING) + data + frame(b"after")) == (
        b"before",
        [(PING, b"!")],
        code,
    )


def test_nothing_is_read_or_kept_after_a_violation():
    reader = FrameReader()
    receive(reader, [frame(b"a" * 100, opcode=PING, claimed=2**62)])
    assert reader.finished
    assert receive(reader, [b"a" * 65536]) == (b"", [], None)
    assert reader._partial == reader._control == b""


@pytest.mark.parametrize(
    ("head", "whole"), [(frame(b"hi", masked=False), 2), (frame(b"", rsv=1), 2), (frame(claimed=FRAME_LIMIT + 1), 14)]
)
def test_a_violation_is_found_as_soon_as_it_can_be(head, whole):
    assert receive(FrameReader(), [head[: whole - 1]]) == (b"", [], None)
    assert receive(FrameReader(), [head[:whole]])[2] is not None


# What a server sends


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 2**24])
def test_headers(size):
    made = header(size)
    assert client.parse(made + bytes(size)) == [client.Frame(BINARY, bytes(size))]
    assert len(made) == (2 if size < 126 else 4 if size < 65536 else 10)


def test_headers_of_control_frames():
    assert client.parse(header(2, PONG) + b"hi") == [client.Frame(PONG, b"hi")]


def test_close_frames():
    assert client.parse(close_frame(1000)) == [client.closing(1000, "")]
    assert client.parse(close_frame(1008, b"a" * 124)) == [client.closing(1008, "a" * 123)]


# Whatever comes

valid_masks = st.binary(min_size=4, max_size=4)
payloads = st.binary(max_size=140) | st.integers(0, 70000).map(bytes)
controls = st.builds(
    lambda opcode, payload, mask: (opcode, payload, frame(payload, opcode=opcode, mask=mask)),
    st.sampled_from([PING, PONG]),
    st.binary(max_size=125),
    valid_masks,
)


@st.composite
def messages(draw):
    """A message in fragments, with control frames between them: its bytes, its control frames, its frames."""
    fragments = draw(st.lists(payloads, min_size=1, max_size=4))
    between, sent = [], b""
    for i, fragment in enumerate(fragments):
        if draw(st.booleans()):
            opcode, payload, made = draw(controls)
            between.append((opcode, payload))
            sent += made
        fin = i == len(fragments) - 1
        sent += frame(fragment, opcode=CONTINUATION if i else BINARY, fin=fin, mask=draw(valid_masks))
    return b"".join(fragments), between, sent


@settings(max_examples=60, deadline=None)
@given(st.lists(messages(), max_size=5), st.data())
def test_any_cutting_of_valid_frames_gives_the_same(parts, data):
    sent = b"".join(part[2] for part in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=20)))
    segments = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    expected = b"".join(part[0] for part in parts), [control for part in parts for control in part[1]], None
    assert receive(FrameReader(), segments) == expected
    assert receive(FrameReader(), [sent]) == expected


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_garbage_is_read_or_refused(segments):
    _, controls, code = receive(FrameReader(), segments)
    assert code in (None, 1002, 1003, 1007, 1009)
    assert all(opcode in (CLOSE, PING, PONG) and len(payload) <= 125 for opcode, payload in controls)


@settings(max_examples=300)
@given(
    st.lists(
        st.builds(
            frame,
            st.binary(max_size=130),
            opcode=st.integers(0, 15),
            fin=st.booleans(),
            rsv=st.sampled_from([0, 0, 0, 0, 0, 0, 1]),
            masked=st.sampled_from([True, True, True, True, True, False]),
            size_of_length=st.sampled_from([None, None, None, None, 2, 8]),
        ),
        max_size=6,
    ).map(b"".join)
)
def test_frames_that_may_be_wrong_have_one_outcome_however_they_are_cut(sent):
    everywhere(sent)
