"""Several workers under the real `twistd consoleproxy`: who serves, who comes after one that dies, what all share."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rfbproxy.reasons import CloseReason
from tests.peers import SERVER_INIT, WebSocket, echo, enter, http, refusal, target
from tests.ports import free_port
from tests.proxy_process import Proxy, run, running, until
from tests.spice_peers import CURSOR, DISPLAY, INPUTS, spice_target
from tests.spice_process import PASSWORD, spice_running

REQUEST = b"\x03\x00\x00\x00\x00\x00\x00\x40\x00\x30"  # FramebufferUpdateRequest
TWO = "workers = 2\n"
HEADERS = ("Host: proxy.example", "Origin: http://friend.example")
ALLOWED = "[console]\nallowed_origins = friend.example\n"


def children(pid: int) -> list[int]:
    """The child processes of one, zombies left out."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(status.parent.name))
    return sorted(found)


def workers_of(proxy: Proxy) -> list[int]:
    assert proxy.process is not None
    return children(proxy.process.pid)


def open_console(proxy: Proxy, token: str, *headers: str) -> WebSocket:
    client = WebSocket(proxy.port, f"/?token={token}", *headers)
    assert enter(client) == SERVER_INIT
    return client


def open_sessions(proxy: Proxy, token: str, stack: ExitStack, *, on: int) -> list[WebSocket]:
    """Sessions, until so many workers have one."""
    clients = []
    for _ in range(200):
        clients.append(stack.enter_context(open_console(proxy, token)))
        if len(with_sessions(proxy)) >= on:
            return clients
    raise AssertionError(f"all sessions are with {with_sessions(proxy)}")


def with_sessions(proxy: Proxy) -> Counter[str]:
    """How many visits each worker has had, by what stands for it in the log."""
    return Counter(
        line.partition("[worker ")[2].partition(":")[0] for line in proxy.log.splitlines() if " comes by " in line
    )


def answers(client: WebSocket) -> None:
    client.send(REQUEST)
    assert client.receive(len(REQUEST)) == REQUEST


def sessions(proxy: Proxy) -> list[dict]:
    result = run("consoleproxy", "--json", "--config-file", proxy.config, "session", "list")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["sessions"]


def hang_up(proxy: Proxy, options: str, says: str = "options were read again") -> None:
    proxy.write_config(options)
    before = proxy.log.count(says)
    proxy.process.send_signal(signal.SIGHUP)
    until(lambda: proxy.log.count(says) > before, f"{says!r} in the log")


@pytest.mark.parametrize("command", [("twistd", "-n", "consoleproxy"), ("consoleproxy", "serve")], ids=" ".join)
@pytest.mark.parametrize("options", ["[DEFAULT]\nssl_only = True", "[vnc]\nnovncproxy_host = 192.0.2.1"])
def test_what_cannot_work_is_refused_in_one_line_and_leaves_no_worker(tmp_path, command, options):
    proxy = Proxy(tmp_path, TWO + options)
    refused = run(*command, "--config-file", proxy.config, cwd=tmp_path)  # returns once nobody has its output any more
    assert refused.returncode == 1
    assert refused.stderr.startswith("consoleproxy: ")
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert "Traceback" not in refused.stdout


def test_several_serve_and_nothing_of_theirs_stays(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy, ExitStack() as stack:
        workers = workers_of(proxy)
        assert len(workers) == 2
        command = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in workers]
        assert all(str(tmp_path).encode() not in each for each in command), "options are told otherwise"
        token = proxy.create(server.port)["token"]
        clients = open_sessions(proxy, token, stack, on=2)
        for client in clients:
            answers(client)
        assert http(proxy.port, "GET /readyz HTTP/1.0\r\n\r\n")[0] == 200
        until(lambda: len(sessions(proxy)) == len(clients), "all sessions in the list")
        service = f"{socket.gethostname()}:{proxy.process.pid}"
        assert {row["proxy"] for row in sessions(proxy)} == {service}
        assert proxy.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        assert {record["close_reason"] for record in proxy.records} == {CloseReason.SHUTDOWN.value}
        assert len(proxy.records) == len(clients)
        assert not sessions(proxy)
        assert "Traceback" not in proxy.log


def test_one_worker_is_no_worker(tmp_path):
    with running(tmp_path) as proxy:
        assert not workers_of(proxy)


def test_a_memory_is_for_one_process(tmp_path):
    with running(tmp_path, f"{TWO}[consoleauth]\nconnection = sqlite://") as proxy:
        assert not workers_of(proxy)
        assert "[consoleproxy] workers: does nothing: [consoleauth] connection is a memory" in proxy.log


def test_a_worker_that_is_killed_is_followed_by_another_and_nobody_else_notices(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy, ExitStack() as stack:
        before = workers_of(proxy)
        token = proxy.create(server.port)["token"]
        clients = open_sessions(proxy, token, stack, on=2)
        until(lambda: len(sessions(proxy)) == len(clients), "all sessions in the list")
        os.kill(before[0], signal.SIGKILL)
        until(lambda: "died by SIGKILL; another is started in 0.1 s" in proxy.log, "its death in the log")
        after = until(lambda: (now := workers_of(proxy)) != before and len(now) == 2 and now, "another worker")
        assert before[1] in after
        alive = [client for client in clients if still_there(client)]
        assert 0 < len(alive) < len(clients)
        for client in alive:
            answers(client)
        until(lambda: len(sessions(proxy)) == len(alive), "its sessions to vanish", 5)
        until(lambda: proxy.log.count(" serves (process ") == 3, "the new one to serve")
        answers(stack.enter_context(open_console(proxy, token)))


def still_there(client: WebSocket) -> bool:
    client.sock.setblocking(False)
    try:
        return client.sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        client.sock.settimeout(10)


def test_a_worker_that_cannot_begin_is_tried_again_with_more_and_more_patience(tmp_path):
    """What it needs has gone since the options were judged."""
    audit = tmp_path / "folder" / "audit"
    audit.parent.mkdir()
    with target(echo) as server, running(tmp_path, f"{TWO}audit_log = {audit}\n") as proxy:
        token = proxy.create(server.port)["token"]
        first, second = workers_of(proxy)
        audit.parent.rename(tmp_path / "away")
        os.kill(first, signal.SIGKILL)
        until(lambda: "ended before it served anybody with status 1; another is started in 0.4 s" in proxy.log, "it")
        assert f"[consoleproxy] audit_log: {audit} cannot be written" in proxy.log
        assert second in workers_of(proxy)
        with open_console(proxy, token) as client:
            answers(client)
        (tmp_path / "away").rename(audit.parent)
        until(lambda: proxy.log.count(" serves (process ") == 3, "it to serve at last")


def test_sighup_replaces_all_and_ends_no_session(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy, ExitStack() as stack:
        before = workers_of(proxy)
        token = proxy.create(server.port)["token"]
        clients = open_sessions(proxy, token, stack, on=2)
        with WebSocket(proxy.port, f"/?token={token}", *HEADERS) as client:
            refusal(client)
        hang_up(proxy, TWO + ALLOWED)
        for _ in range(10):
            with open_console(proxy, token, *HEADERS):
                pass
        assert set(before) < set(workers_of(proxy)), "the old ones have sessions"
        for client in clients:
            answers(client)
            client.close()
        now = until(lambda: len(now := workers_of(proxy)) == 2 and now, "the old ones to go")
        assert not set(before) & set(now)
        assert "needs a restart" not in proxy.log
        assert "Traceback" not in proxy.log


def test_sighup_with_nonsense_changes_nothing(tmp_path):
    with target(echo) as server, running(tmp_path, TWO + ALLOWED) as proxy:
        before = workers_of(proxy)
        token = proxy.create(server.port)["token"]
        hang_up(proxy, "handshake_timeout_s = soon", "the options stay as they were")
        assert workers_of(proxy) == before
        os.kill(before[0], signal.SIGKILL)
        until(lambda: proxy.log.count(" serves (process ") == 3, "another one")
        for _ in range(5):  # with the options as they were, though the file says otherwise
            with open_console(proxy, token, *HEADERS):
                pass


def test_sighup_leaves_what_needs_a_restart(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy:
        token = proxy.create(server.port)["token"]
        hang_up(proxy, f"workers = 3\n[consoleauth]\nconnection = sqlite:///{tmp_path}/other.sqlite\n")
        assert "needs a restart: [consoleauth] connection, [consoleproxy] workers" in proxy.log
        with open_console(proxy, token) as client:
            answers(client)
        until(lambda: len(workers_of(proxy)) == 2, "the old ones to go")
        assert not (tmp_path / "other.sqlite").exists()


def test_a_worker_that_hangs_is_killed_at_the_end(tmp_path):
    with running(tmp_path, f"{TWO}drain_timeout_s = 0.5\n") as proxy:
        stuck = workers_of(proxy)[0]
        os.kill(stuck, signal.SIGSTOP)
        begun = time.monotonic()
        assert proxy.stop() == 0
        assert time.monotonic() - begun < 10
        assert not Path(f"/proc/{stuck}").exists()
        assert "does not go, and is killed" in proxy.log


def test_workers_without_their_supervisor_end_their_sessions_and_go(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy, ExitStack() as stack:
        workers = workers_of(proxy)
        token = proxy.create(server.port)["token"]
        clients = open_sessions(proxy, token, stack, on=2)
        proxy.process.kill()
        for client in clients:
            client.until_close()
            assert client.close_code == 1001
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers to go")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port))


@pytest.mark.parametrize("limit", ["max_sessions", "max_connections_per_source"])
def test_limits_hold_over_all_workers(tmp_path, limit):
    with target(echo) as server, running(tmp_path, f"{TWO}{limit} = 4\n") as proxy:
        token = proxy.create(server.port)["token"]
        with ExitStack() as stack:
            clients = [stack.enter_context(open_console(proxy, token)) for _ in range(4)]
            for _ in range(10):
                with WebSocket(proxy.port, f"/?token={token}") as client:
                    assert refusal(client) == CloseReason.LIMIT.sentence
            clients[0].close()
            until(lambda: len(proxy.records) == 11, "its end")
            clients.append(stack.enter_context(open_console(proxy, token)))
            for worker in workers_of(proxy):  # what they had is given back
                os.kill(worker, signal.SIGKILL)
        until(lambda: proxy.log.count(" serves (process ") == 4, "others")
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(open_console(proxy, token))


def test_a_dead_token_that_one_was_denied_is_not_looked_up_by_another(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy:
        told_within_s = 0.2  # on a busy machine it may be more
        for _ in range(20):
            token = proxy.create(server.port)["token"]
            proxy.console("revoke", "--token", token)
            before, looked_up = with_sessions(proxy), proxy.log.count("the token is not in the store")
            for _ in range(2):
                with WebSocket(proxy.port, f"/?token={token}") as client:
                    assert refusal(client) == CloseReason.TOKEN_UNKNOWN.sentence
                time.sleep(told_within_s)
            until(lambda before=before: (with_sessions(proxy) - before).total() == 2, "both in the log")
            if len(with_sessions(proxy) - before) == 2:
                if proxy.log.count("the token is not in the store") == looked_up + 1:
                    return
                told_within_s *= 2
                assert told_within_s < 1, "the other worker was not told"
        raise AssertionError("one worker had both visits, each time")


def test_a_one_time_token_is_used_once_by_whichever_worker(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy:
        for _ in range(4):
            token = proxy.create(server.port, one_time=True)["token"]
            with open_console(proxy, token) as client:
                answers(client)
                with WebSocket(proxy.port, f"/?token={token}", source="127.0.0.2") as again:
                    assert refusal(again) == CloseReason.TOKEN_EXPIRED.sentence


def test_a_one_time_token_whose_worker_died_may_come_again_for_a_while(tmp_path):
    """As after any other end of its session."""
    with target(echo) as server, running(tmp_path, TWO) as proxy:
        token = proxy.create(server.port, one_time=True)["token"]
        with open_console(proxy, token):
            until(lambda: sessions(proxy), "the session in the list")
            for worker in workers_of(proxy):
                os.kill(worker, signal.SIGKILL)
            until(lambda: not sessions(proxy), "its end in the list", 5)
        with sqlite3.connect(tmp_path / "state" / "consoleproxy.sqlite") as database:
            ((usable_until,),) = database.execute("SELECT usable_until FROM console_uses").fetchall()
        assert 0 < usable_until - time.time() <= 31
        until(lambda: proxy.log.count(" serves (process ") == 4, "others")
        with open_console(proxy, token) as client:
            answers(client)


def test_the_channels_of_a_spice_session_may_be_with_any_worker(tmp_path):
    channels = [(DISPLAY, 0), (INPUTS, 0), (CURSOR, 0)]
    with (
        spice_target(password=PASSWORD, lets_channels_live=True) as (_, machine),
        spice_running(tmp_path, TWO) as proxy,
    ):
        for _ in range(10):
            token, before = proxy.token(machine.port), with_sessions(proxy)
            with proxy.view(token) as viewer:
                for channel in channels:
                    viewer.link(channel)
                until(lambda before=before: (with_sessions(proxy) - before).total() == 4, "all in the log")
                viewer.main.peer.sock.close()
                for link in viewer.links:
                    assert link.peer.until_close() == b""
            record = proxy.record(token)
            assert sorted(record["channels"]) == ["cursor", "display", "inputs", "main"]
            assert record["bytes_to_target"] == 3 * 11, "a header and hello, by each"
            if len(with_sessions(proxy) - before) == 2:
                return
        raise AssertionError("one worker had all channels, each time")


def test_a_spice_token_is_free_as_soon_as_the_worker_of_its_session_is_dead(tmp_path):
    with spice_target(password=PASSWORD) as (_, machine), spice_running(tmp_path, TWO) as proxy:
        token = proxy.token(machine.port)
        with proxy.view(token):
            until(lambda: sessions(proxy), "the session in the list")
            for worker in workers_of(proxy):
                os.kill(worker, signal.SIGKILL)
            until(lambda: not sessions(proxy), "its end in the list", 5)
        until(lambda: proxy.log.count(" serves (process ") == 4, "others")
        with proxy.view(token) as viewer:
            viewer.link()


def test_in_the_background_all_write_one_log_which_may_be_moved_away(tmp_path):
    log, pid_file = tmp_path / "proxy.log", tmp_path / "pid"
    proxy = Proxy(tmp_path, f"{TWO}[DEFAULT]\ndaemon = True")
    proxy.log_file = log
    with target(echo) as server, ExitStack() as stack:
        started = run("consoleproxy", "--config-file", proxy.config, "serve", "--logfile", log, "--pidfile", pid_file,
                      cwd=tmp_path)  # fmt: skip
        assert started.returncode == 0, started.stderr
        pid = until(lambda: pid_file.exists() and int(pid_file.read_text() or 0), "the pid file")
        stack.callback(until, lambda: not Path(f"/proc/{pid}").exists(), "it to end")
        stack.callback(os.kill, pid, signal.SIGTERM)
        until(lambda: log.exists() and "listening for VNC consoles" in proxy.log, "it to listen")
        token = proxy.create(server.port)["token"]
        with ExitStack() as clients:
            open_sessions(proxy, token, clients, on=2)
            assert {row["proxy"] for row in until(lambda: sessions(proxy), "sessions in the list")} == {
                f"{socket.gethostname()}:{pid}"
            }
            moved = log.rename(tmp_path / "proxy.log.1")
            os.kill(pid, signal.SIGHUP)
            until(lambda: log.exists() and "options were read again" in proxy.log, "the log under its own name")
        said = [f"[worker {number}: rfbproxy.session.visit#info]" for number in (1, 2)]
        until(lambda: all(each in proxy.log for each in said), "what the old workers say, in the new file")
        assert "worker 1 serves" in moved.read_text()
        assert log.stat().st_mode & 0o777 == 0o600
    assert not children(pid)


def test_a_session_is_ended_wherever_it_is(tmp_path):
    with target(echo) as server, running(tmp_path, TWO) as proxy, ExitStack() as stack:
        token = proxy.create(server.port)["token"]
        clients = open_sessions(proxy, token, stack, on=2)
        rows = until(lambda: len(rows := sessions(proxy)) == len(clients) and rows, "all sessions in the list")
        for row in rows:
            ended = run("consoleproxy", "--config-file", proxy.config, "session", "end", row["id"])
            assert ended.returncode == 0, ended.stderr
        for client in clients:
            client.until_close()
        until(lambda: len(proxy.records) == len(clients), "their records")
        assert {record["close_reason"] for record in proxy.records} == {CloseReason.REVOKED.value}


def test_metrics_are_of_all_workers_and_of_those_that_have_gone(tmp_path):
    (tmp_path / "token").write_text("the-token-of-the-api")
    port = free_port()
    api = f"api_listen = {port}\napi_token_file = {tmp_path}/token\n"
    with target(echo) as server, running(tmp_path, TWO + api) as proxy, ExitStack() as stack:
        token = proxy.create(server.port)["token"]
        clients = open_sessions(proxy, token, stack, on=2)
        for client in clients:
            answers(client)

        def number(name: str, *labels: str) -> float:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", "/metrics", headers={"Authorization": "Bearer the-token-of-the-api"})
                response = connection.getresponse()
                assert response.status == 200
                page = text_string_to_metric_families(response.read().decode())
            return sum(
                sample.value
                for family in page
                for sample in family.samples
                if sample.name == f"consoleproxy_{name}" and set(labels) <= set(sample.labels.values())
            )

        for _ in range(5):  # whichever worker is asked
            assert number("sessions", "novnc") == len(clients)
        relayed = number("to_client_bytes_total", "vnc")
        assert relayed >= len(REQUEST) * len(clients)
        assert number("ready") == 1
        os.kill(workers_of(proxy)[0], signal.SIGKILL)
        until(lambda: proxy.log.count(" serves (process ") == 3, "another one")
        alive = [client for client in clients if still_there(client)]
        assert number("sessions", "novnc") == len(alive)
        assert number("to_client_bytes_total", "vnc") >= relayed, "as it was when it was asked last"
        for client in alive:
            client.close()
        until(lambda: len(proxy.records) == len(alive), "their records")
        hang_up(proxy, TWO + api)
        until(lambda: len(workers_of(proxy)) == 2, "the old ones to go")
        assert number("visits_total", "client-closed", "vnc") == len(alive)
        assert number("sessions", "novnc") == 0


def test_a_unix_socket_serves_through_a_roll_and_goes_at_the_end(tmp_path):
    path = tmp_path / "console.sock"
    options = f"{TWO}[vnc]\nnovncproxy_host = unix:{path}\n[consoleproxy]\n"

    def healthy() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b" 200 OK\r\n" in client.recv(100)

    with running(tmp_path, options) as proxy:
        before = workers_of(proxy)
        assert healthy()
        hang_up(proxy, options)
        until(lambda: not set(before) & set(workers_of(proxy)), "the old ones to go")
        for _ in range(5):
            assert healthy()
        assert proxy.stop() == 0
        assert not path.exists()
