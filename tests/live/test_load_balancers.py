"""A browser behind HAProxy and nginx, set up as docs/how-to/load-balancer says."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from rfbproxy.reasons import CloseReason
from tests.certificates import certificate
from tests.client.frames import frame, upgrade
from tests.live.balancers import ADDRESS, Haproxy, Nginx
from tests.live.browser import ConsolePage
from tests.live.laboratory import Laboratory
from tests.live.machine import Target
from tests.live.processes import PATIENCE_S, until
from tests.live.proxy import Proxy
from tests.ports import free_port

COMMAND = ["twistd", "-n", "consoleproxy"]


@pytest.fixture
def target(lab: Laboratory) -> Target:
    return lab.target("xvnc-none")


@contextmanager
def proxy_behind(folder: Path, base: str, options: str = "") -> Iterator[Proxy]:
    proxy = Proxy("behind", folder, COMMAND, base=base, options=f"trusted_proxies = {ADDRESS}\n{options}")
    try:
        yield proxy
    finally:
        proxy.process.stop()


@contextmanager
def haproxy_before(proxy: Proxy, folder: Path, *, https: int, tcp: int) -> Iterator[None]:
    haproxy = Haproxy(folder, proxy.port, https=https, tcp=tcp)
    try:
        yield
    finally:
        haproxy.process.stop()


def see_and_type(browser: Browser, proxy: Proxy, target: Target, text: str) -> None:
    """Look, type, leave; the record names the browser's address."""
    known = len(proxy.records())
    console = proxy.console(target)
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_S * 1000)
    try:
        page = ConsolePage(context.new_page(), console.url)
        page.wait_connected()
        page.wait_same(target)
        page.type(f"{text}\n")
        target.wait_typed(f"{text}\n")
        assert page.complaints == []
    finally:
        context.close()
    record = proxy.next_record(known, console.token_id)
    assert (record["client"], record["close_reason"]) == ("127.0.0.1", "client-closed")


def test_haproxy_passes_bytes_on_with_a_proxy_header(
    browser: Browser, target: Target, tmp_path: Path, new_text: Callable[[], str]
) -> None:
    https, tcp = free_port(), free_port()
    with (
        proxy_behind(tmp_path, f"http://127.0.0.1:{tcp}") as proxy,
        haproxy_before(proxy, tmp_path, https=https, tcp=tcp),
    ):
        see_and_type(browser, proxy, target, new_text())
        assert not any(record["client"] == ADDRESS for record in proxy.records())


def test_haproxy_takes_tls_off(browser: Browser, target: Target, tmp_path: Path, new_text: Callable[[], str]) -> None:
    """The proxy is `ssl_only`: TLS that a trusted proxy took off counts."""
    https, tcp = free_port(), free_port()
    pem = tmp_path / "own.pem"
    certificate(pem, pem)
    with (
        proxy_behind(tmp_path, f"https://127.0.0.1:{https}", f"[DEFAULT]\nssl_only = True\ncert = {pem}") as proxy,
        haproxy_before(proxy, tmp_path, https=https, tcp=tcp),
    ):
        see_and_type(browser, proxy, target, new_text())
        check_keep_alive(https)
        check_origins(proxy, https, target)


def trusting() -> ssl.SSLContext:
    return ssl._create_unverified_context()


def check_keep_alive(port: int) -> None:
    """Many requests over one connection, each of which may meet the same connection behind the balancer."""
    connection = HTTPSConnection("127.0.0.1", port, context=trusting(), timeout=PATIENCE_S)
    for path in ("/", "/healthz", "/nothing", "/_console/console.js", "/"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (404 if path == "/nothing" else 200)
        assert answer.getheader("connection") != "close"
    connection.close()


def check_origins(proxy: Proxy, port: int, target: Target) -> None:
    """The scheme is the one that the browser used towards the balancer."""
    token, own = proxy.console(target).token, f"127.0.0.1:{port}"
    for origin, refused in ((f"https://{own}", False), ("https://evil.example", True), (None, False)):
        known = len(proxy.records())
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain,
            trusting().wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(upgrade(f"/?token={token}", host=own, origin=origin) + frame(b"RFB 003.008\n"))
            heard = b""
            while b"RFB 003.008\n" not in heard or (refused and CLOSED not in heard):
                piece = sock.recv(65536)
                assert piece, heard
                heard += piece
        record = until(lambda known=known: proxy.records()[known:], "a record of the visit")[0]
        assert (record["close_reason"] == CloseReason.ORIGIN_REFUSED.value) == refused


CLOSED = b"Origin header does not match this host."


@pytest.mark.parametrize("strips", [True, False], ids=["stripped", "left"])
def test_nginx_with_a_prefix(
    browser: Browser, target: Target, tmp_path: Path, strips: bool, new_text: Callable[[], str]
) -> None:
    port = free_port()
    with proxy_behind(tmp_path, f"http://127.0.0.1:{port}/console") as proxy:
        nginx = Nginx(tmp_path, proxy.port, port, strips=strips)
        try:
            see_and_type(browser, proxy, target, new_text())
        finally:
            nginx.process.stop()
