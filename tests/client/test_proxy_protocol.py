"""haproxy's doc/proxy-protocol.txt, its own examples included; sections are named where they decide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.client.proxy_protocol import V1_LIMIT, V2_LIMIT, V2_SIGNATURE, ProxyHeader, ProxyHeaderReader
from rfbproxy.errors import RemoteProtocolError
from tests.cuts import run

V4 = b"\xc0\x00\x02\x07" + b"\xc0\x00\x02\x01" + b"\x12\x67" + b"\x17\xc0"  # source, destination, their ports
V6 = bytes.fromhex("20010db8000000000000000000000007") + bytes.fromhex("20010db8000000000000000000000001") + V4[8:]
MAPPED = bytes.fromhex("00000000000000000000ffffc0000207") * 2 + V4[8:]
UNIX = b"/run/peer".ljust(108, b"\0") + b"/run/own".ljust(108, b"\0")
TLV = b"\x02\x00\x0bexample.net"  # PP2_TYPE_AUTHORITY, its length, its value


def version_2(block=V4, *, signature=V2_SIGNATURE, version=2, command=1, family=0x11, claimed=None):
    return b"".join(
        [
            signature,
            bytes([version << 4 | command]),
            bytes([family]),
            (len(block) if claimed is None else claimed).to_bytes(2, "big"),
            block,
        ]
    )


HEADERS = [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 6080\r\n", "192.0.2.7"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 6080\r\n", "2001:db8::7"),
    (b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", "ffff:" * 7 + "ffff"),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 0 0\r\n", "192.0.2.7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", None),
    (version_2(), "192.0.2.7"),
    (version_2(V4 + TLV), "192.0.2.7"),
    (version_2(V6, family=0x21), "2001:db8::7"),
    (version_2(MAPPED, family=0x21), "192.0.2.7"),
    (version_2(UNIX, family=0x31), None),
    (version_2(UNIX, family=0x32), None),
    (version_2(family=0x12), None),  # UDP: understood, and nobody's address here
    (version_2(V6, family=0x22), None),
    (version_2(b"", family=0x00), None),
    (version_2(TLV, family=0x00), None),
    (version_2(b"", command=0, family=0x00), None),
    (version_2(V4, command=0), None),  # section 2.2: of LOCAL nothing counts
    (version_2(b"any", command=0, family=0xFF), None),
    (version_2(V4 + bytes(V2_LIMIT - 12)), "192.0.2.7"),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
@pytest.mark.parametrize("trailing", [b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXY UNKNOWN\r\n"])
def test_a_header(header, source, trailing):
    outcome = run(ProxyHeaderReader, header, trailing=trailing)
    assert outcome.error is None
    assert outcome.finished
    assert outcome.events == (ProxyHeader(source),)
    assert outcome.unread == b""


MALFORMED = [
    b"PROXY \r\n",
    b"PROXY  TCP4 192.0.2.7 192.0.2.1 4711 6080\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 6080 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1  6080\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 04711 6080\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 +471 6080\r\n",
    b"PROXY TCP4 192.0.2.256 192.0.2.1 4711 6080\r\n",
    b"PROXY TCP4 192.0.2.07 192.0.2.1 4711 6080\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 6080\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.1 4711 6080\r\n",
    b"PROXY UDP4 192.0.2.7 192.0.2.1 4711 6080\r\n",
    b"PROXY tcp4 192.0.2.7 192.0.2.1 4711 6080\r\n",
    b"PROXY TCP4 192.0.2.\xb2 192.0.2.1 4711 6080\r\n",
    b"PROXY UNKNOWN\n" + bytes(V1_LIMIT),
    b"PROXY UNKNOWN " + b"x" * V1_LIMIT,
    version_2(version=1),
    version_2(version=3),
    version_2(command=2),
    version_2(family=0x13),
    version_2(family=0x41),
    version_2(V4[:-1]),
    version_2(V4, family=0x21),
    version_2(V6, family=0x31),
    version_2(claimed=V2_LIMIT + 1),
    version_2(claimed=0xFFFF),
]


@pytest.mark.parametrize("header", MALFORMED)
def test_a_malformed_header(header):
    outcome = run(ProxyHeaderReader, header)
    assert outcome.error is not None
    assert outcome.events == ()


def test_a_line_that_is_too_long_is_not_waited_for():
    assert run(ProxyHeaderReader, (b"PROXY UNKNOWN " + b"x" * V1_LIMIT)[:V1_LIMIT]).error is not None


OTHERS = [
    b"GET / HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\n",
    b"PROPFIND / HTTP/1.1\r\n",
    b"PROXYX / HTTP/1.1\r\n",
    b"CONNECT /console HTTP/1.0\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\n",  # RFC 9112 section 2.2: an empty line before the request
    b"\r\n\r\nGET",
    b"\x16\x03\x01\x02\x00",
    b"RFB 003.008\n",
    V2_SIGNATURE[:-1] + b"!",
]


@pytest.mark.parametrize("said", OTHERS)
def test_where_there_is_no_header_every_byte_is_handed_on(said):
    outcome = run(ProxyHeaderReader, said)
    assert outcome.finished
    assert (outcome.error, outcome.events, outcome.unread) == (None, (), said)


@pytest.mark.parametrize("said", [b"", b"P", b"PROXY", b"\r\n", V2_SIGNATURE[:-1]])
def test_the_end_before_it_is_told_apart(said):
    outcome = run(ProxyHeaderReader, said, eof=True)
    assert (outcome.error, outcome.events, outcome.unread) == (None, (), said)


@pytest.mark.parametrize("header", [header for header, _ in HEADERS])
def test_the_end_within_a_header(header):
    for length in range(13, len(header), max(1, len(header) // 20)):
        assert run(ProxyHeaderReader, header[:length], eof=True).error is not None


@given(
    st.sampled_from([b"", b"PROXY ", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11\x00\x0c"]),
    st.binary(max_size=300),
)
def test_random_bytes_raise_nothing_else(before, noise):
    machine = ProxyHeaderReader()
    try:
        machine.receive_data(before + noise)
        machine.receive_eof()
    except RemoteProtocolError:
        pass
