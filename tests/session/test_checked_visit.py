"""Visits whose target is checked once their token is good."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from tests.session.fakes import Bench

TIMEOUT_S = 10.0


@pytest.fixture
def asked():
    return []


def checked(asked, answer):
    def check(token):
        asked.append(token)
        return answer

    bench = Bench(target_check=check)
    bench.open()
    bench.authorise()
    return bench


def test_the_target_is_dialled_when_the_check_is_done(asked):
    answer = Deferred()
    bench = checked(asked, answer)
    assert bench.dialler.waiting is None
    assert not bench.client.is_authorised
    answer.callback(None)
    assert bench.dialler.waiting is not None
    assert len(asked) == 1


def test_one_that_is_passed_at_once(asked):
    assert checked(asked, succeed(None)).dialler.waiting is not None


def test_one_that_says_no(asked):
    no = Refused(CloseReason.TARGET_UNREACHABLE, "target check: it is another machine's")
    bench = checked(asked, fail(no))
    assert bench.dialler.waiting is None
    bench.client.deliver(b"RFB 003.008\n")
    assert bench.client.farewell is no


def test_one_that_finds_no_thread(asked):
    bench = checked(asked, fail(StoreError("1000 calls wait")))
    bench.client.deliver(b"RFB 003.008\n")
    assert bench.client.farewell.reason is CloseReason.INTERNAL
    assert bench.client.farewell.detail == "target check: 1000 calls wait"


def test_one_that_says_nothing(asked):
    bench = checked(asked, Deferred())
    bench.client.deliver(b"RFB 003.008\n")
    bench.clock.advance(TIMEOUT_S)
    assert bench.client.farewell.reason is CloseReason.INTERNAL
    assert "target check did not answer in time" in bench.client.farewell.detail


def test_a_bad_token_is_not_checked(asked):
    def check(token):
        asked.append(token)
        return succeed(None)

    bench = Bench(target_check=check)
    bench.open()
    bench.store.waiting.callback(None)
    assert asked == []
