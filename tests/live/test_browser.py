"""Consoles of QEMU and Xvnc in Chromium: seen pixel by pixel, typed into, and recorded, with every noVNC there is."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.live.browser import ConsolePage, MinimalPage, NovncAutoPage, NovncLitePage, NovncPage
from tests.live.laboratory import Laboratory
from tests.live.machine import Target
from tests.live.proxy import Proxy

TARGETS = ["qemu-none", "qemu-password", "xvnc-none", "xvnc-vncauth"]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, lab: Laboratory) -> Target:
    return lab.target(request.param)


def see_and_type(console: ConsolePage, proxy: Proxy, target: Target, text: str) -> None:
    """Look, type, look again, leave a record."""
    proxy.secrets.add(text)
    known = len(proxy.records())
    console.see_and_type(target, text)
    check_record(proxy.next_record(known, proxy.console(target).token_id), proxy, target)
    proxy.check_secrets_kept()


def check_record(record: dict[str, Any], proxy: Proxy, target: Target) -> None:
    expected = {
        "client": "127.0.0.1",
        "instance": proxy.console(target).instance,
        "console_type": "novnc",
        "target": f"127.0.0.1:{target.port}",
        "way_in": "websocket",
        "client_version": "3.8",
        "target_version": target.version,
        "client_security": "None",
        "target_security": target.security,
        "close_reason": "client-closed",
    }
    assert {name: record[name] for name in expected} == expected
    assert record["bytes_to_client"] > 1000
    assert record["bytes_to_target"] > 100
    assert record["started"] < record["ended"]


def test_own_page(lab: Laboratory, page: Page, target: Target, new_text: Callable[[], str]) -> None:
    proxy = lab.own_page
    console = ConsolePage(page, proxy.console(target).url)
    console.wait_connected()
    assert page.locator("#name").inner_text() == page.title() == target.desktop_name
    see_and_type(console, proxy, target, new_text())
    assert console.complaints == []
    assert {url for url in console.requested if not url.startswith((f"{proxy.origin}/", "data:"))} == set()


@pytest.mark.parametrize("kind", [NovncPage, NovncAutoPage, NovncLitePage], ids=lambda kind: kind.name)
def test_debians_novnc(
    lab: Laboratory, page: Page, target: Target, kind: type[NovncPage], new_text: Callable[[], str]
) -> None:
    proxy = lab.debian_pages
    see_and_type(kind(page, proxy.console(target).url), proxy, target, new_text())


def test_npms_novnc_with_a_url(lab: Laboratory, page: Page, target: Target, new_text: Callable[[], str]) -> None:
    proxy = lab.minimal_page
    see_and_type(MinimalPage(page, proxy.console(target).url), proxy, target, new_text())
