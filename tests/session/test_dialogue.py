import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.rfb import ReasonDue
from rfbproxy.session.dialogue import REASON_TIMEOUT_S, Dialogue
from rfbproxy.wire import Conversation, EndOfStream
from tests.session.fakes import FakeStream


class Echo(Conversation):
    """Says hello, answers each byte with an event of it and itself, and ends at a zero."""

    def _converse(self):
        self._send(b"hello")
        while byte := (yield from self._reader.u8()):
            self._send(bytes([byte]))
            self._event(byte)
            if byte == ord("r"):
                self._event(ReasonDue())
            if byte == ord("!"):
                raise RemoteProtocolError("an exclamation")
        self._event("bye")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream():
    return FakeStream()


@pytest.fixture
def dialogue(stream, clock):
    return Dialogue(stream, Echo(), clock)


def begun(waiting):
    got = []
    waiting.addBoth(got.append)
    return got


def test_it_speaks_first_and_waits(dialogue, stream):
    got = begun(dialogue.until(int))
    assert stream.take() == b"hello"
    assert got == []
    stream.deliver(b"a")
    assert got == [97]
    assert stream.take() == b"a"


def test_events_are_given_in_order_and_others_passed_over(dialogue, stream):
    stream.deliver(b"ab\0")
    assert begun(dialogue.until(int)) == [97]
    assert begun(dialogue.until(str)) == ["bye"]


def test_what_an_error_had_to_say_is_sent(dialogue, stream):
    got = begun(dialogue.until(str))
    stream.take()
    stream.deliver(b"a!")
    assert got[0].check(RemoteProtocolError)
    assert stream.take() == b"a!"


def test_the_end_of_the_stream(dialogue, stream):
    got = begun(dialogue.until(str))
    stream.deliver_eof()
    assert got[0].check(EndOfStream)


def test_what_came_after_the_end_is_given_back(dialogue, stream):
    got = begun(dialogue.until(str))
    stream.deliver(b"a")
    stream.deliver(b"\0rest")
    assert got == ["bye"]
    dialogue.give_back()
    assert bytes(stream._buffer) == b"rest"


def test_with_nothing_left_over_nothing_is_given_back(dialogue, stream):
    begun(dialogue.until(str))
    stream.deliver(b"\0")
    dialogue.give_back()
    assert bytes(stream._buffer) == b""


@pytest.mark.parametrize("said", [b"", b"r"])
def test_whoever_leaves_leaves_the_rest_to_the_stream(dialogue, stream, clock, said):
    waiting = dialogue.until(str)
    got = begun(waiting)
    stream.deliver(said)
    waiting.cancel()
    stream.deliver(b"a\0")
    assert got[0].check(CancelledError)
    assert bytes(stream._buffer) == b"a\0"
    assert clock.getDelayedCalls() == []
    assert begun(dialogue.until(str)) == ["bye"]


def test_a_reason_is_waited_for_a_second_in_all(dialogue, stream, clock):
    got = begun(dialogue.until(str))
    stream.deliver(b"r")
    for _ in range(3):
        clock.advance(REASON_TIMEOUT_S / 4)
        stream.deliver(b"a")
    assert got == []
    clock.advance(REASON_TIMEOUT_S / 4)
    assert got[0].check(EndOfStream)
    assert clock.getDelayedCalls() == []


def test_a_reason_that_comes_in_time_leaves_no_timer(dialogue, stream, clock):
    got = begun(dialogue.until(str))
    stream.deliver(b"r")
    stream.deliver(b"\0")
    assert got == ["bye"]
    assert clock.getDelayedCalls() == []
