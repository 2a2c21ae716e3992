"""SIGHUP to the real process: what changes for the visits to come, what needs a restart, and that no session ends."""

import os
import signal
import socket
import ssl
from contextlib import closing

from tests.certificates import certificate
from tests.peers import SERVER_INIT, WebSocket, echo, enter, http, refusal, target
from tests.ports import free_port
from tests.proxy_process import Proxy, running, until

REQUEST = b"\x03\x00\x00\x00\x00\x00\x00\x40\x00\x30"  # FramebufferUpdateRequest
ALLOWED = "[console]\nallowed_origins = friend.example\n"


def hang_up(proxy: Proxy, options: str | None = None, says: str = "options were read again") -> None:
    """Change the options, tell the process, and wait until it has read them."""
    if options is not None:
        proxy.write_config(options)
    before = proxy.log.count(says)
    assert proxy.process is not None
    proxy.process.send_signal(signal.SIGHUP)
    until(lambda: proxy.log.count(says) > before, f"{says!r} in the log")


def test_visits_to_come_are_held_to_the_new_options_and_sessions_stay(tmp_path):
    headers = ("Host: proxy.example", "Origin: http://friend.example")
    with target(echo) as server, running(tmp_path) as proxy:
        token = proxy.create(server.port)["token"]
        with WebSocket(proxy.port, f"/?token={token}") as session:
            assert enter(session) == SERVER_INIT
            with WebSocket(proxy.port, f"/?token={token}", *headers) as client:
                refusal(client)
            other_log = tmp_path / "other.jsonl"
            hang_up(proxy, f"audit_log = {other_log}\nping_interval_s = 0.2\n{ALLOWED}")
            with WebSocket(proxy.port, f"/?token={token}", *headers) as client:
                assert enter(client) == SERVER_INIT
                client.hear_pings(2)
            until(lambda: other_log.exists() and other_log.read_text().count("\n") == 1, "the record in the new file")
            assert "http://friend.example:*" in http(proxy.port, "GET / HTTP/1.0\r\n\r\n")[1]["content-security-policy"]
            session.send(REQUEST)
            assert session.receive(len(REQUEST)) == REQUEST
        assert "needs a restart" not in proxy.log


def test_the_timeout_of_a_handshake_changes_for_those_to_come(tmp_path):
    with running(tmp_path) as proxy:
        hang_up(proxy, "handshake_timeout_s = 0.3")
        with closing(socket.create_connection(("127.0.0.1", proxy.port), 10)) as silent:
            silent.settimeout(5)
            assert silent.recv(1) == b""


def test_what_cannot_change_is_named_in_one_line(tmp_path):
    with running(tmp_path) as proxy:
        port = proxy.port
        hang_up(proxy, f"unix_socket_mode = 0600\n[vnc]\nnovncproxy_port = {free_port()}\n[consoleproxy]\n")
        lines = [line for line in proxy.log.splitlines() if "needs a restart" in line]
        assert len(lines) == 1
        assert lines[0].endswith("needs a restart: [vnc] novncproxy_port, [consoleproxy] unix_socket_mode")
        assert http(port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200


def test_a_broken_file_changes_nothing(tmp_path):
    with target(echo) as server, running(tmp_path, ALLOWED) as proxy:
        token = proxy.create(server.port)["token"]
        for broken in (
            "handshake_timeout_s = soon",
            "what is this",
            "audit_log = /nonexistent/a",
            "[DEFAULT]\nweb = /x",
        ):
            hang_up(proxy, broken, "the options stay as they were")
        assert sum("the options stay as they were" in line for line in proxy.log.splitlines()) == 4
        assert "Traceback" not in proxy.log
        with WebSocket(proxy.port, f"/?token={token}", "Host: h", "Origin: http://friend.example") as client:
            assert enter(client) == SERVER_INIT


def subject(port: int, cafile: str) -> str:
    context = ssl.create_default_context(cafile=cafile)
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain) as encrypted,
    ):
        names = dict(part[0] for part in encrypted.getpeercert()["subject"])
        return names["commonName"]


def test_a_renewed_certificate_needs_no_signal_and_another_file_one(tmp_path):
    pem, new, other = (tmp_path / name for name in ("a.pem", "new.pem", "b.pem"))
    certificate(pem, pem, "first")
    certificate(other, other, "third")
    with running(tmp_path, f"[DEFAULT]\ncert = {pem}") as proxy:
        assert subject(proxy.port, pem) == "first"
        certificate(new, new, "second")
        new.rename(pem)
        assert subject(proxy.port, pem) == "second"
        pem.write_text("broken")
        certificate(new, new, "second")
        hang_up(proxy, None, "the options stay as they were")
        new.rename(pem)
        hang_up(proxy, f"[DEFAULT]\ncert = {other}")
        assert subject(proxy.port, other) == "third"


def test_a_log_file_that_was_moved_away_is_made_anew(tmp_path):
    log = tmp_path / "proxy.log"
    proxy = Proxy(tmp_path, command=("consoleproxy", "serve", "--logfile", str(log)))
    proxy.log_file = log
    try:
        proxy.start()
        moved = log.rename(tmp_path / "proxy.log.1")
        hang_up_seen = "options were read again"
        os.kill(proxy.process.pid, signal.SIGHUP)
        until(lambda: log.exists() and hang_up_seen in log.read_text(), "the log under its own name")
        assert "listening for VNC consoles" in moved.read_text()
        assert log.stat().st_mode & 0o777 == 0o600
    finally:
        assert proxy.stop() == 0
