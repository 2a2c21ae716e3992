from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.secret import Secret
from rfbproxy.spice.ticket import PASSWORD_LIMIT, TicketKey, password_bytes, seal
from tests.spice.samples import HTML5_TICKET, HTML5_TICKET_REPAIRED, KEY, PLAINTEXT, PUBLIC_KEY, TICKET

TOKEN = Secret("0f9c1c1e-6f0b-4b0e-9a5e-0123456789ab")
PADDING = OAEP(mgf=MGF1(algorithm=SHA1()), algorithm=SHA1(), label=None)


def sealed(plaintext):
    return load_der_public_key(PUBLIC_KEY).encrypt(plaintext, PADDING)


def der(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class CountingKey:
    """A private key that counts how often it is used."""

    def __init__(self, key):
        self.key = key
        self.used = 0

    def public_key(self):
        return self.key.public_key()

    def decrypt(self, ticket, padding):
        self.used += 1
        return self.key.decrypt(ticket, padding)


def test_the_public_half_is_as_long_as_a_link_reply_has_room_for():
    assert KEY.public_key == PUBLIC_KEY
    assert len(PUBLIC_KEY) == 162


def test_a_known_ticket():
    assert TOKEN.reveal().encode() + b"\0" == PLAINTEXT
    assert KEY.open(TICKET) == TOKEN


def test_wire_S22_a_ticket_of_spice_html5_that_lost_its_leading_zero():
    assert KEY.open(HTML5_TICKET) == TOKEN
    assert KEY.open(HTML5_TICKET_REPAIRED) == TOKEN


def test_wire_S22_a_ticket_that_lost_two_zeros():
    class Opening(CountingKey):
        def decrypt(self, ticket, padding):
            if ticket == bytes(2) + b"\x07" * 126:
                return b"swordfish\0"
            return super().decrypt(ticket, padding)

    assert TicketKey(Opening(KEY._private_key)).open(b"\x07" * 126 + bytes(2)) == Secret("swordfish")


WRONG = {
    "wire_S21 zeros": bytes(128),
    "wire_S21 ones": b"\xff" * 128,
    "wire_S21 random": bytes(range(128)),
    "wire_S22 random, ending in a zero": bytes(range(1, 128)) + b"\0",
    "wire_S22 of another key, ending in zeros": TICKET[:-2] + bytes(2),
    "too short": TICKET[:-1],
    "too long": TICKET + b"\0",
    "none": b"",
    "wire_S23 no UTF-8": sealed(b"caf\xe9\0"),
    "wire_S23 no ASCII": sealed("café\0".encode()),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_wrong_ticket_has_the_same_outcome(name):
    assert KEY.open(WRONG[name]) is None


@pytest.mark.parametrize(
    ("plaintext", "password"),
    [
        (b"", ""),
        (b"\0", ""),
        (bytes(86), ""),
        (b"tok", "tok"),
        (b"tok\0junk", "tok"),
        (b"tok\0\xff\xfe", "tok"),
        (b"x" * 86, "x" * 86),
    ],
)
def test_wire_S23_a_password_ends_at_the_first_nul(plaintext, password):
    assert KEY.open(sealed(plaintext)) == Secret(password)


def test_wire_S21_the_work_tells_nothing_of_what_is_wrong():
    def used(ticket):
        key = CountingKey(KEY._private_key)
        TicketKey(key).open(ticket)
        return key.used

    assert used(TICKET) == used(WRONG["wire_S21 ones"]) == used(WRONG["wire_S23 no ASCII"]) == 1
    assert used(WRONG["wire_S22 random, ending in a zero"]) == 2
    assert used(WRONG["wire_S21 zeros"]) == 3


def test_what_is_sealed_can_be_opened():
    assert KEY.open(seal(TOKEN, PUBLIC_KEY)) == TOKEN
    assert KEY.open(seal(None, PUBLIC_KEY)) == Secret("")
    assert KEY._decrypt(seal(None, PUBLIC_KEY)) == b"\0"
    assert KEY._decrypt(seal(Secret("é" * 29), PUBLIC_KEY)) == b"\xc3\xa9" * 29 + b"\0"
    assert KEY._decrypt(seal(Secret("x" * 59), PUBLIC_KEY)) == b"x" * 59 + b"\0"


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=PASSWORD_LIMIT))
def test_P2_any_password_comes_through(password):
    assert KEY.open(seal(Secret(password), PUBLIC_KEY)) == Secret(password)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("x" * 60, "longer than 59 bytes: spice-server takes one byte more, but cuts it"),
        ("é" * 30, "longer than 59 bytes"),
        ("che\0ese", "contains a NUL"),
        ("che\ud800ese", "half a surrogate pair"),
    ],
)
def test_a_password_that_no_server_can_be_told(password, words):
    for use in (password_bytes, lambda secret: seal(secret, PUBLIC_KEY)):
        with pytest.raises(SecurityFailure, match=words) as raised:
            use(Secret(password))
        assert password[:3] not in str(raised.value)
        assert raised.value.__context__ is None


RSA_2048 = der(rsa.generate_private_key(65537, 2048).public_key())
NOT_A_KEY = {
    "wire_S25 zeros": bytes(162),
    "wire_S25 RSA-2048, cut": RSA_2048[:162],
    "RSA-2048": RSA_2048,
    "an elliptic curve": der(ec.generate_private_key(ec.SECP256R1()).public_key()),
    "bytes behind it": PUBLIC_KEY + b"\0",
    "nothing": b"",
    "an even modulus": PUBLIC_KEY[:156] + bytes([PUBLIC_KEY[156] & 0xFE]) + PUBLIC_KEY[157:],
    "an exponent of 1": PUBLIC_KEY[:-3] + b"\0\0\x01",
}


@pytest.mark.parametrize("name", NOT_A_KEY)
def test_wire_S25_a_target_whose_key_is_none(name):
    with pytest.raises(RemoteProtocolError, match="no RSA-1024 key"):
        seal(TOKEN, NOT_A_KEY[name])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 161), st.binary(min_size=1, max_size=20))
@example(29, b"\x80")
@example(155, b"\xff\x00")
def test_P5_any_damage_to_a_key_seals_or_is_the_peers_fault(at, damage):
    with suppress(RemoteProtocolError):
        assert len(seal(TOKEN, (PUBLIC_KEY[:at] + damage + PUBLIC_KEY[at + len(damage) :])[:162])) == 128


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(min_size=128, max_size=128))
def test_P5_any_ticket_opens_or_is_wrong(ticket):
    assert KEY.open(ticket) is None


def test_our_own_key_must_fit():
    with pytest.raises(LocalProtocolError, match="294 bytes, a link reply holds 162"):
        TicketKey(rsa.generate_private_key(65537, 2048))


def test_a_key_does_not_print_itself():
    assert "BEGIN" not in repr(KEY)
    assert str(KEY._private_key.private_numbers().d) not in repr(KEY)
