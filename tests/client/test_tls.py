from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from rfbproxy.client.listener import LINGER_S
from rfbproxy.client.tls import ServerTls
from rfbproxy.errors import ConfigError
from tests.client.callers import HEAD_TIMEOUT_S, Caller, Listening, answers
from tests.client.frames import closing, frame, parse, upgrade

PAGE = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


def make_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def cert_pem(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy.example")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A certificate, its key, both in one file, another key, an encrypted one, and nonsense."""
    folder = tmp_path_factory.mktemp("tls")
    key = make_key()
    for name, content in {
        "cert": cert_pem(key),
        "key": key_pem(key),
        "both": cert_pem(key) + key_pem(key),
        "other": key_pem(make_key()),
        "encrypted": key_pem(key, b"password"),
        "nonsense": b"nonsense",
    }.items():
        (folder / name).write_bytes(content)
    return folder


class TlsCaller(Caller):
    """A client inside TLS."""

    def __init__(self, pem, *, version=SSL.TLS1_3_VERSION, options=None, **fields):
        super().__init__(tls=ServerTls(pem / "cert", pem / "key", **(options or {})), **fields)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.decrypted = b""

    def exchange(self, *, cut=None):
        """Carry bytes both ways until nothing moves."""
        while True:
            try:
                self.tls.do_handshake()
                self.decrypted += self.tls.recv(1 << 20)
                continue
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                pass
            try:
                out = self.tls.bio_read(1 << 20)
            except SSL.WantReadError:
                out = b""
            size = cut or len(out) or 1
            for i in range(0, len(out), size):
                self.connection.dataReceived(out[i : i + size])
            self.clock.advance(0)  # Twisted gathers small writes for one turn
            back = self.transport.value()
            self.transport.clear()
            if back:
                self.tls.bio_write(back)
            if not out and not back:
                return self

    def say(self, data):
        self.tls.send(data)
        return self.exchange()

    def heard(self):
        data, self.decrypted = self.decrypted, b""
        return data


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize("cut", [None, 1, 7])
def test_a_page_and_a_console_inside_tls(pem, version, cut):
    caller = TlsCaller(pem, version=version).exchange(cut=cut)
    caller.say(PAGE)
    assert answers(caller.heard())[0][2] == b"alive\n"
    assert not caller.connection.has_console
    caller.say(upgrade() + frame(b"RFB"))
    assert caller.connection.has_console
    sink = Listening()
    caller.stream.push_to(sink)
    assert sink.data == b"RFB"
    caller.heard()
    caller.stream.send(b"x" * 200000)
    caller.stream.send_eof()
    caller.exchange()
    data, close = parse(caller.heard())
    assert (len(data.payload), close) == (200000, closing(1000, "Target closed"))
    caller.lose()
    assert sink.events == ["eof", "lost"]


def test_pages_inside_tls_where_only_tls_is_allowed(pem):
    caller = TlsCaller(pem, tls_only=True).exchange()
    caller.say(PAGE * 3)
    assert len(answers(caller.heard())) == 3
    caller.lose()


def test_tls_inside_tls_is_no_request(pem):
    caller = TlsCaller(pem).exchange()
    caller.say(bytes.fromhex("1603010200") + b"\n")
    assert answers(caller.heard())[0][0] == 400
    caller.lose()


def test_a_violation_inside_tls_is_told_and_closed(pem):
    caller = TlsCaller(pem).exchange()
    caller.say(upgrade())
    caller.heard()
    caller.say(frame(b"", masked=False))
    (close,) = parse(caller.heard())
    assert close.payload[:2] == (1002).to_bytes(2, "big")
    caller.say(frame(b"after") * 100)
    assert caller.stream._protocol.data == b""
    caller.lose()


def test_a_refused_client_inside_tls_that_does_not_close_is_dropped(pem):
    caller = TlsCaller(pem).exchange()
    caller.say(b"nonsense\n")
    assert answers(caller.heard())[0][0] == 400
    assert not caller.transport.aborted
    caller.clock.advance(LINGER_S)
    assert caller.transport.aborted
    caller.lose()


def test_a_tls_handshake_that_never_ends_is_dropped(pem):
    caller = TlsCaller(pem)
    caller.send(bytes.fromhex("1603010200"))
    caller.clock.advance(HEAD_TIMEOUT_S)
    assert caller.transport.aborted
    caller.lose()


def test_a_client_inside_tls_that_half_closes_is_gone(pem):
    caller = TlsCaller(pem).exchange()
    caller.half_close()
    assert caller.transport.aborted
    caller.lose()


def test_nonsense_instead_of_tls_ends_the_connection(pem):
    caller = TlsCaller(pem)
    caller.send(b"\x16nonsense" * 10)
    assert caller.transport.disconnecting
    caller.lose()


# Options


def version_of(pem, client, **options):
    try:
        return TlsCaller(pem, version=client, options=options).exchange().tls.get_protocol_version_name()
    except SSL.Error:
        return None


def test_nova_W21_the_minimum_version(pem):
    """Nova's `default` leaves the floor to OpenSSL's build; here it is TLS 1.2."""
    assert version_of(pem, SSL.TLS1_2_VERSION) == "TLSv1.2"
    assert version_of(pem, SSL.TLS1_1_VERSION) is None
    assert version_of(pem, SSL.TLS1_2_VERSION, minimum_version="tlsv1_3") is None
    assert version_of(pem, SSL.TLS1_3_VERSION, minimum_version="tlsv1_3") == "TLSv1.3"


def test_ciphers(pem):
    caller = TlsCaller(pem, version=SSL.TLS1_2_VERSION, options={"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}).exchange()
    assert caller.tls.get_cipher_name() == "ECDHE-ECDSA-AES256-GCM-SHA384"
    with pytest.raises(ConfigError, match="'NONSENSE' names no cipher"):
        ServerTls(pem / "cert", pem / "key", ciphers="NONSENSE")


def test_the_key_may_lie_in_the_certificates_file(pem):
    ServerTls(pem / "both", None)


@pytest.mark.parametrize(
    ("cert", "key", "says"),
    [
        ("none", "key", r"\[DEFAULT\] cert: .*none cannot be read: No such file"),
        ("cert", "none", r"\[DEFAULT\] key: .*none cannot be read: No such file"),
        ("nonsense", "key", r"\[DEFAULT\] cert: .*nonsense holds no usable certificate: "),
        ("cert", "nonsense", r"\[DEFAULT\] key: .*nonsense holds no usable private key"),
        ("cert", "encrypted", r"\[DEFAULT\] key: .*an encrypted one cannot be used"),
        ("cert", None, r"\[DEFAULT\] key: .*cert holds no usable private key"),
        ("cert", "other", r"\[DEFAULT\] key: .*other is not the key of .*cert"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(pem, cert, key, says):
    with pytest.raises(ConfigError, match=says) as caught:
        ServerTls(pem / cert, pem / key if key else None)
    assert "\n" not in str(caught.value)
