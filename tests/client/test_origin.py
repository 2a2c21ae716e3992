from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.client.origin import check_origin_host, check_origin_scheme, host_name
from rfbproxy.reasons import CloseReason, Refused

NOT_VALID = "Origin header not valid."
OTHER_HOST = "Origin header does not match this host."
OTHER_SCHEME = "Origin header protocol does not match this host."

HOST = "example.net:6080"
BASE = "https://example.net:6080"
ALLOWED = ("allowed-origin-example-1.net", "allowed-origin-example-2.net")


def refused(check, *arguments):
    with pytest.raises(Refused) as caught:
        check(*arguments)
    assert caught.value.reason is CloseReason.ORIGIN_REFUSED
    return caught.value.sentence


def test_nova_W01_the_requests_own_host():
    check_origin_host("https://example.net:6080", HOST, ())
    check_origin_scheme("https://example.net:6080", None, BASE)


def test_nova_W02_ipv6():
    check_origin_host("https://[2001:db8::1]:6080", "[2001:db8::1]:6080", ())
    check_origin_host("https://[2001:db8::1]:6080", "2001:db8::1", ())
    check_origin_host("https://[2001:db8::1]", "other", ["[2001:DB8::1]"])
    check_origin_scheme("https://[2001:db8::1]:6080", None, "https://[2001:db8::1]:6080")


def test_nova_W09_another_host():
    assert refused(check_origin_host, "https://bad-origin-example.net:6080", HOST, ALLOWED) == OTHER_HOST


def test_nova_W10_a_host_of_the_operators():
    check_origin_host("https://allowed-origin-example-2.net:6080", HOST, ALLOWED)
    check_origin_host("https://Allowed.example", HOST, [" ALLOWED.example "])


def test_nova_W11_a_blank_origin():
    assert refused(check_origin_host, "", HOST, ALLOWED) == NOT_VALID


def test_nova_W12_no_origin_at_all():
    check_origin_host(None, HOST, ALLOWED)
    check_origin_host(None, None, ())
    check_origin_scheme(None, None, None)


def test_nova_W13_another_scheme():
    assert refused(check_origin_scheme, "https://example.net:6080", None, "http://example.net:6080") == OTHER_SCHEME
    assert refused(check_origin_scheme, "http://example.net:6080", None, BASE) == OTHER_SCHEME


def test_nova_W14_https_for_ws():
    assert refused(check_origin_scheme, "https://example.net:6080", None, "ws://example.net:6080") == OTHER_SCHEME
    check_origin_scheme("http://example.net:6080", None, "ws://example.net:6080")


def test_nova_W15_a_proxys_word_counts_more():
    check_origin_scheme("http://example.net:6080", "https", "wss://example.net:6080")
    assert refused(check_origin_scheme, "https://example.net:6080", "http", "wss://example.net:6080") == OTHER_SCHEME


@pytest.mark.parametrize(("forwarded", "base"), [("wss", BASE), ("ws", "http://example.net"), ("wss", "wss://x")])
def test_a_proxy_may_speak_of_the_websockets_scheme(forwarded, base):
    check_origin_scheme(f"{'https' if 's' in base[:5] else 'http'}://example.net", forwarded, base)


def test_nova_W16_a_token_without_a_base():
    """nova: "No access_url_base in connect_info. Cannot validate protocol"; here it is the third sentence."""
    assert refused(check_origin_scheme, BASE, None, None) == OTHER_SCHEME
    assert refused(check_origin_scheme, BASE, None, "") == OTHER_SCHEME
    assert refused(check_origin_scheme, "//example.net", None, "") == OTHER_SCHEME


def test_nova_W19_what_was_allowed_once_is_not_remembered():
    allowed = list(ALLOWED)
    check_origin_host("https://evil.com", "evil.com:6080", allowed)
    assert refused(check_origin_host, "https://evil.com", HOST, allowed) == OTHER_HOST
    assert allowed == list(ALLOWED)


def test_ports_are_not_compared():
    check_origin_host("https://example.net:1234", HOST, ())
    check_origin_host("https://example.net", HOST, ())


def test_the_case_of_a_host_does_not_count():
    """Nova rejects it: only the Origin is in lower case there."""
    check_origin_host("https://example.NET", "EXAMPLE.net:6080", ())


def test_a_forwarded_list_counts_by_its_first_word():
    """Nova rejects it."""
    check_origin_scheme("http://example.net", "HTTPS , http", BASE)
    assert refused(check_origin_scheme, "https://example.net", "http, https", BASE) == OTHER_SCHEME
    check_origin_scheme("https://example.net", "", BASE)


@pytest.mark.parametrize(
    "origin", ["null", "example.net", "//example.net", "https://example.net:abc", "https://[bad", " "]
)
def test_what_is_no_origin(origin):
    """Nova lets `null` pass with X-Forwarded-Proto and no Host."""
    assert refused(check_origin_host, origin, HOST, ()) == NOT_VALID


@pytest.mark.parametrize(
    "origin",
    [
        "https://",
        "https://:6080",
        "https://example.net@evil.com",
        "https://example.net.evil.com",
        "https://evil.com, " + BASE,
    ],
)
def test_what_is_another_host(origin):
    assert refused(check_origin_host, origin, HOST, ()) == OTHER_HOST
    assert refused(check_origin_host, origin, None, ("",)) == OTHER_HOST


@pytest.mark.parametrize("host", ["[2001:db8::1]:6080", "[2001:DB8:0::1]", "2001:db8::1", "[2001:db8::1%25eth0]"])
def test_an_ipv6_host_is_the_same_however_it_is_written(host):
    check_origin_host("http://[2001:db8:0:0::1]:6080", host, ())
    assert refused(check_origin_host, "http://[2001:db8::2]:6080", host, ()) == OTHER_HOST
    check_origin_host("http://[2001:db8::2]:6080", "h", [host.partition("]")[0].replace("::1", "::2")])


def test_a_bad_host_matches_nothing():
    """Nova crashes on it."""
    assert refused(check_origin_host, "https://h", "h:abc", ()) == OTHER_HOST
    assert refused(check_origin_host, "https://h", "", ()) == OTHER_HOST


def test_a_base_that_is_no_url_matches_nothing():
    assert refused(check_origin_scheme, BASE, None, "https://[bad") == OTHER_SCHEME


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Example.net", "example.net"),
        ("example.net:6080", "example.net"),
        ("[2001:DB8::1]:6080", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8:0::0:1]", "2001:db8::1"),
        ("[fe80::1%25eth0]:6080", "fe80::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("a:b:c", "a:b:c"),
        ("h:abc", None),
        ("h:99999", None),
        (":6080", None),
        ("", None),
        ("[bad", None),
    ],
)
def test_the_name_of_a_host(host, name):
    assert host_name(host) == name


@given(*[st.none() | st.text(st.characters(max_codepoint=255))] * 3)
def test_random_headers_are_refused_at_worst(origin, host, other):
    for check, arguments in ((check_origin_host, (origin, host, ())), (check_origin_scheme, (origin, host, other))):
        with suppress(Refused):
            check(*arguments)
