"""TLS and IPv6 as other people's programs see them: `openssl s_client`, `curl` and systemd's own activation."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.live.processes import Process, program
from tests.peers import http
from tests.ports import free_port
from tests.proxy_process import BIN, Proxy, until


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    file = tmp_path / "both.pem"
    certificate(file, file)
    return file


@pytest.fixture
def proxy(tmp_path: Path, pem: Path) -> Iterator[Proxy]:
    made = Proxy(tmp_path, f"[DEFAULT]\ncert = {pem}\nssl_only = True\n[vnc]\nnovncproxy_host = 127.0.0.1, ::1")
    yield made.start()
    made.stop()


def outside(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(command[0]), *command[1:]], input=stdin, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_resumes_its_session(proxy: Proxy, pem: Path, tmp_path: Path, version: str) -> None:
    session = tmp_path / "session"
    where = ("-connect", f"127.0.0.1:{proxy.port}", "-servername", "localhost", "-CAfile", str(pem))
    client = ["openssl", "s_client", *where, version, "-alpn", "h2,http/1.1", "-ign_eof", "-verify_return_error"]
    request = "GET /healthz HTTP/1.0\r\n\r\n"
    first = outside(*client, "-sess_out", str(session), stdin=request)
    again = outside(*client, "-sess_in", str(session), stdin=request)
    for answer, how in ((first, "New"), (again, "Reused")):
        assert f"\n{how}, TLSv1.{version[-1]}" in answer.stdout, answer.stderr
        assert "alive" in answer.stdout
        assert "ALPN protocol: http/1.1" in answer.stdout
        assert "Verify return code: 0 (ok)" in answer.stdout


def test_s_client_gets_nothing_below_the_floor(proxy: Proxy) -> None:
    lowest = ("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    answer = outside("openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", *lowest)
    assert answer.returncode != 0
    assert "protocol version" in answer.stderr


def test_s_client_must_show_a_certificate_where_one_is_demanded(tmp_path: Path, pem: Path) -> None:
    proxy = Proxy(tmp_path, f"client_ca_certs = {pem}\n[DEFAULT]\ncert = {pem}").start()
    try:
        client = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-ign_eof"]
        request = "GET /healthz HTTP/1.0\r\n\r\n"
        assert "alive" in outside(*client, "-cert", str(pem), stdin=request).stdout
        refused = outside(*client, stdin=request)
        assert "alive" not in refused.stdout
        assert "certificate required" in refused.stderr
        until(lambda: "failed in TLS: peer did not return a certificate" in proxy.log, "the log to say so")
    finally:
        proxy.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_curl_follows_to_https(proxy: Proxy, pem: Path, host: str) -> None:
    url = f"http://{host}:{proxy.port}/vnc.html"
    answer = outside("curl", "--silent", "--show-error", "--location", "--insecure", "--include", url)
    assert "HTTP/1.1 308 " in answer.stdout, answer.stderr
    assert f"https://{host}:{proxy.port}/vnc.html" in answer.stdout
    assert "HTTP/1.1 200 OK" in answer.stdout
    assert "strict-transport-security: max-age=31536000" in answer.stdout.lower()
    assert "<html" in answer.stdout


def test_curl_is_not_sent_on_with_a_token(proxy: Proxy) -> None:
    url = f"http://127.0.0.1:{proxy.port}/vnc.html?token=123"
    answer = outside("curl", "--silent", "--location", "--write-out", "%{http_code} %{num_redirects}", url)
    assert answer.stdout == "This console opens only over an encrypted connection (https).\n403 0"
    head = outside("curl", "--silent", "--head", url)
    assert head.stdout.startswith("HTTP/1.1 403 ")


def test_systemds_activation(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path)
    port = free_port()
    process = Process(
        "activated",
        ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=novncproxy", str(BIN / "twistd"), "-n",
         "consoleproxy", "--config-file", str(proxy.config)],
        tmp_path,
    )  # fmt: skip
    try:
        until(lambda: "Listening on" in process.err.read_text(), "systemd-socket-activate to listen")
        assert http(port, "GET /readyz HTTP/1.0\r\n\r\n")[0] == 200  # the first client starts the proxy
        assert f"127.0.0.1:{port} (handed over)" in process.out.read_text()
    finally:
        process.stop()


def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    contrib = Path(__file__).parent.parent.parent / "contrib"
    for unit in contrib.glob("consoleproxy.*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/consoleproxy/bin/twistd", "/bin/true"))
    units = [str(tmp_path / f"consoleproxy.{kind}") for kind in ("service", "socket")]
    answer = outside("systemd-analyze", "verify", *units)
    assert (answer.returncode, answer.stderr) == (0, "")
    rated = outside("systemd-analyze", "security", "--offline=true", "--json=short", units[0])
    assert sum(float(rule["exposure"] or 0) for rule in json.loads(rated.stdout)) < 2.5


def test_a_renewed_certificate_reaches_the_next_client_and_not_the_last(
    proxy: Proxy, pem: Path, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=str(pem))
    with (
        socket.create_connection(("127.0.0.1", proxy.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as old,
    ):
        new = tmp_path / "new.pem"
        certificate(new, new, "renewed.example")
        new.rename(pem)
        shown = outside("openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-CAfile", str(pem))
        assert "CN = renewed.example" in shown.stdout
        old.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 200 OK\r\n" in old.recv(100)
