"""Visits from the greeting to the audit record, ended in every way at every step."""

import gc

import pytest
from twisted.logger import formatEvent

from rfbproxy.consoleauth import Grant
from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import ServerInit
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from rfbproxy.session.dialogue import REASON_TIMEOUT_S, Dialogue
from rfbproxy.stream import BUFFER_LIMIT
from rfbproxy.target.dial import _unreachable
from rfbproxy.wire import Conversation
from tests.peers import cut_text
from tests.rfb.test_client_handshake import server_init
from tests.session.fakes import STARTED, TOKEN, Bench, refusal

V3_3, V3_7, V3_8 = b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"
OK = b"\x00\x00\x00\x00"  # SecurityResult: OK
OFFER = b"\x01\x01"  # one security type: None
CHALLENGE = bytes(range(16))
HANDSHAKE_TIMEOUT_S = 10.0

AUTHORISE = ("the store answers", lambda bench: bench.authorise())
CONNECT = ("the target connects", lambda bench: bench.connect())
LOGIN = [
    ("the target greets", lambda bench: bench.target.deliver(V3_8)),
    ("the target offers None", lambda bench: bench.target.deliver(OFFER)),
    ("the target accepts", lambda bench: bench.target.deliver(OK)),
]
VERSION = ("the client greets", lambda bench: bench.client.deliver(V3_8))
CHOOSE = ("the client chooses", lambda bench: bench.client.deliver(b"\x01"))
INIT = ("the client is ready", lambda bench: bench.client.deliver(b"\x01"))
DESKTOP = ("the target shows its desktop", lambda bench: bench.target.deliver(server_init()))

STEPS = {
    "prompt client": [VERSION, AUTHORISE, CONNECT, *LOGIN, CHOOSE, INIT, DESKTOP],  # as noVNC does
    "slow client": [AUTHORISE, CONNECT, *LOGIN, VERSION, CHOOSE, INIT, DESKTOP],
}
CASES = [
    pytest.param(order, count, id=f"{order}, after {steps[count - 1][0] if count else 'nothing'}")
    for order, steps in STEPS.items()
    for count in range(len(steps) + 1)
]
BEFORE_RELAY = [case for case in CASES if case.values[1] < len(STEPS[case.values[0]])]
WITH_TARGET = [case for case in BEFORE_RELAY if CONNECT in STEPS[case.values[0]][: case.values[1]]]


def opened(order, count, **rules):
    bench = Bench(**rules)
    bench.open()
    for _, step in STEPS[order][:count]:
        step(bench)
    return bench


def relaying(**rules):
    return opened("prompt client", len(STEPS["prompt client"]), **rules)


@pytest.mark.parametrize("order", STEPS)
def test_a_session_keeps_nothing_of_its_handshakes(order):
    handshakes = (Conversation, Dialogue, ServerInit)

    def alive():
        gc.collect()
        return [thing for thing in gc.get_objects() if issubclass(type(thing), handshakes)]

    before = alive()
    bench = opened(order, len(STEPS[order]))
    bench.target.deliver(b"desktop")
    assert bench.client.take().endswith(b"desktop")
    assert [type(thing) for thing in alive() if thing not in before] == []


def is_done(order, count, step):
    return step in STEPS[order][:count]


def test_the_whole_way():
    bench = Bench()
    bench.open()
    assert bench.client.take() == V3_8, "the greeting goes out at once"
    assert bench.store.asked == [TOKEN]
    bench.client.deliver(V3_8)
    bench.authorise()
    assert bench.dialler.asked == [("192.0.2.7", 5901)]
    bench.connect()
    bench.target.deliver(V3_8)
    assert bench.target.take() == V3_8
    bench.target.deliver(OFFER)
    assert bench.target.take() == b"\x01"
    assert bench.client.take() == b"", "success is not promised early"
    bench.target.deliver(OK)
    assert bench.client.take() == OFFER
    assert bench.target.take() == b"", "ClientInit is the client's"
    bench.client.deliver(b"\x01")
    assert bench.client.take() == OK
    bench.client.deliver(b"\x00")
    assert bench.target.take() == b"\x00"
    bench.target.deliver(server_init())
    assert bench.client.take() == server_init()
    bench.client.deliver(cut_text(b"client"))
    bench.target.deliver(b"from the target!")
    assert bench.target.take() == cut_text(b"client")
    assert bench.client.take() == b"from the target!"
    bench.clock.advance(5)
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)
    record = bench.record
    assert len(record.session) == 16
    assert record.started == "2023-11-14T22:13:20.000Z"
    assert record.ended == "2023-11-14T22:13:25.000Z"
    assert record.client == "198.51.100.9"
    assert len(record.token) == 8
    assert record.instance == "f0f0f0f0-0000-4000-8000-000000000000"
    assert (record.console_type, record.target, record.way_in) == ("novnc", "192.0.2.7:5901", "websocket")
    assert (record.client_version, record.target_version) == ("3.8", "3.8")
    assert (record.client_security, record.target_security) == ("None", "None")
    assert (record.bytes_to_client, record.bytes_to_target) == (16, 14)


@pytest.mark.parametrize(("order", "count"), CASES)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_the_client_vanishes(order, count, how):
    bench = opened(order, count)
    bench.client.take()
    bench.client.end(how)
    if is_done(order, count, DESKTOP) and how == "eof":
        assert bench.target.said == ["eof"], "a half-close travels through"
        bench.target.deliver(b"last words")
        assert bench.client.take() == b"last words"
        bench.target.deliver_eof()
    bench.assert_over(CloseReason.CLIENT_CLOSED)
    assert bench.client.take() == b""
    assert bench.dialler.cancelled == (is_done(order, count, AUTHORISE) and not is_done(order, count, CONNECT))


@pytest.mark.parametrize(("order", "count"), WITH_TARGET)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_the_target_vanishes_in_the_handshake(order, count, how):
    bench = opened(order, count)
    bench.client.take()
    bench.target.end(how)
    offered = is_done(order, count, VERSION) and is_done(order, count, LOGIN[-1])
    if not is_done(order, count, VERSION):
        assert bench.audit.records == [], "the client is told as soon as its version is known"
        bench.client.deliver(V3_8)
    bench.assert_over(CloseReason.TARGET_UNREACHABLE)
    assert bench.client.take() == (b"" if offered else refusal(CloseReason.TARGET_UNREACHABLE))
    assert bench.client.farewell.websocket_code == 1011


@pytest.mark.parametrize("how", ["eof", "lost"])
def test_the_target_closes_while_relaying(how):
    bench = relaying()
    bench.client.take()
    bench.target.deliver(b"last words")
    bench.target.end(how)
    assert bench.client.take() == b"last words"
    assert bench.client.said[0] == "eof"
    if how == "eof":
        bench.client.deliver_eof()
    bench.assert_over(CloseReason.TARGET_CLOSED)
    assert bench.client.farewell.websocket_code == 1000
    assert bench.client.farewell.sentence == "Target closed"


@pytest.mark.parametrize(("order", "count"), CASES)
@pytest.mark.parametrize("reason", [CloseReason.SHUTDOWN, CloseReason.REVOKED])
def test_it_is_ended_from_outside(order, count, reason):
    bench = opened(order, count)
    bench.client.take()
    fired = []
    bench.visits.close_all(Refused(reason, "as the test wants")).addCallback(fired.append)
    if not is_done(order, count, VERSION):
        assert fired == []
        bench.client.deliver(V3_8)
    assert fired == [None]
    bench.assert_over(reason)
    offered = is_done(order, count, VERSION) and is_done(order, count, LOGIN[-1])
    assert bench.client.take() == (b"" if offered else refusal(reason))
    bench.visits.close_all(Refused(CloseReason.INTERNAL, "too late"))
    assert bench.record.close_reason == reason.value


@pytest.mark.parametrize(("order", "count"), BEFORE_RELAY)
def test_nothing_more_comes(order, count):
    """Every step of the handshakes has its deadline; the dialler's own is tested with it."""
    bench = opened(order, count)
    bench.clock.advance(HANDSHAKE_TIMEOUT_S)
    if not is_done(order, count, VERSION):
        reason = CloseReason.PROTOCOL_ERROR
    elif not is_done(order, count, AUTHORISE):
        reason = CloseReason.INTERNAL
    elif not is_done(order, count, CONNECT):
        assert bench.clock.getDelayedCalls() == []
        return
    elif is_done(order, count, LOGIN[-1]) and not is_done(order, count, INIT):
        reason = CloseReason.PROTOCOL_ERROR
    else:
        reason = CloseReason.TARGET_UNREACHABLE
    bench.assert_over(reason)
    assert (bench.client.farewell.websocket_code == 1002) == (reason is CloseReason.PROTOCOL_ERROR)


def test_a_handshake_that_drips_is_not_given_more_time():
    bench = opened("prompt client", 3)
    for byte in V3_8 + b"\x02":
        bench.clock.advance(HANDSHAKE_TIMEOUT_S / 14)
        bench.target.deliver(bytes([byte]))
    assert bench.audit.records == []
    bench.clock.advance(HANDSHAKE_TIMEOUT_S / 14 + 0.001)
    bench.assert_over(CloseReason.TARGET_UNREACHABLE)


def test_the_first_reason_counts():
    bench = opened("slow client", 1)
    bench.visits.close_all(Refused(CloseReason.SHUTDOWN, "first"))
    assert bench.dialler.cancelled
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.SHUTDOWN)


def test_a_refused_client_that_leaves_before_it_heard():
    bench = Bench()
    bench.open(token=None)
    assert bench.audit.records == []
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.TOKEN_UNKNOWN)


def test_a_refused_client_that_never_speaks():
    bench = Bench()
    bench.open(token=None)
    bench.clock.advance(HANDSHAKE_TIMEOUT_S)
    bench.assert_over(CloseReason.TOKEN_UNKNOWN)
    assert bench.client.take() == V3_8


@pytest.mark.parametrize("how", ["eof", "lost"])
def test_a_client_that_is_gone_before_it_came(how):
    bench = Bench()
    bench.client.end(how)
    bench.open()
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_a_client_that_leaves_while_it_is_sent_to():
    bench = opened("prompt client", 5)
    bench.client.on_send = lambda data: bench.client.deliver_lost()
    bench.target.deliver(OK)
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_a_client_that_leaves_while_the_target_is_sent_to():
    bench = opened("prompt client", 2)
    bench.target.on_send = lambda data: bench.client.deliver_lost()
    bench.target.deliver(V3_8)  # is there already when the login begins, so that the answer is sent in its first moment
    bench.connect()
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_a_client_that_leaves_while_it_is_shown_the_desktop():
    bench = opened("prompt client", 8)
    bench.client.on_send = lambda data: bench.client.deliver_lost()
    bench.target.deliver(server_init())
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_a_client_that_leaves_while_the_dial_succeeds():
    bench = opened("prompt client", 1)

    async def dial(host, port):
        bench.client.deliver_lost()
        return bench.target

    bench.dialler.dial = dial
    bench.authorise()
    assert bench.record.close_reason == "client-closed"
    assert bench.target.said == ["close"], "what was dialled is not lost"
    assert bench.clock.getDelayedCalls() == []


# What is refused, and how it is said


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(
    ("version", "said"),
    [(V3_3, b"\x00\x00\x00\x00"), (b"RFB 003.005\n", b"\x00\x00\x00\x00"), (V3_7, b"\x00"), (V3_8, b"\x00")],
)
def test_a_refusal_in_the_clients_version(version, said, early):
    bench = Bench()
    bench.open()
    if early:
        bench.client.deliver(version)
    bench.store.waiting.callback(None)
    if not early:
        assert bench.client.said == []
        bench.client.deliver(version)
    sentence = b"This console link is not valid. Please ask for a new one."
    assert bench.client.take() == (
        V3_8
        + said  # Invalid, or no security types
        + b"\x00\x00\x00\x39"  # reason-length
        + sentence  # reason-string
    )
    bench.assert_over(CloseReason.TOKEN_UNKNOWN)
    assert (bench.client.farewell.websocket_code, bench.client.farewell.sentence) == (1008, sentence.decode())


def test_origin_is_judged_before_the_store_is_asked():
    bench = Bench()
    bench.open(origin="https://evil.example", host="console.example")
    bench.client.deliver(V3_8)
    assert bench.store.asked == []
    assert bench.client.take() == V3_8 + refusal("Origin header does not match this host.")
    bench.assert_over(CloseReason.ORIGIN_REFUSED)
    assert bench.record.token is None


def test_nova_W03_an_unknown_token_dials_nothing():
    bench = opened("prompt client", 1)
    bench.store.waiting.callback(None)
    assert bench.dialler.asked == []
    bench.assert_over(CloseReason.TOKEN_UNKNOWN)


def test_a_token_that_expired():
    bench = opened("prompt client", 1)
    bench.authorise(expires=int(STARTED))
    assert bench.dialler.asked == []
    bench.assert_over(CloseReason.TOKEN_EXPIRED)


def test_a_store_that_fails():
    bench = opened("prompt client", 1)
    bench.store.waiting.errback(StoreError("it is down"))
    bench.assert_over(CloseReason.INTERNAL)


def test_a_fault_of_ours_is_internal_and_logged(failures):
    bench = opened("prompt client", 1)
    bench.client.take()
    bench.store.waiting.errback(ZeroDivisionError())
    assert bench.client.take() == refusal(CloseReason.INTERNAL)
    bench.assert_over(CloseReason.INTERNAL)
    assert failures.pop()["log_failure"].check(ZeroDivisionError)


def test_a_step_that_is_cancelled_by_nobody_known(failures):
    bench = opened("prompt client", 1)
    bench.store.waiting.cancel()
    bench.assert_over(CloseReason.INTERNAL)
    failures.pop()


@pytest.mark.parametrize("where", ["greeting", "farewell"])
def test_a_client_stream_that_fails_still_leaves_a_record(failures, where):
    def fail(_):
        raise RuntimeError("the adapter is broken")

    bench = Bench()
    if where == "greeting":
        bench.client.send = fail
    bench.client.close_because = fail
    bench.open()
    bench.client.deliver_lost()
    assert bench.record.close_reason in ("client-closed", "protocol-error")
    assert not len(bench.visits)
    assert bench.clock.getDelayedCalls() == []
    assert failures
    failures.clear()


def test_a_target_that_cannot_be_reached():
    bench = opened("prompt client", 2)
    bench.client.take()
    bench.dialler.waiting.errback(_unreachable("192.0.2.7:5901", "refused"))
    assert bench.client.take() == refusal(CloseReason.TARGET_UNREACHABLE)
    assert bench.record.close_reason == "target-unreachable"
    assert bench.record.target == "192.0.2.7:5901"
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("host", ["2001:db8::7", "[2001:db8::7]"])
def test_an_ipv6_target_is_recorded_with_brackets(host):
    bench = opened("prompt client", 1)
    bench.authorise(host=host)
    assert bench.dialler.asked == [(host, 5901)]
    bench.client.deliver_lost()
    assert bench.record.target == "[2001:db8::7]:5901"


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 ", b"RFB 003.008\r", b"RFB 000.000\n", b"RFB +03.-08\n"])
def test_wire_R01_R03_R04_a_target_that_is_none(greeting):
    bench = opened("prompt client", 3)
    bench.client.take()
    bench.target.deliver(greeting)
    assert bench.client.take() == refusal(CloseReason.PROTOCOL_ERROR)
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.client.farewell.websocket_code == 1011
    assert bench.record.target_version is None


@pytest.mark.parametrize(
    "said",
    [
        V3_8 + b"\x01\x05",  # wire_R10: nothing that may be chosen
        V3_8 + b"\x01\x00",  # wire_R11
        V3_3 + b"\x00\x00\x00\x13",  # wire_R12
        V3_3 + b"\xff\xff\xff\xfa",  # wire_R12
        V3_8 + b"\x00\x00\x00\x00\x06cheese",  # nova_R06
        V3_8 + OFFER + b"\x00\x00\x00\x01\x00\x00\x00\x06cheese",  # wire_R14
        V3_8 + b"\x01\x02",  # the grant holds no password
    ],
)
def test_wire_R10_R14_nova_R06_R10_W24_a_target_that_does_not_let_the_proxy_in(said):
    bench = opened("prompt client", 3)
    bench.client.take()
    bench.target.deliver(said)
    assert bench.client.take() == refusal(CloseReason.TARGET_AUTH_FAILED), "not the target's own words"
    bench.assert_over(CloseReason.TARGET_AUTH_FAILED)
    assert bench.record.target_version == ("3.3" if said.startswith(V3_3) else "3.8")
    assert bench.record.target_security is None


def test_wire_R14_a_reason_is_waited_for_one_second():
    bench = opened("prompt client", 3)
    bench.target.deliver(V3_8 + OFFER + b"\xde\xad\xbe\xef")
    bench.clock.advance(REASON_TIMEOUT_S - 0.01)
    assert bench.audit.records == []
    bench.clock.advance(0.01)
    bench.assert_over(CloseReason.TARGET_AUTH_FAILED)


def test_wire_R14_one_second_in_all(log):
    bench = opened("prompt client", 3)
    bench.target.deliver(V3_8 + b"\x00" + b"\xff\xff\xff\xff")  # wire_R08
    for byte in b"che":
        bench.clock.advance(0.3)
        bench.target.deliver(bytes([byte]))
    bench.clock.advance(0.11)
    bench.assert_over(CloseReason.TARGET_AUTH_FAILED)
    assert any("'che'" in (formatEvent(event) or "") for event in log), "as much as came is for the log"


def test_wire_R09_a_target_that_closes_instead_of_a_reason():
    bench = opened("prompt client", 3)
    bench.target.deliver(V3_8 + b"\x00")
    bench.target.deliver_eof()
    bench.assert_over(CloseReason.TARGET_AUTH_FAILED)


def test_wire_R15_no_reason_is_waited_for_in_3_7():
    bench = opened("prompt client", 1)
    bench.authorise(grant=Grant(password=Secret("swordfish")))
    bench.connect()
    bench.target.deliver(V3_7 + b"\x01\x02" + CHALLENGE + b"\x00\x00\x00\x01")
    bench.assert_over(CloseReason.TARGET_AUTH_FAILED)


@pytest.mark.parametrize("bits", [0, 24, 64])
@pytest.mark.parametrize("together", [True, False])
def test_wire_R22_a_desktop_with_impossible_pixels(bits, together):
    bench = opened("prompt client", 5)
    bench.target.deliver(OK + server_init(bits=bits) if together else OK)
    bench.client.deliver(b"\x01\x01")
    if not together:
        bench.target.deliver(server_init(bits=bits))
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.client.farewell.websocket_code == 1011


def test_wire_R22_a_name_without_end():
    bench = opened("prompt client", 8)
    bench.target.deliver(server_init(name=b"", name_length=0xFFFFFFFF))
    bench.assert_over(CloseReason.PROTOCOL_ERROR)


def test_wire_R22_an_empty_desktop_is_shown():
    bench = opened("prompt client", 8)
    bench.client.take()
    bench.target.deliver(server_init(width=0, height=0))
    assert bench.client.take() == server_init(width=0, height=0)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("version", [V3_7, V3_8])
def test_wire_R13_nova_R09_R16_a_choice_that_was_not_offered(version, together):
    """Nova sends the target a zero byte then; here the target, which has accepted, is just closed."""
    bench = opened("slow client", 5)
    bench.client.take()
    bench.target.take()
    if together:
        bench.client.deliver(version + b"\x02")
    else:
        bench.client.deliver(version)
        bench.client.deliver(b"\x02")
    said = b"\x00\x00\x00\x01" + (b"\x00\x00\x00\x23This security type was not offered." if version == V3_8 else b"")
    assert bench.client.take() == OFFER + said
    assert bench.target.take() == b""
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.client.farewell.websocket_code == 1002
    assert bench.record.client_security is None


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_client_that_does_not_speak_rfb(count):
    bench = opened("slow client", count)
    bench.client.deliver(b"GET / HTTP/1.1\r\n")
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.client.farewell.websocket_code == 1002
    assert bench.client.take() == V3_8


# Bytes that come together


def test_nova_R15_everything_of_the_client_in_one_segment():
    bench = Bench()
    bench.open()
    bench.client.deliver(V3_8 + b"\x01" + b"\x01" + cut_text(b"first"))
    for _, step in STEPS["prompt client"][1:6]:
        step(bench)
    assert bench.target.take() == V3_8 + b"\x01" + b"\x01"
    bench.target.deliver(server_init())
    assert bench.target.take() == cut_text(b"first")
    assert bench.client.take() == V3_8 + OFFER + OK + server_init()
    assert bench.visits._live
    bench.client.deliver_lost()
    assert bench.record.bytes_to_target == len(cut_text(b"first"))


def test_everything_of_the_target_in_one_segment():
    bench = opened("prompt client", 3)
    bench.target.deliver(V3_8 + OFFER + OK + server_init() + b"\x00update")
    bench.client.take()
    bench.client.deliver(b"\x01\x01")
    assert bench.client.take() == OK + server_init() + b"\x00update"
    bench.target.deliver_eof()
    bench.client.deliver_eof()
    bench.assert_over(CloseReason.TARGET_CLOSED)
    assert bench.record.bytes_to_client == len(b"\x00update")


def test_the_end_of_the_target_together_with_its_desktop():
    bench = opened("prompt client", 8)
    bench.client.take()
    bench.target._buffer += server_init() + b"\x00update"  # and before anybody looks at it:
    bench.target.deliver_lost()
    assert bench.client.take() == server_init() + b"\x00update"
    assert bench.client.said[0] == "eof"
    bench.assert_over(CloseReason.TARGET_CLOSED)


@pytest.mark.parametrize("segment", [1, 7, 1000])
def test_wire_R07_both_legs_in_pieces_with_versions_of_their_own(segment):
    password = Secret("swordfish")
    bench = Bench()
    bench.open()
    bench.authorise(grant=Grant(password=password))
    bench.connect()

    def feed(stream, data):
        for at in range(0, len(data), segment):
            stream.deliver(data[at : at + segment])

    feed(bench.client, V3_3)
    feed(bench.target, V3_7 + b"\x02\x01\x02" + CHALLENGE + OK)
    feed(bench.client, b"\x00")
    feed(bench.target, server_init() + b"\x00update")
    assert bench.client.take() == V3_8 + b"\x00\x00\x00\x01" + server_init() + b"\x00update"
    assert bench.target.take() == V3_7 + b"\x02" + vnc_response(password, CHALLENGE) + b"\x00"
    bench.client.deliver_lost()
    assert (bench.record.client_version, bench.record.target_version) == ("3.3", "3.7")
    assert (bench.record.client_security, bench.record.target_security) == ("None", "VNC Authentication")


# The preamble


def with_preamble(path="vmid"):
    bench = opened("prompt client", 1)
    bench.authorise(internal_access_path=path)
    bench.connect()
    return bench


def test_nova_W05_W07_the_preamble_and_what_came_with_its_answer():
    bench = with_preamble()
    assert bench.target.take() == b"CONNECT vmid HTTP/1.1\r\n\r\n"
    bench.target.deliver(b"HTTP/1.1 200 OK\r\n\r\nRFB 003.003\n")
    assert bench.target.take() == V3_3
    bench.client.deliver_lost()
    assert bench.record.target_version == "3.3"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", CloseReason.TARGET_UNREACHABLE),  # nova_W06
        (b"HTTP/1.1 500 error 200\r\n\r\n", CloseReason.TARGET_UNREACHABLE),  # which nova lets through
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", CloseReason.TARGET_UNREACHABLE),
        (b"RFB 003.008\n\r\n\r\n", CloseReason.PROTOCOL_ERROR),
        (b"x" * 8192, CloseReason.PROTOCOL_ERROR),
    ],
)
def test_nova_W06_an_answer_that_opens_nothing(answer, reason):
    bench = with_preamble()
    bench.target.deliver(answer)
    bench.assert_over(reason)
    assert bench.record.target_version is None


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_nova_W33_an_answer_cut_short(answer):
    bench = with_preamble()
    bench.target.deliver(answer)
    bench.target.deliver_eof()
    bench.assert_over(CloseReason.TARGET_UNREACHABLE)


def test_no_answer():
    bench = with_preamble()
    bench.clock.advance(HANDSHAKE_TIMEOUT_S)
    bench.assert_over(CloseReason.TARGET_UNREACHABLE)


def test_the_client_leaves_during_the_preamble():
    bench = with_preamble()
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_a_path_that_no_request_line_can_carry():
    bench = with_preamble("vm id\r\nX: y")
    assert bench.target.take() == b""
    bench.assert_over(CloseReason.INTERNAL)


# Limits


@pytest.mark.parametrize(
    ("rules", "grant", "limit_s"),
    [
        ({"session_limit_s": 60.0}, Grant(), 60),
        ({"session_limit_s": 60.0}, Grant(time_limit_s=20), 20),
        ({}, Grant(time_limit_s=20), 20),
        ({"enforce_session_timeout": True}, Grant(), 600),
        ({"enforce_session_timeout": True, "session_limit_s": 60.0}, Grant(), 60),
    ],
)
def test_nova_W22_the_time_limit(rules, grant, limit_s):
    bench = Bench(**rules)
    bench.open()
    bench.client.deliver(V3_8)
    bench.authorise(grant=grant)
    for _, step in STEPS["prompt client"][2:]:
        step(bench)
    bench.client.take()
    bench.clock.advance(limit_s - 1)
    assert bench.audit.records == []
    bench.clock.advance(1)
    bench.assert_over(CloseReason.TIME_LIMIT)
    assert bench.client.take() == b"", "RFB has no word for it now"
    assert bench.client.farewell.websocket_code == 1008


def test_nova_W22_without_a_limit_nothing_is_timed():
    bench = relaying()
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize(("rules", "grant"), [({"idle_timeout_s": 30.0}, Grant()), ({}, Grant(idle_timeout_s=30))])
def test_the_idle_limit(rules, grant):
    bench = Bench(**rules)
    bench.open()
    bench.client.deliver(V3_8)
    bench.authorise(grant=grant)
    for _, step in STEPS["prompt client"][2:]:
        step(bench)
    for speaker in [bench.client, bench.target] * 3:
        bench.clock.pump([1.0] * 28)
        speaker.deliver(cut_text(b"."))
    assert bench.audit.records == []
    bench.clock.pump([1.0] * 33)
    bench.assert_over(CloseReason.IDLE)


def test_limits_do_not_outlive_a_visit():
    bench = relaying(idle_timeout_s=30.0, session_limit_s=60.0)
    assert len(bench.clock.getDelayedCalls()) == 2
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_a_client_cannot_fill_the_memory_before_it_is_let_in():
    bench = opened("prompt client", 2)
    for _ in range(100):
        if not bench.client.paused:
            bench.client.deliver(b"x" * 4096)
    assert bench.client.paused
    assert len(bench.client._buffer) <= BUFFER_LIMIT + 4096
    (visit,) = bench.visits._live
    assert len(visit._entrance._handshake._reader) == 0
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_no_secret_is_logged(log):
    bench = opened("prompt client", 1)
    bench.authorise(grant=Grant(password=Secret("swordfish")), internal_access_path="/console?session_id=deadbeef")
    bench.connect()
    bench.target.deliver(b"CONNECT /console?session_id=deadbeef HTTP/1.1\r\n\r\n")  # an echo
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    told = "".join(f"{formatEvent(event)}{event!r}" for event in log) + repr(bench.record)
    assert bench.record.session in told
    for secret in (TOKEN, "swordfish", "deadbeef", "session_id"):
        assert secret not in told


@pytest.mark.parametrize("encrypted", [False, True])
def test_nova_W28_who_comes_in_clear_where_only_tls_is_allowed_is_told_so(encrypted):
    bench = Bench(tls_only=True)
    bench.open(encrypted=encrypted)
    if encrypted:
        assert bench.store.asked == [TOKEN]
        return
    bench.client.deliver(V3_8)
    assert bench.client.take() == V3_8 + refusal(CloseReason.TLS_REQUIRED)
    bench.assert_over(CloseReason.TLS_REQUIRED)
    assert bench.store.asked == []
