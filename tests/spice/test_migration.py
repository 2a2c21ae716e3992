import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice import Destination

SUBJECT = "C=XX,O=Nova,CN=compute2"


def switch(
    *,
    port=5901,
    tls_port=5902,
    host=b"compute2.internal\0",
    host_size=None,
    host_offset=20,
    subject=b"",
    subject_size=None,
    subject_offset=None,
    rest=b"",
):
    where = 20 + len(host) if subject else 0
    return (
        struct.pack("<HH", port, tls_port)
        + struct.pack("<II", len(host) if host_size is None else host_size, host_offset)
        + struct.pack(
            "<II",
            len(subject) if subject_size is None else subject_size,
            where if subject_offset is None else subject_offset,
        )
        + host
        + subject
        + rest
    )


KNOWN = [
    (switch(), Destination("compute2.internal", 5901, 5902)),
    (switch(port=0, host=b"fd00::2\0"), Destination("fd00::2", 0, 5902)),
    (
        switch(subject=SUBJECT.encode() + b"\0"),
        Destination("compute2.internal", 5901, 5902, SUBJECT),
    ),
]


@pytest.mark.parametrize(("body", "destination"), KNOWN)
def test_P2_known_destinations(body, destination):
    assert Destination.parse(body) == destination
    assert destination.pack() == body


def test_an_empty_subject_is_none():
    assert Destination.parse(switch(subject=b"\0")).subject is None


def test_a_subject_without_a_place_is_none():
    assert Destination.parse(switch(subject_size=7, subject_offset=0)).subject is None


def test_the_texts_may_lie_in_either_order_and_apart():
    body = switch(host=b"", host_size=3, host_offset=28, subject_size=5, subject_offset=21, rest=b"-CN=x\0--10\0-")
    assert Destination.parse(body) == Destination("10", 5901, 5902, "CN=x")


BROKEN = {
    "wire_S33 a host_size of 0": switch(host_size=0),
    "wire_S33 a host_size of 4 GiB": switch(host_size=0xFFFFFFFF),
    "wire_S33 no NUL": switch(host=b"compute2.internal"),
    "a second NUL": switch(host=b"compute2\0internal\0"),
    "an empty host": switch(host=b"\0"),
    "wire_S33 an offset outside": switch(host_offset=39),
    "an offset of 4 GiB": switch(host_offset=0xFFFFFFFF),
    "wire_S33 an offset inside what is fixed": switch(host_offset=19),
    "no offset": switch(host_offset=0),
    "wire_S33 a subject inside the host": switch(subject_offset=28, subject_size=10),
    "wire_S33 a host inside the subject": switch(
        host=b"ab\0", host_offset=21, host_size=2, subject_offset=20, subject_size=3
    ),
    "wire_S33 a subject outside": switch(subject=b"CN=x\0", subject_size=6),
    "a subject without a NUL": switch(subject=b"CN=x"),
    "a host that is no ASCII": switch(host="höst\0".encode()),
    "a host with a line of its own": switch(host=b"a\r\nb\0"),
    "a host that is no UTF-8": switch(host=b"\xff\0"),
    "a host of 256 characters": switch(host=b"a" * 256 + b"\0"),
    "no port": switch(port=0, tls_port=0),
    "too short": switch()[:19],
    "nothing": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken(name):
    with pytest.raises(RemoteProtocolError, match="target switches") as raised:
        Destination.parse(BROKEN[name])
    assert raised.value.__cause__ is None


@given(
    st.from_regex(r"[a-z0-9.:-]{1,255}", fullmatch=True),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.none() | st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1, max_size=100),
)
def test_P2_any_destination(host, port, tls_port, subject):
    assume(port or tls_port)
    destination = Destination(host, port, tls_port, subject)
    assert Destination.parse(destination.pack()) == destination


@given(st.binary(max_size=80))
def test_P5_any_body(body):
    try:
        destination = Destination.parse(body)
    except RemoteProtocolError:
        return
    assert Destination.parse(destination.pack()) == destination
