"""Machines that move to another host while a viewer looks at them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from rfbproxy.reasons import CloseReason
from tests.live.browser import SpicePage
from tests.live.laboratory import Laboratory
from tests.live.pki import HOST_SUBJECT
from tests.live.screen import Screen
from tests.live.spice_targets import SCREEN_AND_KEYS, SpiceMachine
from tests.live.spice_viewers import RemoteViewer

KINDS: dict[str, Callable[[Laboratory], dict[str, Any]]] = {
    "in clear": lambda lab: {},
    "asks for TLS": lambda lab: {"identity": lab.pki.hypervisor, "secured": ["main", "inputs"]},
}


@pytest.fixture(params=KINDS)
def machines(request: pytest.FixtureRequest, lab: Laboratory, tmp_path: Path) -> Iterator[list[SpiceMachine]]:
    """One that runs, and one that it may move to."""
    options = KINDS[request.param](lab)
    here = SpiceMachine("here", tmp_path, password=True, **options)
    there = SpiceMachine("there", tmp_path, password=True, moves_here=here, **options)
    yield [here, there]
    there.stop()
    here.stop()


@pytest.mark.parametrize("way", ["spice", "spice_connect"], ids=["TLS", "CONNECT"])
def test_a_viewer_follows(
    lab: Laboratory,
    screen: Screen,
    tmp_path: Path,
    machines: list[SpiceMachine],
    way: str,
    new_text: Callable[[], str],
) -> None:
    """By the proxy, and without hearing where the machine is."""
    proxy, (here, there) = getattr(lab, way), machines
    subject = ["--host-subject", HOST_SUBJECT] if here.tls_port is not None else []
    console, known = proxy.create_spice(here, *subject, kind="spice-direct"), len(proxy.records())
    viewer = RemoteViewer(tmp_path, screen, proxy.connection_file(console))
    try:
        viewer.see_and_type(here, new_text())
        said_before = len(proxy.said)
        here.move_to(there)
        proxy.wait_channels(there, SCREEN_AND_KEYS, said_before)
        viewer.see_and_type(there, new_text())
        assert here.channels() == {}
    finally:
        viewer.stop()
    first = proxy.next_record(known, console.token_id)
    second = proxy.next_record(proxy.records().index(first) + 1, console.token_id)
    assert [first["target"], second["target"]] == [machine.address for machine in machines]
    for record in (first, second):
        assert record["close_reason"] == CloseReason.CLIENT_CLOSED.value
        assert set(record["channels"]) == SCREEN_AND_KEYS
    assert "Traceback" not in proxy.said
    proxy.check_secrets_kept()


@pytest.mark.parametrize("machines", ["in clear"], indirect=True)
def test_a_browser_finds_it_again(lab: Laboratory, page: Page, machines: list[SpiceMachine]) -> None:
    """Which cannot follow by itself: its session ends, and the same link opens the machine where it is now."""
    proxy, (here, there) = lab.spice, machines
    console = proxy.create_spice(here)
    shown = SpicePage(page, console.url)
    shown.wait_same(here)
    here.move_to(there)
    page.wait_for_function("() => document.documentElement.dataset.state === 'closed'")
    assert page.locator("#sentence").inner_text() == CloseReason.TARGET_CLOSED.sentence
    page.locator("#reconnect").click()
    shown.wait_connected()
    shown.wait_same(there)
    assert here.channels() == {}
