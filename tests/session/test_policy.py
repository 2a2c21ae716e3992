"""What a client may tell its target while it relays."""

import pytest
from twisted.logger import formatEvent

from rfbproxy.consoleauth import Grant
from rfbproxy.reasons import CloseReason
from rfbproxy.rfb import Encoding
from rfbproxy.session.policy import POWER_LIMIT
from tests.peers import cut_text
from tests.rfb.test_messages import MESSAGES, set_encodings, xvp
from tests.session.fakes import Bench
from tests.session.test_rfb_visit import DESKTOP, STEPS, V3_8

POWER = xvp(2) + xvp(3) + xvp(4) + xvp(9, version=2) + xvp(1)


ASKS_FOR_POWER = set_encodings(Encoding.XVP)


def relaying(**grant):
    bench = Bench()
    bench.open()
    bench.client.deliver(V3_8)
    bench.authorise(grant=Grant(**grant))
    for _, step in STEPS["prompt client"][2:]:
        step(bench)
    bench.target.take()
    return bench


def ended(bench):
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)
    return bench.record


def test_power_is_denied_unless_the_grant_allows_it(log):
    bench = relaying()
    bench.client.deliver(set_encodings(0, Encoding.XVP) + POWER + MESSAGES["KeyEvent"])
    assert bench.target.take() == set_encodings(0) + MESSAGES["KeyEvent"]
    record = ended(bench)
    assert record.power == ["shutdown denied", "reboot denied", "reset denied", "unknown denied", "unknown denied"]
    assert record.bytes_to_target == len(set_encodings(0) + MESSAGES["KeyEvent"])
    told = [formatEvent(event) for event in log]
    assert f"[{record.session}] power request: reset denied" in told


def test_wire_R31_power_that_the_grant_allows_is_passed_on_and_noted(log):
    bench = relaying(allow_power=True)
    bench.client.deliver(set_encodings(0, Encoding.XVP) + POWER + MESSAGES["KeyEvent"])
    allowed = xvp(2) + xvp(3) + xvp(4)
    assert bench.target.take() == set_encodings(0, Encoding.XVP) + allowed + MESSAGES["KeyEvent"]
    record = ended(bench)
    assert record.power == ["shutdown", "reboot", "reset", "unknown denied", "unknown denied"]
    told = [formatEvent(event) for event in log]
    assert f"[{record.session}] power request: reset" in told


@pytest.mark.parametrize("allow_power", [None, False, True])
def test_what_is_noted_has_an_end(allow_power):
    bench = relaying(allow_power=allow_power)
    bench.client.deliver(xvp(4) * (POWER_LIMIT + 5))
    assert bench.target.take() == (xvp(4) * POWER_LIMIT if allow_power else b"")
    assert len(ended(bench).power) == POWER_LIMIT


def test_where_nothing_is_asked_nothing_is_noted():
    bench = relaying(allow_power=True)
    bench.client.deliver(MESSAGES["KeyEvent"])
    assert ended(bench).power is None


def test_wire_R23_a_message_that_cannot_be_followed_ends_both_legs():
    bench = relaying()
    bench.client.deliver(ASKS_FOR_POWER + cut_text(b"before") + b"\x4d" + cut_text(b"after"))
    assert bench.target.take() == b"\x02\0\0\0" + cut_text(b"before")
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.client.farewell.websocket_code == 1002
    assert "client message type 77" in bench.client.farewell.detail
    assert bench.target.said == ["close"]
    bench.client.deliver(cut_text(b"later"))
    assert bench.target.take() == b""


def test_one_that_came_with_the_handshake_does_too():
    bench = Bench()
    bench.open()
    bench.client.deliver(V3_8 + b"\x01\x01" + ASKS_FOR_POWER + b"\x4d")
    for _, step in [*STEPS["prompt client"][1:6], DESKTOP]:
        step(bench)
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.client.farewell.websocket_code == 1002
