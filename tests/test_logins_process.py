"""Logins towards targets by the whole program: every security type, with the demo desktop as the target."""

import contextlib
import socket
import struct

import pytest

from rfbproxy.reasons import CloseReason
from rfbproxy.secret import Secret
from tests.certificates import certificate
from tests.peers import TIMEOUT_S, WebSocket, refusal, take, target
from tests.proxy_process import running
from tests.secured_demo import PASSWORD, USERNAME, secured_demo

EVERYTHING = "vencrypt,sasl,vnc,ard,mslogon2,none"
ALL_SUBTYPES = "x509plain,x509sasl,x509vnc,x509none,tlsplain,tlsvnc,tlsnone,plain"
LOGINS = [
    ("none", "", "None"),
    ("vnc", "", "VNC Authentication"),
    ("sasl", "", "SASL SCRAM-SHA-256"),
    ("ard", "", "Diffie-Hellman Authentication"),
    ("mslogon2", "", "MSLogonII"),
    ("vencrypt", "x509none", "VeNCrypt X509None"),
    ("vencrypt", "x509vnc", "VeNCrypt X509Vnc"),
    ("vencrypt", "x509plain", "VeNCrypt X509Plain"),
    ("vencrypt", "x509sasl", "VeNCrypt X509SASL SCRAM-SHA-256"),
    ("vencrypt", "tlsnone", "VeNCrypt TLSNone"),
    ("vencrypt", "tlsvnc", "VeNCrypt TLSVnc"),
    ("vencrypt", "tlsplain", "VeNCrypt TLSPlain"),
    ("vencrypt", "plain", "VeNCrypt Plain"),
]


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    for name, subject in (("target", "localhost"), ("other", "localhost"), ("elsewhere", "elsewhere.example")):
        certificate(folder / f"{name}.pem", folder / f"{name}.pem", subject)
    return folder


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, pem):
    """One that allows everything."""
    options = f"""
[vnc]
auth_schemes = {EVERYTHING}
vencrypt_ca_certs = {pem}/target.pem
[consoleproxy]
vencrypt_subtypes = {ALL_SUBTYPES}
"""
    with running(tmp_path_factory.mktemp("proxy"), options) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def cautious(tmp_path_factory, pem):
    """One with the defaults, and a CA."""
    with running(tmp_path_factory.mktemp("cautious"), f"[vnc]\nvencrypt_ca_certs = {pem}/target.pem") as proxy:
        yield proxy


def open_console(proxy, port, **grant):
    grant = {"username": USERNAME, "password": Secret(PASSWORD)} | grant
    return WebSocket(proxy.port, f"/?token={proxy.create(port, **grant)['token']}")


def desktop_name(client):
    """Come in as a viewer, and read the desktop's name."""
    assert client.receive(12) == b"RFB 003.008\n"
    client.send(b"RFB 003.008\n")
    assert client.receive(2) == b"\1\1"
    client.send(b"\1")
    assert client.receive(4) == b"\0\0\0\0"
    client.send(b"\1")
    client.receive(20)
    return client.receive(struct.unpack("!I", client.receive(4))[0])


def see(proxy, port, **grant):
    """Open a console to its end; returns the audit record."""
    before = proxy.settled()
    with open_console(proxy, port, **grant) as client:
        assert desktop_name(client) == b"Demo desktop"
        client.send(b"\3\0\0\0\0\0\1\0\1\0")  # FramebufferUpdateRequest
        assert client.receive(4)[0] == 0  # FramebufferUpdate
        client.close()
        client.until_close()
    return proxy.next_record(before)


def fail(proxy, port, **grant):
    """Be refused; returns the audit record and what the log says of the end."""
    before = proxy.settled()
    with open_console(proxy, port, **grant) as client:
        assert refusal(client) == CloseReason.TARGET_AUTH_FAILED.sentence
    record = proxy.next_record(before)
    assert record["close_reason"] == "target-auth-failed"
    line = next(line for line in proxy.log.splitlines() if f"[{record['session']}] ended" in line)
    assert PASSWORD not in proxy.log
    return record, line


@pytest.mark.parametrize(("kind", "subtype", "name"), LOGINS)
@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_every_login(proxy, pem, kind, subtype, name, version):
    arguments = [kind, subtype, "--version", version, "--certificate", str(pem / "target.pem")]
    with secured_demo(*arguments) as port:
        record = see(proxy, port)
    assert record["target_security"] == name
    assert record["target_version"] == version
    assert record["client_security"] == "None"
    assert record["close_reason"] == "client-closed"
    assert record["bytes_to_client"] > 1000


@pytest.mark.parametrize(("mechanism", "subtype"), [("SCRAM-SHA-1", "x509sasl"), ("PLAIN", "x509sasl")])
def test_every_sasl_mechanism(proxy, pem, mechanism, subtype):
    with secured_demo("vencrypt", subtype, "--mechanism", mechanism, "--certificate", str(pem / "target.pem")) as port:
        assert see(proxy, port)["target_security"] == f"VeNCrypt X509SASL {mechanism}"


def test_plain_by_sasl_is_for_tls_alone(proxy):
    with secured_demo("sasl", "--mechanism", "PLAIN") as port:
        _, line = fail(proxy, port)
    assert "PLAIN takes TLS" in line


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("vnc", ""), ("sasl", ""), ("ard", ""), ("mslogon2", ""), ("vencrypt", "x509plain"), ("vencrypt", "x509sasl"),
        ("vencrypt", "x509vnc"), ("vencrypt", "tlsplain"), ("vencrypt", "plain"),
    ],
)  # fmt: skip
def test_a_wrong_password(proxy, pem, kind, subtype):
    with secured_demo(kind, subtype, "--certificate", str(pem / "target.pem")) as port:
        record, line = fail(proxy, port, password=Secret("guess"))
    assert record["target_security"] is None
    closes = "sasl" in (kind, subtype.removeprefix("x509"))  # as QEMU does
    assert ("instead of answering the login" if closes else "refuses the login") in line
    assert "guess" not in line


def test_the_operators_order_decides(proxy, pem):
    """nova_R14: the target prefers None."""
    with secured_demo("none,vnc,vencrypt", "x509none,x509vnc", "--certificate", str(pem / "target.pem")) as port:
        assert see(proxy, port)["target_security"] == "VeNCrypt X509Vnc"
        assert see(proxy, port, username=None, password=None)["target_security"] == "VeNCrypt X509None"


@pytest.mark.parametrize("word", ["x509vnc", "vencrypt", "vnc", "none"])
def test_what_a_token_requires(proxy, pem, word):
    with secured_demo("vnc,vencrypt", "x509vnc", "--certificate", str(pem / "target.pem")) as port:
        if word == "none":
            _, line = fail(proxy, port, require_security=word)
            assert "allowed are [None]" in line
        else:
            expected = "VNC Authentication" if word == "vnc" else "VeNCrypt X509Vnc"
            assert see(proxy, port, require_security=word)["target_security"] == expected


def test_a_token_cannot_require_what_the_operator_does_not_allow(cautious):
    with secured_demo("vencrypt", "tlsvnc") as port:
        _, line = fail(cautious, port, require_security="tlsvnc")
    assert "allowed are [VeNCrypt with subtypes none]" in line


@pytest.mark.parametrize("subtype", ["tlsnone", "tlsvnc", "tlsplain", "plain"])
def test_anonymous_and_clear_only_if_listed(cautious, subtype):
    with secured_demo("vencrypt", subtype) as port:
        _, line = fail(cautious, port)
    assert "allowed are [X509Plain, X509SASL, X509Vnc, X509None]" in line


@pytest.mark.parametrize(("rest", "name"), [("vnc", "VNC Authentication"), ("sasl", "SASL SCRAM-SHA-256")])
def test_a_target_whose_vencrypt_leads_nowhere_is_dialled_once_more(cautious, rest, name):
    with secured_demo(f"vencrypt,{rest}", "tlsvnc") as port:
        assert see(cautious, port)["target_security"] == name


def test_a_failed_login_is_no_reason_for_a_weaker_one(cautious, pem):
    with secured_demo("vencrypt,none", "x509vnc", "--certificate", str(pem / "target.pem")) as port:
        fail(cautious, port, password=Secret("guess"))


@pytest.mark.parametrize(
    ("file", "grant", "why"),
    [
        ("other", {}, "its issuer is not"),
        ("elsewhere", {}, "its issuer is not"),
        ("target", {"tls_name": "elsewhere.example"}, "is not for 'elsewhere.example' but for [localhost, 127.0.0.1]"),
    ],
)
def test_wire_R18_a_certificate_that_is_not_to_be_believed(cautious, pem, file, grant, why):
    """Nor is there a second try without TLS."""
    with secured_demo("vencrypt,vnc,none", "x509vnc", "--certificate", str(pem / f"{file}.pem")) as port:
        _, line = fail(cautious, port, **grant)
    assert why.replace("its issuer is not", "it is signed by itself alone") in line or why in line


def test_a_name_that_the_token_gives(cautious, pem):
    with secured_demo("vencrypt", "x509vnc", "--certificate", str(pem / "target.pem")) as port:
        assert see(cautious, port, tls_name="localhost")["target_security"] == "VeNCrypt X509Vnc"


def test_names_may_be_left_unverified(tmp_path, pem):
    options = f"[vnc]\nvencrypt_ca_certs = {pem}/elsewhere.pem\n[consoleproxy]\nvencrypt_verify_names = False"
    with (
        running(tmp_path, options) as proxy,
        secured_demo("vencrypt", "x509none", "--certificate", str(pem / "elsewhere.pem")) as port,
    ):
        assert see(proxy, port, tls_name="whatever.example")["target_security"] == "VeNCrypt X509None"


def test_nova_V02_a_target_that_demands_a_client_certificate(tmp_path, pem):
    """nova_V01, V02: with the pair, and without it, where nova crashes; the log names the late refusal of TLS 1.3."""
    arguments = ["vencrypt", "x509none", "--certificate", str(pem / "target.pem"), "--client-ca"]
    trust = f"[vnc]\nvencrypt_ca_certs = {pem}/target.pem\n"
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    (tmp_path / "wrong").mkdir()
    with secured_demo(*arguments, str(pem / "other.pem")) as port:
        with running(tmp_path / "with", f"{trust}vencrypt_client_cert = {pem}/other.pem") as proxy:
            assert see(proxy, port)["target_security"] == "VeNCrypt X509None"
        with running(tmp_path / "without", trust) as proxy:
            _, line = fail(proxy, port)
            assert "asked for a client certificate, and [vnc] vencrypt_client_cert is unset" in line
        wrong = f"vencrypt_client_cert = {pem}/elsewhere.pem\nvencrypt_client_key = {pem}/elsewhere.pem"
        with running(tmp_path / "wrong", trust + wrong) as proxy:
            _, line = fail(proxy, port)
            assert "perhaps refuses [vnc] vencrypt_client_cert" in line


def scripted(*steps):
    """A 3.8 server that offers VeNCrypt alone and then reads and writes in turn: an int is bytes to read."""

    def script(sock):
        sock.sendall(b"RFB 003.008\n")
        take(sock, 12)
        sock.sendall(b"\1\x13")
        take(sock, 1)
        for step in steps:
            if isinstance(step, int):
                take(sock, step)
            else:
                sock.sendall(step)
        with contextlib.suppress(OSError):
            while sock.recv(4096):
                pass

    return script


OFFER = b"\0\1\0\0\1\x04"  # ack, one subtype: X509None


@pytest.mark.parametrize(
    ("steps", "reason", "why"),
    [
        ([b"\0\1"], "target-auth-failed", "VeNCrypt 0.1"),  # wire_R16, nova_V03
        ([b"\1\0"], "target-auth-failed", "VeNCrypt 1.0"),
        ([b"\0\2", 2, b"\1"], "target-auth-failed", "refuses VeNCrypt 0.2"),  # nova_V04
        ([b"\0\2", 2, b"\0\0"], "target-auth-failed", "offers VeNCrypt subtypes []"),
        ([b"\0\2", 2, b"\0\1\0\0\x99\x99"], "target-auth-failed", "offers VeNCrypt subtypes [39321]"),  # nova_V05
        ([b"\0\2", 2, OFFER, 4, b"\0"], "target-auth-failed", "refuses VeNCrypt X509None"),  # nova_V06
        ([b"\0\2", 2, OFFER, 4, b"\1\0"], "protocol-error", "came in clear where TLS is due"),  # wire_R17
        ([b"\0\2", 2, OFFER, 4, b"\1", 1, b"HTTP/1.0 400 no\r\n\r\n"], "target-auth-failed", "TLS failed"),  # nova_V07
    ],
)
def test_wire_R16_R17_nova_V03_to_V07(cautious, steps, reason, why):
    before = cautious.settled()
    with target(scripted(*steps)) as server, open_console(cautious, server.port) as client:
        assert refusal(client) == CloseReason(reason).sentence
    record = cautious.next_record(before)
    assert record["close_reason"] == reason
    line = next(line for line in cautious.log.splitlines() if f"[{record['session']}] ended" in line)
    assert why in line


def test_a_target_that_is_silent_inside_tls(tmp_path, pem):
    options = f"[vnc]\nvencrypt_ca_certs = {pem}/target.pem\n[consoleproxy]\nhandshake_timeout_s = 0.5"
    with running(tmp_path, options) as proxy, target(scripted(b"\0\2", 2, OFFER, 4, b"\1")) as server:
        with open_console(proxy, server.port) as client:
            client.sock.settimeout(TIMEOUT_S)
            assert refusal(client) == CloseReason.TARGET_UNREACHABLE.sentence
        assert proxy.next_record(0)["close_reason"] == "target-unreachable"


def test_a_vanished_client_lets_a_target_in_tls_go(cautious):
    gone = []

    def script(sock: socket.socket) -> None:
        scripted(b"\0\2", 2, OFFER, 4, b"\1")(sock)
        gone.append(True)

    before = cautious.settled()
    with target(script) as server:
        client = open_console(cautious, server.port)
        client.receive(12)
        client.send(b"RFB 003.008\n")
        while not server.connections:
            pass
        client.vanish()
        assert cautious.next_record(before)["close_reason"] == "client-closed"
