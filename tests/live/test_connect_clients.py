"""CONNECT and its refusals as `nc -6` and `curl` see them: RFB after a literal 200, or a status line and a sentence."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfbproxy.reasons import CloseReason
from tests.live.processes import program
from tests.peers import echo, target
from tests.ports import free_port
from tests.proxy_process import Proxy


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    made = Proxy(
        tmp_path, f"[vnc]\nnovncproxy_host = ::\nxvpvncproxy_host = ::1\nxvpvncproxy_port = {free_port('::1')}"
    )
    yield made.start()
    made.stop()


def nc(proxy: Proxy, request: bytes) -> bytes:
    client = [program("nc"), "-6", "-w", "3", "-q", "-1", "::1", str(proxy.port)]
    return subprocess.run(client, input=request, capture_output=True, timeout=30, check=False).stdout


def test_nc_gets_the_greeting_after_a_literal_200(proxy: Proxy) -> None:
    with target(echo, "::1") as server:
        token = proxy.create(server.port, host="::1")["token"]
        said = nc(proxy, f"CONNECT /console?token={token} HTTP/1.0\r\n\r\nRFB 003.008\n".encode())
    assert said.startswith(b"HTTP/1.1 200 OK\r\n\r\nRFB 003.008\n\1\1")


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/console", b"400 Bad Request", CloseReason.TOKEN_UNKNOWN.sentence),
        ("/console?token=wrong", b"401 Unauthorized", CloseReason.TOKEN_UNKNOWN.sentence),
    ],
)
def test_nc_is_refused_in_words(proxy: Proxy, path: str, status: bytes, sentence: str) -> None:
    said = nc(proxy, f"CONNECT {path} HTTP/1.0\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert said.endswith(b"\r\n\r\n" + sentence.encode() + b"\n")


def test_curl_finds_no_open_proxy(proxy: Proxy) -> None:
    with target(echo) as server:
        through = ["--proxy", f"http://127.0.0.1:{proxy.port}", "--proxytunnel"]
        asked = [program("curl"), "--silent", "--show-error", *through, f"http://127.0.0.1:{server.port}/"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        assert server.connections == 0
    assert answer.returncode == 56
    assert "CONNECT tunnel failed, response 401" in answer.stderr
