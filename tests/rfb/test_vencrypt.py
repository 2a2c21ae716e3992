"""VeNCrypt by itself, and inside the handshakes of both roles; TLS is played by calling `tls_started`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import LocalProtocolError, NothingInCommon, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb import (
    ClientInit,
    Credentials,
    CredentialsGiven,
    LoggedIn,
    Offer,
    Preference,
    ReasonDue,
    SecurityType,
    ServerHandshake,
    ServerInit,
    TlsDue,
    VeNCryptSubtype,
    Version,
    VersionAgreed,
)
from rfbproxy.rfb.vencrypt import (
    choose_subtype,
    lacking,
    offer_subtypes,
    read_plain,
    read_subtypes,
    send_plain,
)
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from rfbproxy.wire import Conversation, EndOfStream
from tests.cuts import feed, halves, run
from tests.rfb.test_client_handshake import (
    CHALLENGE,
    FAILED,
    NONE,
    OK,
    PASSWORD,
    REASON,
    RESPONSE,
    VENCRYPT,
    VNC,
    Initialising,
    client,
    no_random,
    server_init,
)

PLAIN, TLS_NONE, TLS_VNC, TLS_PLAIN, X509_NONE, X509_VNC, X509_PLAIN, X509_SASL, TLS_SASL = VeNCryptSubtype
ENCRYPTED = [subtype for subtype in VeNCryptSubtype if subtype is not PLAIN]
USER = Credentials("user", PASSWORD)
PLAIN_LOGIN = (
    b"\x00\x00\x00\x04"  # username-length
    b"\x00\x00\x00\x09"  # password-length
    b"user"  # username
    b"swordfish"  # password
)
VERSIONS = [Version.V3_7, Version.V3_8]


def u32(number):
    return number.to_bytes(4, "big")


def subtypes(*numbers):
    return bytes([len(numbers)]) + b"".join(map(u32, numbers))


def begun(*offered, version=Version.V3_8):
    """What a server says up to its subtypes."""
    return (
        version.message  # ProtocolVersion
        + b"\x01\x13"  # one security type: VeNCrypt
        + b"\x00\x02"  # VeNCrypt version: 0.2
        + b"\x00"  # it is fine
        + subtypes(*offered)
    )


def answered(chosen, version=Version.V3_8):
    """What a client says to that."""
    return (
        version.message  # ProtocolVersion
        + b"\x13"  # security type: VeNCrypt
        + b"\x00\x02"  # VeNCrypt version: 0.2
        + u32(chosen)
    )


def encrypted(subtype, version=Version.V3_8):
    """What a server says up to TLS."""
    return begun(subtype, version=version) + b"\x01"  # TLS begins


def by_vencrypt(*allowed, username="user", password=PASSWORD, types=(VENCRYPT,), random=no_random):
    return lambda: client(types, password, username=username, subtypes=allowed or VeNCryptSubtype, random=random)


def all_the_way(*allowed, **given):
    return lambda: Initialising(by_vencrypt(*allowed, **given)())


SASL_SERVER = (
    b"\x00\x00\x00\x05"  # mechlist-length
    b"PLAIN"  # mechlist
    b"\x00\x00\x00\x00"  # data-length: no data
    b"\x01"  # complete
)
SASL_CLIENT = (
    b"\x00\x00\x00\x05"  # mechname-length
    b"PLAIN"  # mechname
    b"\x00\x00\x00\x10"  # data-length
    b"\x00user\x00swordfish\x00"  # data
)
INSIDE = {  # the security type inside: what the server says, what the client says, and what follows the name
    NONE: (b"", b"", ""),
    VNC: (CHALLENGE, RESPONSE, ""),
    None: (b"", PLAIN_LOGIN, ""),
    SecurityType.SASL: (SASL_SERVER, SASL_CLIENT, " PLAIN"),
}


# As a client


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("subtype", ENCRYPTED)
def test_wire_R07_nova_V01_every_subtype_inside_tls(subtype, version):
    """SecurityResult follows in every version, after None too."""
    said, answer, mechanism = INSIDE[subtype.inner]
    outcome = run(
        all_the_way(subtype),
        encrypted(subtype, version),
        inside=said + OK + server_init(),
        trailing=b"\x00\x00\x00\x01",
    )
    assert outcome.error is None
    assert outcome.events == (
        VersionAgreed(version),
        TlsDue(anonymous=str(subtype).startswith("TLS")),
        LoggedIn(f"VeNCrypt {subtype}{mechanism}"),
        ServerInit(1024, 768, "QEMU (vm)", server_init()),
    )
    assert outcome.sent == answered(subtype, version) + answer + b"\x01"  # ClientInit


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_in_clear_has_neither_tls_nor_a_word_of_consent(version):
    outcome = run(all_the_way(PLAIN), begun(PLAIN, version=version) + OK + server_init(), trailing=b"\x00\x00\x00\x01")
    assert outcome.error is None
    assert outcome.events[1] == LoggedIn("VeNCrypt Plain")
    assert outcome.sent == answered(PLAIN, version) + PLAIN_LOGIN + b"\x01"


@pytest.mark.parametrize(
    ("offered", "allowed", "chosen"),
    [
        ([257, 260, 261], (X509_VNC, X509_NONE), 261),  # the operator's order, never the target's
        ([261, 260, 257], (X509_NONE, X509_VNC), 260),
        ([265, 266, 267, 260], (X509_NONE,), 260),  # 265 and more crash nova
        ([0, 0xFFFFFFFF, 260], (X509_NONE,), 260),
        ([260, 260, 260], (X509_NONE,), 260),
        ([*range(1, 255), 260], (X509_VNC, X509_NONE), 260),  # as many as a byte can count
        ([256, 257, 258, 259], (X509_NONE, TLS_NONE), 257),
        ([1, 2, 256], (X509_NONE, PLAIN), 256),  # None and VNC Authentication have no number here
    ],
)
def test_nova_R14_the_operator_chooses_the_subtype(offered, allowed, chosen):
    outcome = run(by_vencrypt(*allowed), begun(*offered))
    assert outcome.error is None
    assert outcome.sent.startswith(answered(chosen))


@pytest.mark.parametrize(
    ("username", "password", "chosen"),
    [("user", PASSWORD, X509_PLAIN), (None, PASSWORD, X509_VNC), ("", PASSWORD, X509_VNC), ("user", None, X509_NONE)],
)
def test_a_subtype_that_the_token_cannot_satisfy_is_passed_over(username, password, chosen):
    make = by_vencrypt(X509_PLAIN, X509_SASL, X509_VNC, X509_NONE, username=username, password=password)
    assert run(make, begun(262, 263, 261, 260)).sent == answered(chosen)


REFUSALS = [
    (b"\x00\x01", b"", SecurityFailure, "speaks VeNCrypt 0.1, spoken is 0.2"),  # nova_V03
    (b"\x01\x00", b"", SecurityFailure, "speaks VeNCrypt 1.0"),
    (b"\x00\x03", b"", SecurityFailure, "speaks VeNCrypt 0.3"),
    (b"\x00\x02" + b"\x01", b"\x00\x02", SecurityFailure, "refuses VeNCrypt 0.2"),  # nova_V04
    (b"\x00\x02" + b"\xff", b"\x00\x02", SecurityFailure, "refuses VeNCrypt 0.2"),
    (b"\x00\x02\x00" + b"\x00", b"\x00\x02", NothingInCommon, "subtypes [], allowed are [X509None]"),
    (b"\x00\x02\x00" + subtypes(261), b"\x00\x02", NothingInCommon, "[X509Vnc], allowed are [X509None]"),  # nova_V05
    (b"\x00\x02\x00" + subtypes(257, 999), b"\x00\x02", NothingInCommon, "subtypes [TLSNone, 999]"),  # wire_R18
    (b"\x00\x02\x00" + subtypes(260) + b"\x00", b"\x00\x02" + u32(260), SecurityFailure, "refuses VeNCrypt X509None"),
    (b"\x00\x02\x00" + subtypes(260) + b"\x02", b"\x00\x02" + u32(260), SecurityFailure, "refuses VeNCrypt X509None"),
]


@pytest.mark.parametrize(("said", "sent", "error", "told"), REFUSALS)
def test_wire_R16_nova_V03_to_V06_each_refusal_has_its_words(said, sent, error, told):
    outcome = run(by_vencrypt(X509_NONE), b"RFB 003.008\n\x01\x13" + said)
    assert outcome.error[0] is error
    assert told in outcome.error[1]
    assert outcome.sent == b"RFB 003.008\n\x13" + sent


def test_the_refusals_are_told_apart():
    assert len({told for *_, told in REFUSALS}) == 8


@pytest.mark.parametrize(
    ("username", "password", "logins", "lacks"),
    [
        (None, None, [None], ", and the token holds no user name and no password"),
        (None, PASSWORD, [SecurityType.SASL, SecurityType.NONE], ", and the token holds no user name"),
        ("user", None, [SecurityType.VNC_AUTHENTICATION, SecurityType.SASL], ", and the token holds no password"),
        (None, None, [SecurityType.VNC_AUTHENTICATION, SecurityType.NONE], ", and the token holds no password"),
        (None, PASSWORD, [SecurityType.VNC_AUTHENTICATION], ""),
        (None, None, [SecurityType.NONE], ""),
        (None, None, [], ""),
        ("user", Secret(""), [None, SecurityType.VNC_AUTHENTICATION, SecurityType.SASL], ""),
    ],
)
def test_what_the_token_lacks_is_told(username, password, logins, lacks):
    assert lacking(Credentials(username, password), logins) == lacks


def test_a_token_that_lacks_something_is_said_to():
    outcome = run(by_vencrypt(X509_PLAIN, X509_NONE, username=None), begun(262))
    assert outcome.error == (
        NothingInCommon,
        "target offers VeNCrypt subtypes [X509Plain], allowed are [X509Plain, X509None], and the token holds no user "
        "name (rfbproto VeNCrypt)",
    )


@pytest.mark.parametrize("injected", [b"\x00", OK, b"\x16\x03\x01"])
def test_wire_R17_what_comes_with_the_word_for_tls_may_be_injected(injected):
    """In one segment with it; later bytes are for TLS itself, and `TransportStream.start_tls` looks for them."""
    for before in ([], [b"RFB 003.008\n"], [encrypted(X509_NONE)[:-1]]):
        rest = encrypted(X509_NONE)[sum(map(len, before)) :]
        outcome = feed(by_vencrypt(X509_NONE)(), [*before, rest + injected])
        assert outcome.error == (
            RemoteProtocolError,
            f"{len(injected)} bytes came in clear where TLS is due: they may have been injected",
        )
        assert outcome.events == (VersionAgreed(Version.V3_8),), "TLS is not begun"


@pytest.mark.parametrize("cut", range(12, len(encrypted(X509_NONE))))
def test_the_end_of_the_stream_before_tls(cut):
    outcome = run(by_vencrypt(X509_NONE), encrypted(X509_NONE)[:cut], eof=True)
    assert outcome.error[0] is EndOfStream


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("subtype", ENCRYPTED)
def test_wire_R18_the_end_of_the_stream_inside_tls_is_a_refusal(subtype, version):
    """There a server of TLS 1.3 says that it wants another certificate."""
    said = INSIDE[subtype.inner][0] + OK
    for cut in range(len(said)):
        outcome = run(by_vencrypt(subtype), encrypted(subtype, version), inside=said[:cut], eof=True)
        assert outcome.error[0] is SecurityFailure
        assert outcome.error[1].startswith("target closed in")


def test_the_end_of_the_stream_where_tls_is_due():
    outcome = run(by_vencrypt(X509_NONE), encrypted(X509_NONE), eof=True)
    assert outcome.error is None, "it is for TLS to say so"
    assert not outcome.finished


def test_the_end_of_the_stream_after_plain_in_clear_is_a_refusal():
    outcome = run(by_vencrypt(PLAIN), begun(PLAIN), eof=True)
    assert outcome.error == (SecurityFailure, "target closed instead of answering the login")


@pytest.mark.parametrize("subtype", [X509_NONE, X509_VNC, X509_PLAIN, X509_SASL])
@pytest.mark.parametrize("result", [1, 2, 0xDEADBEEF])
def test_wire_R14_R15_a_failed_login_inside_tls(subtype, result):
    said = INSIDE[subtype.inner][0] + u32(result)
    outcome = run(by_vencrypt(subtype), encrypted(subtype), inside=said + REASON)
    assert outcome.error == (SecurityFailure, f"target refuses the login with SecurityResult {result}: 'cheese'")
    assert outcome.events[-1] == ReasonDue()
    outcome = run(by_vencrypt(subtype), encrypted(subtype, Version.V3_7), inside=said)
    assert outcome.error == (SecurityFailure, f"target refuses the login with SecurityResult {result}")
    assert ReasonDue() not in outcome.events


def test_a_reason_inside_tls_is_cleaned_and_holds_no_more_than_it_should():
    reason = b"no\r\n\x1b[31m " + b"x" * 5000 + b"\x00"
    outcome = run(by_vencrypt(X509_NONE), encrypted(X509_NONE), inside=FAILED + u32(len(reason)) + reason)
    assert outcome.error == (
        SecurityFailure,
        f"target refuses the login with SecurityResult 1: {'no   [31m ' + 'x' * 246!r}",
    )


@pytest.mark.parametrize("subtype", list(VeNCryptSubtype))
def test_no_secret_is_told(subtype):
    make = by_vencrypt(subtype)
    said = INSIDE[subtype.inner][0] + FAILED + REASON
    outcome = run(make, encrypted(subtype), inside=said) if subtype.is_encrypted else run(make, begun(subtype) + said)
    told = f"{outcome.error} {outcome.events} {make()!r} {USER!r} {CredentialsGiven(USER)!r}"
    assert "swordfish" not in told
    assert "***" in told
    assert RESPONSE.hex() not in told


@pytest.mark.parametrize(
    ("username", "password", "told"),
    [
        ("a\0b", PASSWORD, "user name contains a NUL"),
        ("user", Secret("open\0sesame"), "password contains a NUL"),
        ("u" * 1025, PASSWORD, "user name is longer than the 1024 bytes"),
        ("user", Secret("ü" * 513), "password is longer than the 1024 bytes"),
        ("user", Secret("opensesame\udc80"), "half a surrogate pair"),
    ],
)
def test_what_plain_cannot_carry_is_told_as_tls_has_begun(username, password, told):
    machine = by_vencrypt(X509_PLAIN, username=username, password=password)()
    machine.receive_data(encrypted(X509_PLAIN))
    machine.data_to_send()
    with pytest.raises(SecurityFailure, match=told) as raised:
        machine.tls_started()
    assert machine.data_to_send() == b""
    assert "sesame" not in str(raised.value)
    with pytest.raises(SecurityFailure):
        machine.receive_data(OK)


def test_an_empty_password_and_the_longest_are_sent():
    for text in ("", "p" * 1024, "ü"):
        outcome = run(by_vencrypt(PLAIN, password=Secret(text)), begun(PLAIN))
        size = len(text.encode())
        assert outcome.sent == answered(PLAIN) + b"\x00\x00\x00\x04" + u32(size) + b"user" + text.encode()


# What a new connection may try


@pytest.mark.parametrize(
    ("types", "offered", "rest"),
    [
        ((VENCRYPT, VNC, NONE), b"\x13\x02", (VNC, NONE)),
        ((VENCRYPT, VNC, NONE), b"\x01\x13", (VNC, NONE)),
        ((NONE, VENCRYPT, VNC), b"\x13\x02", (NONE, VNC)),
        ((VENCRYPT, VNC, NONE), b"\x13", None),
        ((VENCRYPT, VNC, NONE), b"\x13\x05\x10", None),
        ((VENCRYPT,), b"\x13\x02\x01", None),
        ((VENCRYPT, SecurityType.APPLE_DH), b"\x13\x1e", (SecurityType.APPLE_DH,)),
    ],
)
def test_the_second_choice_is_what_else_is_offered_and_may_be_used(types, offered, rest):
    machine = by_vencrypt(X509_NONE, types=types)()
    with pytest.raises(NothingInCommon):
        machine.receive_data(b"RFB 003.008\n" + bytes([len(offered)]) + offered + b"\x00\x02\x00" + subtypes(257))
    assert machine.second_choice == (rest and Preference(rest, (X509_NONE,)))


def test_a_second_choice_must_be_within_the_tokens_means():
    machine = by_vencrypt(X509_NONE, types=(VENCRYPT, VNC), password=None)()
    with pytest.raises(NothingInCommon):
        machine.receive_data(b"RFB 003.008\n\x02\x13\x02\x00\x02\x00" + subtypes(257))
    assert machine.second_choice is None


def test_a_second_choice_after_sasl_without_a_mechanism_in_common():
    machine = by_vencrypt(X509_NONE, types=(SecurityType.SASL, VNC))()
    with pytest.raises(NothingInCommon, match="GSSAPI"):
        machine.receive_data(b"RFB 003.008\n\x02\x14\x02" + b"\x00\x00\x00\x06GSSAPI")
    assert machine.second_choice.types == (VNC,)


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x01",  # another version
        b"\x00\x02\x01",  # no consent
        b"\x00\x02\x00" + subtypes(260) + b"\x00",  # what was offered is taken back
        b"\x00\x02\x00" + subtypes(260) + b"\x01\x00",  # injected
    ],
)
def test_any_other_failure_is_no_reason_for_something_weaker(said):
    machine = by_vencrypt(X509_NONE, types=(VENCRYPT, VNC, NONE))()
    with pytest.raises(RemoteProtocolError):
        machine.receive_data(b"RFB 003.008\n\x03\x13\x02\x01" + said)
    assert machine.second_choice is None


def test_nor_is_a_failed_login_inside_tls():
    machine = by_vencrypt(X509_NONE, types=(VENCRYPT, VNC, NONE))()
    machine.receive_data(b"RFB 003.008\n\x03\x13\x02\x01\x00\x02\x00" + subtypes(260) + b"\x01")
    machine.tls_started()
    with pytest.raises(SecurityFailure):
        machine.receive_data(FAILED + REASON)
    assert machine.second_choice is None


def test_nor_is_a_certificate_that_the_target_does_not_like():
    machine = by_vencrypt(X509_NONE, types=(VENCRYPT, VNC, NONE))()
    machine.receive_data(b"RFB 003.008\n\x03\x13\x02\x01\x00\x02\x00" + subtypes(260) + b"\x01")
    machine.tls_started()
    with pytest.raises(SecurityFailure, match="closed instead of answering"):
        machine.receive_eof()
    assert machine.second_choice is None


def test_a_second_choice_after_sasl_inside_vencrypt_is_another_subtype():
    """X509Vnc is offered and preferred to VNC Authentication in clear."""
    machine = by_vencrypt(X509_SASL, X509_VNC, types=(VENCRYPT, VNC))()
    machine.receive_data(b"RFB 003.008\n\x02\x13\x02\x00\x02\x00" + subtypes(263, 261) + b"\x01")
    machine.tls_started()
    with pytest.raises(NothingInCommon):
        machine.receive_data(b"\x00\x00\x00\x06GSSAPI")
    assert machine.second_choice == Preference((VENCRYPT, VNC), (X509_VNC,))


# As a server


class Judging:
    """A machine that judges credentials as soon as they are given."""

    def __init__(self, machine, refusal=None):
        self.machine = machine
        self.refusal = refusal

    def receive_data(self, data):
        events = self.machine.receive_data(data)
        if any(isinstance(event, CredentialsGiven) for event in events):
            if self.refusal is None:
                self.machine.accept()
            else:
                self.machine.refuse(self.refusal)
        return events + self.machine.events()

    def __getattr__(self, name):
        return getattr(self.machine, name)


def server(*offered, version=Version.V3_8, mechanisms=("PLAIN",), types=(VENCRYPT,), refusal=None):
    def make():
        machine = ServerHandshake(Offer(types, offered, mechanisms, USER, no_random), version=version)
        machine.offer()
        return Judging(machine, refusal)

    return make


def offered(*numbers, version=Version.V3_8):
    """What a server says up to its subtypes, where the client does not hear it."""
    return (
        version.message  # ProtocolVersion
        + b"\x01\x13"  # one security type: VeNCrypt
        + b"\x00\x02"  # VeNCrypt version: 0.2
        + b"\x00"  # it is fine
        + subtypes(*numbers)
    )


def chosen(subtype, version=Version.V3_8):
    """What a client says up to TLS."""
    return (
        version.message  # ProtocolVersion
        + b"\x13"  # security type: VeNCrypt
        + b"\x00\x02"  # VeNCrypt version: 0.2
        + u32(subtype)
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("subtype", ENCRYPTED)
@pytest.mark.parametrize("shared", [False, True])
def test_wire_R07_a_client_comes_in_by_every_subtype(subtype, version, shared):
    said, answer, mechanism = INSIDE[subtype.inner]
    outcome = run(
        server(subtype), chosen(subtype, version), inside=answer + bytes([shared]), trailing=b"\x03\x00\x00\x00"
    )
    assert outcome.error is None
    assert outcome.sent == offered(subtype) + b"\x01" + said + OK
    given = (CredentialsGiven(USER),) if subtype.inner is None else ()
    assert outcome.events == (
        VersionAgreed(version),
        TlsDue(anonymous=str(subtype).startswith("TLS")),
        *given,
        ClientInit(shared, f"VeNCrypt {subtype}{mechanism}"),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_comes_in_by_plain_in_clear(version):
    outcome = run(server(PLAIN), chosen(PLAIN, version) + PLAIN_LOGIN + b"\x01", trailing=b"\x03\x00\x00\x00")
    assert outcome.sent == offered(PLAIN) + OK
    assert outcome.events[1:] == (CredentialsGiven(USER), ClientInit(True, "VeNCrypt Plain"))


@pytest.mark.parametrize(
    ("said", "sent", "told"),
    [
        (b"\x00\x01", b"\x01\x13\x00\x02\x01", "client speaks VeNCrypt 0.1"),
        (b"\x01\x00", b"\x01\x13\x00\x02\x01", "client speaks VeNCrypt 1.0"),
        (b"\x00\x00", b"\x01\x13\x00\x02\x01", "client speaks VeNCrypt 0.0"),
        (b"\x00\x02" + u32(0), offered(262)[12:] + b"\x00", "chose VeNCrypt subtype 0, offered were [X509Plain]"),
        (b"\x00\x02" + u32(256), offered(262)[12:] + b"\x00", "chose VeNCrypt subtype Plain"),
        (b"\x00\x02" + u32(259), offered(262)[12:] + b"\x00", "chose VeNCrypt subtype TLSPlain"),
        (b"\x00\x02" + u32(0xFFFFFFFF), offered(262)[12:] + b"\x00", "chose VeNCrypt subtype 4294967295"),
    ],
)
def test_wire_R16_a_client_that_chooses_something_else(said, sent, told):
    outcome = run(server(X509_PLAIN), b"RFB 003.008\n\x13" + said)
    assert outcome.error[0] is RemoteProtocolError
    assert told in outcome.error[1]
    assert outcome.sent == b"RFB 003.008\n" + sent


def test_the_subtypes_are_offered_in_the_order_of_the_offer():
    outcome = run(server(X509_PLAIN, X509_NONE, TLS_VNC), chosen(X509_NONE))
    assert outcome.sent == offered(262, 260, 258) + b"\x01"


@pytest.mark.parametrize("injected", [b"\x00", PLAIN_LOGIN])
def test_wire_R17_what_a_client_says_before_tls_may_be_injected(injected):
    outcome = feed(server(X509_PLAIN)(), [chosen(X509_PLAIN) + injected])
    assert outcome.error == (
        RemoteProtocolError,
        f"{len(injected)} bytes came in clear where TLS is due: they may have been injected",
    )
    assert outcome.events == (VersionAgreed(Version.V3_8),)


SIZES = [(0xFFFFFFFF, 0), (0, 0xFFFFFFFF), (1025, 0), (0, 1025), (0xFFFFFFFF, 0xFFFFFFFF)]


@pytest.mark.parametrize("sizes", SIZES)
def test_wire_R19_names_and_passwords_beyond_the_limit_are_not_waited_for(sizes):
    outcome = run(server(X509_PLAIN), chosen(X509_PLAIN), inside=u32(sizes[0]) + u32(sizes[1]))
    assert outcome.error[0] is RemoteProtocolError
    assert f"{list(sizes)} bytes long, allowed are 1024 each" in outcome.error[1]


@pytest.mark.parametrize(
    ("name", "password"),
    [(b"", b"x"), (b"x", b""), (b"", b""), (b"n" * 1024, b"p" * 1024), (b"\xff\xfe", b"\xff\xfe"), (b"a\0b", b"\0")],
)
def test_wire_R19_names_and_passwords_within_it_are_the_callers_to_judge(name, password):
    said = u32(len(name)) + u32(len(password)) + name + password
    outcome = run(server(X509_PLAIN), chosen(X509_PLAIN), inside=said + b"\x01")
    assert outcome.error is None
    (given,) = (event.credentials for event in outcome.events if isinstance(event, CredentialsGiven))
    assert given.username == name.decode("utf-8", "replace")
    assert given.password.reveal().encode("utf-8", "surrogateescape") == password, "no two passwords are one"


SENTENCE = (
    b"\x00\x00\x00\x03"  # reason-length
    b"No."  # reason-string
)


@pytest.mark.parametrize(("version", "reason"), [(Version.V3_7, b""), (Version.V3_8, SENTENCE)])
@pytest.mark.parametrize("subtype", [TLS_PLAIN, X509_PLAIN])
def test_credentials_that_are_refused(subtype, version, reason):
    outcome = run(server(subtype, refusal="No."), chosen(subtype, version), inside=PLAIN_LOGIN)
    assert outcome.events[-1] == CredentialsGiven(USER)
    assert outcome.sent == offered(subtype) + b"\x01" + FAILED + reason
    assert outcome.finished


def judged():
    """A client that has given its credentials and waits."""
    machine = server(X509_PLAIN)().machine
    machine.receive_data(chosen(X509_PLAIN))
    machine.tls_started()
    assert machine.receive_data(PLAIN_LOGIN) == [CredentialsGiven(USER)]
    machine.data_to_send()
    return machine


def test_success_is_withheld_until_it_is_accepted():
    machine = judged()
    assert machine.receive_data(b"\x01") == []
    assert machine.data_to_send() == b""
    machine.accept()
    assert machine.events() == [ClientInit(True, "VeNCrypt X509Plain")]
    assert machine.data_to_send() == OK


def test_the_first_judgement_counts():
    machine = judged()
    machine.accept()
    machine.refuse("No.")
    assert machine.data_to_send() == OK
    machine = judged()
    machine.refuse("No.")
    machine.accept()
    machine.refuse("Never.")
    assert machine.data_to_send() == FAILED + SENTENCE
    with pytest.raises(SecurityFailure, match="client was refused"):
        machine.receive_data(b"\x01")


@pytest.mark.parametrize("size", range(len(PLAIN_LOGIN)))
def test_a_refusal_before_the_credentials_are_there_waits_for_them(size):
    """RFB has no word for it sooner; whoever closes need not wait."""
    machine = server(X509_PLAIN)().machine
    machine.receive_data(chosen(X509_PLAIN))
    machine.tls_started()
    machine.receive_data(PLAIN_LOGIN[:size])
    machine.data_to_send()
    machine.refuse("No.")
    assert machine.data_to_send() == b""
    with pytest.raises(SecurityFailure, match="client was refused"):
        machine.receive_data(PLAIN_LOGIN[size:])
    assert machine.data_to_send() == FAILED + SENTENCE


def test_a_refusal_while_tls_is_due_says_nothing_in_clear():
    machine = server(X509_PLAIN)().machine
    machine.receive_data(chosen(X509_PLAIN))
    assert machine.data_to_send() == offered(262) + b"\x01"
    machine.refuse("No.")
    assert machine.data_to_send() == b""
    machine.tls_started()
    with pytest.raises(SecurityFailure):
        machine.receive_data(PLAIN_LOGIN)
    assert machine.data_to_send() == FAILED + SENTENCE


def test_nobody_is_accepted_before_the_credentials_are_there():
    machine = server(X509_PLAIN)().machine
    with pytest.raises(LocalProtocolError):
        machine.accept()


@pytest.mark.parametrize("said", [b"", b"RFB 003.008\n\x13"])
def test_tls_is_not_started_before_it_is_due(said):
    machine = server(X509_PLAIN)().machine
    machine.receive_data(said)
    with pytest.raises(LocalProtocolError):
        machine.tls_started()


def test_bytes_between_that_and_tls_came_in_clear():
    machine = server(X509_PLAIN)().machine
    machine.receive_data(chosen(X509_PLAIN))
    machine.receive_data(b"\x00")
    with pytest.raises(LocalProtocolError, match="before another byte"):
        machine.tls_started()


def test_a_wrong_vnc_password_inside_tls():
    response = vnc_response(Secret("guess"), CHALLENGE)
    outcome = run(server(X509_VNC), chosen(X509_VNC), inside=response)
    assert outcome.sent == offered(261) + b"\x01" + CHALLENGE + FAILED + u32(21) + b"Authentication failed"
    assert outcome.error == (SecurityFailure, "client gave a wrong password")


@pytest.mark.parametrize("spoken", [b"RFB 003.003\n", b"RFB 003.005\n"])
def test_wire_R06_a_client_of_3_3_is_told_that_it_is_too_old(spoken):
    outcome = run(server(X509_PLAIN), spoken)
    assert outcome.sent == (
        b"RFB 003.008\n"
        b"\x00\x00\x00\x00"  # security-type u32: Invalid
        b"\x00\x00\x00\x30"  # reason-length
        b"This console needs a viewer of RFB 3.7 or later."  # reason-string
    )
    assert outcome.error == (RemoteProtocolError, "client speaks RFB 3.3, which does not know VeNCrypt")


@pytest.mark.parametrize("cut", range(12, len(chosen(X509_PLAIN))))
def test_the_end_of_a_clients_stream_before_tls(cut):
    assert run(server(X509_PLAIN), chosen(X509_PLAIN)[:cut], eof=True).error[0] is EndOfStream


@pytest.mark.parametrize("cut", range(len(PLAIN_LOGIN)))
def test_the_end_of_a_clients_stream_inside_tls(cut):
    outcome = run(server(X509_PLAIN), chosen(X509_PLAIN), inside=PLAIN_LOGIN[:cut], eof=True)
    assert outcome.error[0] is EndOfStream


# The pieces


class Piece(Conversation):
    """One of the module's generators by itself; what it returns is the only event."""

    def __init__(self, talk):
        self.talk = talk
        super().__init__()

    def _converse(self):
        self._event((yield from self.talk(self._reader, self._send)))


def test_choosing_leaves_what_follows():
    preference = Preference((VENCRYPT,), (X509_NONE,))
    said = (
        b"\x00\x02"  # version
        b"\x00"  # fine
        b"\x01\x00\x00\x01\x04"  # one subtype: X509None
        b"\x01"  # TLS begins
    )

    def choose(*ends):
        offered = yield from read_subtypes(*ends)
        return (yield from choose_subtype(*ends, offered, preference, USER))

    outcome = run(lambda: Piece(choose), said, trailing=b"TLS")
    assert outcome.events == (X509_NONE,)
    assert outcome.sent == b"\x00\x02" + b"\x00\x00\x01\x04"


def test_offering_leaves_what_follows():
    said = b"\x00\x02" + b"\x00\x00\x01\x06"
    outcome = run(lambda: Piece(lambda *ends: offer_subtypes(*ends, [X509_PLAIN])), said, trailing=b"TLS")
    assert outcome.events == (X509_PLAIN,)
    assert outcome.sent == b"\x00\x02" + b"\x00" + b"\x01\x00\x00\x01\x06" + b"\x01"


def test_plain_is_read_as_it_is_sent():
    sent = bytearray()
    send_plain(sent.extend, Credentials("Ada Lovelace", Secret("größer")))
    outcome = run(lambda: Piece(lambda reader, send: read_plain(reader)), bytes(sent), trailing=b"\x01")
    assert outcome.events == (Credentials("Ada Lovelace", Secret("größer")),)


# Noise


@given(st.binary(max_size=80), st.integers(0, len(encrypted(X509_NONE))))
def test_random_bytes_to_a_client_raise_nothing_else(noise, cut):
    outcome = feed(by_vencrypt()(), [encrypted(X509_NONE)[:cut] + noise], eof=True)
    assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)


@given(st.binary(max_size=120), st.sampled_from(ENCRYPTED))
def test_random_bytes_to_a_client_inside_tls_raise_nothing_else(noise, subtype):
    for segments, inside in halves(encrypted(subtype), noise):
        outcome = feed(all_the_way(subtype)(), segments, inside=inside, eof=True)
        assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)


@given(st.binary(max_size=80), st.integers(0, len(chosen(X509_NONE))))
def test_random_bytes_to_a_server_raise_nothing_else(noise, cut):
    everything = server(*VeNCryptSubtype)
    outcome = feed(everything(), [chosen(X509_NONE)[:cut] + noise], eof=True)
    assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)
    assert len(outcome.sent) < 200


@given(st.binary(max_size=120), st.sampled_from(ENCRYPTED), st.sampled_from([None, "No."]))
def test_random_bytes_to_a_server_inside_tls_raise_nothing_else(noise, subtype, refusal):
    for segments, inside in halves(chosen(subtype), noise):
        outcome = feed(server(subtype, refusal=refusal)(), segments, inside=inside, eof=True)
        assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)
