"""SPICE consoles in Chromium: seen pixel by pixel, typed into, and recorded, on our page and with every spice-html5."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

from rfbproxy.reasons import CloseReason
from tests.live.browser import ConsolePage, SpiceHtml5Page, SpicePage
from tests.live.laboratory import Laboratory
from tests.live.pki import ELSEWHERE
from tests.live.processes import until
from tests.live.spice_targets import SCREEN_AND_KEYS, SpiceMachine

MANY = 30  # sessions
WRONG_SUBJECT = f"CN={ELSEWHERE}"


@dataclass(frozen=True)
class Way:
    """A page, and the proxy that serves it."""

    name: str
    proxy: str
    kind: type[ConsolePage]

    def __str__(self) -> str:
        return self.name


WAYS = [
    Way("own page", "spice", SpicePage),
    Way("npm's spice-html5", "spice", SpiceHtml5Page),
    Way("Debian's spice-html5", "spice_debian_pages", SpiceHtml5Page),
]


def wait_closed(page: Page, reason: CloseReason) -> None:
    """Wait until our page says why it shows no more."""
    page.wait_for_function("() => document.documentElement.dataset.state === 'closed'")
    assert page.locator("#sentence").inner_text() == reason.sentence


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", ["spice-none", "spice-ticket", "spice-secured"])
def test_it_sees_and_types(lab: Laboratory, page: Page, way: Way, name: str, new_text: Callable[[], str]) -> None:
    proxy, target, text = getattr(lab, way.proxy), lab.spice_machine(name), new_text()
    console, known, said_before = proxy.create_spice(target), len(proxy.records()), len(proxy.said)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    proxy.secrets.add(text)
    shown = way.kind(page, console.url)
    proxy.wait_channels(target, SCREEN_AND_KEYS, said_before)
    shown.see_and_type(target, text)
    assert len(sockets) == len(SCREEN_AND_KEYS)
    assert {console.token in url for url in sockets} == {way.kind is SpicePage}  # elsewhere it is in a cookie
    record = proxy.check_record(known, console, target)
    assert record["way_in"] == "websocket"
    assert set(record["channels"]) == SCREEN_AND_KEYS
    proxy.check_secrets_kept()


def test_own_page_is_all_that_is_loaded(lab: Laboratory, page: Page) -> None:
    proxy = lab.spice
    shown = SpicePage(page, proxy.create_spice(lab.spice_machine("spice-ticket")).url)
    shown.wait_connected()
    assert shown.complaints == []
    foreign = {url for url in shown.requested if not url.startswith((f"http://127.0.0.1:{proxy.spice_port}/", "data:"))}
    assert foreign == set()


def test_two_tabs_show_two_machines(lab: Laboratory, page: Page, new_text: Callable[[], str]) -> None:
    """With a token each, although they share cookies; whichever came last."""
    proxy, targets = lab.spice, [lab.spice_machine("spice-none"), lab.spice_machine("spice-ticket")]
    texts = [new_text(), new_text()]
    tabs = [page, page.context.new_page()]
    shown = [SpicePage(tab, proxy.create_spice(target).url) for tab, target in zip(tabs, targets, strict=True)]
    for each, target, text in zip(shown, targets, texts, strict=True):
        each.wait_connected()
        each.page.bring_to_front()
        each.type(text)
        target.wait_typed(text)
    for each, target in zip(shown, targets, strict=True):
        each.wait_same(target)
    for each, target, text in zip(shown, targets, texts, strict=True):
        each.type("\n")
        target.wait_typed(f"{text}\n")


def test_a_second_tab_is_refused(lab: Laboratory, page: Page, new_text: Callable[[], str]) -> None:
    proxy, target, text = lab.spice, lab.spice_machine("spice-ticket"), new_text()
    console = proxy.create_spice(target)
    first = SpicePage(page, console.url)
    first.wait_connected()
    second = SpicePage(page.context.new_page(), console.url)
    assert second.wait_refused() == CloseReason.POLICY.sentence
    page.bring_to_front()
    first.see_and_type(target, text)


def test_a_second_tab_takes_over_where_that_is_wanted(lab: Laboratory, page: Page, new_text: Callable[[], str]) -> None:
    proxy, target, text = lab.spice_connect, lab.spice_machine("spice-ticket"), new_text()
    console = proxy.create_spice(target)
    first = SpicePage(page, console.url)
    first.wait_connected()
    second = SpicePage(page.context.new_page(), console.url)
    second.wait_connected()
    wait_closed(page, CloseReason.POLICY)
    second.see_and_type(target, text)


def test_a_reload_shows_the_console_again(lab: Laboratory, page: Page) -> None:
    """At once, although the session before may not have ended yet."""
    proxy, target = lab.spice, lab.spice_machine("spice-ticket")
    console, known, said_before = proxy.create_spice(target), len(proxy.records()), len(proxy.said)
    shown = SpicePage(page, console.url)
    proxy.wait_channels(target, SCREEN_AND_KEYS, said_before)
    page.reload()
    shown.wait_connected()
    shown.wait_same(target)
    proxy.check_record(known, console, target)


@pytest.mark.timeout(240)
def test_no_channel_is_lost_in_many_sessions(lab: Laboratory, page: Page) -> None:
    proxy, target = lab.spice, lab.spice_machine("spice-ticket")
    console = proxy.create_spice(target)
    for _ in range(MANY):
        known, said_before, tab = len(proxy.records()), len(proxy.said), page.context.new_page()
        shown = SpicePage(tab, console.url)
        proxy.wait_channels(target, SCREEN_AND_KEYS, said_before)
        shown.wait_connected()
        tab.close()
        assert set(proxy.check_record(known, console, target)["channels"]) == SCREEN_AND_KEYS
        until(lambda: not target.channels(), "end of all channels")


@dataclass(frozen=True)
class Refusal:
    """A target that must not be logged in to.

    Attributes:
        said: what the log line names, among other things.
        options: of the command that makes the token.
        password: what the token has in place of the right one.
    """

    target: str
    said: str
    options: tuple[str, ...] = ()
    password: str | None = None

    def __str__(self) -> str:
        return " ".join([self.target, *self.options, *(["wrong password"] if self.password else [])])


REFUSALS = [
    Refusal("spice-stranger", "certificate"),
    Refusal("spice-secured", "subject", ("--host-subject", WRONG_SUBJECT)),
    Refusal("spice-ticket", "PERMISSION_DENIED", password="wrong one"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_it_is_refused(lab: Laboratory, page: Page, refusal: Refusal) -> None:
    proxy, target = lab.spice, lab.spice_machine(refusal.target)
    console = proxy.create_spice(target, *refusal.options, password=refusal.password or target.password)
    known, said_before = len(proxy.records()), len(proxy.said)
    assert SpicePage(page, console.url).wait_refused() == CloseReason.TARGET_AUTH_FAILED.sentence
    record = proxy.next_record(known, console.token_id)
    assert record["close_reason"] == CloseReason.TARGET_AUTH_FAILED.value
    assert record["target_security"] is None
    assert record["bytes_to_client"] == record["bytes_to_target"] == 0
    (ended,) = (line for line in proxy.said[said_before:].splitlines() if f"[{record['session']}] ended: " in line)
    assert refusal.said in ended
    assert target.channels() == {}
    proxy.check_secrets_kept()


def test_target_stops_while_it_is_seen(lab: Laboratory, page: Page, tmp_path: Path) -> None:
    proxy, target = lab.spice, SpiceMachine("spice-that-stops", tmp_path)
    try:
        console, known, said_before = proxy.create_spice(target), len(proxy.records()), len(proxy.said)
        SpicePage(page, console.url).wait_connected()
        proxy.wait_channels(target, SCREEN_AND_KEYS, said_before)
    finally:
        target.stop()
    wait_closed(page, CloseReason.TARGET_CLOSED)
    record = proxy.check_record(known, console, target, CloseReason.TARGET_CLOSED)
    assert set(record["channels"]) == SCREEN_AND_KEYS


@pytest.mark.parametrize("allowed", [set(), {"usbredir"}], ids=["nothing", "usbredir"])
def test_only_what_is_allowed_is_opened(lab: Laboratory, page: Page, allowed: set[str]) -> None:
    """For spice-html5 opens whatever it hears of."""
    proxy, target = lab.spice, lab.spice_machine("spice-sharing")
    options = [word for channel in allowed for word in ("--allow-channel", channel)]
    console, known, said_before = proxy.create_spice(target, *options), len(proxy.records()), len(proxy.said)
    SpiceHtml5Page(page, console.url).wait_connected()
    proxy.wait_channels(target, SCREEN_AND_KEYS | allowed, said_before)
    page.close()
    assert set(proxy.check_record(known, console, target)["channels"]) == SCREEN_AND_KEYS | allowed
