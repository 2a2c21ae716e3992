import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.credentials import Credentials
from rfbproxy.rfb.mslogon2 import mslogon2_client, mslogon2_server
from rfbproxy.secret import Secret
from rfbproxy.wire import Conversation, EndOfStream
from tests.cuts import run

USER = Credentials("Administrator", Secret("Sw0rdfish"))
MODULUS = 0x7FFFFFFF  # UltraVNC's have 31 bits
OURS = 0xFFFFFFFFFFFFFA43


def ones(size):
    return b"\xaa" * size


class Client(Conversation):
    def __init__(self, credentials=USER, random=ones):
        self.arguments = credentials, random
        super().__init__()

    def _converse(self):
        credentials, random = self.arguments
        self._event((yield from mslogon2_client(self._reader, self._send, credentials, random)))


class Server(Conversation):
    def __init__(self, random=ones):
        self.random = random
        super().__init__()

    def _converse(self):
        self._event((yield from mslogon2_server(self._reader, self._send, self.random)))


def numbers(*, generator=5, modulus=MODULUS, public=0x12345678):
    return (
        generator.to_bytes(8, "big")  # generator
        + modulus.to_bytes(8, "big")  # modulus
        + public.to_bytes(8, "big")  # public key
    )


# What noVNC 1.7.0 sends (core/rfb.js run in Node, with a DES of its own) to these numbers, where its random bytes are
# all aa.
NOVNC = [
    (
        USER,
        "000000000b04a014"  # public key
        "41ebfa014f328fdeb37d5875b55b49a7a92e632cb7deafbc09444a07a2f0802bf4813d3e905cb01ed2e9dfec35d33138"
        "b618e69d60afef8464d727143fd02c88abb7cf31c93c4debd9afd51d6bfb57ad33662e0f798a1dc032d50648f69e4559"
        "a7032899dc2f779cee467440630706b741e99b5d28dba4573f6670be57d2e74b9e57564a88654857ff8d41900c23ee8b"
        "6d56f9b979a09ab8072f36d631ab4da21eb4e64e78ff14042dfbc0fe3893879a3f2ee2208e1db36e0fd65b6a84d74f36"
        "c48e6626400eed588040eca772aa04391cc232b647ad2ca6ecc4c961db4ef71dc2ca895b445f0d236d5e6b73097df766"
        "286efd95810aacb8c6a0ded168272092"
        "473a102905035cef109b6706f75cf2ec58af389ed8038b8415aa7407b2369b550b4868ae75acb44497b6cd8198ca1079"
        "dbf406a919d9d60d2a143299faadf326",
    ),
    (
        Credentials("DOMAIN\\Jürgen", Secret("")),  # an empty password is a password
        "000000000b04a014"
        "a62fcf3ee482a3a49d55945ab7b53dfdffffe27ceef6c4c8d24bd4b95d18660562dbdd38c5d9da11e942890848b359be"
        "ba3868d2807339f33d82da802651f04acfbb3b36711a0592165c23957bbbdeba4c35ee82252b70e0208cede0390d3256"
        "0aa15ed5d84de524b937369141bc22c8c9b0f27dad93a85c1892e0b6d28f0a78654d03bdba9db3233edd209b6d5299e7"
        "a65b526590e4ce777260878e26592b49b98cb95f3033cc5ba74b055d374acd12db3453882b974db70d99a2d4c6dc4220"
        "9fbfef153b9c104e30514a50216fdc125c06ea75bd50a4e9e0a6e14e47e3586bf47f197775f55ed9467eda68c1751a26"
        "b4a25879b108b0582071b85599f8e90a"
        "e22414032e98ae6086ca3cf71aacca27020ef35c2c2e7b315f7ae2dafe9ff4b056b95daecddc9ab372cd32a480f27c79"
        "f7951013ebd8ba8df8e294222596f2cc",
    ),
]


@pytest.mark.parametrize(("credentials", "sent"), NOVNC)
def test_known_answers(credentials, sent):
    ran = run(lambda: Client(credentials), numbers(), trailing=b"\x00\x00\x00\x00")
    assert ran.sent.hex() == sent
    assert len(ran.sent) == 8 + 256 + 64
    assert ran.events == (None,)


@pytest.mark.parametrize(
    "credentials",
    [USER, Credentials("a", Secret("")), Credentials("n" * 255, Secret("ü" * 31)), Credentials("Jürgen", Secret("€"))],
)
def test_back_to_back(credentials):
    client, server = Client(credentials, random=lambda size: b"\x17" * size), Server()
    client.receive_data(server.data_to_send())
    said = client.data_to_send()
    assert run(Server, said, trailing=b"\x01").events == (credentials,)
    assert server.receive_data(said) == [credentials]


def test_what_a_server_sends():
    private = int.from_bytes(ones(8), "big")
    assert run(Server, b"").sent == numbers(generator=2, modulus=OURS, public=pow(2, private, OURS))


def test_each_field_is_filled_up_at_random():
    calls = []

    def random(size):
        calls.append(size)
        return bytes([len(calls)]) * size

    Client(random=random).receive_data(numbers())
    assert calls == [8, 256 - len("Administrator\0"), 64 - len("Sw0rdfish\0")]


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (Credentials(), "the token holds no user name, which MSLogonII needs"),
        (Credentials("user"), "the token holds no password, which MSLogonII needs"),
        (
            Credentials("n" * 256, Secret("")),
            "the token's user name is longer than the 255 bytes that MSLogonII carries",
        ),
        (
            Credentials("user", Secret("p" * 64)),
            "the token's password is longer than the 63 bytes that MSLogonII carries",
        ),
        (Credentials("a\0b", Secret("")), "the token's user name contains a NUL, where MSLogonII ends it"),
    ],
)
def test_credentials_that_cannot_be_sent(credentials, told):
    with pytest.raises(SecurityFailure) as raised:
        Client(credentials)
    assert str(raised.value) == told


DEGENERATE = [
    {"modulus": 0},
    {"modulus": 1},
    {"modulus": 2},
    {"modulus": MODULUS - 1},
    {"public": 0},
    {"public": 1},
    {"public": MODULUS - 1},
    {"public": MODULUS},
    {"public": (1 << 64) - 1},
    {"generator": 0},
    {"generator": 1},
    {"generator": MODULUS - 1},
    {"generator": MODULUS},
]


@pytest.mark.parametrize("fields", DEGENERATE)
def test_degenerate_numbers(fields):
    ran = run(Client, numbers(**fields))
    assert ran.error[0] is RemoteProtocolError
    assert "target's Diffie-Hellman numbers are degenerate" in ran.error[1]
    assert ran.sent == b""


@pytest.mark.parametrize("public", [0, 1, OURS - 1, OURS, (1 << 64) - 1])
def test_a_degenerate_public_key_of_a_client(public):
    ran = run(Server, public.to_bytes(8, "big") + bytes(320))
    assert ran.error[0] is RemoteProtocolError
    assert "client's Diffie-Hellman numbers are degenerate" in ran.error[1]


def encrypted(name, password):
    """Credentials for the server, under a key it can know."""
    start = pow(3, int.from_bytes(ones(8), "big"), OURS).to_bytes(8, "big")
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in start)

    def under(field):
        return Cipher(TripleDES(key * 3), modes.CBC(start)).encryptor().update(field)

    return (3).to_bytes(8, "big") + under(name) + under(password)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (b"user".ljust(256, b"x"), b"password".ljust(64, b"\0")),  # no NUL
        (b"user".ljust(256, b"\0"), b"password".ljust(64, b"x")),
        (b"J\xfcrgen".ljust(256, b"\0"), b"password".ljust(64, b"\0")),
        (b"user".ljust(256, b"\0"), b"password\xff".ljust(64, b"\0")),
    ],
)
def test_credentials_that_are_no_text(name, password):
    ran = run(Server, encrypted(name, password))
    assert ran.error == (RemoteProtocolError, "client's credentials are no text ended by a NUL")


@pytest.mark.parametrize("said", [b"", numbers()[:8], numbers()[:-1]])
def test_a_target_that_closes(said):
    assert run(Client, said, eof=True).error[0] is EndOfStream


@pytest.mark.parametrize("said", [b"", bytes(8), bytes(327)])
def test_a_client_that_closes(said):
    assert run(Server, said, eof=True).error[0] is EndOfStream


def test_no_secret_in_what_is_told():
    machine = Server()
    events = machine.receive_data(encrypted(b"user".ljust(256, b"\0"), b"Sw0rdfish".ljust(64, b"\0")))
    assert events == [Credentials("user", Secret("Sw0rdfish"))]
    assert "Sw0rdfish" not in repr(events) + repr(machine) + repr(Client())


@given(st.binary(max_size=40), st.sampled_from([b"", numbers()[:8], numbers()[:16]]))
def test_a_client_fed_random_bytes_raises_nothing_else(noise, before):
    ran = run(Client, before + noise, eof=True)
    assert ran.error is None or issubclass(ran.error[0], RemoteProtocolError)


@given(st.binary(max_size=340), st.sampled_from([b"", (3).to_bytes(8, "big"), bytes(300)]))
def test_a_server_fed_random_bytes_raises_nothing_else(noise, before):
    ran = run(Server, before + noise, eof=True)
    assert ran.error is None or issubclass(ran.error[0], RemoteProtocolError)
