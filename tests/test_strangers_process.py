"""Strangers by the hundred, at every stage of coming in, against the real `twistd consoleproxy`."""

import contextlib
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.certificates import certificate
from tests.peers import KEY, SERVER_INIT, WebSocket, echo, enter, refusal, target
from tests.proxy_process import running, until

COUNT = 100  # strangers at each stage
DEADLINE_S = 2
STORE_FILES = 20  # which each of its threads opens when it is first needed
KEY_EVENT = b"\x04\x01\x00\x00\x00\x00\x00\x61"
UPGRADE = (
    f"GET /?token={{}} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
)
STAGES = {
    "nothing": b"",
    "half a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "a head that never ends": b"GET / HTTP/1.1\r\n",
    "half a PROXY header": b"PROXY TCP4 192.0.2.7",
    "WebSocket without version": (UPGRADE.format("x") + "\r\n").encode(),
    "a bad token, then silence": (UPGRADE + "Sec-WebSocket-Version: 13\r\n\r\n").encode(),
    "CONNECT with a bad token, then silence": b"CONNECT /console?token={} HTTP/1.0\r\n\r\n",
}


def stranger(port: int, said: bytes, source: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
    sock.sendall(said.replace(b"{}", str(uuid.uuid4()).encode()))
    return sock


def strangers(port: int, source: str) -> list[socket.socket]:
    with ThreadPoolExecutor(20) as pool:
        return list(pool.map(lambda said: stranger(port, said, source), [*STAGES.values()] * COUNT))


def dribble(socks: list[socket.socket]) -> None:
    """One byte more of each head, from those who still may."""
    for sock in socks:
        sock.settimeout(0)
        with contextlib.suppress(OSError):
            sock.send(b"x")


@pytest.fixture(scope="module")
def echoing():
    with target(echo) as server:
        yield server


def with_tls(folder) -> str:
    pem = folder / "proxy.pem"
    certificate(pem, pem)
    return f"[DEFAULT]\ncert = {pem}\n"


def test_trap_09_strangers_at_every_stage_do_not_disturb_a_visit(tmp_path, echoing):
    options = f"handshake_timeout_s = {DEADLINE_S}\nmax_unauthenticated_per_source = 0\n{with_tls(tmp_path)}"
    with running(tmp_path, options) as proxy:
        token = proxy.create(echoing.port)["token"]
        with WebSocket(proxy.port, f"/?token={token}") as good:
            enter(good)
            files = proxy.open_files
            socks = strangers(proxy.port, "127.0.0.2")
            started, slowest = time.monotonic(), 0.0
            while time.monotonic() - started < DEADLINE_S:
                asked = time.monotonic()
                good.send(KEY_EVENT)
                assert good.receive(8) == KEY_EVENT
                slowest = max(slowest, time.monotonic() - asked)
                dribble(socks)
                with WebSocket(proxy.port, f"/?token={token}") as another:
                    assert enter(another) == SERVER_INIT
            assert slowest < 3, "seconds; the machine may be busy"
            # whoever was told why in a WebSocket has longer, to answer the close
            until(lambda: proxy.open_files <= files + COUNT + STORE_FILES, "all others to be dropped", 15)
            for sock in socks:
                sock.close()
            until(lambda: proxy.open_files <= files + STORE_FILES, "nothing to be left")
            good.send(KEY_EVENT)
            assert good.receive(8) == KEY_EVENT
        proxy.settled()
        assert "Traceback" not in proxy.log
        assert "Unhandled" not in proxy.log


def test_strangers_of_ones_own_address_are_pushed_out_by_a_good_visit(tmp_path, echoing):
    """With the limits that are the default, and deadlines far away."""
    with running(tmp_path, with_tls(tmp_path)) as proxy:
        token = proxy.create(echoing.port)["token"]
        with WebSocket(proxy.port, f"/?token={token}") as good:
            enter(good)
            files = proxy.open_files
            socks = strangers(proxy.port, "127.0.0.1")
            until(lambda: proxy.open_files <= files + 200, "those above 200 to be dropped")
            with WebSocket(proxy.port, f"/?token={token}") as another:
                assert enter(another) == SERVER_INIT
            good.send(KEY_EVENT)
            assert good.receive(8) == KEY_EVENT
        for sock in socks:
            sock.close()


def test_trap_13_a_thousand_retries_with_a_dead_token(tmp_path, echoing):
    """What noVNC does with `reconnect=1`; the store is asked once in two seconds."""
    with running(tmp_path) as proxy:
        dead = f"/?token={uuid.uuid4()}"
        with WebSocket(proxy.port, dead) as client:
            refusal(client)
        started = time.monotonic()
        retries = 0
        while retries < 1000 and time.monotonic() - started < 8:
            with WebSocket(proxy.port, dead) as client:
                refusal(client)
            retries += 1
        assert retries > 200
        assert {record["close_reason"] for record in proxy.records} == {"token-unknown"}
        assert proxy.log.count("denied") >= retries - 5
        with WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}") as client:
            assert enter(client) == SERVER_INIT, "a token that is created later works at once"


def test_guessing_gets_slower_and_a_good_token_opens_all_the_same(tmp_path, echoing):
    with running(tmp_path) as proxy:
        greeted, took = [], []
        for _ in range(8):
            started = time.monotonic()
            with WebSocket(proxy.port, f"/?token={uuid.uuid4()}") as client:
                assert client.receive(12) == b"RFB 003.008\n"
                greeted.append(time.monotonic() - started)
                client.send(b"RFB 003.008\n")
                client.until_close()
            took.append(time.monotonic() - started)
        assert min(greeted[-3:]) < 0.2, "those who wait the longest are greeted at once; a busy machine may delay one"
        assert took[-1] > took[0] + 0.15
        started = time.monotonic()
        with WebSocket(proxy.port, f"/?token={proxy.create(echoing.port)['token']}") as client:
            assert enter(client) == SERVER_INIT
        assert time.monotonic() - started < 6


def test_limits_are_by_the_real_client_behind_a_trusted_proxy(tmp_path, echoing):
    options = "trusted_proxies = 127.0.0.0/8\nmax_connections_per_source = 1"
    with running(tmp_path, options) as proxy:
        token = proxy.create(echoing.port)["token"]

        def come(client: str) -> WebSocket:
            return WebSocket(proxy.port, f"/?token={token}", f"X-Forwarded-For: {client}")

        with come("192.0.2.7") as first, come("2001:db8::1") as second:
            enter(first)
            enter(second)
            for refused in ("192.0.2.7", "2001:db8::2"):
                before = len(proxy.records)
                with come(refused) as client:
                    refusal(client)
                record = proxy.next_record(before)
                assert (record["client"], record["close_reason"]) == (refused, "limit")
                assert record["token"] is None, "nobody was asked"


def test_a_balancer_on_a_unix_socket_says_who_its_client_is(tmp_path, echoing):
    path = tmp_path / "socket"
    options = f"trusted_proxies = unix\n[vnc]\nnovncproxy_host = unix:{path}"
    with running(tmp_path, options) as proxy:
        token = proxy.create(echoing.port)["token"]
        says = [
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 6080\r\n", b"", "2001:db8::7"),
            (b"", b"X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"),
            (b"", b'Forwarded: for="[2001:db8::8]:4711"\r\n', "2001:db8::8"),
            (b"", b"", "unix"),
        ]
        for before, header, client in says:
            known = len(proxy.records)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(before + UPGRADE.format(token).encode() + header + b"Sec-WebSocket-Version: 13\r\n\r\n")
                heard = b""
                while b"RFB 003.008\n" not in heard:
                    heard += sock.recv(4096)
            assert proxy.next_record(known)["client"] == client
