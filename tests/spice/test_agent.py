import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice.agent import CLIPBOARD, FILE_TRANSFER, NO_MESSAGE, AgentStream
from rfbproxy.spice.constants import AGENT_CHUNK_LIMIT, AgentMessage

GRAB = struct.pack("<I", 1)  # types: UTF-8 text
SECRET = b"\x00\x00\x00\x00\x01\x00\x00\x00swordfish"  # selection, type, text


def head(kind, size, *, protocol=1, opaque=0):
    return struct.pack("<IIQI", protocol, kind, opaque, size)


def said(kind, data=b"", **fields):
    return head(kind, len(data), **fields) + data


def announced(*words, request=1):
    return said(AgentMessage.ANNOUNCE_CAPABILITIES, struct.pack(f"<{1 + len(words)}I", request, *words))


def chunks(message, size=AGENT_CHUNK_LIMIT):
    return [message[at : at + size] for at in range(0, len(message), size)]


def test_what_is_not_denied_passes():
    agent = AgentStream("client")
    long = said(AgentMessage.CLIPBOARD, bytes(5000))
    for chunk in [announced(0xFFFFFFFF), *chunks(long), said(AgentMessage.CLIPBOARD_RELEASE), announced()]:
        assert agent.pass_chunk(chunk) is chunk


def test_what_is_denied_becomes_a_message_that_says_nothing_of_the_same_length():
    agent = AgentStream("client", CLIPBOARD)
    long = said(AgentMessage.CLIPBOARD, SECRET * 400, opaque=7)
    passed = b"".join(agent.pass_chunk(chunk) for chunk in chunks(long))
    assert passed == head(NO_MESSAGE, len(SECRET) * 400) + bytes(len(SECRET) * 400)
    after = said(AgentMessage.MONITORS_CONFIG, b"\x01" * 28)
    assert agent.pass_chunk(after) is after


@pytest.mark.parametrize("kind", sorted(CLIPBOARD | FILE_TRANSFER))
def test_every_denied_type(kind):
    agent = AgentStream("client", CLIPBOARD | FILE_TRANSFER)
    assert agent.pass_chunk(said(kind, GRAB)) == head(NO_MESSAGE, 4) + bytes(4)


CLIPBOARD_CAPS = 1 << 3 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 16 | 1 << 17
ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("denied", "from_agent", "came", "passed"),
    [
        (frozenset(), True, ALL, ALL),
        (CLIPBOARD, False, ALL, ALL & ~CLIPBOARD_CAPS),
        (CLIPBOARD, True, ALL, ALL & ~CLIPBOARD_CAPS),
        (FILE_TRANSFER, True, 0, 1 << 13),
        (FILE_TRANSFER, False, 0, 0),
        (CLIPBOARD | FILE_TRANSFER, True, CLIPBOARD_CAPS, 1 << 13),
    ],
)
def test_what_is_denied_is_not_announced(denied, from_agent, came, passed):
    agent = AgentStream("agent", denied, from_agent=from_agent)
    assert agent.pass_chunk(announced(came, 7)) == announced(passed, 7)


@pytest.mark.parametrize("words", [b"", b"\x01", b"\x01\0\0\0", b"\x01\0\0\0\xff\xff"])
def test_an_announcement_without_a_whole_word_is_left_alone(words):
    chunk = said(AgentMessage.ANNOUNCE_CAPABILITIES, words)
    assert AgentStream("agent", CLIPBOARD).pass_chunk(chunk) == chunk


def test_an_announcement_in_pieces_says_nothing():
    agent = AgentStream("agent", CLIPBOARD)
    first, second = chunks(announced(ALL), 22)
    assert agent.pass_chunk(first) + agent.pass_chunk(second) == head(NO_MESSAGE, 8) + bytes(8)


def test_after_a_reset_a_message_begins():
    agent = AgentStream("client", CLIPBOARD)
    agent.pass_chunk(head(AgentMessage.CLIPBOARD, 5000))
    agent.reset()
    after = said(AgentMessage.MONITORS_CONFIG, bytes(28))
    assert agent.pass_chunk(after) is after


def test_a_size_is_no_reason_to_keep_anything():
    agent = AgentStream("client")
    agent.pass_chunk(head(AgentMessage.FILE_XFER_DATA, 0xFFFFFFFF))
    piece = bytes(AGENT_CHUNK_LIMIT)
    assert all(agent.pass_chunk(piece) is piece for _ in range(1000))


BROKEN = {
    "wire_S31 a chunk of 2049 bytes": [said(AgentMessage.CLIPBOARD, bytes(2029))],
    "a chunk of nothing": [b""],
    "wire_S31 a head that is not all there": [head(4, 0)[:19]],
    "wire_S31 another protocol": [said(4, protocol=2)],
    "wire_S31 more than its size": [head(4, 3) + bytes(4)],
    "more than its size, later": [head(4, 5) + bytes(4), bytes(2)],
    "nothing, inside a message": [head(4, 5), b""],
}


@pytest.mark.parametrize("name", BROKEN)
def test_wire_S31_what_cannot_be(name):
    *before, last = BROKEN[name]
    agent = AgentStream("client on main")
    for chunk in before:
        agent.pass_chunk(chunk)
    with pytest.raises(RemoteProtocolError, match="client on main"):
        agent.pass_chunk(last)


HEADS = st.builds(said, st.integers(0, 20), st.binary(max_size=100))


@given(st.lists(st.one_of(HEADS, HEADS, st.binary(max_size=100)), max_size=10), st.booleans())
def test_P5_P6_any_chunks_keep_their_length_and_denied_ones_say_nothing(stream, from_agent):
    agent = AgentStream("client", CLIPBOARD | FILE_TRANSFER, from_agent=from_agent)
    again = AgentStream("client")
    with suppress(RemoteProtocolError):
        for chunk in stream:
            passed = agent.pass_chunk(chunk)
            assert len(passed) == len(chunk)
            begins = again._left == 0
            assert again.pass_chunk(passed) is passed
            if begins:
                assert struct.unpack_from("<I", passed, 4)[0] not in CLIPBOARD | FILE_TRANSFER
