from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from rfbproxy.client.connection import LINGER_S
from rfbproxy.client.folders import Folders
from rfbproxy.client.pages import Pages, PageSite
from rfbproxy.client.tls import ServerTls
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.errors import ConfigError
from tests.client.callers import HEAD_TIMEOUT_S, Caller, Listening, always_ready, answers
from tests.client.frames import closing, frame, parse, upgrade

PAGE = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


TRADITIONAL = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)


def make_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def name_of(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def cert_pem(key, name="proxy.example", *, issuer=None, issuer_key=None, ca=False):
    start = datetime.now(UTC) - timedelta(1)
    made = x509.CertificateBuilder(
        name_of(issuer or name),
        name_of(name),
        key.public_key(),
        x509.random_serial_number(),
        start,
        start + timedelta(9),
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return made.sign(issuer_key or key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A certificate, its key, both in one file, another key, an encrypted one, and nonsense."""
    folder = tmp_path_factory.mktemp("tls")
    key, ca_key = make_key(), make_key()
    for name, content in {
        "ca": cert_pem(ca_key, "ca", ca=True),
        "issued": cert_pem(key, "issued", issuer="ca", issuer_key=ca_key),
        "chain": cert_pem(key, "issued", issuer="ca", issuer_key=ca_key) + cert_pem(ca_key, "ca", ca=True),
        "ec-parameters": b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + key.private_bytes(*TRADITIONAL),
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

    def __init__(
        self,
        pem,
        *,
        version=SSL.TLS1_3_VERSION,
        options=None,
        tls=None,
        offers=None,
        shows=None,
        resumes=None,
        **fields,
    ):
        super().__init__(tls=tls or ServerTls(pem / "cert", pem / "key", **(options or {})), **fields)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if offers is not None:
            context.set_alpn_protos(offers)
        if shows is not None:
            context.use_certificate_chain_file(str(pem / shows))
            context.use_privatekey_file(str(pem / "key"))
        self.tls = SSL.Connection(resumes.tls.get_context() if resumes else context, None)
        if resumes is not None:
            self.tls.set_session(resumes.tls.get_session())
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
    assert caller.stream.frames._partial == b""
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
    assert caller.transport.disconnecting
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


def test_a_key_behind_its_parameters_is_found(pem):
    ServerTls(pem / "cert", pem / "ec-parameters")


def test_the_whole_chain_is_shown(pem):
    caller = TlsCaller(pem, tls=ServerTls(pem / "chain", pem / "key")).exchange()
    chain = caller.tls.get_peer_cert_chain(as_cryptography=True)
    assert [cert.subject for cert in chain] == [name_of("issued"), name_of("ca")]


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [([b"h2", b"http/1.1"], b"http/1.1"), ([b"http/1.1"], b"http/1.1"), ([b"h2"], b""), (None, b"")],
)
def test_alpn(pem, offers, chosen):
    assert TlsCaller(pem, offers=offers).exchange().tls.get_alpn_proto_negotiated() == chosen


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize("demanded", [False, True])
def test_a_session_is_resumed(pem, version, demanded):
    tls = ServerTls(pem / "cert", pem / "key", client_ca_certs=pem / "ca" if demanded else None)
    shows = "issued" if demanded else None
    first = TlsCaller(pem, tls=tls, version=version, shows=shows).exchange().say(PAGE)
    assert not session_reused(first)
    again = TlsCaller(pem, tls=tls, version=version, shows=shows, resumes=first).exchange().say(PAGE)
    assert session_reused(again)
    assert answers(again.heard())[0][0] == 200


def session_reused(caller):
    return bool(SSL._lib.SSL_session_reused(caller.tls._ssl))


# Client certificates


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_client_with_a_certificate_of_the_ca_comes_in(pem, version):
    caller = TlsCaller(pem, options={"client_ca_certs": pem / "ca"}, shows="issued", version=version).exchange()
    caller.say(PAGE)
    assert answers(caller.heard())[0][0] == 200


@pytest.mark.parametrize(
    ("shows", "says"), [(None, "peer did not return a certificate"), ("cert", "certificate verify failed")]
)
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_client_without_one_does_not(pem, version, shows, says, log):
    caller = TlsCaller(pem, options={"client_ca_certs": pem / "ca"}, shows=shows, version=version)
    with pytest.raises(SSL.Error):
        caller.exchange().say(PAGE)
    assert caller.heard() == b""
    assert caller.transport.disconnecting or caller.transport.aborted
    caller.lose()
    assert f"192.0.2.7 failed in TLS: {says}" in [formatEvent(event) for event in log]


@pytest.mark.parametrize("name", ["none", "nonsense", "key"])
def test_cas_that_cannot_be_used(pem, name):
    with pytest.raises(ConfigError, match=r"\[consoleproxy\] client_ca_certs: .*" + name):
        ServerTls(pem / "cert", pem / "key", client_ca_certs=pem / name)


# Renewal


class Renewed:
    """Files that are replaced, and whom a client meets then."""

    def __init__(self, pem, folder):
        self.pem, self.cert, self.key = pem, folder / "cert", folder / "key"
        self.put("first")
        self.tls = ServerTls(self.cert, self.key)

    def put(self, name):
        """A new pair, each file renamed into its place, as ACME clients do."""
        key = make_key()
        self.replace(self.cert, cert_pem(key, name))
        self.replace(self.key, key_pem(key))

    def replace(self, file, content):
        new = file.with_suffix(".new")
        new.write_bytes(content)
        new.rename(file)

    def met(self):
        caller = TlsCaller(self.pem, tls=self.tls).exchange()
        caller.say(PAGE)
        assert answers(caller.heard())[0][0] == 200
        return caller.tls.get_peer_certificate(as_cryptography=True).subject.rfc4514_string()


def errors_in(log):
    return [formatEvent(event) for event in log if event["log_level"].name == "error"]


def test_a_renewed_certificate_is_used_for_the_next_client(pem, tmp_path, log):
    files = Renewed(pem, tmp_path)
    old = TlsCaller(pem, tls=files.tls).exchange()
    assert files.met() == "CN=first"
    files.put("second")
    assert files.met() == "CN=second"
    old.say(PAGE)  # who is in stays in
    assert answers(old.heard())[0][0] == 200
    assert sum("is used from now on" in formatEvent(event) for event in log) == 1
    assert errors_in(log) == []


@pytest.mark.parametrize("broken", [b"", b"nonsense", None])
def test_a_broken_certificate_changes_nothing_and_is_logged_once(pem, tmp_path, log, broken):
    files = Renewed(pem, tmp_path)
    if broken is None:
        files.cert.unlink()
    else:
        files.replace(files.cert, broken)
    for _ in range(3):
        assert files.met() == "CN=first"
    (error,) = errors_in(log)
    assert "the one before it stays: [DEFAULT] cert: " in error
    files.put("second")
    assert files.met() == "CN=second"


def test_between_certificate_and_key_the_old_pair_stays(pem, tmp_path, log):
    files = Renewed(pem, tmp_path)
    key = make_key()
    files.replace(files.cert, cert_pem(key, "second"))
    assert files.met() == "CN=first"
    files.replace(files.key, key_pem(key, b"password"))
    assert files.met() == "CN=first"
    files.replace(files.key, key_pem(key))
    assert files.met() == "CN=second"
    assert len(errors_in(log)) == 2


# Pages


@pytest.mark.parametrize("strict", [False, True])
def test_hsts_is_sent_inside_tls_where_only_tls_is_allowed(pem, strict):
    clock = Clock()
    pages = PageSite(Pages(Folders(pem, None), (), always_ready, strict_transport=strict), reactor=clock)
    encrypted = TlsCaller(pem, clock=clock, pages=pages).exchange()
    encrypted.say(PAGE)
    sent = answers(encrypted.heard())[0][1].get("strict-transport-security")
    assert sent == ("max-age=31536000" if strict else None)
    plain = Caller(clock=clock, pages=pages)
    plain.send(PAGE)
    assert "strict-transport-security" not in answers(plain.received())[0][1]


def test_a_console_knows_whether_it_is_encrypted(pem):
    caller = TlsCaller(pem, tls_only=True).exchange()
    caller.say(upgrade())
    assert caller.request.encrypted


def test_inside_tls_a_client_waits_in_the_same_place(pem):
    room = WaitingRoom()
    caller = TlsCaller(pem, waiting_room=room)
    caller.exchange()
    caller.say(upgrade())
    assert len(room) == 1
    caller.stream.on_authorised()
    assert len(room) == 0


def test_a_proxy_header_comes_before_tls(pem):
    caller = TlsCaller(pem, source="198.51.100.1")
    caller.send(b"PROXY TCP4 192.0.2.99 198.51.100.1 4711 6080\r\n")
    caller.exchange()
    caller.say(upgrade())
    assert caller.request.source == "192.0.2.99"
    assert caller.request.encrypted


def test_inside_tls_a_proxy_header_is_a_bad_request(pem):
    caller = TlsCaller(pem, source="198.51.100.1")
    caller.exchange()
    caller.say(b"PROXY TCP4 192.0.2.99 198.51.100.1 4711 6080\r\n")
    assert answers(caller.decrypted)[0][0] == 400
