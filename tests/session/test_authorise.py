from types import MappingProxyType

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.authorise import authorise
from rfbproxy.session.limits import BadTokens
from rfbproxy.session.rfb_visit import RfbVisit
from tests.session.fakes import TOKEN, console_request, console_token

NOW = 1_000_000.5


class Store:
    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def find(self, token):
        self.asked.append(token)
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)


def ask(request, answer, now=NOW, **untold):
    store = Store(answer)
    got = []
    store.found = []
    asking = authorise(
        request,
        store,
        BadTokens(),
        store.found.append,
        console_types=RfbVisit.console_types,
        allowed_origins=["dashboard.example"],
        now=now,
        **untold,
    )
    Deferred.fromCoroutine(asking).addBoth(got.append)
    return getattr(got[0], "value", got[0]), store


def token(**fields):
    return console_token(**{"expires": 1_000_100} | fields)


def test_a_good_token():
    good = token()
    assert ask(console_request(), good)[0] is good


@pytest.mark.parametrize("console_type", sorted(RfbVisit.console_types))
def test_every_rfb_console_type(console_type):
    good = token(console_type=console_type)
    assert ask(console_request(), good)[0] is good


@pytest.mark.parametrize("missing", [None, ""])
def test_no_token(missing):
    refused, store = ask(console_request(token=missing), token())
    assert refused.reason is CloseReason.TOKEN_UNKNOWN
    assert store.asked == []


def test_an_unknown_token():
    refused, store = ask(console_request(), None)
    assert refused.reason is CloseReason.TOKEN_UNKNOWN
    assert store.asked == [TOKEN]
    assert store.found == []
    assert TOKEN not in refused.detail


@pytest.mark.parametrize(
    ("request_fields", "token_fields"),
    [({}, {"expires": 1}), ({}, {"console_type": "serial"}), ({"origin": "http://h", "host": "h"}, {})],
)
def test_what_the_store_knows_is_told_though_it_is_refused(request_fields, token_fields):
    known = token(**token_fields)
    refused, store = ask(console_request(**request_fields), known)
    assert isinstance(refused, Refused)
    assert store.found == [known]


@pytest.mark.parametrize("console_type", ["spice-html5", "spice-direct", "serial"])
def test_a_token_of_another_protocol_is_unknown_here(console_type):
    refused, _ = ask(console_request(), token(console_type=console_type))
    assert refused.reason is CloseReason.TOKEN_UNKNOWN
    assert console_type in refused.detail


@pytest.mark.parametrize(
    ("expires", "reason"), [(1000, CloseReason.TOKEN_EXPIRED), (999, CloseReason.TOKEN_EXPIRED), (1001, None)]
)
def test_nova_W27_a_token_is_valid_while_expires_is_beyond_now(expires, reason):
    answer, _ = ask(console_request(), token(expires=expires), now=1000.0)
    assert (answer.reason if isinstance(answer, Refused) else None) is reason


def test_a_store_that_fails():
    refused, _ = ask(console_request(), StoreError("down"))
    assert refused.reason is CloseReason.INTERNAL
    assert "down" in refused.detail


def test_the_origins_host_is_judged_before_anything_is_asked():
    refused, store = ask(console_request(origin="https://evil.example", host="console.example"), token())
    assert refused.reason is CloseReason.ORIGIN_REFUSED
    assert store.asked == []


def test_the_origins_scheme_is_judged_with_the_token():
    request = console_request(origin="http://dashboard.example", host="console.example")
    refused, store = ask(request, token(access_url_base="https://console.example/vnc.html"))
    assert refused.reason is CloseReason.ORIGIN_REFUSED
    assert refused.sentence == "Origin header protocol does not match this host."
    assert store.asked == [TOKEN]
    good = token(access_url_base="http://console.example/vnc.html")
    assert ask(request, good)[0] is good


class TestUntold:
    """Tokens of stores that do not tell everything."""

    BASES = MappingProxyType({"novnc": "https://console.example/vnc.html"})

    def test_the_type_is_what_the_client_came_for(self):
        found, store = ask(console_request(), token(console_type=None), untold_type="xvpvnc")
        assert found.console_type == "xvpvnc"
        assert store.found == [found]

    def test_a_type_that_nobody_knows_is_not_asked(self):
        assert ask(console_request(), token(console_type=None))[0].console_type is None

    def test_a_type_that_is_told_counts(self):
        refused, _ = ask(console_request(), token(console_type="spice-direct"), untold_type="novnc")
        assert refused.reason is CloseReason.TOKEN_UNKNOWN

    @pytest.mark.parametrize(
        ("origin", "passes"), [("https://console.example", True), ("http://console.example", False)]
    )
    def test_the_base_is_that_of_the_type(self, origin, passes):
        request = console_request(origin=origin, host="console.example")
        bare = token(console_type=None, access_url_base=None)
        found, _ = ask(request, bare, untold_type="novnc", untold_bases=self.BASES)
        if passes:
            assert found.access_url_base == self.BASES["novnc"]
        else:
            assert found.reason is CloseReason.ORIGIN_REFUSED

    def test_a_base_that_is_told_counts(self):
        request = console_request(origin="http://console.example", host="console.example")
        good = token(access_url_base="http://other.example/")
        assert ask(request, good, untold_bases=self.BASES)[0] is good
