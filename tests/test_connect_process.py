"""Java viewers through the real `twistd consoleproxy` over real sockets."""

import re
import socket
import ssl
import threading
import time
import uuid

import pytest

from rfbproxy.reasons import CloseReason
from tests.certificates import certificate
from tests.java_viewer import ENCODINGS, SET_ENCODINGS, SET_PIXEL_FORMAT, UPDATE_REQUEST, JavaViewer, ProxyReports
from tests.peers import SERVER_INIT, cut_text, echo, enter, http, rfb_server, take, target
from tests.ports import free_port
from tests.proxy_process import Proxy, running, until
from tests.test_startup import Foreground

XVP_PORT = re.compile(r"http://127\.0\.0\.1:([0-9]+)/console\?token=([0-9a-f-]{36})")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy")
    port = free_port()
    certificate(folder / "both.pem", folder / "both.pem")
    options = f"""
connect_timeout_s = 1
handshake_timeout_s = 2
[DEFAULT]
cert = {folder}/both.pem
[vnc]
xvpvncproxy_host = 127.0.0.1
xvpvncproxy_port = {port}
xvpvncproxy_base_url = http://127.0.0.1:{port}/console
"""
    with running(folder, options) as started:
        yield started


@pytest.fixture(scope="module")
def echoing():
    with target(echo) as server:
        yield server


def create(proxy: Proxy, port: int, *arguments: str) -> tuple[int, str]:
    """A port and what to ask it for, from the URL that `console create --type xvpvnc` prints."""
    made = proxy.console("create", "--type", "xvpvnc", "--host", "127.0.0.1", "--port", str(port), *arguments)
    match = XVP_PORT.fullmatch(made["url"])
    assert match
    assert match[2] == made["token"]
    return int(match[1]), f"/console?token={match[2]}"


def reported(*arguments, **named) -> str:
    """What a viewer is told that is not let in: status line, headers and sentence."""
    with pytest.raises(ProxyReports) as raised:
        JavaViewer(*arguments, **named)
    return str(raised.value)


def test_nova_X01_X05_novas_viewer_sees_a_console(proxy, echoing):
    before = proxy.settled()
    with JavaViewer(*create(proxy, echoing.port)) as viewer:
        assert enter(viewer) == SERVER_INIT, "offered is None and nothing else"
        viewer.send(SET_ENCODINGS + SET_PIXEL_FORMAT + UPDATE_REQUEST)
        heard = viewer.receive(len(SET_ENCODINGS) - 4 + len(SET_PIXEL_FORMAT + UPDATE_REQUEST))
        assert heard == b"\2\0\0\x0d" + SET_ENCODINGS[4:-4] + SET_PIXEL_FORMAT + UPDATE_REQUEST
        assert ENCODINGS[-1] == -309, "which the target did not hear of"
    record = proxy.next_record(before)
    assert (record["way_in"], record["console_type"]) == ("connect", "xvpvnc")
    assert (record["client_version"], record["client_security"]) == ("3.8", "None")
    assert (record["close_reason"], record["power"]) == ("client-closed", None)


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
def test_every_version_on_every_rfb_listener(proxy, echoing, version):
    token = proxy.create(echoing.port)["token"]
    with JavaViewer(proxy.port, f"?token={token}") as viewer:  # nova_X03
        assert enter(viewer, version) == SERVER_INIT


def test_nova_X04_nothing_is_said_before_the_target_lets_the_proxy_in(proxy):
    let_in = threading.Event()

    def script(sock):
        sock.sendall(b"RFB 003.008\n")
        take(sock, 12)
        sock.sendall(b"\1\1")
        take(sock, 1)
        assert let_in.wait(10)
        sock.sendall(b"\0\0\0\0")
        sock.recv(1)

    with target(script) as server, socket.socket() as viewer:
        port, path = create(proxy, server.port)
        viewer.connect(("127.0.0.1", port))
        viewer.sendall(f"CONNECT {path} HTTP/1.0\r\n\r\n".encode())
        viewer.settimeout(0.5)
        with pytest.raises(TimeoutError):
            viewer.recv(1)
        let_in.set()
        viewer.settimeout(10)
        heard = b""
        while len(heard) < len(b"HTTP/1.1 200 OK\r\n\r\nRFB 003.008\n"):
            heard += viewer.recv(100)
        assert heard == b"HTTP/1.1 200 OK\r\n\r\nRFB 003.008\n"


def test_nova_X02_refusals_are_read_as_status_and_sentence(proxy):
    before = proxy.settled()
    port, path = create(proxy, free_port())
    expected = [
        ("/console", "HTTP/1.1 400 ", CloseReason.TOKEN_UNKNOWN),
        (f"/console?token={uuid.uuid4()}", "HTTP/1.1 401 ", CloseReason.TOKEN_UNKNOWN),
        (path, "HTTP/1.1 502 ", CloseReason.TARGET_UNREACHABLE),
    ]
    for asked, status, reason in expected:
        told = reported(port, asked)
        assert told.startswith(status)
        assert told.endswith(f"\r\n\r\n{reason.sentence}\n")
    proxy.next_record(before + 2)
    assert [record["close_reason"] for record in proxy.records[before:]] == [reason.value for *_, reason in expected]
    assert proxy.settled() == before + 3, "one record a visit"
    assert reported(port, f"{path}&token=x").startswith("HTTP/1.1 400 ")
    assert proxy.settled() == before + 3, "what is malformed is no visit"


def test_wire_X10_a_target_behind_a_path_that_is_refused(proxy):
    def script(sock):
        take(sock, len(b"CONNECT vmid HTTP/1.1\r\n\r\n"))
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with target(script) as server:
        assert reported(*create(proxy, server.port, "--internal-access-path", "vmid")).startswith("HTTP/1.1 502 ")


def test_tightvncs_viewer(proxy, echoing):
    token = proxy.create(echoing.port)["token"]
    with JavaViewer(proxy.port, f"{token}:5900", understands=b"HTTP/1.0 200 ") as viewer:
        assert enter(viewer) == SERVER_INIT


def test_it_is_no_open_proxy(proxy, echoing):
    connections = echoing.connections
    told = reported(proxy.port, f"127.0.0.1:{echoing.port}", understands=b"HTTP/1.0 200 ")
    assert told.startswith("HTTP/1.1 401 ")
    assert echoing.connections == connections


def test_get_on_the_listener_of_java_viewers(proxy, echoing):
    port, path = create(proxy, echoing.port)
    with JavaViewer(port, path, method="GET") as viewer:
        assert enter(viewer) == SERVER_INIT
    assert http(port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
    assert reported(proxy.port, path, method="GET").startswith("HTTP/1.0 404 ")


def test_wire_X9_a_viewer_that_speaks_too_early(proxy, echoing):
    early = b"RFB 003.008\n\1\1" + cut_text(b"early")
    with JavaViewer(*create(proxy, echoing.port), early=early) as viewer:
        expected = b"RFB 003.008\n\1\1\0\0\0\0" + SERVER_INIT + cut_text(b"early")
        assert viewer.receive(len(expected)) == expected


def test_inside_tls(proxy, echoing):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(proxy.folder / "both.pem")
    with JavaViewer(*create(proxy, echoing.port), context=context) as viewer:
        assert enter(viewer) == SERVER_INIT
        viewer.send(cut_text(b"hello"))
        assert viewer.receive(13) == cut_text(b"hello")


def test_nova_X06_half_closes_travel_both_ways(proxy):
    ended = threading.Event()

    def script(sock):
        rfb_server(sock)
        assert take(sock, 10) == UPDATE_REQUEST
        assert sock.recv(1) == b""
        ended.set()
        sock.sendall(b"what was still to be drawn")

    with target(script) as server, JavaViewer(*create(proxy, server.port)) as viewer:
        enter(viewer)
        viewer.send(UPDATE_REQUEST)
        viewer.half_close()
        assert ended.wait(10)
        assert viewer.until_end() == b"what was still to be drawn"

    heard = []

    def ends_first(sock):
        rfb_server(sock)
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(100):
            heard.append(data)
        ended.set()

    ended.clear()
    before = proxy.settled()
    with target(ends_first) as server, JavaViewer(*create(proxy, server.port)) as viewer:
        enter(viewer)
        assert viewer.until_end() == b""
        viewer.send(UPDATE_REQUEST)
        viewer.half_close()
        assert ended.wait(10)
    assert b"".join(heard) == UPDATE_REQUEST
    assert proxy.next_record(before)["close_reason"] == "target-closed"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_viewer_that_leaves_while_it_waits(proxy, how):
    gone = threading.Event()

    def script(sock):
        sock.sendall(b"RFB 003.008\n")
        while sock.recv(100):
            pass
        gone.set()

    before = proxy.settled()
    with target(script) as server:
        port, path = create(proxy, server.port)
        viewer = socket.create_connection(("127.0.0.1", port))
        viewer.sendall(f"CONNECT {path} HTTP/1.0\r\n\r\n".encode())
        while not server.connections:
            pass
        if how == "reset":
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        viewer.close()
        assert gone.wait(10)
    assert proxy.next_record(before)["close_reason"] == "client-closed"


def test_power_is_for_those_who_may(proxy, echoing):
    before = proxy.settled()
    power = b"\xfa\0\1\2\xfa\0\1\4"
    for arguments, passed in [((), b""), (("--allow-power",), power)]:
        with JavaViewer(*create(proxy, echoing.port, *arguments)) as viewer:
            enter(viewer)
            viewer.send(power + UPDATE_REQUEST)
            assert viewer.receive(len(passed) + 10) == passed + UPDATE_REQUEST
    assert proxy.next_record(before)["power"] == ["shutdown denied", "reset denied"]
    assert proxy.next_record(before + 1)["power"] == ["shutdown", "reset"]
    assert "power request: reset denied" in proxy.log


def test_wire_R23_what_cannot_be_followed_ends_both_legs(proxy):
    ended = threading.Event()

    def script(sock):
        rfb_server(sock)
        assert take(sock, 4) == b"\x02\0\0\0"
        assert sock.recv(1) == b""
        ended.set()

    before = proxy.settled()
    with target(script) as server, JavaViewer(*create(proxy, server.port)) as viewer:
        enter(viewer)
        viewer.send(b"\x02\0\0\1\xff\xff\xfe\xcb" + b"\x4d\0\0\0")  # asks for xvp (-309), which is withheld
        assert viewer.until_end() == b""
        assert ended.wait(10)
    assert proxy.next_record(before)["close_reason"] == "protocol-error"
    assert "client message type 77" in proxy.log


def test_over_ipv6(tmp_path):
    port = free_port("::1")
    options = f"[vnc]\nxvpvncproxy_host = ::1\nxvpvncproxy_port = {port}"
    with running(tmp_path, options) as six, target(echo, "::1") as server:
        token = six.create(server.port, host="::1")["token"]
        with JavaViewer(port, f"/console?token={token}", host="::1") as viewer:
            assert enter(viewer) == SERVER_INIT


def test_no_token_in_the_log(proxy, echoing):
    token = proxy.create(echoing.port)["token"]
    wrong = str(uuid.uuid4())
    for asked in (f"/console?token={token}&token={wrong}", f"{wrong}:1", f"/console?token={wrong}%00"):
        reported(proxy.port, asked)
    with JavaViewer(proxy.port, f"/console?token={token}"):
        pass
    proxy.settled()
    assert token not in proxy.log
    assert wrong not in proxy.log


def test_where_only_tls_is_allowed_it_is_refused_and_nothing_is_asked(tmp_path, echoing):
    certificate(tmp_path / "both.pem", tmp_path / "both.pem")
    with running(tmp_path, f"[DEFAULT]\nssl_only = True\ncert = {tmp_path}/both.pem") as only:
        token = only.create(echoing.port)["token"]
        connections = echoing.connections
        told = reported(only.port, f"/console?token={token}")
        assert told.startswith("HTTP/1.1 403 ")
        assert CloseReason.TLS_REQUIRED.sentence in told
        record = only.next_record(0)
        assert (record["close_reason"], record["way_in"], record["token"]) == ("tls-required", "connect", None)
        assert echoing.connections == connections


def test_view_prints_the_url_first_and_how_to_open_it(tmp_path, echoing):
    with Foreground(
        tmp_path, "view", f"127.0.0.1:{echoing.port}", "--type", "xvpvnc", "--listen", "127.0.0.1:0"
    ) as shown:
        match = XVP_PORT.fullmatch(shown.url)
        assert match
        told = tmp_path / "stderr"
        until(lambda: "listening for VNC consoles" in told.read_text(), "the proxy to listen")
        assert told.read_text().splitlines()[0] == f"java -jar VncViewer.jar URL {shown.url}"
        with JavaViewer(int(match[1]), f"/console?token={match[2]}") as viewer:
            assert enter(viewer) == SERVER_INIT


def half_closed(port: int, asked: str, early: bytes = b"") -> bytes:
    """What comes for a request whose client sends no more, as `nc -N` does."""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(f"CONNECT {asked} HTTP/1.0\r\n\r\n".encode() + early)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


def test_a_client_that_sends_no_more_is_answered(proxy, echoing):
    assert half_closed(proxy.port, f"/console?token={uuid.uuid4()}").startswith(b"HTTP/1.1 401 ")
    said = b"RFB 003.008\n\1\1" + cut_text(b"last words")
    assert half_closed(*create(proxy, free_port()), said).startswith(b"HTTP/1.1 502 ")
    port, asked = create(proxy, echoing.port)
    answer = half_closed(port, asked, said)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n\r\nRFB 003.008\n\1\1\0\0\0\0" + SERVER_INIT)
    assert answer.endswith(cut_text(b"last words"))


def test_bad_tokens_count_though_nobody_waits_for_the_answer(tmp_path):
    with running(tmp_path) as proxy:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", proxy.port), 20) as sock:
                sock.sendall(f"CONNECT /console?token={uuid.uuid4()} HTTP/1.0\r\n\r\n".encode())
        until(lambda: len(proxy.records) == 20, "all of them to end")
        begun = time.monotonic()
        assert half_closed(proxy.port, f"/console?token={uuid.uuid4()}").startswith(b"HTTP/1.1 401 ")
        assert time.monotonic() - begun > 0.5
