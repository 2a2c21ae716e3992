"""A native viewer at the door: its token comes inside VeNCrypt, and success is withheld until its target accepts."""

import pytest

from rfbproxy.errors import SecurityFailure, StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.entrance import SHUTDOWN_PATIENCE_S
from rfbproxy.session.visit import DENIAL_S
from rfbproxy.target.dial import _unreachable
from tests.peers import cut_text
from tests.rfb.test_client_handshake import server_init
from tests.session.fakes import STARTED, TOKEN, Bench, SecuringStream, refusal
from tests.session.test_rfb_visit import AUTHORISE, CONNECT, LOGIN

V3_3, V3_7, V3_8 = b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"
OK = b"\x00\x00\x00\x00"  # SecurityResult: OK
FAILED = b"\x00\x00\x00\x01"  # SecurityResult: failed
OFFER = b"\x01\x13"  # one security type: VeNCrypt
SUBTYPES = (
    b"\x00"  # VeNCrypt 0.2 is fine
    b"\x01\x00\x00\x01\x06"  # one subtype: X509Plain
)
TLS_BEGINS = b"\x01"
TLS_SIDE = object()
HANDSHAKE_TIMEOUT_S, LOGIN_TIMEOUT_S = 10.0, 60.0


def plain(token, username="somebody"):
    name, password = username.encode(), token.encode("utf-8", "surrogateescape")
    return (
        len(name).to_bytes(4, "big")  # username-length
        + len(password).to_bytes(4, "big")  # password-length
        + name
        + password
    )


def told(reason):
    """What a viewer hears that has given its token."""
    sentence = reason.sentence.encode()
    return FAILED + len(sentence).to_bytes(4, "big") + sentence


def say(data):
    return lambda bench: bench.client.deliver(data)


VERSION = ("it says its version", say(V3_8))
TYPE = ("it chooses VeNCrypt", say(b"\x13"))
VENCRYPT = ("it speaks VeNCrypt 0.2", say(b"\x00\x02"))
SUBTYPE = ("it chooses X509Plain", say(b"\x00\x00\x01\x06"))
STANDS = ("TLS stands", lambda bench: bench.client.secured())
NAMED = ("it gives its token", say(plain(TOKEN)))
INIT = ("it is ready", say(b"\x01"))
DESKTOP = ("the target shows its desktop", lambda bench: bench.target.deliver(server_init()))
STEPS = [VERSION, TYPE, VENCRYPT, SUBTYPE, STANDS, NAMED, AUTHORISE, CONNECT, *LOGIN, INIT, DESKTOP]
MOMENTS = [
    pytest.param(count, id=f"after {STEPS[count - 1][0] if count else 'nothing'}") for count in range(len(STEPS))
]
TYPING = range(STEPS.index(NAMED))


def opened(until=None, **rules):
    """A viewer, up to and with that step."""
    bench = Bench(**rules)
    bench.client = SecuringStream()
    bench.client.inner_tls = TLS_SIDE
    bench.open(way_in="rfb", token=None)
    for _, step in STEPS[: STEPS.index(until) + 1 if until else 0]:
        step(bench)
    return bench


def at(count, **rules):
    return opened(STEPS[count - 1] if count else None, **rules)


def denied(bench, token="unknown"):
    """One whose token the store has not."""
    bench.client.deliver(plain(token))
    bench.client.take()
    bench.store.waiting.callback(None)


def test_the_whole_way():
    bench = opened()
    assert bench.client.take() == V3_8, "the greeting goes out at once"
    assert bench.store.asked == []
    bench.client.deliver(V3_8)
    assert bench.client.take() == OFFER
    bench.client.deliver(b"\x13")
    assert bench.client.take() == b"\x00\x02"
    bench.client.deliver(b"\x00\x02")
    assert bench.client.take() == SUBTYPES
    bench.client.deliver(b"\x00\x00\x01\x06")
    assert bench.client.take() == TLS_BEGINS
    assert bench.client.sides == [TLS_SIDE]
    bench.client.secured()
    bench.client.deliver(plain(TOKEN))
    assert bench.store.asked == [TOKEN]
    bench.authorise()
    bench.connect()
    for _, step in LOGIN:
        assert bench.client.take() == b"", "success is not promised early"
        step(bench)
    assert bench.client.take() == OK
    assert bench.target.take() == V3_8 + b"\x01", "ClientInit is the viewer's"
    bench.client.deliver(b"\x00" + cut_text(b"hello"))
    assert bench.target.take() == b"\x00"
    bench.target.deliver(server_init())
    assert bench.client.take() == server_init()
    assert bench.target.take() == cut_text(b"hello")
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)
    record = bench.record
    assert (record.way_in, record.client_version, record.client_security) == ("rfb", "3.8", "VeNCrypt X509Plain")
    assert TOKEN not in repr(record)


@pytest.mark.parametrize("segment", [1, 3])
def test_wire_R07_in_pieces(segment):
    bench = opened()
    said = V3_7 + b"\x13" + b"\x00\x02" + b"\x00\x00\x01\x06"
    for start in range(0, len(said), segment):
        bench.client.deliver(said[start : start + segment])
    bench.client.secured()
    for byte in plain(TOKEN):
        bench.client.deliver(bytes([byte]))
    for _, step in STEPS[STEPS.index(AUTHORISE) :]:
        step(bench)
    assert bench.client.take() == V3_8 + OFFER + b"\x00\x02" + SUBTYPES + TLS_BEGINS + OK + server_init()
    assert len(bench.visits) == 1


@pytest.mark.parametrize("username", ["", "root", "ü" * 100])
def test_any_user_will_do(username):
    bench = opened(STANDS)
    bench.client.deliver(plain(TOKEN, username))
    assert bench.store.asked == [TOKEN]


def test_the_request_has_no_say_in_what_the_token_is():
    bench = Bench()
    bench.client = SecuringStream()
    bench.client.inner_tls = TLS_SIDE
    bench.open(way_in="rfb", token="of the request")
    for _, step in STEPS[: STEPS.index(NAMED) + 1]:
        step(bench)
    assert bench.store.asked == [TOKEN]


# Wrong tokens


@pytest.mark.parametrize("answered_s", [0.0, 0.4, DENIAL_S - 0.01])
@pytest.mark.parametrize("version", [V3_7, V3_8])
def test_a_wrong_token_is_denied_at_one_time_however_soon_it_is_known(answered_s, version):
    bench = opened()
    for data in (version, b"\x13", b"\x00\x02", b"\x00\x00\x01\x06"):
        bench.client.deliver(data)
    bench.client.secured()
    bench.client.deliver(plain("unknown"))
    bench.client.take()
    bench.clock.advance(answered_s)
    bench.store.waiting.callback(None)
    bench.clock.advance(DENIAL_S - answered_s - 0.001)
    assert bench.client.take() == b""
    bench.clock.advance(0.001)
    assert bench.client.take() == (told(CloseReason.TOKEN_UNKNOWN) if version == V3_8 else FAILED)
    bench.assert_over(CloseReason.TOKEN_UNKNOWN)


def test_a_store_that_took_longer_is_not_waited_for_again():
    bench = opened(STANDS)
    bench.client.deliver(plain("unknown"))
    bench.client.take()
    bench.clock.advance(DENIAL_S + 1)
    bench.store.waiting.callback(None)
    bench.clock.advance(0)
    assert bench.client.take() == told(CloseReason.TOKEN_UNKNOWN)
    bench.assert_over(CloseReason.TOKEN_UNKNOWN)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"expires": int(STARTED)}, CloseReason.TOKEN_EXPIRED),
        ({"console_type": "serial"}, CloseReason.TOKEN_UNKNOWN),
        ({"console_type": "spice-html5"}, CloseReason.TOKEN_UNKNOWN),
    ],
)
def test_a_token_that_opens_nothing_here_is_denied_no_sooner(fields, reason):
    bench = opened(NAMED)
    bench.client.take()
    bench.authorise(**fields)
    bench.clock.advance(DENIAL_S - 0.001)
    assert bench.client.take() == b""
    bench.clock.advance(0.001)
    assert bench.client.take() == told(reason)
    bench.assert_over(reason)
    assert bench.dialler.asked == []


def test_nor_is_one_that_was_denied_a_moment_ago():
    bench = opened(STANDS)
    denied(bench)
    bench.clock.advance(DENIAL_S)
    again = SecuringStream()
    again.inner_tls = TLS_SIDE
    bench.client = again
    bench.open(way_in="rfb", token=None, source="203.0.113.1")
    for _, step in STEPS[: STEPS.index(STANDS) + 1]:
        step(bench)
    bench.client.deliver(plain("unknown"))
    bench.client.take()
    assert len(bench.store.asked) == 1, "it is known already"
    bench.clock.advance(DENIAL_S - 0.001)
    assert again.take() == b""
    bench.clock.advance(0.001)
    assert again.take() == told(CloseReason.TOKEN_UNKNOWN)


@pytest.mark.parametrize("token", ["", "\udcff\udcfe", "\x01" * 1024])
def test_what_is_no_token_is_denied_no_sooner(token):
    bench = opened(STANDS)
    bench.client.deliver(plain(token))
    bench.client.take()
    if token:
        bench.store.waiting.callback(None)
    bench.clock.advance(DENIAL_S - 0.001)
    assert bench.client.take() == b""
    bench.clock.advance(0.001)
    assert bench.client.take() == told(CloseReason.TOKEN_UNKNOWN)


def test_a_viewer_that_leaves_while_it_is_denied_leaves_no_timer():
    bench = opened(STANDS)
    denied(bench)
    bench.client.deliver_lost()
    bench.assert_over(CloseReason.CLIENT_CLOSED)


def test_a_wrong_token_that_came_before_rfb_is_denied_at_once():
    """It cannot be tried by typing, and its source waits longer each time as well."""
    bench = Bench()
    bench.open()
    bench.client.deliver(V3_8)
    bench.store.waiting.callback(None)
    bench.assert_over(CloseReason.TOKEN_UNKNOWN)


def test_a_store_that_fails_is_told_at_once():
    bench = opened(NAMED)
    bench.client.take()
    bench.store.waiting.errback(StoreError("down"))
    assert bench.client.take() == told(CloseReason.INTERNAL)
    bench.assert_over(CloseReason.INTERNAL)


# Targets that do not let the proxy in


@pytest.mark.parametrize("version", [V3_7, V3_8])
def test_a_target_that_refuses_is_told_in_the_securityresult(version):
    bench = opened()
    for data in (version, b"\x13", b"\x00\x02", b"\x00\x00\x01\x06"):
        bench.client.deliver(data)
    for _, step in STEPS[STEPS.index(STANDS) : STEPS.index(CONNECT) + 1]:
        step(bench)
    bench.client.take()
    bench.target.deliver(V3_8 + b"\x00\x00\x00\x00\x06cheese")
    sentence = told(CloseReason.TARGET_AUTH_FAILED) if version == V3_8 else FAILED
    assert bench.client.take() == sentence, "not the target's own words"
    bench.assert_over(CloseReason.TARGET_AUTH_FAILED)


def test_a_target_that_is_not_there():
    bench = opened(AUTHORISE)
    bench.client.take()
    bench.dialler.waiting.errback(_unreachable("192.0.2.7:5901", "refused"))
    assert bench.client.take() == told(CloseReason.TARGET_UNREACHABLE)
    assert bench.record.close_reason == "target-unreachable"


def test_once_success_was_told_there_is_no_other_word():
    bench = opened(LOGIN[-1])
    assert bench.client.take().endswith(OK)
    bench.target.deliver_lost()
    assert bench.client.take() == b""
    bench.assert_over(CloseReason.TARGET_UNREACHABLE)


# Viewers that do something else


@pytest.mark.parametrize("choice", [b"\x00", b"\x01", b"\x02", b"\x10", b"\xff"])
def test_wire_R13_a_type_that_was_not_offered(choice):
    """None and VNC Authentication never."""
    bench = opened(VERSION)
    bench.client.take()
    bench.client.deliver(choice)
    assert bench.client.take() == FAILED + b"\x00\x00\x00\x23This security type was not offered."
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.store.asked == []


def test_wire_R06_a_viewer_of_3_3_is_told_that_it_is_too_old():
    bench = opened()
    bench.client.deliver(V3_3)
    assert bench.client.take() == (
        V3_8 + OK  # security-type u32: Invalid
        + b"\x00\x00\x00\x30This console needs a viewer of RFB 3.7 or later."
    )  # fmt: skip
    bench.assert_over(CloseReason.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("step", "said", "answer"),
    [
        (TYPE, b"\x00\x01", b"\x01"),  # wire_R16: another version of VeNCrypt is not fine
        (VENCRYPT, b"\x00\x00\x01\x00", b"\x00"),  # wire_R16: Plain in clear
        (VENCRYPT, b"\x00\x00\x01\x03", b"\x00"),  # TLSPlain
        (VENCRYPT, b"\x00\x00\x01\x06" + plain(TOKEN), b"\x01"),  # wire_R17
        (STANDS, b"\xff\xff\xff\xff\x00\x00\x00\x00", b""),  # wire_R19
        (STANDS, b"\x00\x00\x00\x00\x00\x00\x04\x01", b""),
    ],
)
def test_wire_R16_R17_R19_what_breaks_the_protocol(step, said, answer):
    bench = opened(step)
    bench.client.take()
    bench.client.deliver(said)
    assert bench.client.take() == answer
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.client.farewell.websocket_code == 1002
    assert bench.store.asked == []
    assert TOKEN not in bench.client.farewell.detail


def test_tls_that_does_not_come_to_stand():
    bench = opened(SUBTYPE)
    bench.client.take()
    bench.client.securing.errback(SecurityFailure("TLS failed: tlsv1 alert unknown ca"))
    assert bench.client.take() == b"", "in clear nothing more is said"
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert "unknown ca" in bench.client.farewell.detail


# The end at every moment


@pytest.mark.parametrize("count", MOMENTS)
@pytest.mark.parametrize("how", ["lost", "eof"])
def test_the_viewer_vanishes(count, how):
    bench = at(count)
    bench.client.take()
    bench.client.end(how)
    bench.assert_over(CloseReason.CLIENT_CLOSED)
    assert bench.client.take() == b""


@pytest.mark.parametrize("count", MOMENTS)
def test_it_is_ended_from_outside(count):
    bench = at(count)
    bench.client.take()
    bench.visits.close_all(Refused(CloseReason.SHUTDOWN, "the test ends"))
    named = STEPS.index(NAMED) < count <= STEPS.index(LOGIN[-1])
    if count == 0:
        assert bench.audit.records == [], "it may say its version yet"
        bench.clock.advance(SHUTDOWN_PATIENCE_S)
    assert bench.client.take() == (told(CloseReason.SHUTDOWN) if named else b"")
    assert bench.record.close_reason == "shutdown"
    assert not len(bench.visits)


def test_a_viewer_that_says_its_version_as_the_service_stops_hears_why():
    bench = opened()
    bench.visits.close_all(Refused(CloseReason.SHUTDOWN, "the test ends"))
    bench.client.deliver(V3_8)
    assert bench.client.take() == V3_8 + refusal(CloseReason.SHUTDOWN)
    bench.assert_over(CloseReason.SHUTDOWN)


@pytest.mark.parametrize("count", TYPING)
def test_a_person_has_time_to_type_and_not_for_ever(count):
    bench = at(count)
    limit_s = LOGIN_TIMEOUT_S if count else HANDSHAKE_TIMEOUT_S
    bench.clock.advance(limit_s - 0.01)
    assert bench.audit.records == []
    bench.clock.advance(0.01)
    bench.assert_over(CloseReason.PROTOCOL_ERROR)
    assert "in time" in bench.client.farewell.detail or "too slow" in bench.client.farewell.detail


def test_a_token_that_drips_is_not_given_more_time():
    bench = opened(STANDS)
    for byte in plain(TOKEN)[:-1]:
        bench.clock.advance(1)
        bench.client.deliver(bytes([byte]))
    bench.clock.advance(LOGIN_TIMEOUT_S - len(plain(TOKEN)) + 1)
    bench.assert_over(CloseReason.PROTOCOL_ERROR)


def test_the_way_in_takes_as_long_as_the_target_does():
    """A viewer that has given its token has nothing to be late with until it is let in."""
    bench = opened(CONNECT)
    bench.clock.advance(HANDSHAKE_TIMEOUT_S - 1)
    for _, step in LOGIN:
        step(bench)
    bench.clock.advance(HANDSHAKE_TIMEOUT_S - 1)
    assert bench.audit.records == []
    bench.clock.advance(1)
    bench.assert_over(CloseReason.PROTOCOL_ERROR)


def test_no_secret_is_logged(log):
    bench = opened(LOGIN[-1])
    bench.client.deliver_lost()
    assert TOKEN not in "".join(map(repr, log)) + repr(bench.record)
