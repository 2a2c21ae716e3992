import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import LocalProtocolError, NothingInCommon, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb import (
    ClientHandshake,
    Credentials,
    LoggedIn,
    Preference,
    ReasonDue,
    SecurityType,
    ServerInit,
    VeNCryptSubtype,
    Version,
    VersionAgreed,
)
from rfbproxy.rfb.client_handshake import clean_text
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from rfbproxy.wire import EndOfStream
from tests.cuts import run

NONE, VNC, VENCRYPT = SecurityType.NONE, SecurityType.VNC_AUTHENTICATION, SecurityType.VENCRYPT
PASSWORD = Secret("swordfish")
CHALLENGE = bytes(range(16))
RESPONSE = vnc_response(PASSWORD, CHALLENGE)
OK = b"\x00\x00\x00\x00"  # SecurityResult: OK
FAILED = b"\x00\x00\x00\x01"  # SecurityResult: failed
REASON = (
    b"\x00\x00\x00\x06"  # reason-length
    b"cheese"  # reason-string
)
V3_3, V3_7, V3_8 = b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"


def server_init(*, width=1024, height=768, bits=32, name=b"QEMU (vm)", name_length=None):
    return (
        width.to_bytes(2, "big")  # framebuffer-width
        + height.to_bytes(2, "big")  # framebuffer-height
        + bytes([bits])  # bits-per-pixel
        + b"\x18"  # depth: 24, which some send as 32
        + b"\x00\x01"  # big-endian-flag, true-colour-flag
        + b"\x00\xff\x00\xff\x00\xff"  # red-max, green-max, blue-max
        + b"\x10\x08\x00"  # red-shift, green-shift, blue-shift
        + b"\x00\x00\x00"  # padding
        + (len(name) if name_length is None else name_length).to_bytes(4, "big")  # name-length
        + name  # name-string
    )


class Initialising:
    """A machine that says ClientInit as soon as it is logged in."""

    def __init__(self, machine):
        self.machine = machine
        self.kept = []

    def receive_data(self, data):
        self.kept += self.machine.receive_data(data)
        if any(isinstance(event, LoggedIn) for event in self.kept):
            self.machine.initialise(shared=True)
        return self.events()

    def events(self):
        kept, self.kept = self.kept, []
        return kept + self.machine.events()

    def __getattr__(self, name):
        return getattr(self.machine, name)


def no_random(size):
    return bytes(range(size))


def client(types, password=PASSWORD, *, username=None, subtypes=tuple(VeNCryptSubtype), random=no_random):
    return ClientHandshake(Preference(tuple(types), tuple(subtypes)), Credentials(username, password), random)


def logging_in(*preference, password=PASSWORD):
    return lambda: client(preference or (VNC, NONE), password)


def all_the_way(*preference, password=PASSWORD):
    return lambda: Initialising(client(preference or (VNC, NONE), password))


GREETINGS = [
    (V3_3, Version.V3_3),
    (b"RFB 003.004\n", Version.V3_3),
    (b"RFB 003.006\n", Version.V3_3),
    (V3_7, Version.V3_7),
    (V3_8, Version.V3_8),
    (b"RFB 003.889\n", Version.V3_8),  # wire_R02
    (b"RFB 004.000\n", Version.V3_8),
    (b"RFB 005.000\n", Version.V3_8),
]


@pytest.mark.parametrize(("greeting", "version"), GREETINGS)
def test_wire_R02_R07_none(greeting, version):
    said = {
        Version.V3_3: b"\x00\x00\x00\x01",  # security-type u32: None
        Version.V3_7: b"\x01\x01",  # one security type: None; no SecurityResult
        Version.V3_8: b"\x01\x01" + OK,
    }[version]
    answer = b"" if version is Version.V3_3 else b"\x01"
    outcome = run(all_the_way(), greeting + said + server_init(), trailing=b"\x00\x00\x00\x01")
    assert outcome.events == (
        VersionAgreed(version),
        LoggedIn("None"),
        ServerInit(1024, 768, "QEMU (vm)", server_init()),
    )
    assert outcome.sent == version.message + answer + b"\x01"


@pytest.mark.parametrize(("greeting", "version"), GREETINGS)
def test_wire_R02_R07_vnc_authentication(greeting, version):
    said = {
        Version.V3_3: b"\x00\x00\x00\x02",  # security-type u32: VNC Authentication
        Version.V3_7: b"\x02\x01\x02",  # two security types
        Version.V3_8: b"\x02\x01\x02",
    }[version]
    answer = b"" if version is Version.V3_3 else b"\x02"
    outcome = run(all_the_way(), greeting + said + CHALLENGE + OK + server_init(), trailing=b"\x00\x00\x00\x01")
    assert outcome.events[1] == LoggedIn("VNC Authentication")
    assert outcome.sent == version.message + answer + RESPONSE + b"\x01"


def test_nova_R04_the_target_may_speak_3_7_or_3_9():
    """Nova refuses everything but 3.8, on purpose not here."""
    assert run(all_the_way(), V3_7 + b"\x01\x01" + server_init()).error is None
    assert run(all_the_way(), b"RFB 003.009\n\x01\x01" + OK + server_init()).error is None


@pytest.mark.parametrize(
    "said",
    [b"RFB 003.008\r", b"RFB 3.8\n\n\n\n\n", b"HTTP/1.1 400 ", b"RFB +03.-08\n", b"RFB 000.000\n", b"RFB 003.002\n"],
)
def test_wire_R01_R03_R04_no_rfb_server(said):
    outcome = run(logging_in(), said)
    assert outcome.error[0] is RemoteProtocolError
    assert outcome.sent == b""


REFUSALS = [
    (V3_3, b"\x00\x00\x00\x00"),  # security-type u32: Invalid
    (V3_7, b"\x00"),  # no security types
    (V3_8, b"\x00"),
]


@pytest.mark.parametrize(("version", "none"), REFUSALS)
def test_nova_R06_a_refusal_with_a_reason(version, none):
    outcome = run(logging_in(), version + none + REASON)
    assert outcome.events[-1] == ReasonDue()
    assert outcome.error == (SecurityFailure, "target refuses the connection: 'cheese'")
    assert outcome.sent == version


@pytest.mark.parametrize(("version", "none"), REFUSALS)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", " without a reason"),  # QEMU in 3.3
        (b"\x00\x00", " without a reason"),
        (b"\x00\x00\x00\x00", " without a reason"),
        (b"\x00\x00\x00\x06", " without a reason"),
        (b"\x00\x00\x00\x06che", ": 'che'"),
        (b"\xff\xff\xff\xffcheese", ": 'cheese'"),  # wire_R08
    ],
)
def test_wire_R08_R09_as_much_of_the_reason_as_comes(version, none, said, told):
    outcome = run(logging_in(), version + none + said, eof=True)
    assert outcome.error == (SecurityFailure, f"target refuses the connection{told}")


def test_wire_R08_nova_R07_a_long_reason_is_cut():
    """Nova reads no reason beyond 256 bytes and makes up its own; ours is cut, and goes to the log alone."""
    said = b"\xff\xff\xff\xff" + b"x" * 5000
    outcome = run(logging_in(), V3_8 + b"\x00" + said)
    assert outcome.error == (SecurityFailure, f"target refuses the connection: {'x' * 256!r}")


@pytest.mark.parametrize("result", [b"\x00\x00\x00\x01", b"\x00\x00\x00\x02", b"\xde\xad\xbe\xef"])
def test_wire_R14_a_failed_login_in_3_8(result):
    outcome = run(logging_in(), V3_8 + b"\x01\x02" + CHALLENGE + result + REASON)
    assert outcome.events[-1] == ReasonDue()
    assert outcome.error[0] is SecurityFailure
    assert outcome.error[1].endswith("'cheese'")
    assert str(int.from_bytes(result, "big")) in outcome.error[1]


@pytest.mark.parametrize(("version", "said"), [(V3_3, b"\x00\x00\x00\x02"), (V3_7, b"\x01\x02")])
def test_wire_R15_before_3_8_no_reason_is_waited_for(version, said):
    outcome = run(logging_in(), version + said + CHALLENGE + FAILED)
    assert outcome.error == (SecurityFailure, "target refuses the login with SecurityResult 1")
    assert ReasonDue() not in outcome.events


def test_none_may_be_refused_too():
    outcome = run(logging_in(), V3_8 + b"\x01\x01" + FAILED + REASON)
    assert outcome.error == (SecurityFailure, "target refuses the login with SecurityResult 1: 'cheese'")


@pytest.mark.parametrize("said", [b"", b"\x00\x00"])
def test_closing_is_an_answer_to_a_password(said):
    outcome = run(logging_in(), V3_8 + b"\x01\x02" + CHALLENGE + said, eof=True)
    assert outcome.error == (SecurityFailure, "target closed instead of answering the login")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        V3_8,
        V3_8 + b"\x02\x01",
        V3_8 + b"\x01\x01",
        V3_8 + b"\x01\x01\x00",  # with None there was no login to refuse
        V3_8 + b"\x01\x02",
        V3_8 + b"\x01\x02" + CHALLENGE[:8],
        V3_3 + b"\x00\x00",
        V3_7 + b"\x01\x01",
        V3_7 + b"\x01\x01" + server_init()[:10],
        V3_7 + b"\x01\x01" + server_init()[:-1],
    ],
)
def test_the_end_of_the_stream_anywhere(said):
    class Patient(Initialising):
        def receive_eof(self):
            self.kept += self.machine.receive_eof()
            return self.events()

    assert run(lambda: Patient(client((VNC, NONE))), said, eof=True).error[0] is EndOfStream


@pytest.mark.parametrize(
    ("offered", "preference", "chosen"),
    [
        (b"\x01\x02", (VNC, NONE), 2),  # the operator's order, never the target's
        (b"\x02\x01", (NONE, VNC), 1),
        (b"\x01\x81", (VNC, NONE), 1),  # nova_R13: 129 crashes nova
        (b"\x00\x01", (VNC, NONE), 1),  # wire_R11: Invalid among others
        (b"\x02\x02\x02", (VNC, NONE), 2),  # wire_R11: duplicates
        (bytes(range(1, 256)), (VNC, NONE), 2),  # wire_R10
        (b"\x10\x01", (VENCRYPT, NONE), 1),  # nova_R12
    ],
)
def test_wire_R10_R11_the_operator_chooses(offered, preference, chosen):
    outcome = run(logging_in(*preference), V3_8 + bytes([len(offered)]) + offered)
    assert outcome.sent == V3_8 + bytes([chosen])
    assert outcome.error is None


def test_nova_R08_two_types_and_none_preferred():
    outcome = run(logging_in(NONE), V3_8 + b"\x02\x01\x02")
    assert outcome.sent == V3_8 + b"\x01"


def test_nova_R14_the_preferred_type_is_never_passed_over_for_a_weaker_one():
    """Nova takes None here."""
    outcome = run(logging_in(VENCRYPT, NONE), V3_8 + b"\x02\x01\x13")
    assert outcome.sent == V3_8 + b"\x13"
    assert outcome.error is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (V3_8 + b"\x02\x02\x05", "[VNC Authentication, RA2], allowed are [None]"),  # nova_R10
        (V3_8 + b"\xff" + bytes([7] * 255), "[7]"),  # wire_R10: a type without a name
        (V3_8 + b"\x01\x00", "[Invalid]"),  # wire_R11
        (V3_3 + b"\x00\x00\x00\x13", "demands security type VeNCrypt"),  # wire_R12
        (V3_3 + b"\xff\xff\xff\xfa", "demands security type 4294967290"),  # wire_R12: MSLogon
        (V3_3 + b"\x00\x00\x01\x01", "demands security type 257"),
    ],
)
def test_wire_R10_R12_nova_R10_nothing_that_may_be_chosen(said, told):
    outcome = run(logging_in(NONE), said)
    assert outcome.error[0] is SecurityFailure
    assert told in outcome.error[1]
    assert outcome.sent == said[:12]


def test_without_a_password_vnc_authentication_is_passed_over():
    outcome = run(logging_in(VNC, NONE, password=None), V3_8 + b"\x02\x02\x01")
    assert outcome.sent == V3_8 + b"\x01"


def test_without_a_password_and_without_another_type_the_log_says_why():
    outcome = run(logging_in(VNC, NONE, password=None), V3_8 + b"\x01\x02")
    assert outcome.error[0] is SecurityFailure
    assert "and the token holds no password (" in outcome.error[1]


def test_where_vencrypt_leads_nowhere_the_log_names_its_subtypes():
    machine = client((VENCRYPT,), None, subtypes=(VeNCryptSubtype.X509_VNC, VeNCryptSubtype.X509_PLAIN))
    with pytest.raises(SecurityFailure, match=r"with subtypes X509Vnc, X509Plain\], and the token"):
        machine.receive_data(V3_8 + b"\x01\x13")
    with pytest.raises(SecurityFailure, match=r"allowed are \[VeNCrypt with subtypes none\] \("):
        client((VENCRYPT,), subtypes=()).receive_data(V3_8 + b"\x01\x13")


def test_an_empty_password_is_a_password():
    outcome = run(logging_in(VNC, password=Secret("")), V3_8 + b"\x01\x02" + CHALLENGE)
    assert outcome.sent.endswith(vnc_response(Secret(""), CHALLENGE))


def test_nova_R11_no_secret_in_what_is_told():
    outcome = run(logging_in(), V3_8 + b"\x01\x02" + CHALLENGE + FAILED + REASON)
    told = outcome.error[1] + repr(outcome.events) + repr(client((VNC,)))
    assert "swordfish" not in told
    assert RESPONSE.hex() not in told


@pytest.mark.parametrize("bits", [0, 1, 24, 64, 255])
def test_wire_R22_pixels_of_a_size_that_is_none(bits):
    outcome = run(all_the_way(), V3_8 + b"\x01\x01" + OK + server_init(bits=bits))
    assert outcome.error[0] is RemoteProtocolError
    assert f"have {bits} bits" in outcome.error[1]


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_wire_R22_pixels_of_the_three_sizes(bits):
    assert run(all_the_way(), V3_8 + b"\x01\x01" + OK + server_init(bits=bits)).error is None


@pytest.mark.parametrize("length", [65537, 0xFFFFFFFF])
def test_wire_R22_a_name_beyond_the_limit_is_not_waited_for(length):
    outcome = run(all_the_way(), V3_8 + b"\x01\x01" + OK + server_init(name=b"", name_length=length))
    assert outcome.error[0] is RemoteProtocolError
    assert str(length) in outcome.error[1]


def test_wire_R22_the_longest_name():
    machine = Initialising(client((NONE,)))
    events = machine.receive_data(V3_8 + b"\x01\x01" + OK + server_init(name=b"n" * 65536))
    assert events[-1].name == "n" * 256
    assert events[-1].message == server_init(name=b"n" * 65536)


def test_wire_R22_an_empty_framebuffer_is_allowed():
    outcome = run(all_the_way(), V3_8 + b"\x01\x01" + OK + server_init(width=0, height=0, name=b""))
    assert outcome.events[-1] == ServerInit(0, 0, "", server_init(width=0, height=0, name=b""))


@pytest.mark.parametrize(("shared", "sent"), [(False, b"\x00"), (True, b"\x01")])
def test_client_init_waits_for_initialise(shared, sent):
    machine = client((NONE,))
    machine.receive_data(V3_8 + b"\x01\x01" + OK)
    assert machine.data_to_send() == V3_8 + b"\x01"
    machine.initialise(shared=shared)
    assert machine.data_to_send() == sent
    with pytest.raises(LocalProtocolError):
        machine.initialise(shared=shared)


def test_initialise_before_the_login():
    with pytest.raises(LocalProtocolError):
        client((NONE,)).initialise(shared=True)


def test_a_broken_server_init_that_came_with_the_login():
    machine = client((NONE,))
    machine.receive_data(V3_8 + b"\x01\x01" + OK + server_init(bits=24))
    with pytest.raises(RemoteProtocolError, match="24 bits"):
        machine.initialise(shared=True)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (b"Authentication failed\0", "Authentication failed"),  # QEMU counts the NUL
        ("größer".encode(), "größer"),
        ("größer".encode("latin-1"), "größer"),
        (b"a\r\nb\x1b[31mc\x07", "a  b [31mc"),
        ("a\u202eb\u2028c".encode(), "a b c"),  # turns the text around; a line separator
        (b"\x00\x01 \x7f", ""),
        (b"x" * 1000, "x" * 256),
    ],
)
def test_text_of_a_peer_is_bounded_and_cleaned(text, cleaned):
    assert clean_text(text) == cleaned


@given(st.binary(max_size=4096))
def test_any_text_is_cleaned(text):
    cleaned = clean_text(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= 256


@given(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"",
            *(greeting for greeting, _ in GREETINGS),
            V3_8 + b"\x00",
            V3_8 + b"\x01\x02" + CHALLENGE,
            V3_8 + b"\x01\x01" + OK,
            V3_7 + b"\x01\x01" + server_init(name=b"")[:-4],
        ]
    ),
)
def test_random_bytes_raise_nothing_else(noise, before):
    outcome = run(all_the_way(), before + noise, eof=True)
    assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)


# Logins that only this half is asked about; their own conversations are in the files of their modules


SASL_PLAIN = (
    b"\x00\x00\x00\x05"  # mechlist-length
    b"PLAIN"  # mechlist
)


@pytest.mark.parametrize("version", [V3_7, V3_8])
def test_plain_by_sasl_takes_tls(version):
    outcome = run(lambda: client((SecurityType.SASL,), username="user"), version + b"\x01\x14" + SASL_PLAIN)
    assert outcome.error[0] is NothingInCommon
    assert outcome.error[1].endswith("PLAIN takes TLS")
    assert outcome.sent == version + b"\x14", "not a byte of the login"


@pytest.mark.parametrize("length", [b"\x00\x00\x00\x00", b"\x00\x20\x00\x00", b"\xff\xff\xff\xff"])
def test_wire_R21_a_mechanism_list_of_no_length_or_of_megabytes(length):
    outcome = run(lambda: client((SecurityType.SASL,), username="user"), V3_8 + b"\x01\x14" + length)
    assert outcome.error[0] is RemoteProtocolError
    assert str(int.from_bytes(length, "big")) in outcome.error[1]


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", b"\x00\x0f\x42\x40", b"\x00\x00\x00\x00"])
def test_wire_R20_tight_is_never_chosen_so_its_lists_are_never_read(said):
    outcome = run(logging_in(), V3_8 + b"\x01\x10" + said)
    assert outcome.error[0] is SecurityFailure
    assert "[Tight], allowed are" in outcome.error[1]
    assert outcome.sent == V3_8


@pytest.mark.parametrize("kind", [SecurityType.SASL, SecurityType.APPLE_DH, SecurityType.MSLOGON2])
@pytest.mark.parametrize("missing", ["user name", "password"])
def test_a_type_that_the_token_cannot_satisfy_is_passed_over(kind, missing):
    password, username = (PASSWORD, None) if missing == "user name" else (None, "user")
    make = lambda: client((kind, NONE), password, username=username)  # noqa: E731
    assert run(make, V3_8 + b"\x02\x01" + bytes([kind])).sent == V3_8 + b"\x01"
    outcome = run(make, V3_8 + b"\x01" + bytes([kind]))
    assert f"the token holds no {missing} (RFC" in outcome.error[1]


@pytest.mark.parametrize("kind", [SecurityType.VENCRYPT, SecurityType.SASL, SecurityType.APPLE_DH])
def test_wire_R12_none_of_the_later_types_is_known_in_3_3(kind):
    outcome = run(lambda: client((kind, NONE), username="user"), V3_3 + b"\x00\x00\x00" + bytes([kind]))
    assert outcome.error[0] is SecurityFailure
    assert "in RFB 3.3, which knows [None, VNC Authentication]" in outcome.error[1]
    assert outcome.sent == V3_3


@pytest.mark.parametrize("decided", [1, 2])
def test_wire_R12_in_3_3_the_server_decides_within_what_is_allowed(decided):
    outcome = run(logging_in(*({NONE, VNC} - {decided})), V3_3 + decided.to_bytes(4, "big"))
    assert outcome.error[0] is SecurityFailure
    assert outcome.sent == V3_3


def test_without_a_choice_there_is_no_second():
    machine = client((VNC, NONE))
    with pytest.raises(SecurityFailure):
        machine.receive_data(V3_8 + b"\x01\x05")
    assert machine.second_choice is None


@pytest.mark.parametrize("kind", [SecurityType.SASL, SecurityType.APPLE_DH, SecurityType.MSLOGON2])
@given(st.binary(max_size=300))
def test_random_bytes_in_a_login_raise_nothing_else(kind, noise):
    outcome = run(
        lambda: Initialising(client((kind,), username="user")), V3_8 + b"\x01" + bytes([kind]) + noise, eof=True
    )
    assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)
    assert "swordfish" not in str(outcome.error)
