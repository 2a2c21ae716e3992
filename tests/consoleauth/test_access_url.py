from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.consoleauth.access_url import access_url
from rfbproxy.consoleauth.token import CONSOLE_TYPES, new_token

BASE = "http://127.0.0.1:6080/root.html"
OTHERS = [console_type for console_type in CONSOLE_TYPES if console_type not in ("novnc", "vnc-direct")]


def test_nova_T01_novnc_puts_the_token_into_path():
    assert access_url("novnc", BASE, "T") == f"{BASE}?path=%3Ftoken%3DT"


@pytest.mark.parametrize("console_type", OTHERS)
def test_nova_T01_everything_else_appends_it(console_type):
    assert access_url(console_type, BASE, "T") == f"{BASE}?token=T"


def test_a_native_viewers_url_holds_no_token():
    assert access_url("vnc-direct", "vnc://[2001:db8::1]:5900", "T") == "vnc://[2001:db8::1]:5900"


def test_nova_T02_a_path_of_the_base_is_kept():
    assert access_url("novnc", f"{BASE}?path=novnc", "T") == f"{BASE}?path=novnc%3Ftoken%3DT"


def test_nova_T03_other_parameters_are_kept():
    assert access_url("novnc", f"{BASE}?noop=true", "T") == f"{BASE}?noop=true&path=%3Ftoken%3DT"


def test_novnc_keeps_all_values_and_drops_blank_ones():
    assert access_url("novnc", f"{BASE}?a=1&blank=&a=2&b=x%20y", "T") == f"{BASE}?a=1&a=2&b=x+y&path=%3Ftoken%3DT"


def test_a_base_with_a_query_gets_an_ampersand():
    """A deviation on purpose: nova writes a second `?`."""
    assert access_url("spice-html5", f"{BASE}?blank=&a=x%20y", "T") == f"{BASE}?blank=&a=x%20y&token=T"


def test_a_base_that_ends_with_a_question_mark_gets_no_ampersand():
    assert access_url("spice-html5", f"{BASE}?", "T") == f"{BASE}?token=T"


@pytest.mark.parametrize(("console_type", "query"), [("novnc", "path=%3Ftoken%3DT"), ("xvpvnc", "token=T")])
def test_a_fragment_survives(console_type, query):
    """A deviation on purpose: nova puts the token behind the fragment, where no server sees it."""
    assert access_url(console_type, f"{BASE}#resize=scale", "T") == f"{BASE}?{query}#resize=scale"


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4), st.sampled_from(["novnc", *OTHERS]))
def test_the_token_comes_back_out_of_any_base(parameters, console_type):
    from urllib.parse import urlencode

    token = new_token()
    parameters.pop("path", None)
    parameters.pop("token", None)
    query = parse_qs(urlsplit(access_url(console_type, f"{BASE}?{urlencode(parameters)}", token)).query)
    if console_type == "novnc":
        query = parse_qs(urlsplit(query["path"][0]).query)
    assert query["token"] == [token]
