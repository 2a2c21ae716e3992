"""Visits through the real `twistd consoleproxy` over real sockets: each ends with its reason and leaves one record."""

import contextlib
import json
import re
import signal
import socket
import sqlite3
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from rfbproxy.reasons import CloseReason
from rfbproxy.rfb.vnc_auth import vnc_response_is_valid
from rfbproxy.secret import Secret
from tests.peers import SERVER_INIT, Refusal, WebSocket, cut_text, echo, enter, http, refusal, rfb_server, take, target
from tests.ports import free_port
from tests.proxy_process import Proxy, run, running, until

UNIT = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$")
OPTIONS = """
[console]
allowed_origins = allowed-origin-example-1.net, allowed-origin-example-2.net
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with running(tmp_path_factory.mktemp("proxy"), OPTIONS) as started:
        yield started


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    with running(tmp_path_factory.mktemp("impatient"), "connect_timeout_s = 1\nhandshake_timeout_s = 1") as started:
        yield started


@pytest.fixture(scope="module")
def echoing():
    with target(echo) as server:
        yield server


def open_console(proxy: Proxy, server, headers: tuple[str, ...] = (), **grant) -> WebSocket:
    token = proxy.create(server.port, **grant)["token"]
    return WebSocket(proxy.port, f"/websockify?token={token}", *headers)


def refused(proxy: Proxy, client: WebSocket, reason: CloseReason, before: int, code: int | None = None) -> dict:
    assert refusal(client) == reason.sentence
    assert client.close_code == (code or reason.websocket_code)
    record = proxy.next_record(before)
    assert record["close_reason"] == reason.value
    return record


def test_nova_W01_a_console_is_relayed_and_recorded(proxy, echoing):
    before = proxy.settled()
    created = proxy.create(echoing.port, instance="11111111-2222-3333-4444-555555555555")
    with WebSocket(proxy.port, f"/?token={created['token']}") as client:
        assert enter(client) == SERVER_INIT
        client.send(cut_text(b"hello"))
        assert client.receive(13) == cut_text(b"hello")
        client.close(1000)
        client.until_close()
    record = proxy.next_record(before)
    assert UNIT.match(record["started"])
    assert UNIT.match(record["ended"])
    assert record.pop("session")
    assert record.pop("started") <= record.pop("ended")
    assert len(record.pop("token")) == 8
    assert record == {
        "client": "127.0.0.1",
        "instance": "11111111-2222-3333-4444-555555555555",
        "console_type": "novnc",
        "target": f"127.0.0.1:{echoing.port}",
        "way_in": "websocket",
        "client_version": "3.8",
        "target_version": "3.8",
        "client_security": "None",
        "target_security": "None",
        "bytes_to_client": 13,
        "bytes_to_target": 13,
        "channels": None,
        "power": None,
        "close_reason": "client-closed",
    }
    assert client.close_code == 1000


@pytest.mark.parametrize("client_version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
@pytest.mark.parametrize("target_version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
def test_the_two_sides_speak_their_own_versions(proxy, client_version, target_version):
    """Nova demands 3.8 of both (nova_R04, nova_R05)."""
    before = proxy.settled()
    with target(lambda sock: rfb_server(sock, target_version)) as server, open_console(proxy, server) as client:
        assert enter(client, client_version) == SERVER_INIT
        client.until_close()
    record = proxy.next_record(before)
    assert (record["client_version"], record["target_version"]) == tuple(
        f"{int(version[4:7])}.{int(version[8:11])}" for version in (client_version, target_version)
    )
    assert record["close_reason"] == "target-closed"


def test_nova_W31_target_eof_closes_with_1000_after_all_bytes(proxy):
    payload = bytes(range(256)) * 8192

    def script(sock):
        rfb_server(sock)
        sock.sendall(payload)

    before = proxy.settled()
    with target(script) as server, open_console(proxy, server) as client:
        enter(client)
        time.sleep(0.3)  # a client that is slow to read gets all the same bytes
        assert client.until_close() == payload
        assert (client.close_code, client.close_reason) == (1000, "Target closed")
    record = proxy.next_record(before)
    assert record["close_reason"] == "target-closed"
    assert record["bytes_to_client"] == len(payload)


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
def test_nova_W03_an_unknown_token_is_refused_in_the_clients_version(proxy, version):
    """Nova leaves the client with 1006; here it is told."""
    before = proxy.settled()
    with WebSocket(proxy.port, "/?token=XXX") as client:
        assert refusal(client, version) == CloseReason.TOKEN_UNKNOWN.sentence
        assert client.close_code == 1008
    record = proxy.next_record(before)
    assert record["close_reason"] == "token-unknown"
    assert record["target"] is None
    assert record["token"] is None


def test_nova_W25_the_last_of_two_tokens_counts(proxy, echoing):
    token = proxy.create(echoing.port)["token"]
    with WebSocket(proxy.port, f"/?token=nonsense&token={token}") as client:
        assert enter(client) == SERVER_INIT


def test_nova_W26_a_token_opens_many_sessions(proxy, echoing):
    token = proxy.create(echoing.port)["token"]
    with WebSocket(proxy.port, f"/?token={token}") as one, WebSocket(proxy.port, f"/?token={token}") as two:
        assert enter(one) == enter(two) == SERVER_INIT


def test_nova_W27_an_expired_token_is_refused(proxy, echoing):
    before = proxy.settled()
    with open_console(proxy, echoing, ttl=0) as client:
        refused(proxy, client, CloseReason.TOKEN_EXPIRED, before)


def test_nova_W17_a_malformed_cookie_is_ignored(proxy, echoing):
    token = proxy.create(echoing.port)["token"]
    with WebSocket(proxy.port, "/", f'Cookie: ?=!; token="{token}"') as client:
        assert enter(client) == SERVER_INIT


@pytest.mark.parametrize("form", ["/?token={}", "/websockify?token={}", "/vnc.html?token={}", "/vnc_lite.html?token={}",
                                  "/a/b/c?token={}", "/?path=%3Ftoken%3D{}", "/?path=websockify%3Ftoken%3D{}",
                                  ])  # fmt: skip
def test_every_form_of_the_token_opens_on_any_path(proxy, echoing, form):
    with WebSocket(proxy.port, form.format(proxy.create(echoing.port)["token"])) as client:
        assert enter(client) == SERVER_INIT


ORIGINS = [
    ("nova_W02", "Host: [2001:db8::1]:6080", "Origin: http://[2001:db8::1]:6080", None),
    ("nova_W09", "Host: example.net:6080", "Origin: http://bad-origin-example.net:6080", "does not match this host."),
    ("nova_W10", "Host: example.net:6080", "Origin: http://allowed-origin-example-2.net:6080", None),
    ("nova_W11", "Host: example.net:6080", "Origin:", "not valid."),
    ("nova_W12", "Host: example.net:6080", None, None),
    ("nova_W13", "Host: example.net:6080", "Origin: https://example.net:6080", "protocol does not match this host."),
    ("case", "Host: EXAMPLE.net", "Origin: http://example.NET", None),
    ("null", "Host: example.net", "Origin: null", "not valid."),
    ("forwarded by a stranger", "Host: example.net\r\nX-Forwarded-Proto: http", "Origin: https://example.net",
     "protocol does not match this host."),
]  # fmt: skip


@pytest.mark.parametrize(("host", "origin", "wrong"), [case[1:] for case in ORIGINS], ids=[case[0] for case in ORIGINS])
def test_origin(proxy, echoing, host, origin, wrong):
    before, connections = proxy.settled(), echoing.connections
    with open_console(proxy, echoing, headers=(host, *([origin] if origin else []))) as client:
        if wrong is None:
            assert enter(client) == SERVER_INIT
            return
        assert refusal(client) == f"Origin header {wrong}"
        assert client.close_code == 1008
    assert proxy.next_record(before)["close_reason"] == "origin-refused"
    assert echoing.connections == connections, "the target was dialled for a refused origin"


def test_nova_W19_an_accepted_host_does_not_become_an_allowed_origin(proxy, echoing):
    with open_console(proxy, echoing, headers=("Host: evil.com:6080", "Origin: http://evil.com")) as client:
        assert enter(client) == SERVER_INIT
    before = proxy.settled()
    with open_console(proxy, echoing, headers=("Host: example.net:6080", "Origin: http://evil.com")) as client:
        assert refusal(client) == "Origin header does not match this host."
    assert proxy.next_record(before)["close_reason"] == "origin-refused"


def rebase(proxy: Proxy, token: str, base: str | None) -> None:
    """Give a token the base that nova would have written."""
    from rfbproxy.consoleauth import hash_token

    with contextlib.closing(sqlite3.connect(proxy.folder / "state" / "consoleproxy.sqlite", timeout=10)) as database:
        database.execute(
            "UPDATE console_auth_tokens SET access_url_base = ? WHERE token_hash = ?", (base, hash_token(token))
        )
        database.commit()


@pytest.mark.parametrize(("base", "origin", "passes"), [
    ("ws://example.net:6080", "https://example.net:6080", False),   # nova_W14
    ("ws://example.net:6080", "http://example.net:6080", True),
    ("wss://example.net:6080", "https://example.net:6080", True),
    ("wss://example.net:6080", "http://example.net:6080", False),
    (None, "http://example.net:6080", False),                       # nova_W16
])  # fmt: skip
def test_nova_W14_W16_the_scheme_is_judged_against_the_tokens_base(proxy, echoing, base, origin, passes):
    token = proxy.create(echoing.port)["token"]
    rebase(proxy, token, base)
    with WebSocket(proxy.port, f"/?token={token}", "Host: example.net:6080", f"Origin: {origin}") as client:
        if passes:
            assert enter(client) == SERVER_INIT
        else:
            assert refusal(client) == "Origin header protocol does not match this host."


def test_nova_W15_a_trusted_proxy_says_the_scheme(tmp_path, echoing):
    with running(tmp_path, "trusted_proxies = 127.0.0.0/8") as trusting:
        for forwarded, passes in (("https", True), ("https, http", True), ("http", False)):
            token = trusting.create(echoing.port)["token"]
            rebase(trusting, token, "wss://example.net:6080")
            headers = ("Host: example.net", "Origin: http://example.net", f"X-Forwarded-Proto: {forwarded}")
            with WebSocket(trusting.port, f"/?token={token}", *headers) as client:
                if passes:
                    assert enter(client) == SERVER_INIT
                else:
                    assert refusal(client) == "Origin header protocol does not match this host."


def preamble(answer: bytes, then=None):
    def script(sock):
        request = take(sock, len(b"CONNECT vmid HTTP/1.1\r\n\r\n"))
        assert request == b"CONNECT vmid HTTP/1.1\r\n\r\n", request
        sock.sendall(answer)
        if then is not None:
            then(sock)

    return script


def test_nova_W05_the_internal_access_path_is_asked_for_first(proxy):
    with (
        target(preamble(b"HTTP/1.1 200 OK\r\n\r\n", echo)) as server,
        open_console(proxy, server, internal_access_path="vmid") as client,
    ):
        assert enter(client) == SERVER_INIT


def test_nova_W07_bytes_after_the_answer_are_not_lost(proxy):
    def script(sock):
        assert take(sock, 12) == b"RFB 003.003\n"
        sock.sendall(b"\0\0\0\1")
        take(sock, 1)
        sock.sendall(SERVER_INIT)
        sock.recv(1)

    with (
        target(preamble(b"HTTP/1.1 200 OK\r\n\r\nRFB 003.003\n", script)) as server,
        open_console(proxy, server, internal_access_path="vmid") as client,
    ):
        assert enter(client) == SERVER_INIT


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 500 Internal Server Error\r\n\r\n",  # nova_W06
    b"HTTP/1.1 500 error 200\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",  # nova_W33: nova spins here for ever
    b"",
])  # fmt: skip
def test_nova_W06_W33_a_refused_or_broken_answer_is_unreachable(proxy, answer):
    before = proxy.settled()
    with (
        target(preamble(answer)) as server,
        open_console(proxy, server, internal_access_path="vmid") as client,
    ):
        refused(proxy, client, CloseReason.TARGET_UNREACHABLE, before)


def test_a_password_of_the_grant_logs_in_and_is_shown_to_nobody(proxy, tmp_path):
    challenge = bytes(range(16))
    answers = []

    def script(sock):
        sock.sendall(b"RFB 003.008\n")
        take(sock, 12)
        sock.sendall(b"\2\x10\2")  # two types: Tight, VNC Authentication
        assert take(sock, 1) == b"\2"
        sock.sendall(challenge)
        response = take(sock, 16)
        answers.append(response)
        valid = vnc_response_is_valid(Secret("secret12"), challenge, response)
        sock.sendall(b"\0\0\0\0" if valid else b"\0\0\0\1\0\0\0\5wrong")
        take(sock, 1)
        sock.sendall(SERVER_INIT)
        sock.recv(1)

    before = proxy.settled()
    with target(script) as server:
        with open_console(proxy, server, password=Secret("secret12")) as client:
            assert enter(client) == SERVER_INIT
        record = proxy.next_record(before)
        assert (record["client_security"], record["target_security"]) == ("None", "VNC Authentication")
        with open_console(proxy, server, password=Secret("another1")) as client:
            refused(proxy, client, CloseReason.TARGET_AUTH_FAILED, before + 1)
        with open_console(proxy, server) as client:
            refused(proxy, client, CloseReason.TARGET_AUTH_FAILED, before + 2)
    assert len(answers) == 2
    assert "wrong" in proxy.log, "the target's reason is for the log"
    for secret in ("secret12", "another1", answers[0].hex(), challenge.hex()):
        assert secret not in proxy.log + proxy.audit_file.read_text()


def unreachable_port() -> int:
    return free_port()


def test_a_target_that_refuses_is_unreachable(proxy):
    before = proxy.settled()
    token = proxy.create(unreachable_port())["token"]
    with WebSocket(proxy.port, f"/?token={token}") as client:
        refused(proxy, client, CloseReason.TARGET_UNREACHABLE, before)


def test_a_black_hole_is_unreachable_within_its_deadline(impatient):
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        fillers = [stack.enter_context(socket.socket()) for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(hole.getsockname())
        before, started = impatient.settled(), time.monotonic()
        token = impatient.create(hole.getsockname()[1])["token"]
        with WebSocket(impatient.port, f"/?token={token}") as client:
            refused(impatient, client, CloseReason.TARGET_UNREACHABLE, before)
        assert time.monotonic() - started < 6


def test_a_target_that_never_speaks_is_unreachable_within_its_deadline(impatient):
    before, started = impatient.settled(), time.monotonic()
    with target(lambda sock: sock.recv(1)) as server, open_console(impatient, server) as client:
        refused(impatient, client, CloseReason.TARGET_UNREACHABLE, before)
    assert time.monotonic() - started < 6


def test_a_target_that_is_no_rfb_server_breaks_the_protocol(proxy):
    before = proxy.settled()
    with (
        target(lambda sock: sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")) as server,
        open_console(proxy, server) as client,
    ):
        refused(proxy, client, CloseReason.PROTOCOL_ERROR, before, code=1011)


def test_a_target_that_vanishes_in_the_session_closes_it(proxy):
    before = proxy.settled()
    with target(rfb_server) as server, open_console(proxy, server) as client:
        enter(client)
        client.until_close()
        assert client.close_code == 1000
    assert proxy.next_record(before)["close_reason"] == "target-closed"


def test_a_client_that_vanishes_ends_the_session_and_frees_the_target(proxy):
    gone = []

    def script(sock):
        rfb_server(sock)
        gone.append(sock.recv(1))

    before = proxy.settled()
    with target(script) as server:
        client = open_console(proxy, server)
        enter(client)
        client.vanish()
        assert proxy.next_record(before)["close_reason"] == "client-closed"
        until(lambda: gone == [b""], "the target to see the end", 2)


def test_a_client_that_never_speaks_is_let_go(impatient, echoing):
    before = impatient.settled()
    with open_console(impatient, echoing) as client:
        assert client.receive(12) == b"RFB 003.008\n", "the greeting comes at once"
        client.until_close()
        assert client.close_code == 1002
    assert impatient.next_record(before)["close_reason"] == "protocol-error"


@pytest.mark.parametrize(
    ("first", "code"), [(b"GET / HTTP/1.1\r\n", 1002), (b"RFB +03.-08\n", 1002), (b"\xff" * 12, 1002)]
)
def test_nova_R16_a_client_that_is_no_viewer_breaks_the_protocol(proxy, echoing, first, code):
    before = proxy.settled()
    with open_console(proxy, echoing) as client:
        client.send(first)
        client.until_close()
        assert client.close_code == code
    assert proxy.next_record(before)["close_reason"] == "protocol-error"


def test_nova_W32_text_frames_are_refused_with_1003(proxy, echoing):
    before = proxy.settled()
    with open_console(proxy, echoing) as client:
        client.send(b"hello", opcode=1)
        client.until_close()
        assert client.close_code == 1003
    assert proxy.next_record(before)["close_reason"] == "protocol-error"


@pytest.mark.parametrize(("offer", "answer"), [
    (None, None), ("binary", "binary"), ("binary, base64", "binary"), ("base64, binary", "binary"),
    ("chat, binary", "binary"), ("base64", None),
])  # fmt: skip
def test_nova_W29_binary_is_echoed_if_it_was_offered(proxy, echoing, offer, answer):
    """Nova answers 400 to most offers; here all are tolerated."""
    headers = (f"Sec-WebSocket-Protocol: {offer}",) if offer else ()
    with open_console(proxy, echoing, headers=headers) as client:
        assert re.findall(r"(?im)^Sec-WebSocket-Protocol: (.*?)\r?$", client.head) == ([answer] if answer else [])
        assert "extensions" not in client.head.lower()
        assert enter(client) == SERVER_INIT


@pytest.mark.parametrize("version", [13, 8])
def test_websocket_versions_that_are_spoken(proxy, echoing, version):
    token = proxy.create(echoing.port)["token"]
    with WebSocket(proxy.port, f"/?token={token}", version=version) as client:
        assert enter(client) == SERVER_INIT


@pytest.mark.parametrize("version", [7, 0, 14])
def test_websocket_versions_that_are_not_spoken_are_told_which_are(proxy, version):
    with pytest.raises(Refusal, match="Sec-WebSocket-Version: 13, 8") as refused_with:
        WebSocket(proxy.port, "/?token=x", version=version)
    assert refused_with.value.status == 426


def test_no_token_in_any_log(proxy, echoing):
    created = proxy.create(echoing.port)
    with WebSocket(proxy.port, f"/vnc.html?token={created['token']}") as client:
        enter(client)
    url = urlsplit(created["url"])
    http(proxy.port, f"GET {url.path}?{url.query} HTTP/1.0\r\n\r\n")
    http(proxy.port, f"POST {url.path}?{url.query} HTTP/1.0\r\n\r\n")
    http(proxy.port, f"GET /{'x' * 9000}?token={created['token']} HTTP/1.0\r\n\r\n")
    assert parse_qs(url.query) == {"path": [f"?token={created['token']}"]}
    until(lambda: "414" in proxy.log, "the refused request in the log")
    assert created["token"] not in proxy.log
    assert created["token"] not in proxy.audit_file.read_text()


def test_pings_come_and_two_unanswered_ones_end_the_session(tmp_path, echoing):
    with running(tmp_path, "ping_interval_s = 0.2") as pinging:
        with open_console(pinging, echoing) as client:
            enter(client)
            client.hear_pings(2)
        before = pinging.settled()
        with open_console(pinging, echoing) as client:
            enter(client)
            assert pinging.next_record(before, 5)["close_reason"] == "client-closed"


def test_idle_and_time_limits(tmp_path, echoing):
    with running(tmp_path, "idle_timeout_s = 0.5") as limited:
        with open_console(limited, echoing) as client:
            enter(client)
            client.until_close()
            assert (client.close_code, client.close_reason) == (1008, CloseReason.IDLE.sentence)
        with open_console(limited, echoing, time_limit_s=1) as client:
            enter(client)
            started = time.monotonic()
            while not client.ended and time.monotonic() - started < 5:
                client.send(cut_text(b""))
                with contextlib.suppress(AssertionError):
                    client.receive(8)
                time.sleep(0.1)
            assert (client.close_code, client.close_reason) == (1008, CloseReason.TIME_LIMIT.sentence)
        until(lambda: len(limited.records) == 2, "two records")
        assert [record["close_reason"] for record in limited.records] == ["idle", "time-limit"]


def test_limits_on_sessions(tmp_path, echoing):
    with running(tmp_path, "max_sessions = 1") as limited, open_console(limited, echoing) as first:
        enter(first)
        with open_console(limited, echoing) as second:
            assert refusal(second) == CloseReason.LIMIT.sentence
        assert limited.next_record(0)["close_reason"] == "limit"


def test_sigterm_ends_live_sessions_and_exits_0(tmp_path, echoing):
    with running(tmp_path) as stopping:
        live, leaving = open_console(stopping, echoing), open_console(stopping, echoing)
        enter(live)
        assert leaving.receive(12)  # still in its handshake
        stopping.process.send_signal(signal.SIGTERM)
        live.until_close()
        assert (live.close_code, live.close_reason) == (1001, CloseReason.SHUTDOWN.sentence)
        started = time.monotonic()
        assert stopping.process.wait(10) == 0
        assert time.monotonic() - started < 5
        assert sorted(record["close_reason"] for record in stopping.records) == ["shutdown", "shutdown"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", stopping.port), 1)
        live.sock.close()
        leaving.sock.close()


def test_a_client_that_reads_nothing_does_not_keep_the_proxy_from_stopping(tmp_path):
    def script(sock):
        rfb_server(sock)
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(bytes(65536))

    with running(tmp_path, "drain_timeout_s = 1") as stopping, target(script) as server:
        client = open_console(stopping, server)
        enter(client)
        time.sleep(0.5)
        started = time.monotonic()
        assert stopping.stop() == 0
        assert time.monotonic() - started < 5
        client.sock.close()


def test_nothing_leaks_in_500_visits(proxy, echoing):
    token = proxy.create(echoing.port)["token"]

    def visit(number: int) -> None:
        if number % 5 == 4:
            with WebSocket(proxy.port, "/?token=wrong") as client:
                refusal(client)
            return
        client = WebSocket(proxy.port, f"/?token={token}")
        enter(client)
        client.send(cut_text(b"x" * 1000))
        client.receive(1008)
        if number % 5 == 3:
            client.vanish()
            return
        client.close()
        client.until_close()
        client.sock.close()

    def settled() -> bool:
        return len(proxy.records) == records

    records = proxy.settled()
    for number in range(100):  # caches fill, the allocator settles
        visit(number)
    records += 100
    until(settled, "the first visits to end")
    files, memory = proxy.open_files, proxy.memory_kib
    for number in range(500):
        visit(number)
    records += 500
    until(settled, "500 visits to end")
    until(lambda: proxy.open_files <= files, "all sockets to be closed")
    assert proxy.memory_kib - memory < 3000, f"{memory} KiB before, {proxy.memory_kib} KiB after"
    assert "Traceback" not in proxy.log
    assert "Unhandled" not in proxy.log


def test_two_proxies_share_one_store(proxy, tmp_path, echoing):
    connection = f"sqlite:///{proxy.folder}/state/consoleproxy.sqlite"
    with running(tmp_path, f"[consoleauth]\nconnection = {connection}") as other:
        token = proxy.create(echoing.port)["token"]
        for port in (proxy.port, other.port):
            with WebSocket(port, f"/?token={token}") as client:
                assert enter(client) == SERVER_INIT


def test_revoking_stops_new_visits(proxy, echoing):
    created = proxy.create(echoing.port)
    assert proxy.console("revoke", "--instance", created["instance"]) == {"revoked": 1}
    with WebSocket(proxy.port, f"/?token={created['token']}") as client:
        assert refusal(client) == CloseReason.TOKEN_UNKNOWN.sentence


def test_records_are_json_lines_of_one_shape(proxy):
    assert len({tuple(record) for record in proxy.records}) == 1
    assert all(json.dumps(record) for record in proxy.records)
    assert {record["close_reason"] for record in proxy.records} <= {reason.value for reason in CloseReason}
    assert run("consoleproxy", "--version").returncode == 0
