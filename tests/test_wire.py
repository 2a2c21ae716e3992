import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.wire import Conversation, EndOfStream, Reader
from tests.cuts import run


class Fields(Conversation):
    """One field of each kind, with an answer to each."""

    def _converse(self):
        for read in (self._reader.u8, self._reader.u16, self._reader.u32):
            self._event((yield from read()))
            self._send(b".")
        self._event((yield from self._reader.take(3)))
        self._event((yield from self._reader.take_until(b"\r\n", 6)))


FIELDS = (
    b"\x01"  # u8
    b"\x02\x03"  # u16
    b"\x04\x05\x06\x07"  # u32
    b"abc"  # take
    b"line\r\n"  # take_until
)


def test_numbers_are_big_endian_and_the_rest_is_handed_on():
    outcome = run(Fields, FIELDS, trailing=b"rest")
    assert outcome.events == (1, 0x0203, 0x04050607, b"abc", b"line\r\n")
    assert outcome.sent == b"..."
    assert outcome.finished


@given(st.integers(0, len(FIELDS) - 1))
def test_the_end_of_the_stream_anywhere(size):
    outcome = run(Fields, FIELDS[:size], eof=True)
    assert outcome.error[0] is EndOfStream
    assert outcome.error[1].startswith("closed after")


def test_some_is_what_is_there():
    class Some(Conversation):
        def _converse(self):
            while True:
                self._event((yield from self._reader.take_some(3)))

    machine = Some()
    assert machine.receive_data(b"ab") == [b"ab"]
    assert machine.receive_data(b"cdefg") == [b"cde", b"fg"]
    with pytest.raises(EndOfStream):
        machine.receive_eof()


@pytest.mark.parametrize("line", [b"lines\r\n", b"linesss", b"\r\r\r\r\r\r", b"x" * 1000])
def test_no_end_within_the_limit(line):
    outcome = run(Fields, FIELDS[:10] + line)
    assert outcome.error == (RemoteProtocolError, "no b'\\r\\n' within 6 bytes")


@pytest.mark.parametrize("line", [b"\r\n", b"\r\r\n", b"four\r\n"])
def test_an_end_at_the_limit_and_before(line):
    assert run(Fields, FIELDS[:10] + line, trailing=b"\r\n").events[-1] == line


def test_after_an_error_the_conversation_is_over():
    machine = Fields()
    with pytest.raises(RemoteProtocolError) as first:
        machine.receive_data(FIELDS[:10] + b"x" * 10)
    for call in (lambda: machine.receive_data(b"\r\n"), machine.receive_eof):
        with pytest.raises(RemoteProtocolError) as again:
            call()
        assert again.value is first.value
    assert machine.finished


def test_what_comes_after_the_end_is_unread():
    machine = Fields()
    machine.receive_data(FIELDS + b"more")
    assert machine.receive_data(b", and more") == []
    assert machine.unread() == b"more, and more"
    assert machine.unread() == b""


def test_the_end_of_the_stream_after_the_end_of_the_conversation_is_nothing():
    machine = Fields()
    machine.receive_data(FIELDS)
    assert machine.receive_eof() == []


def test_owed_bytes_and_events_are_handed_out_once():
    machine = Fields()
    assert machine.receive_data(b"\x01") == [1]
    assert machine.events() == []
    assert machine.data_to_send() == b"."
    assert machine.data_to_send() == b""


def test_a_conversation_must_be_written():
    with pytest.raises(NotImplementedError):
        Conversation()


def test_the_reader_knows_its_length():
    reader = Reader()
    reader.feed(b"abc")
    assert len(reader) == 3
