import hashlib
import itertools

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.apple_dh import apple_dh_client, apple_dh_server
from rfbproxy.rfb.credentials import Credentials
from rfbproxy.secret import Secret
from rfbproxy.wire import Conversation, EndOfStream
from tests.cuts import run

USER = Credentials("Jürgen", Secret("Sw0rdfish"))
PRIME = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b"
    "302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"
    "49286651ece65381ffffffffffffffff",
    16,
)
PUBLIC = int("99" * 128, 16)


def ones(size):
    return b"\xaa" * size


def counting():
    """Random bytes of which no two calls give the same."""
    calls = itertools.count()
    return lambda size: hashlib.shake_128(bytes([next(calls)])).digest(size)


class Client(Conversation):
    def __init__(self, credentials=USER, random=ones):
        self.arguments = credentials, random
        super().__init__()

    def _converse(self):
        credentials, random = self.arguments
        self._event((yield from apple_dh_client(self._reader, self._send, credentials, random)))


class Server(Conversation):
    def __init__(self, random=ones):
        self.random = random
        super().__init__()

    def _converse(self):
        self._event((yield from apple_dh_server(self._reader, self._send, self.random)))


def numbers(*, generator=2, size=128, length=None, prime=PRIME, public=PUBLIC):
    return (
        generator.to_bytes(2, "big")  # generator
        + (size if length is None else length).to_bytes(2, "big")  # key-length
        + prime.to_bytes(size, "big")  # prime-modulus
        + public.to_bytes(size, "big")  # public-value
    )


# What noVNC 1.7.0 sends (core/rfb.js run in Node) to these numbers, where its random bytes are all aa. The second
# shared secret begins with a zero byte.
NOVNC_PUBLIC = bytes.fromhex(
    "435328563cfae8a8512bc1e36c370704904b421331a50f36258166214e9ddbe266da0ee1f4bca0587b574eb4e4eebd7e8cf2b22c220523bc"
    "7bafe2a4e43e94778d5f8564aeb9a28abd4dec4de0aef0f5026ce5bf75ec963ee0eb0b13723b34be2f30b7fa14538a1d74f78c01a4a202cd"
    "d6b1d4c3e220283ce0637b1c1b607034"
)
FILLER = "af11dc846288cbc80f8062f909940b43"
NOVNC = [
    (
        PUBLIC,
        "c440190db2faa219160bae642d0d19a4" + FILLER * 3 + "bbd1455eac8b7f1cd4412302fb483a44" + FILLER * 3,
    ),
    (
        4,
        "32ad05167124e53d8e09b0918d2b4650a41bf6b0d86de506728e50d87532dc12a41bf6b0d86de506728e50d87532dc12"
        "a41bf6b0d86de506728e50d87532dc121bbbe73a3664e9630d15e25ec885722ea41bf6b0d86de506728e50d87532dc12"
        "a41bf6b0d86de506728e50d87532dc12a41bf6b0d86de506728e50d87532dc12",
    ),
]


@pytest.mark.parametrize(("public", "credentials"), NOVNC)
def test_known_answers(public, credentials):
    ran = run(Client, numbers(public=public), trailing=b"\x00\x00\x00\x00")
    assert ran.sent == bytes.fromhex(credentials) + NOVNC_PUBLIC
    assert ran.events == (None,)


def test_the_second_known_secret_begins_with_a_zero_byte():
    assert pow(4, int.from_bytes(ones(64), "big"), PRIME) >> (127 * 8) == 0


@pytest.mark.parametrize("size", [128, 256, 512])
def test_every_byte_of_the_credentials(size):
    """Decrypted by what a server does, written down once more."""
    prime, private = (1 << size * 8) - 159, 12345
    public = pow(5, private, prime)
    machine = Client(random=counting())
    machine.receive_data(numbers(generator=5, size=size, prime=prime, public=public))
    sent = machine.data_to_send()
    assert len(sent) == 128 + size
    secret = pow(int.from_bytes(sent[128:], "big"), private, prime).to_bytes(size, "big")
    decryptor = Cipher(AES(hashlib.md5(secret).digest()), modes.ECB()).decryptor()
    fields = decryptor.update(sent[:128])
    random = counting()
    random(64)  # the private key
    name, password = "Jürgen".encode(), b"Sw0rdfish"
    assert fields == name + b"\0" + random(63 - len(name)) + password + b"\0" + random(63 - len(password))


@pytest.mark.parametrize(
    "credentials",
    [
        USER,
        Credentials("a", Secret("")),  # an empty password is a password
        Credentials("n" * 63, Secret("ü" * 31)),
    ],
)
def test_back_to_back(credentials):
    client, server = Client(credentials, counting()), Server(counting())
    client.receive_data(server.data_to_send())
    said = client.data_to_send()
    ran = run(lambda: Server(counting()), said, trailing=b"\x01")
    assert ran.events == (credentials,)
    assert server.receive_data(said) == [credentials]


def test_what_novnc_sends_is_understood():
    """NoVNC's numbers are no answer to this server's, but its form is."""
    ours = pow(2, int.from_bytes(ones(64), "big"), PRIME)
    assert run(Server, b"").sent == numbers(public=ours)
    ran = run(Client, numbers(public=ours))
    assert run(Server, ran.sent).events == (USER,)


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (Credentials(), "the token holds no user name, which Diffie-Hellman Authentication needs"),
        (Credentials("user"), "the token holds no password, which Diffie-Hellman Authentication needs"),
        (
            Credentials("n" * 64, Secret("")),
            "the token's user name is longer than the 63 bytes that Diffie-Hellman Authentication carries",
        ),
        (
            Credentials("user", Secret("ü" * 32)),
            "the token's password is longer than the 63 bytes that Diffie-Hellman Authentication carries",
        ),
        (
            Credentials("user", Secret("a\0b")),
            "the token's password contains a NUL, where Diffie-Hellman Authentication ends it",
        ),
    ],
)
def test_credentials_that_cannot_be_sent(credentials, told):
    with pytest.raises(SecurityFailure) as raised:
        Client(credentials)
    assert str(raised.value) == told


@pytest.mark.parametrize("length", [0, 1, 127, 513, 65535])
def test_a_key_length_out_of_bounds_is_not_waited_for(length):
    ran = run(Client, numbers(length=length)[:4])
    assert ran.error == (
        RemoteProtocolError,
        f"target's Diffie-Hellman key is {length} bytes long, allowed are 128..512",
    )


DEGENERATE = [
    {"prime": 0},
    {"prime": 1},
    {"prime": 2},
    {"prime": 3, "public": 2},
    {"prime": PRIME - 1},
    {"public": 0},
    {"public": 1},
    {"public": PRIME - 1},
    {"public": PRIME},
    {"public": PRIME + 1},
    {"public": (1 << 1024) - 1},
    {"generator": 0},
    {"generator": 1},
    {"generator": 6, "prime": 7, "public": 3},
    {"generator": 7, "prime": 7, "public": 3},
]


@pytest.mark.parametrize("fields", DEGENERATE)
def test_degenerate_numbers(fields):
    ran = run(Client, numbers(**fields))
    assert ran.error[0] is RemoteProtocolError
    assert "target's Diffie-Hellman numbers are degenerate" in ran.error[1]
    assert ran.sent == b""


@pytest.mark.parametrize("public", [0, 1, PRIME - 1, PRIME, (1 << 1024) - 1])
def test_a_degenerate_public_key_of_a_client(public):
    ran = run(Server, bytes(128) + public.to_bytes(128, "big"))
    assert ran.error[0] is RemoteProtocolError
    assert "client's Diffie-Hellman numbers are degenerate" in ran.error[1]


def encrypted(fields):
    """Credentials for the server, under any key it can know."""
    secret = pow(3, int.from_bytes(ones(64), "big"), PRIME).to_bytes(128, "big")
    return Cipher(AES(hashlib.md5(secret).digest()), modes.ECB()).encryptor().update(fields) + (3).to_bytes(128, "big")


@pytest.mark.parametrize(
    "fields",
    [
        b"user".ljust(64, b"x") + b"password".ljust(64, b"\0"),  # no NUL
        b"user".ljust(64, b"\0") + b"password".ljust(64, b"x"),
        b"\xff".ljust(64, b"\0") + b"password".ljust(64, b"\0"),
        b"user".ljust(64, b"\0") + b"password\xed\xa0\x80".ljust(64, b"\0"),
    ],
)
def test_credentials_that_are_no_text(fields):
    ran = run(Server, encrypted(fields))
    assert ran.error == (RemoteProtocolError, "client's credentials are no text ended by a NUL")
    with pytest.raises(RemoteProtocolError) as raised:
        Server().receive_data(encrypted(fields))
    assert raised.value.__context__ is None


@pytest.mark.parametrize("said", [b"", numbers()[:3], numbers()[:4], numbers()[:-1]])
def test_a_target_that_closes(said):
    assert run(Client, said, eof=True).error[0] is EndOfStream


@pytest.mark.parametrize("said", [b"", bytes(127), bytes(255)])
def test_a_client_that_closes(said):
    assert run(Server, said, eof=True).error[0] is EndOfStream


def test_no_secret_in_what_is_told():
    machine = Server()
    events = machine.receive_data(run(Client, numbers(public=pow(2, int.from_bytes(ones(64), "big"), PRIME))).sent)
    assert events[0].password.reveal() == "Sw0rdfish"
    assert "Sw0rdfish" not in repr(events) + repr(machine) + repr(Client())


@settings(max_examples=30)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x00\x02\x00\x80", numbers()[:132], b"\x00\x05\x00\xff"]))
def test_a_client_fed_random_bytes_raises_nothing_else(noise, before):
    ran = run(Client, before + noise, eof=True)
    assert ran.error is None or issubclass(ran.error[0], RemoteProtocolError)


@settings(max_examples=30)
@given(st.binary(min_size=128, max_size=260), st.sampled_from([b"", bytes(127) + b"\x03"]))
def test_a_server_fed_random_bytes_raises_nothing_else(noise, after):
    ran = run(Server, noise + after, eof=True)
    assert ran.error is None or issubclass(ran.error[0], RemoteProtocolError)
