"""What other gateways fell into (`trap_NN`: the trap list of the gateways' reference), against the real service.

Elsewhere: trap_10 and trap_11 in `test_visits_process`, trap_13 and the slow clients of trap_09 in
`test_strangers_process`, trap_17 in `test_startup`; in parts, each is also a test of the file that it concerns.
Trap 15 (names of UNIX sockets as targets) cannot be fallen into: targets are hosts and ports.
"""

import contextlib
import os
import socket
import struct
import threading
import time
import uuid

import pytest

from rfbproxy.reasons import CloseReason
from tests.certificates import certificate
from tests.client.frames import BINARY, CLOSE, CONTINUATION, KEY, PING, close_frame, frame
from tests.peers import SERVER_INIT, WebSocket, echo, enter, http, refusal, rfb_server, target
from tests.proxy_process import Proxy, run, running, until

KEY_EVENT = b"\x04\x01\x00\x00\x00\x00\x00\x61"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traps")
    web = folder / "web"
    (web / "folder").mkdir(parents=True)
    (web / "page.js").write_text("1")
    (folder / "outside").write_text("outside")
    (web / "way_out").symlink_to(folder / "outside")
    with running(folder, f"[DEFAULT]\nweb = {web}") as started:
        yield started


@pytest.fixture(scope="module")
def echoing():
    with target(echo) as server:
        yield server


def alive(proxy: Proxy, server) -> None:
    """A good visit still works, and nothing failed in the proxy."""
    with WebSocket(proxy.port, f"/?token={proxy.create(server.port)['token']}") as client:
        assert enter(client) == SERVER_INIT
    assert "Traceback" not in proxy.log
    assert "Unhandled" not in proxy.log


@pytest.mark.parametrize("path", ["/vnc.html", "/", "/websockify", "/vnc_lite.html"])
def test_trap_01_an_upgrade_on_any_path_and_a_page_without_one(proxy, echoing, path):
    url = f"{path}?token={proxy.create(echoing.port)['token']}"
    with WebSocket(proxy.port, url) as client:
        assert enter(client) == SERVER_INIT
    status, _, body = http(proxy.port, f"GET {url} HTTP/1.0\r\n\r\n")
    assert (status, b"<html" in body.lower()) == ((404, False) if path == "/websockify" else (200, True))


@pytest.mark.parametrize(
    ("offer", "answer"),
    [(None, None), ("binary", "binary"), ("binary, base64", "binary"), ("base64, binary", "binary"),
     ("base64,binary", "binary"), ("chat, binary", "binary"), ("base64", None)],
)  # fmt: skip
def test_trap_02_subprotocols(proxy, echoing, offer, answer):
    """An offer of base64 alone is not refused as the list has it: the browser refuses the answer, in its own words."""
    headers = [f"Sec-WebSocket-Protocol: {offer}"] if offer else []
    with WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}", *headers) as client:
        lines = [line for line in client.head.split("\r\n") if line.lower().startswith("sec-websocket-protocol")]
        assert lines == ([f"Sec-WebSocket-Protocol: {answer}"] if answer else [])
        assert enter(client) == SERVER_INIT


@pytest.mark.parametrize("cookie", ["token={other}", "?=!; token={other}; =", 'token="{other}"'])
def test_trap_03_the_query_wins_over_the_cookie_of_another_tab(proxy, echoing, cookie):
    header = f"Cookie: {cookie.format(other=uuid.uuid4())}"
    with WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}", header) as client:
        assert enter(client) == SERVER_INIT


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
@pytest.mark.parametrize("kind", ["unknown", "expired"])
def test_trap_04_trap_05_the_reason_reaches_every_version_and_the_token_no_log(proxy, echoing, version, kind):
    before = proxy.settled()
    token = str(uuid.uuid4()) if kind == "unknown" else proxy.create(echoing.port, ttl=0)["token"]
    reason = CloseReason.TOKEN_UNKNOWN if kind == "unknown" else CloseReason.TOKEN_EXPIRED
    with WebSocket(proxy.port, f"/vnc.html?token={token}") as client:
        assert refusal(client, version) == reason.sentence
    assert proxy.next_record(before)["close_reason"] == reason.value
    assert f"ended: {reason.value}" in proxy.log
    assert token not in proxy.log + proxy.audit_file.read_text()


FRAMES = {
    "2^63 bytes": (frame(claimed=2**63), 1002),
    "2^63 - 1 bytes": (frame(claimed=2**63 - 1), 1009),
    "reserved bits": (frame(b"x", rsv=4), 1002),
    "unmasked": (frame(b"x", masked=False), 1002),
    "a ping in pieces": (frame(b"x", opcode=PING, fin=False), 1002),
    "a ping of 126 bytes": (frame(bytes(126), opcode=PING), 1002),
    "a continuation of nothing": (frame(b"x", opcode=CONTINUATION), 1002),
    "a message within a message": (frame(b"", fin=False) + frame(b"x", opcode=BINARY), 1002),
    "an opcode of nobody": (frame(b"x", opcode=3), 1002),
    "a close of one byte": (frame(b"\x03", opcode=CLOSE), 1002),
    "a close with 999": (close_frame(999), 1002),
    "a close with 1005": (close_frame(1005), 1002),
    "a close with 1006": (close_frame(1006), 1002),
    "a close without a code": (close_frame(), None),
    "a close that is no UTF-8": (close_frame(1000, b"\xff"), 1007),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("relaying", [False, True], ids=["handshake", "relay"])
def test_trap_08_frames_that_are_none(proxy, echoing, name, relaying):
    sent, code = FRAMES[name]
    before = proxy.settled()
    with WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}") as client:
        if relaying:
            enter(client)
        client.sock.sendall(sent)
        client.until_close()
        assert client.close_code in ((code,) if code else (None, 1000, 1005))
    assert proxy.next_record(before)["close_reason"] == ("protocol-error" if code else "client-closed")
    alive(proxy, echoing)


def test_trap_08_pieces_of_one_byte_and_a_flood_of_pings(proxy, echoing):
    with WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}") as client:
        enter(client)
        first, *middle, last = (KEY_EVENT[at : at + 1] for at in range(len(KEY_EVENT)))
        pieces = [frame(first, fin=False)]
        pieces += [frame(piece, opcode=CONTINUATION, fin=False) + frame(b"?", opcode=PING) for piece in middle]
        client.sock.sendall(b"".join([*pieces, frame(last, opcode=CONTINUATION)]))
        client.sock.sendall(frame(b"!", opcode=PING) * 20_000)
        assert client.receive(8) == KEY_EVENT


def test_trap_09_a_client_that_reads_nothing_costs_no_memory_and_is_heard(proxy):
    heard = []
    over = threading.Event()

    def script(sock):
        rfb_server(sock)
        sock.setblocking(False)
        while not over.is_set():
            with contextlib.suppress(BlockingIOError):
                sock.send(bytes(65536))
                continue
            with contextlib.suppress(BlockingIOError):
                heard.append(sock.recv(100))
            time.sleep(0.01)

    with target(script) as server, WebSocket(proxy.port, f"/?token={proxy.create(server.port)['token']}") as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        enter(client)
        time.sleep(0.5)
        memory = proxy.memory_kib
        time.sleep(1.5)
        client.send(KEY_EVENT)
        until(lambda: b"".join(heard) == KEY_EVENT, "the key")
        assert proxy.memory_kib - memory < 2000
        over.set()


def test_trap_12_a_blank_screen_costs_no_cpu(proxy, echoing):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            enter(stack.enter_context(WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}")))
        time.sleep(0.5)
        before = cpu_s(proxy)
        time.sleep(3)
        assert cpu_s(proxy) - before < 0.1


def cpu_s(proxy: Proxy) -> float:
    with open(f"/proc/{proxy.process.pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("path", "statuses"),
    [("//evil.com/%2f..", {400, 404}), ("//evil.com/..", {400, 404}), ("/../outside", {400, 404}),
     ("/%2e%2e/outside", {400, 404}), ("/..%2foutside", {400, 404}), ("/way_out", {404}), ("/folder/", {404}),
     ("/folder", {404}), ("/../../../../etc/passwd", {400, 404})],
)  # fmt: skip
def test_trap_14_no_page_leads_out(proxy, path, statuses):
    status, headers, body = http(proxy.port, f"GET {path} HTTP/1.0\r\n\r\n")
    assert status in statuses
    assert "location" not in headers
    assert b"outside" not in body
    assert b"root:" not in body


def test_trap_14_pages_have_their_type_and_are_asked_for_anew(proxy):
    status, headers, _ = http(proxy.port, "GET /page.js HTTP/1.0\r\n\r\n")
    assert (status, headers["cache-control"]) == (200, "no-cache")
    assert headers["content-type"].startswith("text/javascript")
    status, headers, body = http(proxy.port, "GET /mandatory.json HTTP/1.0\r\n\r\n")
    assert (status, headers["content-type"], body) == (200, "application/json", b"{}")


def test_trap_16_nothing_in_clear_reaches_store_or_target(tmp_path, echoing):
    certificate(tmp_path / "pem", tmp_path / "pem")
    options = f"[DEFAULT]\nssl_only = True\ncert = {tmp_path}/pem"
    with running(tmp_path, options) as proxy:
        token, before = proxy.create(echoing.port)["token"], echoing.connections
        for claim in ((), ("X-Forwarded-Proto: https",), ("Forwarded: proto=https",)):
            with WebSocket(proxy.port, f"/?token={token}", *claim) as client:
                assert refusal(client) == CloseReason.TLS_REQUIRED.sentence
        status, _, body = http(proxy.port, f"GET /?token={token} HTTP/1.0\r\n\r\n")
        assert (status, body.decode().strip()) == (403, CloseReason.TLS_REQUIRED.sentence)
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as raw:
            raw.sendall(b"RFB 003.008\n")
            answer = raw.recv(4096)
        assert b"RFB" not in answer.partition(b"\r\n\r\n")[0]
        assert echoing.connections == before
        assert {record["close_reason"] for record in proxy.records} == {"tls-required"}
        assert {record["token"] for record in proxy.records} == {None}
        assert token not in proxy.log


@pytest.mark.parametrize(
    ("options", "told"),
    [("[DEFAULT]\nssl_only = True\ncert = nowhere.pem", "SSL only and"),
     ("[consoleproxy]\ntrusted_proxies = somebody", "trusted_proxies"),
     ("[consoleproxy]\nmax_unauthenticated = -1", "max_unauthenticated"),
     ("[vnc]\nnovncproxy_host =\nxvpvncproxy_host =", "nothing else to listen on")],
)  # fmt: skip
def test_trap_20_what_cannot_work_does_not_start(tmp_path, options, told):
    stopped = Proxy(tmp_path, options)
    result = run("consoleproxy", "serve", "--config-file", stopped.config, cwd=tmp_path)
    assert result.returncode == 1
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_trap_21_a_foreign_origin_is_refused_before_the_token_is_touched(proxy, echoing):
    before, token = proxy.settled(), proxy.create(echoing.port)["token"]
    with WebSocket(proxy.port, f"/?token={token}", "Host: a.example", "Origin: https://b.example") as client:
        refusal(client)
    record = proxy.next_record(before)
    assert (record["close_reason"], record["token"], record["target"]) == ("origin-refused", None, None)
    with WebSocket(proxy.port, f"/?token={token}", "Host: a.example") as client:
        assert enter(client) == SERVER_INIT, "without an Origin it is no browser"


@pytest.mark.parametrize("first", [b"\x80" * 12, b"\xff" * 12, b"RFB 003.00\xb8\n"])
def test_trap_22_bytes_beyond_ascii_in_the_handshake(proxy, echoing, first):
    before = proxy.settled()
    with WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}") as client:
        client.send(first)
        client.until_close()
        assert client.close_code == 1002
    assert proxy.next_record(before)["close_reason"] == "protocol-error"
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.sendall(f"GET /\xff\xfe HTTP/1.1\r\nHost: \xe9\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode("latin-1"))
        assert raw.recv(100).startswith(b"HTTP/1.1 4")
    alive(proxy, echoing)
