from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.spice import Capabilities, LinkError, LinkMess
from rfbproxy.spice.link_messages import BadLink, LinkReply
from tests.spice.samples import GTK_MAIN, HTML5_INPUTS, HTML5_MAIN, PUBLIC_KEY, REPLY_MAIN, REPLY_NEED_SECURED

HEADER = 16
MESSES = [
    (GTK_MAIN, LinkMess(0, 1, 0, Capabilities((0xD,), (0xF,)))),
    (HTML5_MAIN, LinkMess(0, 1, 0, Capabilities((0x9,), (0x4,)))),
    (HTML5_INPUTS, LinkMess(0x12345678, 3, 0, Capabilities((0x9,), ()))),
]


@pytest.mark.parametrize(("sent", "mess"), MESSES)
def test_P2_known_link_messages(sent, mess):
    assert LinkMess.parse(sent[HEADER:]) == mess
    assert mess.pack() == sent


def test_P2_a_known_reply():
    reply = LinkReply(0, PUBLIC_KEY, Capabilities((0xB,), (0x9,)))
    assert LinkReply.parse(REPLY_MAIN[HEADER:]) == reply
    assert reply.pack() == REPLY_MAIN


def test_the_reply_of_an_error_is_194_bytes():
    """Kerbside's names an offset; spice-server's, which ours is, does not."""
    assert len(LinkReply(5).pack()) == len(REPLY_NEED_SECURED) == 194
    assert LinkReply(5).pack()[:-4] == REPLY_NEED_SECURED[:-4]
    assert LinkReply(5).pack()[-4:] == bytes(4)
    assert LinkReply.parse(REPLY_NEED_SECURED[HEADER:]) == LinkReply(5)


def test_beside_an_error_nothing_is_looked_at():
    body = LinkError.ERROR.to_bytes(4, "little") + b"\xff" * 174
    assert LinkReply.parse(body) == LinkReply(1)


WORDS = st.lists(st.integers(0, 0xFFFFFFFF), max_size=40).map(tuple)
CAPS = st.builds(Capabilities, WORDS, WORDS)


@given(st.builds(LinkMess, st.integers(0, 0xFFFFFFFF), st.integers(0, 255), st.integers(0, 255), CAPS))
def test_P2_any_link_message(mess):
    assert LinkMess.parse(mess.pack()[HEADER:]) == mess


@given(st.builds(LinkReply, st.just(0), st.binary(min_size=162, max_size=162), CAPS))
def test_P2_any_reply(reply):
    assert LinkReply.parse(reply.pack()[HEADER:]) == reply


@settings(max_examples=300)
@given(st.binary(min_size=18, max_size=300))
def test_P5_any_bytes_are_a_message_or_a_bad_one(body):
    for parse in (LinkMess.parse, LinkReply.parse) if len(body) >= 178 else (LinkMess.parse,):
        with suppress(BadLink):
            parse(body)


def test_a_reply_does_not_print_its_key():
    assert "public_key" not in repr(LinkReply(0, PUBLIC_KEY))
