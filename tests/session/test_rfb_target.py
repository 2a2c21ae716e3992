"""The way to a target: dialled, knocked at, logged in to, dialled once more where its favourite leads nowhere."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from rfbproxy.consoleauth import Grant
from rfbproxy.errors import SecurityFailure
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import Preference, SecurityType, ServerInit, VeNCryptSubtype
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from rfbproxy.session.audit import VisitRecord
from rfbproxy.session.rfb_target import RfbTarget
from rfbproxy.session.steps import Steps
from rfbproxy.target.dial import _unreachable
from tests.rfb.test_client_handshake import server_init
from tests.session.fakes import FakeDialler, SecuringStream, console_token

TIMEOUT_S = 10.0
V3_8 = b"RFB 003.008\n"
OK = b"\x00\x00\x00\x00"  # SecurityResult: OK
FAILED = b"\x00\x00\x00\x01\x00\x00\x00\x02no"  # SecurityResult: failed, reason
CHALLENGE = bytes(range(16))
PASSWORD = Secret("swordfish")
RESPONSE = vnc_response(PASSWORD, CHALLENGE)
VENCRYPT, SASL = SecurityType.VENCRYPT, SecurityType.SASL
VNC, NONE = SecurityType.VNC_AUTHENTICATION, SecurityType.NONE
EVERYTHING = Preference(
    (VENCRYPT, SASL, VNC, NONE), (VeNCryptSubtype.X509_VNC, VeNCryptSubtype.X509_NONE, VeNCryptSubtype.TLS_NONE)
)
ENDED = Refused(CloseReason.SHUTDOWN, "the test ends")


class FakeTls:
    """Says which side it was asked for."""

    def anonymous_side(self):
        return "anonymous"

    def side(self, name):
        return f"for {name}"


class Bench:
    """One login, and the targets that it dials."""

    def __init__(self, preference=EVERYTHING, *, password=PASSWORD, username=None, path=None, **grant):
        self.clock = Clock()
        self.dialler = FakeDialler()
        self.steps = Steps(self.clock)
        self.record = VisitRecord("0123456789abcdef", "now")
        self.login = RfbTarget(self.dialler, preference, FakeTls(), TIMEOUT_S, self.steps, self.record)
        self.targets = []
        token = console_token(internal_access_path=path, grant=Grant(username, password, **grant))
        self.outcome = self.begin(self.login.log_in(token))

    def begin(self, coroutine):
        outcome = []
        Deferred.fromCoroutine(coroutine).addBoth(lambda got: outcome.append(getattr(got, "value", got)))
        return outcome

    def connect(self):
        self.targets.append(SecuringStream())
        self.dialler.waiting.callback(self.target)
        return self

    def say(self, *segments):
        """What the present target says, each segment after what came of the one before."""
        for segment in segments:
            self.target.deliver(segment)
        return self

    @property
    def target(self):
        return self.targets[-1]

    @property
    def refused(self):
        (refused,) = self.outcome
        assert isinstance(refused, Refused), refused
        return refused

    def assert_refused(self, reason, told, *, dials):
        assert self.refused.reason is reason
        assert told in self.refused.detail
        assert "swordfish" not in self.refused.detail
        assert len(self.dialler.asked) == dials
        assert self.record.target_security is None
        self.assert_nothing_left()

    def assert_nothing_left(self):
        self.login.close()
        self.steps.stop()
        assert self.clock.getDelayedCalls() == []
        assert all(target.said[0] == "close" for target in self.targets)
        assert all(target._waiting is None and target.on_end is None for target in self.targets)


def no_vencrypt_in_common(others=b"\x02"):
    """A 3.8 target that offers VeNCrypt, in which nothing may be used, and others."""
    types = b"\x13" + others
    return [
        V3_8,
        bytes([len(types)]) + types,
        b"\x00\x02",  # VeNCrypt version: 0.2
        b"\x00",  # it is fine
        b"\x01\x00\x00\x01\x02",  # one subtype: TLSVnc
    ]


def up_to_tls(subtype=260, others=b""):
    """One whose TLS is due."""
    types = b"\x13" + others
    return [
        V3_8,
        bytes([len(types)]) + types,
        b"\x00\x02",  # VeNCrypt version: 0.2
        b"\x00",  # it is fine
        b"\x01" + subtype.to_bytes(4, "big"),  # one subtype
        b"\x01",  # TLS begins
    ]


# The straight way


def test_it_is_dialled_and_logged_in_to():
    bench = Bench()
    assert bench.dialler.asked == [("192.0.2.7", 5901)]
    bench.connect().say(V3_8, b"\x02\x01\x02", CHALLENGE, OK)
    assert bench.outcome == [bench.target]
    assert bench.login.stream is bench.target
    assert bench.target.take() == V3_8 + b"\x02" + RESPONSE
    assert (bench.record.target_version, bench.record.target_security) == ("3.8", "VNC Authentication")
    assert bench.target.said == []
    bench.steps.stop()
    assert bench.clock.getDelayedCalls() == []


def test_its_desktop_is_asked_for_and_the_rest_given_back():
    bench = Bench().connect().say(V3_8, b"\x01\x01", OK)
    bench.target.take()
    outcome = bench.begin(bench.login.initialise(shared=True))
    assert bench.target.take() == b"\x01"
    bench.say(server_init() + b"\x00update")
    assert outcome == [ServerInit(1024, 768, "QEMU (vm)", server_init())]
    assert bytes(bench.target._buffer) == b"\x00update"


@pytest.mark.parametrize(
    ("subtype", "grant", "side"),
    [
        (260, {}, "for 192.0.2.7"),
        (260, {"tls_name": "node1.example"}, "for node1.example"),
        (257, {}, "anonymous"),
        (257, {"tls_name": "node1.example"}, "anonymous"),
    ],
)
def test_nova_V01_tls_is_begun_for_the_name_that_the_token_gives(subtype, grant, side):
    bench = Bench(password=None, **grant).connect().say(*up_to_tls(subtype))
    assert bench.target.sides == [side]
    assert bench.outcome == []
    bench.target.secured()
    bench.say(OK)
    assert bench.outcome == [bench.target]
    assert bench.record.target_security == f"VeNCrypt {'X509None' if subtype == 260 else 'TLSNone'}"


@pytest.mark.parametrize("segment", [1, 1000])
def test_wire_R07_a_target_that_sends_a_byte_a_segment(segment):
    bench = Bench().connect()
    said = b"".join(up_to_tls(261))
    bench.say(*(said[at : at + segment] for at in range(0, len(said), segment)))
    bench.target.secured()
    bench.say(*((CHALLENGE + OK)[at : at + segment] for at in range(0, 20, segment)))
    assert bench.outcome == [bench.target]
    assert bench.target.take() == V3_8 + b"\x13" + b"\x00\x02" + b"\x00\x00\x01\x05" + RESPONSE


# Once more


def test_a_target_whose_favourite_leads_nowhere_is_dialled_once_more(log):
    bench = Bench().connect().say(*no_vencrypt_in_common())
    first = bench.target
    assert first.said == ["close"], "before the second is dialled"
    assert first.on_end is None
    assert bench.outcome == []
    assert bench.dialler.asked == [("192.0.2.7", 5901)] * 2
    bench.connect().say(V3_8, b"\x02\x13\x02", CHALLENGE, OK)
    assert bench.outcome == [bench.target]
    assert bench.target.take() == V3_8 + b"\x02" + RESPONSE
    assert bench.record.target_security == "VNC Authentication"
    assert first.said == ["close"]
    (line,) = [formatEvent(event) for event in log if "dials again" in (formatEvent(event) or "")]
    assert "[0123456789abcdef]" in line
    assert "target offers VeNCrypt subtypes [TLSVnc]" in line
    assert "swordfish" not in line


def test_after_sasl_without_a_mechanism_in_common_too():
    bench = Bench(username="user").connect().say(V3_8, b"\x02\x14\x02", b"\x00\x00\x00\x06GSSAPI")
    bench.connect().say(V3_8, b"\x02\x14\x02", CHALLENGE, OK)
    assert bench.outcome == [bench.target]


def test_the_internal_access_path_is_knocked_at_each_time():
    bench = Bench(path="vmid").connect()
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    bench.say(answer, *no_vencrypt_in_common())
    assert bench.target.take().startswith(b"CONNECT vmid HTTP/1.1\r\n\r\n" + V3_8)
    bench.connect()
    assert bench.target.take() == b"CONNECT vmid HTTP/1.1\r\n\r\n"
    bench.say(answer + V3_8, b"\x02\x13\x02", CHALLENGE, OK)
    assert bench.outcome == [bench.target]


def test_a_knock_that_is_not_answered_for_the_second_time():
    bench = Bench(path="vmid").connect().say(b"HTTP/1.1 200 OK\r\n\r\n", *no_vencrypt_in_common())
    bench.connect().say(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    bench.assert_refused(CloseReason.TARGET_UNREACHABLE, "status 403", dials=2)
    assert "vmid" not in bench.refused.detail


def test_it_is_dialled_no_third_time():
    """It offers SASL then, in which there is nothing either, and would offer VNC Authentication still."""
    bench = Bench(username="user").connect().say(*no_vencrypt_in_common(b"\x14\x02"))
    bench.connect().say(V3_8, b"\x03\x13\x14\x02", b"\x00\x00\x00\x06GSSAPI")
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "SASL mechanisms 'GSSAPI'", dials=2)


def test_a_second_connection_never_takes_up_what_the_first_gave_up():
    bench = Bench().connect().say(*no_vencrypt_in_common())
    bench.connect().say(V3_8, b"\x01\x13")
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "allowed are [SASL, VNC Authentication, None]", dials=2)


@pytest.mark.parametrize("others", [b"", b"\x05", b"\x10\x12", b"\x14"])
def test_without_anything_else_that_may_be_used_it_is_not_dialled_again(others):
    """Type 20, SASL, would need a user name."""
    bench = Bench().connect().say(*no_vencrypt_in_common(others))
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "offers VeNCrypt subtypes [TLSVnc]", dials=1)


NO_SECOND_TRY = [
    ("another version", [V3_8, b"\x03\x13\x02\x01", b"\x00\x01"], "speaks VeNCrypt 0.1"),  # nova_V03
    ("no consent", [V3_8, b"\x03\x13\x02\x01", b"\x00\x02", b"\x01"], "refuses VeNCrypt 0.2"),  # nova_V04
    ("taken back", [*up_to_tls(260, b"\x02\x01")[:-1], b"\x00"], "refuses VeNCrypt X509None"),  # nova_V06
    ("no types", [V3_8, b"\x00", b"\x00\x00\x00\x02no"], "target refuses the connection: 'no'"),
    ("a wrong password", [V3_8, b"\x02\x02\x01", CHALLENGE, FAILED], "SecurityResult 1: 'no'"),
]


@pytest.mark.parametrize(("what", "said", "told"), NO_SECOND_TRY, ids=[what for what, *_ in NO_SECOND_TRY])
def test_wire_R16_nova_V03_to_V06_any_other_failure_is_no_reason_for_a_second_try(what, said, told):
    bench = Bench().connect().say(*said)
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, told, dials=1)


def test_wire_R18_nova_V07_nor_is_a_certificate_that_is_not_believed():
    bench = Bench().connect().say(*up_to_tls(others=b"\x02\x01"))
    bench.target.take()
    bench.target.tls_failure = "target's certificate is refused: it has expired"
    bench.target.securing.errback(SecurityFailure(f"TLS failed: {bench.target.tls_failure}"))
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "it has expired", dials=1)
    assert bench.refused.detail.count("expired") == 1, "told once"
    assert bench.target.take() == b"", "not a byte of the login was sent"


def test_nor_is_a_login_that_fails_inside_tls():
    bench = Bench().connect().say(*up_to_tls(261, b"\x02\x01"))
    bench.target.secured()
    bench.say(CHALLENGE, FAILED)
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "SecurityResult 1: 'no'", dials=1)


def test_wire_R17_nor_is_what_may_be_injected():
    bench = Bench().connect().say(*up_to_tls(others=b"\x02\x01")[:-1], b"\x01" + OK)
    bench.assert_refused(CloseReason.PROTOCOL_ERROR, "came in clear where TLS is due", dials=1)
    assert bench.target.sides == []


def test_wire_R17_nor_what_lies_in_the_stream_when_tls_is_due():
    """It came in a segment of its own, before this side had begun TLS."""
    bench = Bench(password=None)
    bench.targets.append(SecuringStream())
    bench.target.deliver(b"".join(up_to_tls(others=b"\x01")[:-1]))
    bench.target.on_send = lambda data: data.endswith(b"\x00\x00\x01\x04") and bench.target.deliver(b"\x01" + OK)
    bench.dialler.waiting.callback(bench.target)
    bench.assert_refused(CloseReason.PROTOCOL_ERROR, "came in clear", dials=1)
    assert bench.target.sides == []


@pytest.mark.parametrize("dials", [1, 2])
def test_a_target_that_is_not_there(dials):
    bench = Bench()
    if dials == 2:
        bench.connect().say(*no_vencrypt_in_common())
    bench.dialler.waiting.errback(_unreachable("192.0.2.7:5901", "refused"))
    bench.assert_refused(CloseReason.TARGET_UNREACHABLE, "is unreachable: refused", dials=dials)


# What TLS knows of the end


def ended_inside(*spoken, failure="target asked for a client certificate", how="lost"):
    bench = Bench().connect().say(*up_to_tls(261))
    bench.target.secured()
    bench.say(*spoken)
    bench.target.tls_failure = failure
    bench.target.end(how)
    return bench


@pytest.mark.parametrize("how", ["lost", "eof"])
def test_wire_R18_what_ends_before_a_word_inside_is_explained(how):
    """So a server of TLS 1.3 says that it wants another certificate."""
    ended_inside(how=how).assert_refused(
        CloseReason.TARGET_AUTH_FAILED,
        "closed inside TLS instead of going on with the login: target asked for",
        dials=1,
    )


def test_what_ends_later_has_another_cause():
    bench = ended_inside(CHALLENGE)
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "target closed instead of answering the login", dials=1)
    assert "certificate" not in bench.refused.detail


def test_what_tls_knows_nothing_of_is_told_without_it():
    bench = ended_inside(failure=None)
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "closed inside TLS", dials=1)
    assert "None" not in bench.refused.detail


# What a token requires


@pytest.mark.parametrize(
    ("word", "chosen"), [("vnc", b"\x02"), ("none", b"\x01"), ("vencrypt", b"\x13"), ("x509none", b"\x13")]
)
def test_what_a_token_requires_is_chosen(word, chosen):
    bench = Bench(require_security=word).connect().say(V3_8, b"\x03\x13\x02\x01")
    assert bench.target.take() == V3_8 + chosen


def test_a_required_subtype_is_the_only_one():
    bench = Bench(require_security="x509none").connect().say(*up_to_tls()[:-2], b"\x02\x00\x00\x01\x05\x00\x00\x01\x04")
    assert bench.target.take().endswith(b"\x00\x00\x01\x04"), "not X509Vnc, which is preferred"


@pytest.mark.parametrize("word", ["tlsvnc", "plain", "ard", "mslogon2", "sasl"])
def test_a_requirement_allows_nothing_that_the_operator_does_not(word):
    """Nor what the token has no user name for."""
    bench = Bench(require_security=word).connect().say(V3_8, b"\x06\x13\x14\x1e\x71\x02\x01")
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "allowed are [", dials=1)
    assert bench.target.take() == V3_8


def test_a_requirement_that_nobody_knows_cannot_be_met():
    """A token may be from another version, or written by hand."""
    bench = Bench(require_security="tight")
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "'tight'", dials=0)


@pytest.mark.parametrize("word", ["vencrypt", "x509none", "x509vnc"])
def test_a_requirement_is_not_given_up_for_a_second_try(word):
    bench = Bench(require_security=word).connect().say(*no_vencrypt_in_common(b"\x02\x01"))
    bench.assert_refused(CloseReason.TARGET_AUTH_FAILED, "offers VeNCrypt subtypes [TLSVnc]", dials=1)


# Deadlines, and the end from outside

KNOCKED = ("it is knocked at", lambda bench: bench.say(b"HTTP/1.1 200 OK\r\n\r\n"))
CONNECTED = ("it connects", lambda bench: bench.connect())
NOWHERE = [
    (f"nowhere {at}", lambda bench, said=said: bench.say(said)) for at, said in enumerate(no_vencrypt_in_common())
]
SECURED = [(f"tls {at}", lambda bench, said=said: bench.say(said)) for at, said in enumerate(up_to_tls(261))]
STANDS = ("tls stands", lambda bench: bench.target.secured())
CHALLENGED = ("it challenges", lambda bench: bench.say(CHALLENGE))
AGAIN = [(f"again {at}", lambda bench, said=said: bench.say(said)) for at, said in enumerate([V3_8, b"\x02\x13\x02"])]
STORIES = {
    "tls": [CONNECTED, *SECURED, STANDS, CHALLENGED],
    "twice": [CONNECTED, KNOCKED, *NOWHERE, CONNECTED, KNOCKED, *AGAIN, CHALLENGED],
}
MOMENTS = [
    pytest.param(story, count, id=f"{story}, after {steps[count - 1][0] if count else 'nothing'}, {count}")
    for story, steps in STORIES.items()
    for count in range(len(steps) + 1)
]


def at(story, count):
    bench = Bench(path="vmid" if story == "twice" else None)
    for _, step in STORIES[story][:count]:
        step(bench)
    assert bench.outcome == []
    return bench


def is_dialling(bench):
    return len(bench.dialler.asked) > len(bench.targets)


@pytest.mark.parametrize(("story", "count"), MOMENTS)
def test_the_end_from_outside_leaves_nothing(story, count):
    bench = at(story, count)
    dialling = is_dialling(bench)
    bench.steps.end(ENDED)
    assert bench.outcome == [ENDED]
    assert bench.dialler.cancelled == dialling
    bench.assert_nothing_left()


@pytest.mark.parametrize(("story", "count"), MOMENTS)
def test_silence_has_its_deadline(story, count):
    bench = at(story, count)
    if is_dialling(bench):
        bench.clock.advance(TIMEOUT_S)
        assert bench.outcome == [], "the dialler has its own"
        return
    bench.clock.advance(TIMEOUT_S - 0.01)
    assert bench.outcome == []
    bench.clock.advance(0.01)
    bench.assert_refused(CloseReason.TARGET_UNREACHABLE, "target was silent in the handshake", dials=len(bench.targets))


@pytest.mark.parametrize(("story", "count"), MOMENTS)
@pytest.mark.parametrize("how", ["lost", "eof"])
def test_a_target_that_leaves(story, count, how):
    bench = at(story, count)
    if is_dialling(bench):
        return
    dials, securing = len(bench.targets), bench.target.securing
    bench.target.end(how)
    if securing is not None and not securing.called:
        assert bench.outcome == [], "TLS tells that itself"
        securing.errback(SecurityFailure("TLS failed: the peer closed"))
    assert bench.refused.reason in (CloseReason.TARGET_UNREACHABLE, CloseReason.TARGET_AUTH_FAILED)
    assert len(bench.dialler.asked) == dials
    bench.assert_nothing_left()


def test_the_second_connection_has_all_the_time_again():
    bench = Bench().connect()
    bench.clock.advance(TIMEOUT_S - 1)
    bench.say(*no_vencrypt_in_common())
    bench.clock.advance(TIMEOUT_S)
    bench.connect()
    bench.clock.advance(TIMEOUT_S - 1)
    bench.say(V3_8, b"\x02\x13\x02", CHALLENGE, OK)
    assert bench.outcome == [bench.target]


def test_ended_before_it_begins():
    bench = Bench()
    bench.steps.end(ENDED)
    other = bench.begin(bench.login.log_in(console_token()))
    assert other == [ENDED]
    assert len(bench.dialler.asked) == 1


def test_closing_before_there_is_anything():
    bench = Bench()
    bench.login.close()
    bench.steps.end(ENDED)
    assert bench.login.stream is None
