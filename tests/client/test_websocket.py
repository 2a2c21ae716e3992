import pytest

from rfbproxy.client.connection import LINGER_S
from rfbproxy.client.http_head import HeadReader, HttpError
from rfbproxy.client.websocket import CLOSE_TIMEOUT_S, opening_handshake
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.websocket import FRAME_LIMIT, MESSAGE_LIMIT
from tests.client.callers import PING_INTERVAL_S, Caller, CongestedConnection, Console, Listening
from tests.client.frames import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close_frame,
    closing,
    frame,
    parse,
    upgrade,
)
from tests.cuts import segmentations
from tests.websocket.violations import VIOLATIONS

TARGET_CLOSED = closing(1000, "Target closed")


def listening(console):
    sink = Listening()
    console.stream.push_to(sink)
    return sink


def handshake(**fields):
    (head,) = HeadReader().receive_data(upgrade(**fields))
    return opening_handshake(head)


class Producer:
    def __init__(self):
        self.calls = []

    def pauseProducing(self):
        self.calls.append("pause")

    def resumeProducing(self):
        self.calls.append("resume")

    def stopProducing(self):
        self.calls.append("stop")


# The opening handshake


@pytest.mark.parametrize("version", ["13", "8"])
def test_versions_13_and_8(version):
    assert handshake(version=version).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("version", [None, "", "7", "14", "0", "x", "13, 8", "+13", "9" * 5000])
def test_other_versions_are_426(version):
    """Nova takes 7 as well, which nobody speaks."""
    with pytest.raises(HttpError) as caught:
        handshake(version=version)
    assert caught.value.status == 426
    assert caught.value.sentence == "The supported WebSocket versions are 13 and 8."


@pytest.mark.parametrize(
    "key", [None, "", "short==", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25j ZQ=", "\xff" * 22 + "=="]
)
def test_a_bad_key_is_400_and_not_repeated(key):
    """Nova looks only whether there is one."""
    with pytest.raises(HttpError) as caught:
        handshake(key=key)
    assert caught.value.status == 400
    assert caught.value.sentence == "The header Sec-WebSocket-Key is missing or not 16 bytes in base64."


def test_a_key_or_version_that_comes_twice_is_400():
    for extra in ("Sec-WebSocket-Key: a", "Sec-WebSocket-Version: 8"):
        with pytest.raises(HttpError, match="came 2 times"):
            handshake(extra=(extra,))


# The answer


@pytest.mark.parametrize(
    ("offered", "echoed"),
    [
        (None, False),
        ("binary", True),
        ("binary, base64", True),
        ("base64, binary", True),  # nova: 400, because of the space
        ("base64,binary", True),
        ("chat, binary", True),
        ("binary, binary", True),
        ("base64", False),  # nova: 400; a browser gives up by itself
        ("Binary", False),
        ("binary2", False),
        ("", False),
    ],
)
def test_nova_W29_subprotocols(offered, echoed):
    console = Caller()
    console.send(upgrade(protocol=offered))
    answer = console.received()
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert (b"\r\nSec-WebSocket-Protocol: binary\r\n" in answer) is echoed
    assert answer.lower().count(b"sec-websocket-protocol") == echoed
    console.lose()


def test_the_answer_tells_nothing_of_the_software():
    console = Caller()
    console.send(
        upgrade(
            target="/?token=SECRET",
            origin="null",
            extra=("Cookie: SECRET", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
        )
    )
    lines = console.received().decode().split("\r\n")
    assert sorted(line.split(":")[0] for line in lines[1:-2]) == ["Connection", "Sec-WebSocket-Accept", "Upgrade"]


# Frames in and out, at every segmentation


@pytest.mark.parametrize("version", ["13", "8"])
def test_messages_are_a_byte_stream(version):
    sent = (
        frame(b"one")
        + frame(b"")
        + frame(b"", fin=False)  # an empty first fragment breaks nova
        + frame(b"two", opcode=CONTINUATION, fin=False)
        + frame(b"!", opcode=PING)  # control frames may come in between
        + frame(b"three", opcode=CONTINUATION)
        + frame(b"x" * 126)
        + frame(b"y" * 65536)
    )
    for segments in segmentations(sent):
        if len(segments) > 100:
            segments = [sent[i : i + 997] for i in range(0, len(sent), 997)]
        console = Console(handshake=upgrade(version=version))
        sink = listening(console)
        console.send(*segments)
        assert sink.data == b"onetwothree" + b"x" * 126 + b"y" * 65536
        assert console.frames() == [Frame(PONG, b"!")]
        console.lose()


def test_a_frame_byte_by_byte():
    console = Console()
    sink = listening(console)
    data = frame(b"key") + frame(b"z" * 200)
    console.send(*(data[i : i + 1] for i in range(len(data))))
    assert sink.data == b"key" + b"z" * 200


def test_a_piece_of_a_frame_is_not_waited_for():
    console = Console()
    sink = listening(console)
    console.send(frame(b"abc", claimed=1000))
    assert sink.data == b"abc"


def test_what_is_sent_is_binary_messages():
    console = Console()
    console.stream.send(b"RFB 003.008\n")
    console.stream.send(b"a" * 70000)
    assert console.frames() == [Frame(BINARY, b"RFB 003.008\n"), Frame(BINARY, b"a" * 70000)]


# Violations: one close frame with the code, the end for the session, nothing kept, then the end of the connection


@pytest.mark.parametrize("case", VIOLATIONS)
def test_a_violation(case):
    data, code = VIOLATIONS[case]
    after = frame(b"after") + frame(b"after", opcode=PING) + close_frame(1000)
    for segments in segmentations(frame(b"before") + data + after):
        console = Console()
        sink = listening(console)
        console.send(*segments)
        (told,) = console.frames()
        assert told.opcode == 8
        assert int.from_bytes(told.payload[:2], "big") == code
        assert len(told.payload) <= 125
        assert sink.data == b"before", "nothing of the violation or after it is delivered"
        assert sink.events == ["eof"]
        assert console.transport.half_closed or console.transport.disconnecting
        assert not console.transport.aborted, "the close frame would be lost"
        assert console.transport.producer is None
        console.clock.advance(CLOSE_TIMEOUT_S)
        assert console.transport.aborted
        console.lose()
        assert sink.events == ["eof", "lost"]


def test_nova_W32_a_text_frame():
    console = Console()
    console.send(frame(b"hello", opcode=TEXT))
    assert console.frames() == [closing(1003, CloseReason.PROTOCOL_ERROR.sentence)]


def test_a_violation_keeps_nothing_of_what_follows():
    console = Console()
    listening(console)
    console.send(frame(b"", opcode=PING, claimed=2**62))
    for _ in range(100):
        console.send(b"a" * 65536)
    reader = console.stream.frames
    assert reader._control == reader._partial == b""
    assert reader.controls == []


def test_a_message_beyond_its_limit_by_fragments_is_1009():
    console = Console()
    sink = listening(console)
    chunk = b"\0" * 65536
    taken = 0
    opcode = BINARY
    for _ in range(MESSAGE_LIMIT // FRAME_LIMIT):
        console.send(frame(chunk, opcode=opcode, fin=False, claimed=FRAME_LIMIT, mask=bytes(4)))
        for _ in range(FRAME_LIMIT // len(chunk) - 1):
            console.send(chunk)
        taken += len(sink.data)
        sink.data.clear()
        opcode = CONTINUATION
    assert taken == MESSAGE_LIMIT
    assert console.frames() == []
    console.send(frame(b"1", opcode=CONTINUATION))
    (told,) = console.frames()
    assert told.payload[:2] == (1009).to_bytes(2, "big")
    assert sink.data == b""


def test_a_violation_after_our_close_ends_the_connection():
    console = Console()
    console.stream.close()
    console.received()
    console.send(frame(b"hi", masked=False))
    assert console.received() == b""
    assert console.transport.disconnecting
    console.send(frame(b"more"))
    console.lose()


def test_a_violation_during_the_handshake_is_the_end_for_the_session():
    console = Console()
    ends = []
    console.stream.on_end = lambda: ends.append("end")
    console.send(frame(b"hi", masked=False))
    assert ends == ["end"]


# Close


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        (close_frame(), Frame(8, b"")),
        (close_frame(1000), closing(1000, "")),
        (close_frame(1001, b"going"), closing(1001, "going")),
        (close_frame(3000, "ü".encode()), closing(3000, "ü")),
        (close_frame(4999), closing(4999, "")),
    ],
)
def test_the_clients_own_close_is_echoed(sent, echoed):
    for segments in segmentations(frame(b"last") + sent + frame(b"after")):
        console = Console()
        sink = listening(console)
        console.send(*segments)
        assert console.frames() == [echoed]
        assert sink.data == b"last"
        assert sink.events == ["eof"]
        assert console.transport.disconnecting
        assert not console.transport.aborted
        console.stream.send(b"what the target still had to say")  # must not raise
        console.stream.close_because(Refused(CloseReason.CLIENT_CLOSED, ""))
        console.stream.send_eof()
        assert console.received() == b""
        console.lose()
        assert sink.events == ["eof", "lost"]


def test_the_clients_own_close_is_echoed_even_if_the_session_closes_at_once():
    console = Console()
    console.stream.on_end = lambda: console.stream.close_because(Refused(CloseReason.CLIENT_CLOSED, ""))
    console.send(close_frame(1001, b"tab"))
    assert console.frames() == [closing(1001, "tab")]


def test_nova_W31_the_target_closed():
    console = Console()
    console.stream.send(b"last bytes")
    console.stream.send_eof()
    assert console.frames() == [Frame(BINARY, b"last bytes"), TARGET_CLOSED]
    assert not console.transport.disconnecting
    console.send(close_frame(1000, b"Target closed"))
    assert console.transport.disconnecting
    assert not console.transport.aborted
    console.lose()


@pytest.mark.parametrize("reason", CloseReason)
def test_every_reason_has_its_code_and_sentence(reason):
    console = Console()
    console.stream.close_because(Refused(reason, "a detail for the log"))
    assert console.frames() == [closing(reason.websocket_code or 1000, reason.sentence)]


def test_a_reasons_code_may_depend():
    console = Console()
    console.stream.close_because(Refused(CloseReason.PROTOCOL_ERROR, "", websocket_code=1002))
    assert console.frames() == [closing(1002, CloseReason.PROTOCOL_ERROR.sentence)]


def test_what_comes_after_our_close_is_dropped_until_the_answer():
    console = Console()
    sink = listening(console)
    console.stream.close()
    console.stream.close()
    console.send(frame(b"late"), frame(b"late", opcode=PING), frame(b"x", claimed=100000), b"y" * 99999)
    assert console.frames() == [closing(1000, "")]
    assert (sink.data, sink.events) == (b"", [])
    console.send(close_frame(1000))
    assert sink.events == ["eof"]
    console.lose()


def test_a_client_that_does_not_answer_our_close_is_dropped():
    console = Console()
    console.stream.close()
    console.clock.advance(CLOSE_TIMEOUT_S - 1)
    assert not console.transport.aborted
    console.clock.advance(1)
    assert console.transport.aborted
    console.lose()


def test_a_client_that_does_not_take_our_answer_is_dropped():
    console = Console()
    console.send(close_frame(1000))
    console.clock.advance(CLOSE_TIMEOUT_S)
    assert console.transport.aborted
    console.lose()


def test_the_answer_to_our_close_is_heard_though_reading_was_paused():
    console = Console()
    console.stream.pause()
    assert console.transport.paused
    console.stream.close()
    assert not console.transport.paused
    console.stream.pause()
    assert not console.transport.paused
    console.stream.resume()


def test_a_client_that_floods_before_it_is_relayed_is_paused():
    console = Console()
    console.send(frame(b"a" * 65537))
    assert console.transport.paused
    sink = listening(console)
    assert not console.transport.paused
    assert len(sink.data) == 65537


def test_a_client_that_vanishes():
    console = Console()
    sink = listening(console)
    console.send(frame(b"half", claimed=100))
    console.lose()
    assert sink.events == ["eof", "lost"]
    console.stream.send(b"nobody")
    console.stream.close()
    console.stream.pause()
    console.stream.resume()
    assert console.received() == b""


def test_a_client_that_half_closes_without_a_close_frame_still_gets_what_is_owed():
    console = Console()
    console.half_close()
    assert console.transport.disconnecting
    assert not console.transport.aborted
    console.clock.advance(LINGER_S)
    assert console.transport.aborted, "it takes nothing"
    console.lose()


def test_abort():
    console = Console()
    console.stream.abort()
    assert console.transport.aborted


# Pings


def test_every_25_s_a_ping():
    console = Console()
    for _ in range(10):
        console.clock.advance(PING_INTERVAL_S)
        assert console.frames() == [Frame(PING, b"")]
        console.send(frame(b"", opcode=PONG))
    assert not console.transport.aborted
    console.lose()


def test_two_pings_in_a_row_unanswered_drop_the_client():
    console = Console()
    console.clock.advance(PING_INTERVAL_S)
    console.clock.advance(PING_INTERVAL_S)
    console.send(frame(b"", opcode=PONG))
    console.clock.advance(PING_INTERVAL_S)
    console.clock.advance(PING_INTERVAL_S)
    console.send(frame(b"it still speaks, but answers no ping"))
    assert not console.transport.aborted
    console.clock.advance(PING_INTERVAL_S)
    assert console.transport.aborted
    console.lose()


def test_a_client_that_cannot_be_heard_is_not_dropped():
    console = Console()
    listening(console)
    console.clock.advance(PING_INTERVAL_S)
    console.clock.advance(PING_INTERVAL_S)
    console.stream.pause()  # the target does not keep up
    for _ in range(10):
        console.clock.advance(PING_INTERVAL_S)
    assert not console.transport.aborted
    console.stream.resume()
    for _ in range(2):
        console.clock.advance(PING_INTERVAL_S)
    assert not console.transport.aborted
    console.clock.advance(PING_INTERVAL_S)
    assert console.transport.aborted


def test_no_ping_after_a_close():
    console = Console()
    console.stream.close()
    console.received()
    console.clock.advance(PING_INTERVAL_S)
    assert console.received() == b""


def test_pings_of_the_client_are_answered():
    console = Console()
    console.send(frame(b"", opcode=PING), frame(b"a" * 125, opcode=PING))
    assert console.frames() == [Frame(PONG, b""), Frame(PONG, b"a" * 125)]


def test_a_flood_of_pings_by_a_client_that_takes_nothing_is_bounded():
    console = Console(transport=CongestedConnection())
    console.stream.feed_from(None)
    flood = frame(b"a" * 125, opcode=PING) * 100
    for _ in range(100):
        console.send(flood)
    console.send(frame(b"the last", opcode=PING))
    assert len(console.transport.value()) < 65536 + 1000
    console.received()
    console.transport.producer.resumeProducing()
    assert console.frames() == [Frame(PONG, b"the last")]


# Back-pressure


def test_a_client_that_does_not_keep_up_pauses_the_producer_and_gets_all_before_the_close():
    console = Console(transport=CongestedConnection())
    producer = Producer()
    console.stream.feed_from(producer)
    console.stream.send(b"a" * 65536)
    assert producer.calls == ["pause"]
    console.stream.send(b"b" * 10)
    console.stream.feed_from(None)
    console.stream.send_eof()
    assert console.frames() == [Frame(BINARY, b"a" * 65536), Frame(BINARY, b"b" * 10), TARGET_CLOSED]
    console.transport.producer.resumeProducing()
    assert producer.calls == ["pause", "pause"], "who is registered no longer hears no more"


def test_a_producer_that_comes_late_hears_of_the_pause():
    console = Console(transport=CongestedConnection())
    console.stream.send(b"a" * 65536)
    producer = Producer()
    console.stream.feed_from(producer)
    assert producer.calls == ["pause"]
    console.transport.producer.resumeProducing()
    console.transport.producer.stopProducing()
    assert producer.calls == ["pause", "resume", "stop"]


def test_a_producer_that_is_gone_stops_nobody():
    console = Console()
    console.transport.producer.stopProducing()


def test_a_slow_client_that_takes_what_was_sent_lives():
    console = Console(transport=CongestedConnection())
    for _ in range(5):
        console.stream.send(b"a" * 65536)
        console.clock.advance(PING_INTERVAL_S)
        console.clock.advance(PING_INTERVAL_S)
        console.received()
        console.transport.producer.resumeProducing()  # Twisted: all is written
    assert not console.transport.aborted


def test_frames_of_the_tests_are_those_of_the_rfc():
    """RFC 6455 section 5.7."""
    assert frame(b"Hello", opcode=TEXT) == bytes.fromhex("818537fa213d7f9f4d5158")
    assert parse(bytes.fromhex("8a0548656c6c6f")) == [Frame(PONG, b"Hello")]
