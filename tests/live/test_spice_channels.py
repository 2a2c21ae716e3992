"""The channels of a session stand and fall together, with a real server behind them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rfbproxy.reasons import CloseReason
from rfbproxy.spice import ChannelType, LinkError, LinkRefused
from tests.live.balancers import RoundRobin
from tests.live.laboratory import Laboratory
from tests.live.processes import until
from tests.live.spice_client import Viewer
from tests.live.spice_proxy import SpiceProxy
from tests.live.spice_targets import SCREEN_AND_KEYS, SpiceMachine

ENDS_WITHIN_S = 5.0
KEY_A, KEY_RETURN = 0x1E, 0x1C  # scan codes


@contextmanager
def viewer(proxy: SpiceProxy, token: str, port: int | None = None) -> Iterator[Viewer]:
    """One that comes to the proxy, or to another port that leads there."""
    made = Viewer(port or proxy.spice_port, token)
    try:
        yield made
    finally:
        made.close()


def see(opened: Viewer, target: SpiceMachine) -> None:
    """Open what there is to see and to type."""
    for kind in (ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR):
        opened.link(kind)
    until(lambda: set(target.channels()) == SCREEN_AND_KEYS, "all channels")


def check_keys(opened: Viewer, target: SpiceMachine) -> None:
    before = target.typed()
    opened.press(KEY_A)
    until(lambda: target.typed() == f"{before}a", "the typed letter")
    opened.press(KEY_RETURN)
    target.wait_typed("a\n")


def test_the_others_end_with_main(lab: Laboratory) -> None:
    proxy, target = lab.spice, lab.spice_machine("spice-ticket")
    console, known = proxy.create_spice(target), len(proxy.records())
    with viewer(proxy, console.token) as opened:
        see(opened, target)
        opened.channels.pop(ChannelType.MAIN).close()
        opened.wait_closed(ENDS_WITHIN_S)
    until(lambda: not target.channels(), "end of all channels", ENDS_WITHIN_S)
    assert set(proxy.check_record(known, console, target)["channels"]) == SCREEN_AND_KEYS


def test_all_end_with_the_target(lab: Laboratory, tmp_path: Path) -> None:
    proxy, target = lab.spice, SpiceMachine("spice-that-stops", tmp_path)
    try:
        console, known = proxy.create_spice(target), len(proxy.records())
        with viewer(proxy, console.token) as opened:
            see(opened, target)
            target.stop()
            opened.wait_closed(ENDS_WITHIN_S)
    finally:
        target.stop()
    proxy.check_record(known, console, target, CloseReason.TARGET_CLOSED)


def test_a_second_viewer_is_refused(lab: Laboratory) -> None:
    proxy, target = lab.spice, lab.spice_machine("spice-ticket")
    console, known = proxy.create_spice(target), len(proxy.records())
    with viewer(proxy, console.token) as first:
        see(first, target)
        with pytest.raises(LinkRefused) as refused, viewer(proxy, console.token):
            pass
        assert refused.value.error == LinkError.PERMISSION_DENIED
        assert proxy.next_record(known, console.token_id)["close_reason"] == CloseReason.POLICY.value
        assert set(target.channels()) == SCREEN_AND_KEYS
        check_keys(first, target)


def test_a_second_viewer_takes_over_where_that_is_wanted(lab: Laboratory) -> None:
    proxy, target = lab.spice_connect, lab.spice_machine("spice-ticket")
    console, known = proxy.create_spice(target), len(proxy.records())
    with viewer(proxy, console.token) as first:
        see(first, target)
        with viewer(proxy, console.token) as second:
            first.wait_closed(ENDS_WITHIN_S)
            see(second, target)
            check_keys(second, target)
            assert proxy.next_record(known, console.token_id)["close_reason"] == CloseReason.POLICY.value


@pytest.mark.parametrize(("allowed", "listed"), [(None, set()), ("usbredir", {"usbredir"}), ("webdav", {"webdav"})])
def test_what_is_not_allowed_is_neither_listed_nor_linked(
    lab: Laboratory, allowed: str | None, listed: set[str]
) -> None:
    proxy, target = lab.spice, lab.spice_machine("spice-sharing")
    console = proxy.create_spice(target, *(["--allow-channel", allowed] if allowed else []))
    with viewer(proxy, console.token) as opened:
        assert opened.listed == SCREEN_AND_KEYS - {"main"} | listed
        for kind in (ChannelType.USBREDIR, ChannelType.WEBDAV):
            if kind.name.lower() in listed:
                opened.link(kind)
            else:
                with pytest.raises(LinkRefused) as refused:
                    opened.link(kind)
                assert refused.value.error == LinkError.CHANNEL_NOT_AVAILABLE
        assert set(target.channels()) == {"main"} | listed


def test_the_agent_is_heard_of(lab: Laboratory) -> None:
    proxy = lab.spice
    for name, has_agent in (("spice-agent", True), ("spice-ticket", False)):
        with viewer(proxy, proxy.create_spice(lab.spice_machine(name)).token) as opened:
            assert opened.has_agent is has_agent


def test_channels_may_come_to_several_proxies_of_a_store(lab: Laboratory, tmp_path: Path) -> None:
    """As a load balancer scatters them."""
    target = lab.spice_machine("spice-ticket")
    store = f"[consoleauth]\nconnection = sqlite:///{tmp_path / 'store.sqlite'}\n[consoleproxy]"
    proxies = [SpiceProxy(name, tmp_path, lab.pki, options=store) for name in ("first", "second")]
    balancer = RoundRobin(tmp_path, [proxy.spice_port for proxy in proxies])
    console = proxies[0].create_spice(target)
    try:
        with viewer(proxies[0], console.token, balancer.port) as opened:
            see(opened, target)
            assert ["is channel main " in proxy.said for proxy in proxies].count(True) == 1
            assert all("is channel " in proxy.said for proxy in proxies)
            check_keys(opened, target)
            opened.channels.pop(ChannelType.MAIN).close()
            opened.wait_closed(ENDS_WITHIN_S)
        (record,) = until(lambda: [record for proxy in proxies for record in proxy.records()], "record of the session")
    finally:
        assert balancer.process.stop() != -signal.SIGKILL
        assert [proxy.process.stop() for proxy in proxies] == [0, 0]
    assert record["close_reason"] == CloseReason.CLIENT_CLOSED.value
    assert set(record["channels"]) == SCREEN_AND_KEYS
