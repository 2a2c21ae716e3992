"""The way to a SPICE server: in clear, inside TLS where it or the operator wants it, and what its refusals become."""

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from rfbproxy.consoleauth import Location
from rfbproxy.errors import SecurityFailure
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.secret import Secret
from rfbproxy.session.audit import VisitRecord
from rfbproxy.session.spice_entrance import LinkRefusal
from rfbproxy.session.spice_target import SpiceTarget
from rfbproxy.session.steps import Steps
from rfbproxy.spice import LinkError, LinkMess
from rfbproxy.spice.capabilities import Capabilities
from rfbproxy.target.dial import _unreachable
from tests.cuts import segmentations
from tests.session.fakes import FakeDialler, SecuringStream
from tests.session.spice_fakes import CAPS, MAIN, FakeTls, error_reply, result
from tests.spice import samples

TIMEOUT_S = 10.0
PASSWORD = Secret("swordfish")
ASKED = LinkMess(0, MAIN, 0, CAPS)
CLEAR, BOTH, TLS_ONLY = Location("node1", 5900), Location("node1", 5900, 5901), Location("node1", 0, 5901)
NEED_SECURED = error_reply(5)
ENDED = Refused(CloseReason.SHUTDOWN, "the test ends")
LONG_KEY = generate_private_key(65537, 2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Login:
    """One link to a server, and the connections that it takes."""

    def __init__(self, where=CLEAR, *, secured=False, password=PASSWORD, name="node1"):
        self.clock = Clock()
        self.dialler = FakeDialler()
        self.steps = Steps(self.clock)
        self.record = VisitRecord("0123456789abcdef", "now")
        self.way = SpiceTarget(self.dialler, FakeTls(), TIMEOUT_S, self.steps, self.record)
        self.targets = []
        self.outcome = []
        linking = Deferred.fromCoroutine(self.way.link(ASKED, where, password, name, secured=secured))
        linking.addBoth(lambda got: self.outcome.append(getattr(got, "value", got)))

    def connect(self):
        self.targets.append(SecuringStream())
        self.dialler.waiting.callback(self.target)
        return self

    def secure(self):
        self.target.secured()
        return self

    def say(self, *segments):
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

    def assert_linked(self, *, inside_tls):
        assert self.outcome == [(self.target, Capabilities((0xB,), (0x9,)), inside_tls)]
        assert self.way.stream is self.target
        assert self.target.said == []
        assert self.record.target_security == "SPICE ticket"
        self.steps.stop()
        assert self.clock.getDelayedCalls() == []

    def assert_refused(self, reason, error=None, *, dials=1):
        """By this reason, and this is what the client is told, if SPICE has a word for it."""
        assert self.refused.reason is reason, self.refused.detail
        assert getattr(self.refused, "error", None) is error
        assert "swordfish" not in self.refused.detail
        assert len(self.dialler.asked) == dials
        assert self.record.target_security is None
        self.assert_nothing_left()

    def assert_nothing_left(self):
        self.way.close()
        self.steps.stop()
        assert self.clock.getDelayedCalls() == []
        assert all(target.said[0] == "close" for target in self.targets)
        assert all(target._waiting is None and target.on_end is None for target in self.targets)


def password_sent(target):
    """The password in the ticket, which must come with its mechanism after the link message."""
    sent = target.take()
    link = ASKED.pack()
    assert sent[: len(link)] == link
    assert sent[len(link) : -128] == samples.MECHANISM
    return samples.KEY.open(sent[-128:])


# In clear, and inside TLS


@pytest.mark.parametrize("where", [CLEAR, BOTH])
def test_it_is_linked_in_clear_where_nobody_wants_tls(where):
    login = Login(where)
    assert login.dialler.asked == [("node1", 5900)]
    login.connect()
    assert login.target.take() == ASKED.pack(), "and no ticket before there is a key"
    login.say(samples.REPLY_MAIN)
    assert samples.KEY.open(login.target.take()[-128:]) == PASSWORD
    assert login.outcome == []
    login.say(samples.OK)
    login.assert_linked(inside_tls=False)


@pytest.mark.parametrize(
    ("where", "secured"),
    [(BOTH, True), (TLS_ONLY, False), (TLS_ONLY, True), (Location("node1", -1, 5901), False)],
)
def test_inside_tls_where_it_must_be_or_can_only_be(where, secured):
    login = Login(where, secured=secured)
    assert login.dialler.asked == [("node1", 5901)]
    login.connect()
    assert login.target.sides == ["for node1"]
    assert login.target.take() == b"", "not a byte goes in clear"
    login.secure().say(samples.REPLY_MAIN, samples.OK)
    login.assert_linked(inside_tls=True)
    assert password_sent(login.target) == PASSWORD


@pytest.mark.parametrize(
    ("subject", "name", "side"),
    [(None, "node1", "for node1"), (None, "vm.example", "for vm.example"), ("CN=vm", "node1", "for CN=vm")],
)
def test_who_its_certificate_must_be_for(subject, name, side):
    login = Login(Location("node1", 0, 5901, subject), name=name).connect()
    assert login.target.sides == [side]


@pytest.mark.parametrize("where", [BOTH, Location("node1", 5900, 5901, "CN=vm")])
def test_a_server_that_wants_tls_is_dialled_again(where, log):
    login = Login(where).connect().say(NEED_SECURED)
    first = login.target
    assert first.said == ["close"], "before the second is dialled"
    assert first.take() == ASKED.pack(), "no ticket was given in clear"
    assert login.dialler.asked == [("node1", 5900), ("node1", 5901)]
    login.connect().secure().say(samples.REPLY_MAIN, samples.OK)
    login.assert_linked(inside_tls=True)
    assert password_sent(login.target) == PASSWORD
    assert any("[0123456789abcdef] target wants TLS" in (formatEvent(event) or "") for event in log)


def test_one_that_wants_it_inside_tls_too_is_dialled_no_third_time():
    login = Login(BOTH).connect().say(NEED_SECURED)
    login.connect().secure().say(NEED_SECURED)
    login.assert_refused(CloseReason.TARGET_AUTH_FAILED, LinkError.ERROR, dials=2)


def test_one_that_wants_it_where_the_token_names_no_tls_port():
    login = Login(CLEAR).connect().say(NEED_SECURED)
    login.assert_refused(CloseReason.TARGET_AUTH_FAILED, LinkError.ERROR)


@pytest.mark.parametrize(
    ("where", "secured"),
    [
        (CLEAR, True),
        (Location("node1", 0), False),
        (Location("node1", -1), False),
        (Location("node1", -1, 0), False),
        (Location("node1", 0, 0), True),
    ],
)
def test_where_no_way_may_be_taken_nobody_is_dialled(where, secured):
    login = Login(where, secured=secured)
    login.assert_refused(CloseReason.TARGET_AUTH_FAILED, dials=0)
    assert "names no TLS port" in login.refused.detail


def test_a_certificate_that_is_not_believed():
    login = Login(BOTH, secured=True).connect()
    login.target.securing.errback(SecurityFailure("TLS failed: it has expired"))
    login.assert_refused(CloseReason.TARGET_AUTH_FAILED)
    assert "it has expired" in login.refused.detail
    assert login.target.take() == b""


def test_what_comes_in_clear_where_tls_is_due():
    login = Login(TLS_ONLY)
    login.targets.append(SecuringStream())
    login.target.deliver(b"REDQ")
    login.dialler.waiting.callback(login.target)
    login.assert_refused(CloseReason.PROTOCOL_ERROR)
    assert login.target.sides == []


# What goes through


def test_what_comes_with_the_acceptance_is_the_channels():
    for segments in segmentations(samples.REPLY_MAIN + samples.OK + b"first message"):
        login = Login().connect().say(*segments)
        login.assert_linked(inside_tls=False)
        assert bytes(login.target._buffer) == b"first message"


@pytest.mark.parametrize("password", [None, Secret(""), Secret("x" * 59)])
def test_the_password_is_the_grants(password):
    login = Login(password=password).connect().say(samples.REPLY_MAIN, samples.OK)
    assert password_sent(login.target) == (password or Secret(""))


@pytest.mark.parametrize("password", ["x" * 60, "nul\0", "\ud800"])
def test_a_password_that_no_server_can_be_told(password):
    login = Login(password=Secret(password)).connect().say(samples.REPLY_MAIN)
    login.assert_refused(CloseReason.TARGET_AUTH_FAILED)
    assert login.target.take() == ASKED.pack()


# Servers that refuse

TOLD = {7: LinkError.CHANNEL_NOT_AVAILABLE, 8: LinkError.BAD_CONNECTION_ID, 9: LinkError.CHANNEL_NOT_AVAILABLE}


@pytest.mark.parametrize("error", [1, 2, 3, 4, 6, 7, 8, 9, 10, 0xFFFFFFFF])
def test_an_error_in_place_of_the_reply(error):
    login = Login(BOTH).connect().say(error_reply(error))
    login.assert_refused(CloseReason.TARGET_AUTH_FAILED, TOLD.get(error, LinkError.ERROR))


@pytest.mark.parametrize("error", [1, 2, 3, 4, 6, 7, 8, 9, 10, 0xFFFFFFFF])
def test_an_error_as_the_result_of_the_ticket(error):
    login = Login(BOTH).connect().say(samples.REPLY_MAIN, result(error))
    login.assert_refused(CloseReason.TARGET_AUTH_FAILED, TOLD.get(error, LinkError.ERROR))


def test_wire_S26_that_our_password_is_wrong_is_for_the_operator_alone(log):
    """The client would take it for its own."""
    login = Login().connect().say(samples.REPLY_MAIN, samples.DENIED)
    assert isinstance(login.refused, LinkRefusal)
    assert login.refused.error is not LinkError.PERMISSION_DENIED
    told = [formatEvent(event) or "" for event in log]
    assert "[0123456789abcdef] target refuses the password of the token's grant" in told
    assert "swordfish" not in "".join(told)


@pytest.mark.parametrize("error", [1, 3, 5, 7, 9])
def test_wire_S27_a_second_reply_in_place_of_the_result(error):
    for segments in segmentations(samples.REPLY_MAIN + error_reply(error)):
        login = Login(CLEAR).connect().say(*segments)
        login.assert_refused(CloseReason.TARGET_AUTH_FAILED, TOLD.get(error, LinkError.ERROR))


def test_a_second_reply_that_wants_tls_is_believed_as_the_first():
    login = Login(BOTH).connect().say(samples.REPLY_MAIN, NEED_SECURED)
    login.connect().secure().say(samples.REPLY_MAIN, samples.OK)
    login.assert_linked(inside_tls=True)


def changed(at, new):
    return samples.REPLY_MAIN[:at] + new + samples.REPLY_MAIN[at + len(new) :]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(changed(12, b"\x64\0\0\0"), CloseReason.PROTOCOL_ERROR, id="size 100"),
        pytest.param(changed(12, b"\0\0\0\x80"), CloseReason.PROTOCOL_ERROR, id="size 1 << 31"),
        pytest.param(changed(0, b"REDX"), CloseReason.PROTOCOL_ERROR, id="magic"),
        pytest.param(changed(4, b"\x03"), CloseReason.PROTOCOL_ERROR, id="version"),
        pytest.param(changed(20, bytes(162)), CloseReason.PROTOCOL_ERROR, id="no key"),
        pytest.param(changed(20, LONG_KEY[:162]), CloseReason.PROTOCOL_ERROR, id="RSA-2048"),
        pytest.param(changed(182, b"\xff\xff\xff\xff"), CloseReason.PROTOCOL_ERROR, id="words without end"),
        pytest.param(changed(190, b"\xff\xff\0\0"), CloseReason.PROTOCOL_ERROR, id="words outside"),
        pytest.param(changed(194, b"\x03"), CloseReason.PROTOCOL_ERROR, id="no mini headers"),
        pytest.param(changed(194, b"\x0d"), CloseReason.TARGET_AUTH_FAILED, id="SASL alone"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", CloseReason.PROTOCOL_ERROR, id="no SPICE"),
    ],
)
def test_wire_S25_a_reply_that_cannot_be(reply, reason):
    for segments in segmentations(reply):
        login = Login(BOTH).connect().say(*segments)
        login.assert_refused(reason)
        assert login.target.take() == ASKED.pack(), "it gets no ticket"


# The end at every moment

CONNECTED = ("it connects", Login.connect)
WANTS_TLS = ("it wants TLS", lambda login: login.say(NEED_SECURED))
STANDS = ("TLS stands", Login.secure)
HALF = ("it begins its reply", lambda login: login.say(samples.REPLY_MAIN[:100]))
REPLIES = ("it ends its reply", lambda login: login.say(samples.REPLY_MAIN[100:]))
BEGINS = ("it begins its result", lambda login: login.say(samples.OK[:2]))
STEPS = [CONNECTED, WANTS_TLS, CONNECTED, STANDS, HALF, REPLIES, BEGINS]
MOMENTS = [
    pytest.param(count, id=f"{count}, after {STEPS[count - 1][0] if count else 'nothing'}")
    for count in range(len(STEPS) + 1)
]
DIALLING = (0, 2)


def at(count):
    login = Login(BOTH)
    for _, step in STEPS[:count]:
        step(login)
    assert login.outcome == []
    return login


@pytest.mark.parametrize("count", MOMENTS)
def test_the_end_from_outside_leaves_nothing(count):
    login = at(count)
    login.steps.end(ENDED)
    assert login.outcome == [ENDED]
    assert login.dialler.cancelled == (count in DIALLING)
    login.assert_nothing_left()


@pytest.mark.parametrize("count", MOMENTS)
def test_silence_has_its_deadline(count):
    login = at(count)
    if count in DIALLING:
        login.clock.advance(TIMEOUT_S)
        assert login.outcome == [], "the dialler has its own"
        return
    login.clock.advance(TIMEOUT_S - 0.01)
    assert login.outcome == []
    login.clock.advance(0.01)
    login.assert_refused(CloseReason.TARGET_UNREACHABLE, dials=len(login.targets))
    assert "silent" in login.refused.detail


@pytest.mark.parametrize("count", [moment for moment in MOMENTS if moment.values[0] not in DIALLING])
@pytest.mark.parametrize("how", ["lost", "eof"])
def test_wire_S26_a_server_that_leaves(count, how):
    """Without an answer to its ticket it has refused that, most likely; before it was not there."""
    login = at(count)
    login.target.end(how)
    securing = login.target.securing
    if securing is not None and not securing.called:
        assert login.outcome == [], "TLS tells that itself"
        securing.errback(SecurityFailure("TLS failed: the peer closed"))
    refuses = count in (3, 6, 7)
    reason = CloseReason.TARGET_AUTH_FAILED if refuses else CloseReason.TARGET_UNREACHABLE
    login.assert_refused(reason, dials=len(login.targets))


@pytest.mark.parametrize("dials", [1, 2])
def test_a_server_that_is_not_there(dials):
    login = at(2 * (dials - 1))
    login.dialler.waiting.errback(_unreachable("node1:5900", "refused"))
    login.assert_refused(CloseReason.TARGET_UNREACHABLE, dials=dials)


def test_a_server_that_drips_is_given_no_more_time():
    login = Login().connect()
    for byte in samples.REPLY_MAIN[:19]:
        login.clock.advance(TIMEOUT_S / 20)
        login.say(bytes([byte]))
    login.clock.advance(TIMEOUT_S / 20)
    login.assert_refused(CloseReason.TARGET_UNREACHABLE)
