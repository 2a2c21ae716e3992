import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.rfb import Version
from rfbproxy.rfb.version import VERSION_SIZE, read_version
from rfbproxy.wire import EndOfStream, Reader


@pytest.mark.parametrize(
    ("message", "version"),
    [
        (b"RFB 003.003\n", Version.V3_3),
        (b"RFB 003.004\n", Version.V3_3),  # UltraVNC 1.0 with file transfer
        (b"RFB 003.005\n", Version.V3_3),
        (b"RFB 003.006\n", Version.V3_3),  # UltraVNC
        (b"RFB 003.007\n", Version.V3_7),
        (b"RFB 003.008\n", Version.V3_8),
        (b"RFB 003.009\n", Version.V3_8),
        (b"RFB 003.014\n", Version.V3_8),  # UltraVNC's file transfer flags
        (b"RFB 003.016\n", Version.V3_8),
        (b"RFB 003.080\n", Version.V3_8),  # nova's float arithmetic takes it for 3.8, for the wrong reason
        (b"RFB 003.889\n", Version.V3_8),  # Apple
        (b"RFB 004.000\n", Version.V3_8),  # Intel AMT
        (b"RFB 004.001\n", Version.V3_8),  # RealVNC 4.6
        (b"RFB 005.000\n", Version.V3_8),  # RealVNC 5
        (b"RFB 012.034\n", Version.V3_8),  # nova_R03
    ],
)
def test_wire_R02_every_version_is_spoken_as_one_of_three(message, version):
    assert Version.parse(message) is version


@pytest.mark.parametrize(
    "message",
    [
        b"RFB 003.008\r",  # wire_R01: no newline
        b"RFB 3.8\n\n\n\n",
        b"HTTP/1.1 400",
        b"RFB +03.-08\n",  # wire_R03: what int() and sscanf() would take
        b"RFB  03. 08\n",
        "RFB \u0660\u0661\n".encode().ljust(12),
        b"rfb 003.008\n",
        b"RFB 003.008",
        b"RFB 003.008\n\n",
        b"",
    ],
)
def test_wire_R01_R03_anything_else_is_not_rfb(message):
    with pytest.raises(RemoteProtocolError, match="not RFB"):
        Version.parse(message)


def test_wire_R04_a_repeater_is_named():
    with pytest.raises(RemoteProtocolError, match="repeater"):
        Version.parse(b"RFB 000.000\n")


@pytest.mark.parametrize("message", [b"RFB 003.002\n", b"RFB 002.999\n", b"RFB 000.001\n"])
def test_versions_before_3_3_are_refused(message):
    with pytest.raises(RemoteProtocolError, match=r"older than 3\.3"):
        Version.parse(message)


@pytest.mark.parametrize(
    ("version", "message", "text"),
    [
        (Version.V3_3, b"RFB 003.003\n", "3.3"),
        (Version.V3_7, b"RFB 003.007\n", "3.7"),
        (Version.V3_8, b"RFB 003.008\n", "3.8"),
    ],
)
def test_what_is_sent_and_what_the_record_says(version, message, text):
    assert version.message == message
    assert str(version) == text
    assert Version.parse(version.message) is version


@given(st.one_of(st.binary(max_size=20), st.from_regex(rb"RFB [0-9]{3}\.[0-9]{3}\n", fullmatch=True)))
def test_random_bytes_raise_nothing_else(message):
    with contextlib.suppress(RemoteProtocolError):
        assert Version.parse(message) in Version


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"HTTP/1.1 400 Bad Request", "HTTP/1.1 400"),
        (b"220 mail ESMTP", "220 mail ESM"),
        (b"R", "b'R'"),
        (b"RFB 003.008", "RFB 003.008"),  # a byte short, and closed
    ],
)
def test_wire_R01_a_greeting_of_something_else_fails_at_once(said, shown):
    reader = Reader()
    reader.feed(said)
    if len(said) < VERSION_SIZE:
        reader.feed_eof()
    with pytest.raises(RemoteProtocolError, match=f"not RFB: .*{re.escape(shown)}"):
        next(read_version(reader))


def test_a_peer_that_closes_without_a_byte_sent_no_version():
    reader = Reader()
    reader.feed_eof()
    with pytest.raises(EndOfStream):
        next(read_version(reader))
