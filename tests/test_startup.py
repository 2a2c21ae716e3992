"""Starting and stopping the real commands: what cannot work is refused with one line and a non-zero status."""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from rfbproxy.reasons import CloseReason
from tests.certificates import certificate
from tests.peers import SERVER_INIT, WebSocket, echo, enter, http, refusal, rfb_server, target
from tests.ports import free_port
from tests.proxy_process import BIN, Proxy, run, running, until

COMMANDS = [("twistd", "-n", "consoleproxy"), ("consoleproxy", "serve")]

CANNOT_WORK = [
    ("unreadable certificate", "[DEFAULT]\ncert = {folder}/none.pem", "none.pem cannot be read: No such file"),
    ("no certificate in it", "[DEFAULT]\ncert = {folder}/nova.conf", "nova.conf holds no usable certificate"),
    ("key of another", "[DEFAULT]\ncert = {folder}/a.pem\nkey = {folder}/b.key", "b.key is not the key of"),
    ("ssl_only without certificate", "[DEFAULT]\nssl_only = True", "SSL only and self.pem not found"),
    ("web missing", "[DEFAULT]\nweb = /nonexistent/web", "Can not find html/js files at /nonexistent/web"),
    ("unknown value", "[console]\nssl_minimum_version = ssl3", "[console] ssl_minimum_version: Valid values are"),
    ("no number", "[vnc]\nnovncproxy_port = many", "[vnc] novncproxy_port: "),
    ("no address", "[consoleproxy]\ntrusted_proxies = friend", "'friend' is no address or network"),
    ("store's folder missing", "[consoleauth]\nconnection = sqlite:////nonexistent/t.sqlite", "/nonexistent/t.sqlite"),
    ("store's URL", "[consoleauth]\nconnection = nonsense", "not a database URL"),
    ("audit log", "[consoleproxy]\naudit_log = /nonexistent/a", "audit_log: /nonexistent/a cannot be written"),
    ("nothing to listen for", "[vnc]\nenabled = False", "[vnc] enabled is False"),
    ("nothing to listen on", "[vnc]\nnovncproxy_host =", "novncproxy_host is empty"),
    (
        "nothing to listen for SPICE on",
        "[vnc]\nenabled = False\n[spice]\nenabled = True\nhtml5proxy_host =",
        "[spice] html5proxy_host is empty",
    ),
    ("a host that may be two things", "[vnc]\nnovncproxy_host = 2001:db8::1:6080", "[2001:db8::1] the other"),
    (
        "CAs",
        "[DEFAULT]\ncert={folder}/a.pem\nkey={folder}/a.key\n[consoleproxy]\nclient_ca_certs=/x",
        "client_ca_certs: /x",
    ),
    ("CAs and no certificate", "[consoleproxy]\nclient_ca_certs=/x", "client_ca_certs needs a certificate"),
    ("native viewers and no certificate", "[consoleproxy]\nrfb_listen=127.0.0.1:0", "rfb_listen needs a certificate"),
    ("native viewers nowhere", "[consoleproxy]\nrfb_listen=5900", "rfb_listen: '5900' is not an address"),
    ("a key without its certificate", "[vnc]\nvencrypt_client_key = /x", "vencrypt_client_cert is not"),
    ("targets' CAs", "[vnc]\nvencrypt_ca_certs = /nonexistent", "vencrypt_ca_certs: /nonexistent cannot be read"),
    ("no login at all", "[vnc]\nauth_schemes =", "[vnc] auth_schemes is empty"),
    (
        "no login inside",
        "[vnc]\nauth_schemes = vencrypt\n[consoleproxy]\nvencrypt_subtypes =",
        "vencrypt_subtypes is empty",
    ),
    ("an unknown login", "[vnc]\nauth_schemes = tight", "[vnc] auth_schemes: "),
    ("host of another", "[vnc]\nnovncproxy_host = 192.0.2.1", "cannot listen on 192.0.2.1"),
    ("no time", "[consoleproxy]\nhandshake_timeout_s = nan", "handshake_timeout_s: 'nan' is not a number of seconds"),
    ("endless", "[consoleproxy]\nidle_timeout_s = inf", "idle_timeout_s: 'inf' is not a number of seconds"),
    ("base", "[vnc]\nnovncproxy_base_url = foo", "[vnc] novncproxy_base_url: 'foo' is not a URL"),
    ("origin", "[console]\nallowed_origins = https://a.example:443", "'https://a.example:443' is not a bare host name"),
    ("garbage", "what is this", "Failed to parse"),
]


def one_line(result: subprocess.CompletedProcess, expected: str) -> None:
    assert result.returncode == 1, result
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("options", "expected"), [case[1:] for case in CANNOT_WORK], ids=[case[0] for case in CANNOT_WORK]
)
def test_what_cannot_work_is_refused(tmp_path, options, expected):
    certificate(tmp_path / "a.pem", tmp_path / "a.key")
    certificate(tmp_path / "b.pem", tmp_path / "b.key")
    proxy = Proxy(tmp_path, options.format(folder=tmp_path))
    one_line(run("twistd", "-n", "consoleproxy", "--config-file", proxy.config, cwd=tmp_path), expected)
    assert not list(tmp_path.glob("twistd.*")), "twistd left something behind"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_port_that_is_taken_is_refused(tmp_path, command):
    """Nova exits 0 here."""
    proxy = Proxy(tmp_path)
    with socket.create_server(("127.0.0.1", proxy.port)):
        result = run(*command, "--config-file", proxy.config)
    one_line(result, f"cannot listen on 127.0.0.1:{proxy.port}: Address already in use")


def test_a_listener_that_nobody_asked_for_does_without_its_port(tmp_path):
    """So that a second proxy on the same host need not be told to leave the Java viewers alone."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # taken already will do as well
            stack.enter_context(socket.create_server(("0.0.0.0", 6081)))
        proxy = Proxy(tmp_path)
        proxy.config.write_text(proxy.config.read_text().replace("xvpvncproxy_host =", "#"))
        stack.callback(proxy.stop)
        proxy.start()
        assert "no xvpvncproxy: cannot listen on 0.0.0.0:6081: Address already in use" in proxy.log
        assert http(proxy.port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200


def test_a_missing_configuration_file_is_refused():
    one_line(run("twistd", "-n", "consoleproxy", "--config-file", "/nonexistent/nova.conf"), "/nonexistent/nova.conf")
    one_line(run("consoleproxy", "--config-dir", "/nonexistent", "console", "list"), "/nonexistent")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_it_serves_and_stops(tmp_path, command):
    with running(tmp_path, command=command) as proxy:
        assert http(proxy.port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
        status, _, body = http(proxy.port, "GET /readyz HTTP/1.0\r\n\r\n")
        assert (status, body) == (200, b"ready\n")
        started = time.monotonic()
        assert proxy.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < 3
        assert not proxy.records, "health checks leave no audit record"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "log", "nova.conf", "state"]
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_in_the_background_it_sees_tokens_that_come_later(tmp_path):
    """A connection to SQLite must not be carried across the fork: its locks are not."""
    proxy = Proxy(tmp_path, "[DEFAULT]\ndaemon = True")
    pid_file = tmp_path / "pid"
    with target(echo) as server:
        started = run("consoleproxy", "--config-file", proxy.config, "serve", "--pidfile", pid_file, cwd=tmp_path)
        assert started.returncode == 0
        pid = background(pid_file)
        log = tmp_path / "twistd.log"
        try:
            until(lambda: log.exists() and "listening for VNC consoles" in log.read_text(), "the daemon to listen")
            for _ in range(3):
                where = ("--type", "novnc", "--host", "127.0.0.1", "--port", str(server.port))
                created = proxy.console("create", *where)
                with WebSocket(proxy.port, f"/?token={created['token']}") as client:
                    assert enter(client) == SERVER_INIT
        finally:
            os.kill(pid, signal.SIGTERM)
            until(lambda: not Path(f"/proc/{pid}").exists(), "the daemon to end")


@pytest.mark.parametrize("command", ["view 127.0.0.1:1", "demo"])
def test_a_signal_right_after_the_url_ends_cleanly(tmp_path, command):
    for _ in range(3):
        with Foreground(tmp_path, *command.split(), "--listen", "127.0.0.1:0") as proxy:
            assert proxy.url.startswith("http://127.0.0.1:")


def test_it_runs_without_any_configuration(tmp_path):
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    port = free_port()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "port.conf").write_text(
        f"[vnc]\nnovncproxy_host = 127.0.0.1\nnovncproxy_port = {port}\nxvpvncproxy_host =\n"
        f"[DEFAULT]\nstate_path = {tmp_path}/s\n"
    )
    process = subprocess.Popen([BIN / "consoleproxy", "--config-dir", tmp_path / "c", "serve", "-n"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                               )  # fmt: skip
    try:
        assert process.stdout is not None
        assert any("listening for VNC consoles" in line for line in process.stdout)
        assert http(port, "GET / HTTP/1.0\r\n\r\n")[0] == 200
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_old_names_of_nova_are_read(tmp_path, request):
    port, xvp_port = free_port(), free_port()
    with target(echo) as server:
        proxy = Proxy(tmp_path)
        proxy.port = port
        proxy.config.write_text(f"""
[DEFAULT]
novncproxy_host = 127.0.0.1
novncproxy_port = {port}
novncproxy_base_url = http://$my_ip:{port}/vnc_auto.html
xvpvncproxy_host = 127.0.0.1
xvpvncproxy_port = {xvp_port}
console_token_ttl = 100
console_allowed_origins = old.example.net
vnc_enabled = True
state_path = {tmp_path}/state
rpc_backend = rabbit
[consoleproxy]
audit_log = {proxy.audit_file}
[keystone_authtoken]
whatever = 1
""")
        with contextlib.ExitStack() as stack:
            proxy.start()
            stack.callback(proxy.stop)
            begun = int(time.time())
            created = proxy.console("create", "--type", "novnc", "--host", "127.0.0.1", "--port", str(server.port))
            assert created["url"].startswith(f"http://127.0.0.1:{port}/vnc_auto.html?path=%3Ftoken%3D")
            assert begun + 100 <= created["expires"] <= time.time() + 100
            headers = ("Host: other.example.net", "Origin: http://old.example.net")
            for listener in (port, xvp_port):
                with WebSocket(listener, f"/?token={created['token']}", *headers) as client:
                    assert enter(client) == SERVER_INIT
        assert "unknown option" not in proxy.log


def test_unknown_options_of_our_groups_are_named(tmp_path):
    with running(tmp_path, "handshake_timeout = 3\n[vnc]\nnovncproxy_prt = 1") as proxy:
        assert "unknown option [consoleproxy] handshake_timeout in" in proxy.log
        assert "unknown option [vnc] novncproxy_prt in" in proxy.log


def test_readyz_says_that_the_store_fails(tmp_path):
    with running(tmp_path) as proxy:
        database = tmp_path / "state" / "consoleproxy.sqlite"
        for file in database.parent.iterdir():
            file.write_bytes(b"no database " * 1000)
        status, _, body = http(proxy.port, "GET /readyz HTTP/1.0\r\n\r\n")
        assert (status, body) == (503, b"The token store fails.\n")
        assert http(proxy.port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200


def test_a_store_that_is_removed_is_noticed_and_a_new_one_is_used(tmp_path):
    with running(tmp_path) as proxy, target(echo) as server:
        proxy.create(server.port)
        for file in (tmp_path / "state").iterdir():
            file.unlink()
        assert http(proxy.port, "GET /readyz HTTP/1.0\r\n\r\n")[0] == 503
        token = proxy.create(server.port)["token"]  # makes the store anew, as the command does
        with WebSocket(proxy.port, f"/?token={token}") as client:
            assert enter(client) == SERVER_INIT


def test_a_unix_socket_is_listened_on_and_replaced_when_stale(tmp_path):
    path = tmp_path / "console.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as stale:
        stale.bind(str(path))
    for _ in range(2):
        with running(tmp_path, f"[vnc]\nnovncproxy_host = unix:{path}"):
            assert path.stat().st_mode & 0o777 == 0o660
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert b" 200 OK\r\n" in client.recv(100)


class Foreground:
    """`view` or `demo`: the URL is the first line of stdout, everything else goes to stderr."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._stderr = (folder / "stderr").open("w+")
        self.process = subprocess.Popen([BIN / "consoleproxy", *arguments], stdout=subprocess.PIPE,
                                        stderr=self._stderr, text=True, cwd=folder)  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(10) == 0
        assert self.process.stdout.read() == ""
        self._stderr.close()


def open_url(url: str) -> WebSocket:
    match = re.fullmatch(r"http://127\.0\.0\.1:([0-9]+)/vnc_auto\.html\?path=%3Ftoken%3D([0-9a-f-]{36})", url)
    assert match, url
    deadline = time.monotonic() + 10
    while True:
        try:
            return WebSocket(int(match[1]), f"/vnc_auto.html?token={match[2]}")
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_view_shows_one_target(tmp_path):
    with (
        target(echo) as server,
        Foreground(tmp_path, "view", f"127.0.0.1:{server.port}", "--listen", "127.0.0.1:0") as proxy,
        open_url(proxy.url) as client,
    ):
        assert enter(client) == SERVER_INIT
        assert not (tmp_path / "state").exists()


def test_view_reaches_an_ipv6_target(tmp_path):
    with (
        target(echo, "::1") as server,
        Foreground(tmp_path, "view", f"[::1]:{server.port}", "--listen", "127.0.0.1:0") as proxy,
        open_url(proxy.url) as client,
    ):
        assert enter(client) == SERVER_INIT


def test_demo_needs_nothing(tmp_path):
    with Foreground(tmp_path, "demo", "--listen", "127.0.0.1:0") as proxy, open_url(proxy.url) as client:
        assert client.receive(12) == b"RFB 003.008\n"
        client.send(b"RFB 003.008\n")
        assert client.receive(2) == b"\1\1"


@pytest.mark.parametrize("where", ["::1:5900", "host", "host:0", "host:99999", "unix:/x", "[::1]", ":5900"])
def test_view_refuses_what_is_no_target(where):
    result = run("consoleproxy", "view", where, "--listen", "127.0.0.1:0")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"consoleproxy view: error: argument HOST:PORT: {where!r} is not ")


def test_view_refuses_a_listening_address_that_is_none():
    result = run("consoleproxy", "view", "h:1", "--listen", "::1:6080")
    assert result.returncode == 2
    assert "argument --listen: '::1:6080' is not an address" in result.stderr


def test_tls_is_told_by_the_first_byte_on_the_same_port(tmp_path):
    import ssl

    certificate(tmp_path / "both.pem", tmp_path / "both.pem")
    with running(tmp_path, f"[DEFAULT]\ncert = {tmp_path}/both.pem") as proxy:
        assert http(proxy.port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
        context = ssl.create_default_context(cafile=str(tmp_path / "both.pem"))
        with (
            socket.create_connection(("127.0.0.1", proxy.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            encrypted.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b" 200 OK\r\n" in encrypted.recv(100)


def test_nova_W28_ssl_only_refuses_in_words_what_is_not_encrypted(tmp_path):
    certificate(tmp_path / "both.pem", tmp_path / "both.pem")
    with (
        target(rfb_server) as server,
        running(tmp_path, f"[DEFAULT]\ncert = {tmp_path}/both.pem\nssl_only = True") as proxy,
    ):
        token = proxy.create(server.port)["token"]
        status, _, body = http(proxy.port, f"GET /?token={token} HTTP/1.0\r\nHost: h\r\n\r\n")
        assert (status, body) == (403, f"{CloseReason.TLS_REQUIRED.sentence}\n".encode())
        status, headers, _ = http(proxy.port, f"GET /vnc.html HTTP/1.0\r\nHost: h:{proxy.port}\r\n\r\n")
        assert (status, headers["location"]) == (308, f"https://h:{proxy.port}/vnc.html")
        assert http(proxy.port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
        with WebSocket(proxy.port, f"/?token={token}") as client:
            assert refusal(client) == CloseReason.TLS_REQUIRED.sentence
            assert client.close_code == 1008
        assert proxy.next_record(0)["close_reason"] == "tls-required"
        assert server.connections == 0


def test_several_addresses_are_listened_on(tmp_path):
    path = tmp_path / "console.sock"
    with running(tmp_path, f"[vnc]\nnovncproxy_host = 127.0.0.1, [::1], unix:{path}") as proxy:
        for host in ("127.0.0.1", "::1"):
            assert http(proxy.port, "GET /healthz HTTP/1.0\r\n\r\n", host)[0] == 200
        assert path.is_socket()
        assert f"listening for VNC consoles on [::1]:{proxy.port}" in proxy.log
    assert not path.exists()


def test_source_is_ipv6_listens_on_both(tmp_path):
    options = "[vnc]\nnovncproxy_host = 0.0.0.0\n[DEFAULT]\nsource_is_ipv6 = True"
    with target(echo, "::1") as server, running(tmp_path, options) as proxy:
        token = proxy.create(server.port, host="::1")["token"]
        for host, seen in (("::1", "::1"), ("127.0.0.1", "127.0.0.1")):  # not ::ffff:127.0.0.1
            before = len(proxy.records)
            brackets = f"[{host}]" if ":" in host else host
            headers = (f"Host: {brackets}:{proxy.port}", f"Origin: http://{brackets}:{proxy.port}")
            with WebSocket(proxy.port, f"/?token={token}", *headers, host=host) as client:
                assert enter(client) == SERVER_INIT
            record = proxy.next_record(before)
            assert record["client"] == seen
            assert record["target"] == f"[::1]:{server.port}"


def hand_over(proxy: Proxy, sockets: list[socket.socket], environment: dict[str, str]) -> None:
    """Start the proxy as systemd does: sockets from descriptor 3 on, and the environment that tells of them."""

    def put() -> None:
        high = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 200) for each in sockets]  # none of them is in the way
        for index, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + index)

    command = f"LISTEN_PID=$$ exec {BIN}/twistd -n consoleproxy --config-file {proxy.config}"
    with proxy.log_file.open("wb") as log:
        proxy.process = subprocess.Popen(
            ["sh", "-c", command], stdout=log, stderr=subprocess.STDOUT, cwd=proxy.folder,
            env={**os.environ, "LISTEN_FDS": str(len(sockets)), **environment}, preexec_fn=put, close_fds=False,
        )  # fmt: skip
    until(lambda: "listening for VNC consoles" in proxy.log, "the proxy to listen")


@pytest.mark.parametrize("workers", [1, 2])
def test_sockets_that_were_handed_over_are_served_and_systemd_is_told(tmp_path, workers):
    """One has the listener's name, one another's address, one is a UNIX socket, one is nobody's."""
    proxy = Proxy(tmp_path)
    path, told = tmp_path / "console.sock", tmp_path / "notify"
    with contextlib.ExitStack() as stack:
        named, xvp, stranger = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3))
        unix, notified = (
            stack.enter_context(socket.socket(socket.AF_UNIX, kind)) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        )
        unix.bind(str(path))
        unix.listen()
        notified.bind(str(told))
        notified.settimeout(10)
        xvp_port = xvp.getsockname()[1]
        proxy.write_config(f"workers = {workers}\n[vnc]\nxvpvncproxy_host = 127.0.0.1\nxvpvncproxy_port = {xvp_port}")
        hand_over(
            proxy,
            [named, unix, xvp, stranger],
            {"LISTEN_FDNAMES": "novncproxy:novncproxy:consoleproxy.socket:other", "NOTIFY_SOCKET": str(told)},
        )
        stack.callback(proxy.stop)
        assert notified.recv(100) == b"READY=1"
        for listening in (named, xvp):
            assert http(listening.getsockname()[1], "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b" 200 OK\r\n" in client.recv(100)
        with contextlib.closing(socket.create_server(("127.0.0.1", proxy.port))):
            pass  # the named sockets came in place of the listener's own address
        assert proxy.log.count("(handed over)") == 3
        assert f"no listener's: 127.0.0.1:{stranger.getsockname()[1]}" in proxy.log
        proxy.process.send_signal(signal.SIGHUP)
        assert notified.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert notified.recv(100) == b"READY=1"
        assert proxy.stop() == 0
        assert notified.recv(100) == b"STOPPING=1"
        assert path.is_socket(), "it is systemd's"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # which still listens


def background(pid_file: Path) -> int:
    return until(lambda: pid_file.exists() and int(pid_file.read_text() or 0), "the pid file")


@pytest.mark.parametrize("command", [("twistd",), ("consoleproxy", "serve")], ids=" ".join)
def test_in_the_background(tmp_path, command):
    """Paths are relative, the log and the records are nobody else's to read, and the sessions go on."""
    (tmp_path / "work").mkdir()
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    proxy = Proxy(tmp_path, "[DEFAULT]\ndaemon = True\nstate_path = state\n[consoleproxy]\naudit_log = audit.jsonl")
    own = ["--pidfile", "pid", "--logfile", "log"]
    arguments = [*command[1:], *own] if command[0] == "consoleproxy" else [*own, "--rundir", "work", "consoleproxy"]
    if command[0] == "twistd":
        own[1], own[3] = str(pid_file), str(log)
        arguments = [*own, "--rundir", "work", "consoleproxy"]
    config = ["--config-file", "nova.conf"]
    done = run(command[0], *arguments, *config, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pid = background(pid_file)
    try:
        until(lambda: "listening for VNC consoles" in log.read_text(), "the proxy to listen")
        assert f"Umask:\t{0o077:04o}" in Path(f"/proc/{pid}/status").read_text()
        assert os.getsid(pid) != os.getsid(0)
        with target(echo) as server:
            create = ("console", "create", "--type", "novnc", "--host", "127.0.0.1", "--port", server.port)
            created = run("consoleproxy", "--json", *config, *create, cwd=tmp_path)
            token = json.loads(created.stdout)["token"]
            with WebSocket(proxy.port, f"/?token={token}") as client:
                assert enter(client) == SERVER_INIT
                os.kill(pid, signal.SIGHUP)
                until(lambda: "options were read again" in log.read_text(), "the options to be read")
        until(lambda: len(proxy.records) == 1, "the audit record")
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists(), "the process to end")
    assert not pid_file.exists()
    assert not list((tmp_path / "work").iterdir())
    for file in (log, proxy.audit_file, tmp_path / "state" / "consoleproxy.sqlite"):
        assert file.stat().st_mode & 0o077 == 0, file


def test_what_cannot_work_in_the_background_is_refused_before_it_goes_there(tmp_path):
    proxy = Proxy(tmp_path, "[DEFAULT]\ndaemon = True\nssl_only = True")
    one_line(
        run("consoleproxy", "serve", "--config-file", proxy.config, cwd=tmp_path), "SSL only and self.pem not found"
    )


def test_a_token_given_as_an_argument_is_not_in_the_process_list(tmp_path):
    proxy = Proxy(tmp_path)
    with target(rfb_server) as server:
        token = proxy.create(server.port)["token"]
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "consoleproxy.sqlite")) as database:
        database.execute("BEGIN EXCLUSIVE")  # so that the command waits where it can be looked at
        command = subprocess.Popen([BIN / "consoleproxy", "--config-file", proxy.config, "console", "revoke",
                                    "--token", token], stdout=subprocess.PIPE, text=True)  # fmt: skip
        listed = Path(f"/proc/{command.pid}/cmdline")
        until(lambda: b"*" * 36 in listed.read_bytes(), "the argument to be hidden")
        assert token.encode() not in listed.read_bytes()
        database.rollback()
    out, _ = command.communicate(timeout=20)
    assert out.split() == ["revoked", "1"]
