"""Native VNC viewers at the whole program's `rfb_listen`."""

import contextlib
import socket
import ssl
import struct
import time

import pytest

from rfbproxy.reasons import CloseReason
from tests.certificates import certificate
from tests.native_viewer import NativeViewer
from tests.peers import SERVER_INIT, TIMEOUT_S, cut_text, echo, take, target
from tests.ports import free_port
from tests.proxy_process import run, running, until

NO_TOKEN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    certificate(file, file)
    return file


@contextlib.contextmanager
def listening(folder, pem, options=""):
    port = free_port()
    with running(folder, f"[DEFAULT]\ncert = {pem}\n[consoleproxy]\nrfb_listen = 127.0.0.1:{port}\n{options}") as proxy:
        proxy.native_port = port
        until(lambda: f"consoles on 127.0.0.1:{port}" in proxy.log, "the native listener")
        yield proxy


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, pem):
    with listening(tmp_path_factory.mktemp("native"), pem) as proxy:
        yield proxy


@pytest.mark.parametrize("version", [b"RFB 003.007\n", b"RFB 003.008\n", b"RFB 004.001\n"])
@pytest.mark.parametrize("username", ["", "somebody"])
def test_a_viewer_logs_in_with_its_token_as_password(proxy, pem, version, username):
    before = proxy.settled()
    with target(echo) as server, NativeViewer(proxy.native_port, version=version) as viewer:
        token = proxy.create(server.port)["token"]
        assert viewer.enter(str(pem), token, username) == SERVER_INIT
        viewer.sock.sendall(cut_text(b"hello"))
        assert viewer.receive(13) == cut_text(b"hello")
        viewer.sock.close()
        record = proxy.next_record(before)
    assert record["way_in"] == "rfb"
    assert record["client_security"] == "VeNCrypt X509Plain"
    assert record["client_version"] == ("3.7" if version == b"RFB 003.007\n" else "3.8")
    assert record["close_reason"] == "client-closed"
    assert record["bytes_to_target"] == record["bytes_to_client"] == 13
    assert token not in proxy.log + str(proxy.records)


def test_a_byte_a_segment(proxy, pem):
    """wire_R07 for a viewer whose TLS begins in the middle."""
    with target(echo) as server, socket.create_connection(("127.0.0.1", proxy.native_port), TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inside = ssl.create_default_context(cafile=str(pem)).wrap_bio(incoming, outgoing, server_hostname="localhost")

        def send(data):
            for byte in data:
                sock.sendall(bytes([byte]))

        def do(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    send(outgoing.read())
                    incoming.write(sock.recv(65536))
                finally:
                    send(outgoing.read())

        take(sock, 12)
        send(b"RFB 003.008\n")
        take(sock, 2)
        send(b"\x13")
        take(sock, 2)
        send(b"\0\2")
        take(sock, 6)
        send(b"\0\0\1\6")
        assert take(sock, 1) == b"\1"
        do(inside.do_handshake)
        token = proxy.create(server.port)["token"].encode()
        for byte in struct.pack("!II", 0, len(token)) + token:
            do(lambda byte=byte: inside.write(bytes([byte])))
        answer = b""
        while len(answer) < 4:
            answer += do(lambda: inside.read(4))
        assert answer == b"\0\0\0\0"


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("unknown", b"RFB 003.007\n"),
        ("unknown", b"RFB 003.008\n"),
        ("expired", b"RFB 003.008\n"),
        ("garbage", b"RFB 003.008\n"),
        ("empty", b"RFB 003.008\n"),
    ],
)
def test_every_wrong_token_is_refused_alike(proxy, pem, kind, version):
    """RFB's own failure, a bland sentence, and no sooner for one kind than for another."""
    with target(echo) as server:
        expired = proxy.create(server.port, ttl=0)["token"]
        token = {"unknown": NO_TOKEN, "expired": expired, "garbage": "\1" * 1000, "empty": ""}[kind]
        before = proxy.settled()
        with NativeViewer(proxy.native_port, version=version) as viewer:
            viewer.start_tls(str(pem))
            begun = time.monotonic()
            viewer.plain(token)
            sentence = viewer.refusal()
            assert time.monotonic() - begun > 0.95
        reason = CloseReason.TOKEN_EXPIRED if kind == "expired" else CloseReason.TOKEN_UNKNOWN
        assert sentence == ("" if version == b"RFB 003.007\n" else reason.sentence)
        assert proxy.next_record(before)["close_reason"] == reason.value
        assert server.connections == 0
    assert expired not in proxy.log


def test_a_source_that_guesses_waits_ever_longer(tmp_path, pem):
    def guess(number):
        viewer = NativeViewer(proxy.native_port)
        viewer.start_tls(str(pem))
        viewer.plain(f"guess {number}")
        return viewer

    with listening(tmp_path, pem) as proxy:
        for viewer in [guess(number) for number in range(40)]:
            assert viewer.refusal()
        begun = time.monotonic()
        assert guess(40).refusal()
        assert time.monotonic() - begun > 1.5


def test_success_is_not_promised_before_the_target_has_accepted(proxy, pem):
    """The SecurityResult is what is withheld."""
    held = []

    def script(sock):
        take_nothing = sock.recv(0)
        assert take_nothing == b""
        held.append(sock)
        until(lambda: len(held) > 1, "the viewer to have waited")
        echo(sock)

    with target(script) as server, NativeViewer(proxy.native_port) as viewer:
        viewer.start_tls(str(pem))
        viewer.plain(proxy.create(server.port)["token"])
        until(lambda: held, "the target to be dialled")
        viewer.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            viewer.sock.recv(1)
        held.append(None)
        viewer.sock.settimeout(TIMEOUT_S)
        assert viewer.receive(4) == b"\0\0\0\0"


def test_a_target_that_cannot_be_reached(proxy, pem):
    before = proxy.settled()
    with NativeViewer(proxy.native_port) as viewer:
        viewer.start_tls(str(pem))
        viewer.plain(proxy.create(free_port())["token"])
        assert viewer.refusal() == CloseReason.TARGET_UNREACHABLE.sentence
    assert proxy.next_record(before)["close_reason"] == "target-unreachable"


def test_wire_R06_a_viewer_of_3_3_is_told_in_3_3(proxy):
    before = proxy.settled()
    with NativeViewer(proxy.native_port, version=b"RFB 003.003\n") as viewer:
        assert viewer.receive(4) == b"\0\0\0\0"
        assert b"3.7" in viewer.receive(struct.unpack("!I", viewer.receive(4))[0])
        assert viewer.until_end() == b""
    assert proxy.next_record(before)["close_reason"] == "protocol-error"


@pytest.mark.parametrize("choice", [1, 2, 0, 255, 20])
def test_wire_R13_a_type_that_was_not_offered(proxy, choice):
    """None, VNC Authentication and whatever else a viewer may try: never."""
    with NativeViewer(proxy.native_port) as viewer:
        assert viewer.receive(2) == b"\1\x13"
        viewer.sock.sendall(bytes([choice]))
        assert "not offered" in viewer.refusal()


@pytest.mark.parametrize("subtype", [256, 257, 259, 260, 261, 263, 0, 0xFFFFFFFF])
def test_wire_R16_a_subtype_that_was_not_offered(proxy, subtype):
    with NativeViewer(proxy.native_port) as viewer:
        assert viewer.receive(2) == b"\1\x13"
        viewer.sock.sendall(b"\x13")
        assert viewer.receive(2) == b"\0\2"
        viewer.sock.sendall(b"\0\2")
        assert viewer.receive(6)
        viewer.sock.sendall(struct.pack("!I", subtype))
        assert viewer.until_end() == b"\0"


def test_wire_R16_another_version_of_vencrypt(proxy):
    with NativeViewer(proxy.native_port) as viewer:
        assert viewer.receive(2) == b"\1\x13"
        viewer.sock.sendall(b"\x13\0\1")
        assert viewer.until_end() == b"\0\2\1"


def test_wire_R17_bytes_in_clear_where_tls_is_due(proxy):
    before = proxy.settled()
    with NativeViewer(proxy.native_port) as viewer:
        assert viewer.receive(2) == b"\1\x13"
        viewer.sock.sendall(b"\x13\0\2\0\0\1\6" + b"\0\0\0\0\0\0\0\x24")
        assert viewer.until_end()[:9] == b"\0\2\0\1\0\0\1\6\1"
    assert proxy.next_record(before)["close_reason"] == "protocol-error"
    assert "came in clear" in proxy.log


@pytest.mark.parametrize("sizes", [(0xFFFFFFFF, 1), (1, 0xFFFFFFFF), (1025, 0), (0, 1025)])
def test_wire_R19_names_and_passwords_beyond_the_limit(proxy, pem, sizes):
    before = proxy.settled()
    with NativeViewer(proxy.native_port) as viewer:
        viewer.start_tls(str(pem))
        viewer.sock.sendall(struct.pack("!II", *sizes))
        assert viewer.until_end() == b""
    assert proxy.next_record(before)["close_reason"] == "protocol-error"


def test_a_viewer_that_does_not_trust_the_certificate(proxy, pem, tmp_path):
    other = tmp_path / "other.pem"
    certificate(other, other)
    before = proxy.settled()
    with NativeViewer(proxy.native_port) as viewer, pytest.raises(ssl.SSLCertVerificationError):
        viewer.start_tls(str(other))
    assert proxy.next_record(before)["close_reason"] in ("protocol-error", "client-closed")
    assert "TLS failed" in proxy.log


@pytest.mark.parametrize(("floor", "version"), [("default", "TLSv1.2"), ("tlsv1_3", "TLSv1.3")])
def test_tls_1_3_is_left_out_unless_it_is_demanded(tmp_path, pem, floor, version):
    """TigerVNC's viewer up to 1.12 stalls where a session ticket comes together with the SecurityResult."""
    with (
        listening(tmp_path, pem, f"[console]\nssl_minimum_version = {floor}") as proxy,
        NativeViewer(proxy.native_port) as viewer,
    ):
        viewer.start_tls(str(pem))
        assert viewer.sock.version() == version


def test_a_port_probe_leaves_no_record(proxy):
    before = proxy.settled()
    with socket.create_connection(("127.0.0.1", proxy.native_port), TIMEOUT_S) as sock:
        assert take(sock, 12) == b"RFB 003.008\n"
    with NativeViewer(proxy.native_port, version=b"GET / HTTP/1.") as viewer:
        viewer.until_end()
    assert proxy.next_record(before)["close_reason"] == "protocol-error", "the probe left one"


@pytest.mark.parametrize("stage", ["version", "tls", "token"])
def test_a_slow_viewer_is_dropped(tmp_path, pem, stage):
    with listening(tmp_path, pem, "handshake_timeout_s = 0.3\nlogin_timeout_s = 0.3") as proxy:
        if stage == "version":
            with socket.create_connection(("127.0.0.1", proxy.native_port), TIMEOUT_S) as sock:
                sock.sendall(b"RFB ")
                assert take(sock, 12) == b"RFB 003.008\n"
                with contextlib.suppress(ConnectionResetError):
                    assert sock.recv(1) == b""
        else:
            with NativeViewer(proxy.native_port) as viewer:
                if stage == "token":
                    viewer.start_tls(str(pem))
                else:
                    viewer.receive(2)
                viewer.until_end()
        assert proxy.next_record(0)["close_reason"] == "protocol-error"


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 5900\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\7\x7f\0\0\1\x12\x67\x17\x0c",
    ],
)
def test_a_load_balancer_may_say_who_the_viewer_is(tmp_path, pem, header):
    options = "trusted_proxies = 127.0.0.1"
    with listening(tmp_path, pem, options) as proxy, target(echo) as server:
        with NativeViewer(proxy.native_port, preface=header) as viewer:
            viewer.enter(str(pem), proxy.create(server.port)["token"])
        assert proxy.next_record(0)["client"] == "198.51.100.7"
        with NativeViewer(proxy.native_port) as viewer:  # a check of the balancer's own, or no PROXY protocol there
            viewer.enter(str(pem), proxy.create(server.port)["token"])
        assert proxy.next_record(1)["client"] == "127.0.0.1"


def test_anybody_else_may_not(proxy):
    with socket.create_connection(("127.0.0.1", proxy.native_port), TIMEOUT_S) as sock:
        sock.sendall(b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 5900\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(12) == b"RFB 003.008\n"
            assert sock.recv(1) == b""
    assert "198.51.100.7" not in str(proxy.records)


def test_shutdown_ends_viewers_in_every_state(tmp_path, pem):
    with listening(tmp_path, pem) as proxy, target(echo) as server:
        inside, typing = NativeViewer(proxy.native_port), NativeViewer(proxy.native_port)
        inside.enter(str(pem), proxy.create(server.port)["token"])
        typing.start_tls(str(pem))
        assert proxy.stop() == 0
        assert inside.until_end() == b""
        assert typing.until_end() == b""
        assert sorted(record["close_reason"] for record in proxy.records) == ["shutdown", "shutdown"]


def test_without_a_certificate_the_start_is_refused(tmp_path):
    config = tmp_path / "nova.conf"
    config.write_text(f"[DEFAULT]\nstate_path = {tmp_path}\n[consoleproxy]\nrfb_listen = 127.0.0.1:0\n")
    done = run("consoleproxy", "--config-file", config, "serve", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "consoleproxy: [consoleproxy] rfb_listen needs a certificate: set [DEFAULT] cert"
    ]


def test_the_url_of_a_console_for_native_viewers(proxy):
    made = proxy.console("create", "--type", "vnc-direct", "--host", "192.0.2.7", "--port", "5901")
    assert made["url"] == f"vnc://127.0.0.1:{proxy.native_port}"
    assert made["type"] == "vnc-direct"
    assert made["token"] not in made["url"]
