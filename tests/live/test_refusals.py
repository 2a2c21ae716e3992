"""What a person reads when a console does not open, or goes away: on our page and in Debian's noVNC."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from rfbproxy.reasons import CloseReason
from tests.live.browser import ConsolePage, NovncAutoPage, NovncPage
from tests.live.laboratory import Laboratory
from tests.live.proxy import Proxy
from tests.live.targets import Qemu
from tests.ports import free_port

PAGES = [ConsolePage, NovncPage, NovncAutoPage]


@pytest.fixture(params=PAGES, ids=["own page", "vnc.html", "vnc_auto.html"])
def kind(request: pytest.FixtureRequest) -> type[ConsolePage]:
    return request.param


@pytest.fixture
def proxy(lab: Laboratory, kind: type[ConsolePage]) -> Proxy:
    return lab.own_page if kind is ConsolePage else lab.debian_pages


def refuse(
    page: Page, kind: type[ConsolePage], proxy: Proxy, url: str, reason: CloseReason, token_id: str | None
) -> dict[str, Any]:
    """Open a console that will not open; returns its audit record."""
    known = len(proxy.records())
    assert kind(page, url).wait_refused() == reason.sentence
    record = proxy.next_record(known, token_id)
    assert record["close_reason"] == reason.value
    assert record["way_in"] == "websocket"
    assert record["client_version"] == "3.8"
    assert record["bytes_to_client"] == record["bytes_to_target"] == 0
    proxy.check_secrets_kept()
    return record


def test_wrong_token(lab: Laboratory, page: Page, kind: type[ConsolePage], proxy: Proxy) -> None:
    console, wrong = proxy.console(lab.target("qemu-none")), str(uuid.uuid4())
    proxy.secrets.add(wrong)
    url = console.url.replace(console.token, wrong)
    record = refuse(page, kind, proxy, url, CloseReason.TOKEN_UNKNOWN, None)
    assert record["target"] is record["target_version"] is None


def test_stopped_target(page: Page, kind: type[ConsolePage], proxy: Proxy) -> None:
    port = free_port()
    console = proxy.create(port)
    record = refuse(page, kind, proxy, console.url, CloseReason.TARGET_UNREACHABLE, console.token_id)
    assert record["target"] == f"127.0.0.1:{port}"
    assert record["instance"] == console.instance
    assert record["target_version"] is record["target_security"] is None


@pytest.mark.parametrize("name", ["qemu-password", "xvnc-vncauth"])
@pytest.mark.parametrize("password", ["wrong one", None], ids=["wrong password", "no password"])
def test_refused_login(
    lab: Laboratory, page: Page, kind: type[ConsolePage], proxy: Proxy, name: str, password: str | None
) -> None:
    target = lab.target(name)
    console = proxy.create(target.port, password)
    record = refuse(page, kind, proxy, console.url, CloseReason.TARGET_AUTH_FAILED, console.token_id)
    assert record["target_version"] == "3.8"
    assert record["target_security"] is None


def test_target_stops_while_it_is_seen(lab: Laboratory, page: Page, tmp_path: Path) -> None:
    proxy, target = lab.own_page, Qemu("qemu-that-stops", tmp_path)
    try:
        token = proxy.console(target)
        console = ConsolePage(page, token.url)
        console.wait_connected()
        known = len(proxy.records())
    finally:
        target.stop()
    page.wait_for_function("() => document.documentElement.dataset.state === 'closed'")
    assert page.locator("#sentence").inner_text() == CloseReason.TARGET_CLOSED.sentence
    assert proxy.next_record(known, token.token_id)["close_reason"] == CloseReason.TARGET_CLOSED.value
    page.locator("#reconnect").click()
    assert console.wait_refused() == CloseReason.TARGET_UNREACHABLE.sentence
    assert proxy.next_record(known + 1, token.token_id)["close_reason"] == CloseReason.TARGET_UNREACHABLE.value
