"""What comes out of a `MessageFilter`, in every segmentation."""

import re
import struct

import pytest

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice.messages import HELD_LIMIT, message
from tests.cuts import segmentations


def passed(segments, screen):
    """What comes out, the error it ended with, and that no more was held than may be."""
    out = bytearray()
    for segment in segments:
        try:
            out += screen.receive_data(segment)
        except RemoteProtocolError as error:
            out += screen.data_to_send()
            with pytest.raises(RemoteProtocolError, match=re.escape(str(error))):
                screen.receive_data(message(101))
            return bytes(out + screen.data_to_send()), str(error)
        assert len(screen._held) < 6 + HELD_LIMIT
        assert not screen._owed
    return bytes(out), None


def run(make, data):
    """The common outcome of every segmentation."""
    outcomes = [passed(segments, make()) for segments in segmentations(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    return outcomes[0]


def frames(data):
    """The messages of a stream, the last perhaps cut."""
    found = []
    while len(data) >= 6:
        kind, size = struct.unpack_from("<HI", data)
        found.append((kind, data[6 : 6 + size]))
        data = data[6 + size :]
    return found
