import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb import (
    ClientHandshake,
    ClientInit,
    Credentials,
    CredentialsGiven,
    Offer,
    Preference,
    SecurityType,
    ServerHandshake,
    VeNCryptSubtype,
    Version,
    VersionAgreed,
)
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from rfbproxy.wire import EndOfStream
from tests.cuts import run

NONE, VNC = SecurityType.NONE, SecurityType.VNC_AUTHENTICATION
PASSWORD = Secret("swordfish")
CHALLENGE = bytes(range(16))
GREETING = b"RFB 003.008\n"  # ProtocolVersion
TYPES = b"\x01\x01"  # one security type: None
OK = b"\x00\x00\x00\x00"  # SecurityResult: OK
FAILED = b"\x00\x00\x00\x01"  # SecurityResult: failed
UNOFFERED = (
    b"\x00\x00\x00\x23"  # reason-length
    b"This security type was not offered."  # reason-string
)
WRONG = (
    b"\x00\x00\x00\x15"  # reason-length
    b"Authentication failed"  # reason-string
)


def no_random(size):
    return bytes(range(size))


def offering(*types, version=Version.V3_8, **offered):
    machine = ServerHandshake(Offer(types or (NONE,), **offered), version=version)
    machine.offer()
    return machine


def with_password(*types, password=PASSWORD):
    return offering(*types, credentials=Credentials(None, password), random=no_random)


@pytest.mark.parametrize(
    ("spoken", "version", "sent"),
    [
        ("003.003", Version.V3_3, b"\x00\x00\x00\x01"),  # security-type u32: None, and no SecurityResult
        ("003.005", Version.V3_3, b"\x00\x00\x00\x01"),  # wire_R06
        ("003.006", Version.V3_3, b"\x00\x00\x00\x01"),
        ("003.007", Version.V3_7, TYPES),  # no SecurityResult
        ("003.008", Version.V3_8, TYPES + OK),
        ("003.009", Version.V3_8, TYPES + OK),  # wire_R05: more than the greeting offers
        ("004.000", Version.V3_8, TYPES + OK),
        ("003.889", Version.V3_8, TYPES + OK),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_wire_R05_R06_R07_a_client_comes_in(spoken, version, sent, shared):
    choice = b"" if version is Version.V3_3 else b"\x01"
    said = b"RFB %s\n" % spoken.encode() + choice + bytes([shared])
    outcome = run(offering, said, trailing=b"\x03\x00\x00\x00")
    assert outcome.events == (VersionAgreed(version), ClientInit(shared, "None"))
    assert outcome.sent == GREETING + sent
    assert outcome.error is None


def test_nova_R05_the_client_may_speak_3_7_or_3_9():
    """Nova refuses everything but 3.8; here the two legs are independent, on purpose."""
    assert run(offering, b"RFB 003.007\n\x01\x01").error is None
    assert run(offering, b"RFB 003.009\n\x01\x01").error is None


def test_nova_R15_choice_and_client_init_in_one_frame():
    machine = offering()
    machine.receive_data(GREETING)
    assert machine.receive_data(b"\x01\x01") == [ClientInit(True, "None")]
    assert machine.unread() == b""


def test_any_non_zero_shared_flag_shares():
    assert run(offering, GREETING + b"\x01\xff").events[-1] == ClientInit(True, "None")


@pytest.mark.parametrize("spoken", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
def test_nothing_is_promised_before_offer(spoken):
    machine = ServerHandshake()
    assert machine.data_to_send() == GREETING
    machine.receive_data(spoken + b"\x01\x01")
    assert machine.data_to_send() == b""
    assert not machine.finished
    machine.offer()
    assert machine.data_to_send()


def test_an_offer_may_come_before_the_version():
    machine = offering()
    assert machine.data_to_send() == GREETING
    machine.receive_data(GREETING)
    assert machine.data_to_send() == TYPES


def test_an_offer_to_one_who_spoke_ahead_wrongly_raises_and_answers():
    machine = ServerHandshake()
    machine.receive_data(GREETING + b"\x02")
    with pytest.raises(RemoteProtocolError, match="client chose"):
        machine.offer()
    assert machine.data_to_send() == GREETING + TYPES + FAILED + UNOFFERED


@pytest.mark.parametrize(
    ("spoken", "sent"),
    [
        ("003.003", b"\x00\x00\x00\x00"),  # security-type u32: Invalid
        ("003.007", b"\x00"),  # no security types
        ("003.008", b"\x00"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_a_refusal_in_each_version(spoken, sent, early):
    machine = ServerHandshake()
    if early:
        machine.refuse("No.")
    machine.receive_data(b"RFB %s\n" % spoken.encode())
    machine.refuse("No.")
    assert machine.data_to_send() == (
        GREETING
        + sent
        + b"\x00\x00\x00\x03"  # reason-length
        + b"No."  # reason-string
    )
    assert machine.finished


def test_after_the_offer_nothing_can_be_refused():
    machine = offering()
    machine.receive_data(GREETING)
    machine.data_to_send()
    machine.refuse("No.")
    assert machine.data_to_send() == b""
    assert not machine.finished


def test_after_the_end_nothing_is_refused_or_offered():
    machine = ServerHandshake()
    machine.data_to_send()
    with pytest.raises(RemoteProtocolError):
        machine.receive_data(b"GET / HTTP/1.1\r\n")
    machine.refuse("No.")
    machine.offer()
    assert machine.data_to_send() == b""


@pytest.mark.parametrize("choice", [b"\x00", b"\x02", b"\x13", b"\xff"])
def test_wire_R13_nova_R09_R16_an_unoffered_choice_in_3_8(choice):
    """Nova's text is "Only the security type 1 (NONE) is supported"; ours is another, in the same form."""
    outcome = run(offering, GREETING + choice + b"\x01")
    assert outcome.sent == GREETING + TYPES + FAILED + UNOFFERED
    assert outcome.error[0] is RemoteProtocolError
    assert outcome.events == (VersionAgreed(Version.V3_8),)


def test_wire_R13_an_unoffered_choice_in_3_7_has_no_reason():
    outcome = run(offering, b"RFB 003.007\n\x02")
    assert outcome.sent == GREETING + TYPES + FAILED
    assert outcome.error[0] is RemoteProtocolError


@pytest.mark.parametrize("said", [b"", GREETING, GREETING + b"\x01", b"RFB 003.003\n"])
def test_the_end_of_the_stream_anywhere(said):
    assert run(offering, said, eof=True).error[0] is EndOfStream


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"RFB 000.000\n", b"RFB 003.002\n", b"RFB +03.-08\n"])
def test_a_client_that_does_not_speak_rfb(said):
    outcome = run(offering, said)
    assert outcome.error[0] is RemoteProtocolError
    assert outcome.sent == GREETING


@pytest.mark.parametrize(
    ("spoken", "choice", "before", "after"),
    [
        ("003.003", b"", b"\x00\x00\x00\x02", OK),
        ("003.007", b"\x02", b"\x02\x02\x01", OK),
        ("003.008", b"\x02", b"\x02\x02\x01", OK),
    ],
)
def test_vnc_authentication(spoken, choice, before, after):
    said = b"RFB %s\n" % spoken.encode() + choice + vnc_response(PASSWORD, CHALLENGE) + b"\x01"
    outcome = run(lambda: with_password(VNC, NONE), said, trailing=b"\x00")
    assert outcome.sent == GREETING + before + CHALLENGE + after
    assert outcome.events[-1] == ClientInit(True, "VNC Authentication")


@pytest.mark.parametrize(("spoken", "reason"), [("003.003", b""), ("003.007", b""), ("003.008", WRONG)])
def test_a_wrong_password(spoken, reason):
    choice = b"" if spoken == "003.003" else b"\x02"
    before = b"\x00\x00\x00\x02" if spoken == "003.003" else b"\x01\x02"
    said = b"RFB %s\n" % spoken.encode() + choice + vnc_response(Secret("guess"), CHALLENGE)
    outcome = run(lambda: with_password(VNC), said)
    assert outcome.sent == GREETING + before + CHALLENGE + FAILED + reason
    assert outcome.error[0] is SecurityFailure
    assert "swordfish" not in outcome.error[1]


def test_a_greeting_of_less_than_3_8_binds_the_client():
    outcome = run(lambda: offering(version=Version.V3_3), b"RFB 003.008\n\x01")
    assert outcome.events[0] == VersionAgreed(Version.V3_3)
    assert outcome.sent == b"RFB 003.003\n" + b"\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("types", "arguments"),
    [
        ((VNC,), {}),
        ((VNC,), {"credentials": Credentials(None, PASSWORD)}),
        ((VNC,), {"random": no_random}),
        ((SecurityType.SASL,), {"random": no_random}),
        ((SecurityType.APPLE_DH,), {}),
        ((SecurityType.MSLOGON2,), {}),
        ((SecurityType.VENCRYPT,), {}),
        ((NONE,), {"subtypes": (VeNCryptSubtype.X509_NONE,)}),
        ((SecurityType.VENCRYPT,), {"subtypes": (VeNCryptSubtype.X509_VNC,)}),
    ],
)
def test_an_offer_that_lacks_something_is_told_at_once(types, arguments):
    with pytest.raises(LocalProtocolError):
        Offer(types, **arguments)


@given(st.binary(max_size=64), st.sampled_from([b"", GREETING, b"RFB 003.003\n", b"RFB 003.007\n", GREETING + b"\x02"]))
def test_random_bytes_raise_nothing_else(noise, before):
    outcome = run(lambda: with_password(VNC, NONE), before + noise, eof=True)
    assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)
    assert len(outcome.sent) < 200


@given(st.text(max_size=300))
def test_any_sentence_can_be_refused_with(sentence):
    machine = ServerHandshake()
    machine.receive_data(GREETING)
    machine.refuse(sentence)
    sent = machine.data_to_send()[len(GREETING) :]
    assert int.from_bytes(sent[1:5], "big") == len(sent) - 5
    assert sent[5:].isascii()


# Logins whose credentials somebody else judges

SASL, APPLE_DH, MSLOGON2 = SecurityType.SASL, SecurityType.APPLE_DH, SecurityType.MSLOGON2
USER = Credentials("user", PASSWORD)
JUDGED = [APPLE_DH, MSLOGON2]
NO = (
    b"\x00\x00\x00\x03"  # reason-length
    b"No."  # reason-string
)


def said_by_a_client(kind, *, version=b"RFB 003.008\n"):
    """All that our own client half says to log in by `kind`, without its ClientInit."""
    client = ClientHandshake(Preference((kind,)), USER, no_random)
    server = offering(kind, random=no_random)
    said, events = bytearray(), []
    while not any(isinstance(event, CredentialsGiven) for event in events):
        client.receive_data(server.data_to_send())
        owed = client.data_to_send()
        said += owed
        events += server.receive_data(owed)
    return version + bytes(said[12:])


def waiting(kind, version=b"RFB 003.008\n"):
    """A server whose client has given its credentials."""
    machine = offering(kind, random=no_random)
    events = machine.receive_data(said_by_a_client(kind, version=version))
    assert events[-1] == CredentialsGiven(USER)
    machine.data_to_send()
    return machine


@pytest.mark.parametrize("kind", JUDGED)
def test_credentials_are_given_in_every_segmentation(kind):
    outcome = run(lambda: offering(kind, random=no_random), said_by_a_client(kind))
    assert outcome.events == (VersionAgreed(Version.V3_8), CredentialsGiven(USER))
    assert not outcome.finished


@pytest.mark.parametrize("kind", JUDGED)
@pytest.mark.parametrize("version", [b"RFB 003.007\n", b"RFB 003.008\n"])
def test_who_is_accepted_comes_in(kind, version):
    machine = waiting(kind, version)
    assert machine.receive_data(b"\x01") == []
    assert machine.data_to_send() == b"", "nothing is promised early"
    machine.accept()
    assert machine.data_to_send() == OK
    (entered,) = machine.events()
    assert entered.shared
    assert entered.security == {APPLE_DH: "Diffie-Hellman Authentication", MSLOGON2: "MSLogonII"}[kind]


@pytest.mark.parametrize("kind", JUDGED)
@pytest.mark.parametrize(("version", "reason"), [(b"RFB 003.007\n", b""), (b"RFB 003.008\n", NO)])
def test_who_is_refused_hears_so(kind, version, reason):
    machine = waiting(kind, version)
    machine.refuse("No.")
    assert machine.data_to_send() == FAILED + reason
    assert machine.finished
    with pytest.raises(SecurityFailure, match="client was refused"):
        machine.receive_data(b"\x01")
    machine.refuse("Never.")
    machine.accept()
    assert machine.data_to_send() == b""


@pytest.mark.parametrize("kind", JUDGED)
def test_a_refusal_while_the_login_runs_comes_at_its_end(kind):
    machine = offering(kind, random=no_random)
    said = said_by_a_client(kind)
    machine.receive_data(said[:-1])
    machine.data_to_send()
    machine.refuse("No.")
    assert machine.data_to_send() == b""
    with pytest.raises(SecurityFailure):
        machine.receive_data(said[-1:])
    assert machine.data_to_send() == FAILED + NO


def test_accepting_after_a_client_has_broken_the_protocol_says_nothing_more():
    machine = offering()
    with pytest.raises(RemoteProtocolError):
        machine.receive_data(GREETING + b"\x13")
    machine.data_to_send()
    with pytest.raises(LocalProtocolError):
        machine.accept()
    machine.refuse("No.")
    assert machine.data_to_send() == b""


@pytest.mark.parametrize("kind", [SASL, APPLE_DH, MSLOGON2])
@pytest.mark.parametrize("spoken", [b"RFB 003.003\n", b"RFB 003.006\n"])
def test_wire_R06_a_client_of_3_3_is_told_what_it_needs(kind, spoken):
    outcome = run(lambda: offering(kind, NONE, credentials=USER, random=no_random), spoken)
    assert (
        outcome.sent
        == (
            GREETING + b"\x00\x00\x00\x00"  # security-type u32: Invalid
            b"\x00\x00\x00\x30"  # reason-length
            b"This console needs a viewer of RFB 3.7 or later."  # reason-string
        )
    )
    assert outcome.error[0] is RemoteProtocolError


@pytest.mark.parametrize("kind", [SASL, APPLE_DH, MSLOGON2])
@given(st.binary(max_size=400))
def test_random_bytes_in_a_login_raise_nothing_else(kind, noise):
    make = lambda: offering(kind, credentials=USER, random=no_random)  # noqa: E731
    outcome = run(make, GREETING + bytes([kind]) + noise, eof=True)
    assert issubclass(outcome.error[0], RemoteProtocolError) or CredentialsGiven in map(type, outcome.events)
    assert "swordfish" not in str(outcome.error)


def test_no_secret_is_shown():
    machine = waiting(APPLE_DH)
    offer = Offer((VNC,), credentials=USER, random=no_random)
    assert "swordfish" not in f"{machine!r} {offer!r} {CredentialsGiven(USER)!r} {USER!r} {USER!s}"
