import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.client.forwarded import Forwarded, address_text, network_of, who_asks
from rfbproxy.client.http_head import RequestHead

TRUSTED = {"198.51.100.1", "198.51.100.2", "2001:db8::1", "unix"}


def ask(*headers, peer="198.51.100.1"):
    """What is known of the client of a request with these headers: (name, value) each."""
    head = RequestHead("GET", "/", "HTTP/1.1", tuple((name.lower(), value) for name, value in headers), b"")
    return who_asks(peer, head, TRUSTED.__contains__)


def source(*values, name="X-Forwarded-For", **fields):
    return ask(*((name, value) for value in values), **fields).source


EVERYTHING = [
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "console.example:8443"),
    ("X-Forwarded-Prefix", "/console/"),
]


def test_everything_that_a_trusted_proxy_says():
    assert ask(*EVERYTHING) == Forwarded("192.0.2.7", "https", "console.example:8443", "/console")


def test_trap_16_nobody_else_is_believed():
    assert ask(*EVERYTHING, ("Forwarded", "for=192.0.2.7;proto=https"), peer="192.0.2.9") == Forwarded("192.0.2.9")


def test_a_unix_sockets_peer_may_be_trusted():
    assert ask(*EVERYTHING, peer="unix").source == "192.0.2.7"
    assert ask(peer="unix").source == "unix"


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        ([" 192.0.2.7 "], "192.0.2.7"),
        (["10.0.0.1, 192.0.2.7"], "192.0.2.7"),  # what the client itself claimed
        (["10.0.0.1", "192.0.2.7"], "192.0.2.7"),  # in lines of its own
        (["192.0.2.7, 198.51.100.2"], "192.0.2.7"),  # a chain of trusted ones
        (["192.0.2.7,198.51.100.2,2001:db8::1"], "192.0.2.7"),
        (["198.51.100.2"], "198.51.100.2"),  # a trusted one asks for itself
        (["unknown"], "198.51.100.1"),
        (["192.0.2.7, unknown"], "198.51.100.1"),  # the unknown one wrote the address
        (["192.0.2.7, unknown, 198.51.100.2"], "198.51.100.2"),
        (["192.0.2.7, "], "198.51.100.1"),
        ([""], "198.51.100.1"),
        ([","], "198.51.100.1"),
        (["192.0.2.7:4711"], "192.0.2.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["2001:db8:0:0::7"], "2001:db8::7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["[::ffff:192.0.2.7]"], "192.0.2.7"),
        (["fe80::1%eth0"], "fe80::1%eth0"),
        (["192.0.2.777"], "198.51.100.1"),
        (["unix:"], "198.51.100.1"),
        (["<script>"], "198.51.100.1"),
    ],
)
def test_x_forwarded_for(values, client):
    assert source(*values) == client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=192.0.2.7"], "192.0.2.7"),
        (["For=192.0.2.7"], "192.0.2.7"),
        (['for="192.0.2.7:4711"'], "192.0.2.7"),
        (['for="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),  # RFC 7239 section 4
        (['FOR="[2001:db8:cafe::17]"'], "2001:db8:cafe::17"),
        (["for=192.0.2.43, for=198.51.100.2"], "192.0.2.43"),
        (["for=192.0.2.43", "for=198.51.100.2"], "192.0.2.43"),
        (["for=10.0.0.1, for=192.0.2.7"], "192.0.2.7"),
        (["for=192.0.2.7; proto=http ;by=203.0.113.43"], "192.0.2.7"),
        (["for=192.0.2.7,, for=198.51.100.2"], "192.0.2.7"),
        (["for=unknown"], "198.51.100.1"),
        (["for=_hidden, for=198.51.100.2"], "198.51.100.2"),
        (["for=192.0.2.7, for=_SEVKISEK"], "198.51.100.1"),
        (["for=192.0.2.7, by=203.0.113.43"], "198.51.100.1"),
        (['for="192.0.2.7'], "198.51.100.1"),
        (['for="192.0.2.7", for=198.51.100.2 oops'], "198.51.100.1"),
        (['for="_a,for=10.0.0.1", for=198.51.100.2'], "198.51.100.2"),  # a comma within quotes
        (['for="_a\\",for=10.0.0.1", for=198.51.100.2'], "198.51.100.2"),
        (['for="192\\.0.2.7"'], "192.0.2.7"),
        ([""], "198.51.100.1"),
        ([";;;,,,"], "198.51.100.1"),
        (["for"], "198.51.100.1"),
        (["=1"], "198.51.100.1"),
    ],
)
def test_forwarded(values, client):
    assert source(*values, name="Forwarded") == client


def test_forwarded_says_scheme_and_host_too():
    assert ask(("Forwarded", 'for=192.0.2.7;proto=HTTPS;host="a.example:1", for=198.51.100.2;proto=http;host=b')) == (
        Forwarded("192.0.2.7", "https", "a.example:1")
    )
    assert ask(("Forwarded", 'for=192.0.2.7;proto=gopher;host="a b"')) == Forwarded("192.0.2.7")


def test_forwarded_does_not_count_beside_the_other_form():
    """A proxy that writes one form passes on what its client wrote in the other."""
    spoof = ("Forwarded", "for=10.0.0.1;proto=https;host=evil.example")
    for name, value in EVERYTHING[:3]:
        known = ask((name, value), spoof)
        assert known == ask((name, value))


@pytest.mark.parametrize(
    ("value", "proto"),
    [("https", "https"), ("HTTPS", "https"), ("https, http", "https"), ("http,https", "http"), ("wss", "wss"),
     ("", None), (",https", None), ("gopher", None), ("https;", None)],
)  # fmt: skip
def test_the_scheme(value, proto):
    known = ask(("X-Forwarded-Proto", value))
    assert known.proto == proto
    assert known.encrypted == (proto in ("https", "wss"))


@pytest.mark.parametrize(
    ("value", "host"),
    [("a.example", "a.example"), ("a.example:443", "a.example:443"), ("[2001:db8::1]:6080", "[2001:db8::1]:6080"),
     ("[fe80::1%25eth0]", "[fe80::1%25eth0]"), ("a.example, b.example", "a.example"),
     ("", None), ("a b", None), ("a/b", None), ("a@b", None), ("a:b", None), ("[", None), ("a" * 300, None)],
)  # fmt: skip
def test_the_host(value, host):
    assert ask(("X-Forwarded-Host", value)).host == host


@pytest.mark.parametrize(
    ("value", "prefix"),
    [("/console", "/console"), ("/console/", "/console"), ("/a/b-c", "/a/b-c"), ("/a, /b", "/a"),
     ("", ""), ("/", ""), ("console", ""), ("//evil.example", ""), ("/a//b", ""), ("/a?b", ""), ("/a\\b", "")],
)  # fmt: skip
def test_the_prefix(value, prefix):
    assert ask(("X-Forwarded-Prefix", value)).prefix == prefix


@pytest.mark.parametrize("text", ["", " ", "[]", "[::1", "::1]", "1.2.3.4:", "1.2.3", "[1.2.3.4]x", "::1%"])
def test_what_is_no_address(text):
    assert address_text(text) is None


def test_one_client_of_ipv6_has_64_bits():
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::9")
    assert network_of("2001:db8:1:2::9") != network_of("2001:db8:1:3::9")
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("unix") == "unix"


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=60), max_size=5), st.sampled_from(
    ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded"]
))  # fmt: skip
def test_no_value_raises(values, name):
    known = ask(*((name, value) for value in values))
    assert known.source == "198.51.100.1" or address_text(known.source) == known.source


PIECES = ["for=", "proto=", '"', "\\", ";", ",", " ", "192.0.2.7", "[::1]", "_x", "unknown", ":1", "https"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_no_forwarded_of_odd_pieces_raises(pieces):
    ask(("Forwarded", "".join(pieces)))
