"""Visits of clients that are not greeted before their target has let the proxy in: those that come by CONNECT."""

import pytest

from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.target.dial import _unreachable
from tests.rfb.test_client_handshake import server_init
from tests.session.fakes import Bench, refusal
from tests.session.test_rfb_visit import AUTHORISE, CONNECT, DESKTOP, HANDSHAKE_TIMEOUT_S, LOGIN, OFFER, OK, V3_8

WAITING = [AUTHORISE, CONNECT, *LOGIN]
UNACCEPTED = [pytest.param(count, id=f"after {WAITING[count - 1][0] if count else 'nothing'}") for count in range(5)]


def waiting(count=0, **request):
    bench = Bench()
    bench.client.greets_at_once = False
    bench.open(way_in="connect", **request)
    for _, step in WAITING[:count]:
        step(bench)
    return bench


def assert_refused_unaccepted(bench, reason):
    assert bench.client.take() == b"", "not a byte of RFB"
    assert "accept" not in bench.client.said
    bench.assert_over(reason)


def test_it_is_accepted_once_the_target_lets_the_proxy_in():
    bench = waiting(len(WAITING) - 1)
    assert bench.client.said == []
    assert bench.client.take() == b""
    bench.target.deliver(OK)
    assert bench.client.said == ["accept"]
    assert bench.client.take() == V3_8
    bench.client.deliver(V3_8)
    assert bench.client.take() == OFFER
    bench.client.deliver(b"\x01")
    assert bench.client.take() == OK
    bench.client.deliver(b"\x01")
    DESKTOP[1](bench)
    assert bench.client.take() == server_init()
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)
    assert bench.record.way_in == "connect"
    assert (bench.record.client_version, bench.record.client_security) == ("3.8", "None")


def test_what_it_says_early_is_kept():
    bench = waiting()
    bench.client.deliver(V3_8 + b"\x01\x01")
    for _, step in WAITING:
        step(bench)
    assert bench.client.take() == V3_8 + OFFER + OK


@pytest.mark.parametrize("count", UNACCEPTED)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_it_vanishes_while_it_waits(count, how):
    bench = waiting(count)
    bench.client.end(how)
    assert_refused_unaccepted(bench, CloseReason.CLIENT_CLOSED)


@pytest.mark.parametrize("count", UNACCEPTED)
def test_it_is_ended_from_outside_while_it_waits(count):
    bench = waiting(count)
    bench.visits.close_all(Refused(CloseReason.SHUTDOWN, "the test ends"))
    assert_refused_unaccepted(bench, CloseReason.SHUTDOWN)


@pytest.mark.parametrize("count", range(2, 5))
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_the_target_vanishes_before_it_lets_the_proxy_in(count, how):
    bench = waiting(count)
    bench.target.end(how)
    assert_refused_unaccepted(bench, CloseReason.TARGET_UNREACHABLE)


def test_no_token():
    bench = waiting(token=None)
    assert bench.store.asked == []
    assert_refused_unaccepted(bench, CloseReason.TOKEN_UNKNOWN)


def test_a_wrong_token():
    bench = waiting()
    bench.store.waiting.callback(None)
    assert_refused_unaccepted(bench, CloseReason.TOKEN_UNKNOWN)


def test_a_store_that_fails():
    bench = waiting()
    bench.store.waiting.errback(StoreError("down"))
    assert_refused_unaccepted(bench, CloseReason.INTERNAL)


def test_a_target_that_cannot_be_reached():
    bench = waiting(1)
    bench.dialler.waiting.errback(_unreachable("192.0.2.7:5901", "refused"))
    assert bench.client.take() == b""
    assert bench.client.said == [bench.client.farewell]
    assert bench.record.close_reason == "target-unreachable"


def test_a_target_that_does_not_let_the_proxy_in():
    bench = waiting(3)
    bench.target.deliver(b"\x01\x05")  # one security type: RA2
    assert_refused_unaccepted(bench, CloseReason.TARGET_AUTH_FAILED)


def test_after_it_was_accepted_it_is_refused_in_rfb():
    bench = waiting(len(WAITING))
    assert bench.client.take() == V3_8
    bench.target.deliver_eof()
    bench.client.deliver(V3_8)
    assert bench.client.take() == refusal(CloseReason.TARGET_UNREACHABLE)
    bench.assert_over(CloseReason.TARGET_UNREACHABLE)


def test_its_time_to_answer_begins_with_the_greeting():
    bench = waiting(2)
    bench.clock.advance(HANDSHAKE_TIMEOUT_S - 1)
    for _, step in LOGIN:
        step(bench)
    bench.clock.advance(HANDSHAKE_TIMEOUT_S - 1)
    assert bench.audit.records == []
    bench.clock.advance(1)
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
