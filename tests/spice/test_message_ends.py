import pytest

from rfbproxy.spice.messages import MessageEnds, message
from tests.cuts import segmentations

MESSAGES = [message(101), message(1, b"body"), message(302, bytes(70_000)), message(3, b"\0"), message(2)]


def test_each_message_comes_by_itself():
    assert MessageEnds().cut(b"".join(MESSAGES)) == MESSAGES


@pytest.mark.parametrize("seed", range(5))
def test_however_they_come_no_piece_goes_on_after_an_end(seed):
    short = [each for each in MESSAGES if len(each) < 100]
    ends = {len(b"".join(short[: count + 1])) for count in range(len(short))}
    for segments in segmentations(b"".join(short), seed):
        cutter, done = MessageEnds(), 0
        for segment in segments:
            pieces = cutter.cut(segment)
            assert b"".join(pieces) == segment
            for piece in pieces:
                assert not ends & set(range(done + 1, done + len(piece)))
                done += len(piece)


def test_nothing_is_nothing():
    assert MessageEnds().cut(b"") == []


def test_what_has_no_end_yet_is_not_held():
    cutter = MessageEnds()
    assert cutter.cut(message(1, b"body")[:8]) == [message(1, b"body")[:8]]
    assert cutter.cut(b"dy" + message(2)) == [b"dy", message(2)]
