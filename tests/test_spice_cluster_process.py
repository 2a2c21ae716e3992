"""Two `twistd consoleproxy` that share a store: the links of one SPICE session may reach either of them."""

import contextlib
import signal
import time

import pytest

from rfbproxy.reasons import CloseReason
from rfbproxy.spice import LinkError
from tests.proxy_process import until
from tests.spice_peers import CURSOR, DISPLAY, INPUTS, MAIN, Link, Viewer, spice_target, switch_host
from tests.spice_process import PASSWORD, spice_running


@contextlib.contextmanager
def cluster(folder, options=""):
    """Two proxies; tokens are made and kept by the first."""
    with contextlib.ExitStack() as stack:
        proxies = []
        for name in ("a", "b"):
            (folder / name).mkdir()
            shared = f"{options}\n[consoleauth]\nconnection = sqlite:///{folder}/a/state/consoleproxy.sqlite\n"
            proxies.append(stack.enter_context(spice_running(folder / name, shared)))
        yield proxies


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("refusing")) as proxies:
        yield proxies


@pytest.fixture(scope="module")
def yielding(tmp_path_factory):
    """Where a second viewer takes over."""
    with cluster(tmp_path_factory.mktemp("yielding"), "spice_second_main = take-over") as proxies:
        yield proxies


@pytest.fixture(scope="module")
def machine():
    with spice_target(password=PASSWORD, lets_channels_live=True) as (_, listening):
        yield listening


def view_by_both(first, second, token, way_in="websocket"):
    """A viewer whose main comes by the first proxy, and the rest by the second."""
    proxies = iter([first])
    return Viewer(lambda: next(proxies, second).come(token, way_in), token if way_in == "spice" else "")


@pytest.mark.parametrize("way_in", ["websocket", "spice"])
def test_main_here_and_channels_there_are_one_session(pair, machine, way_in):
    here, there = pair
    token = here.token(machine.port)
    with view_by_both(here, there, token, way_in) as viewer:
        viewer.link((DISPLAY, 0))
        viewer.link((CURSOR, 0))
        mine = Link(here.come(token, way_in), (INPUTS, 0), viewer.session_id).open(token)
        mine.echo(b"by the first")
        begun = time.monotonic()
        viewer.main.peer.sock.close()
        for link in (mine, *viewer.links):
            assert link.peer.until_close() == b""
        assert time.monotonic() - begun < 5
    record = here.record(token)
    assert sorted(record["channels"]) == ["cursor", "display", "inputs", "main"]
    assert record["channels"][0] == "main"
    assert record["bytes_to_target"] == 11 + 11 + 6 + len(b"by the first")
    assert record["bytes_to_client"] == 38 + record["bytes_to_target"]
    assert not [one for one in there.records if one["token"] == record["token"]], "one record a session"


def test_a_channel_that_ends_early_is_in_the_record(pair, machine):
    here, there = pair
    token = here.token(machine.port)
    with view_by_both(here, there, token) as viewer:
        viewer.link((DISPLAY, 0)).peer.sock.close()
        until(lambda: "channel display" in there.log and there.log.rstrip().endswith("closed the console."), "its end")
    record = here.record(token)
    assert record["channels"] == ["main", "display"]
    assert record["bytes_to_target"] == 11


def test_sessions_of_others_are_not_found_there(pair, machine):
    here, there = pair
    mine, others = here.token(machine.port), here.token(machine.port)
    with view_by_both(here, there, mine) as viewer, view_by_both(here, there, others) as other:
        assert viewer.ask((INPUTS, 0), other.session_id).refused() is LinkError.BAD_CONNECTION_ID
        viewer.link()
        other.link()


def test_a_second_main_there_is_refused(pair, machine):
    here, there = pair
    token = here.token(machine.port)
    with here.view(token) as viewer:
        assert Link(there.come(token)).refused() is LinkError.PERMISSION_DENIED
        viewer.link()
    assert there.record(token)["close_reason"] == "policy"


def test_a_token_that_expired_joins_by_another_proxy(pair, machine):
    here, there = pair
    token = here.token(machine.port)
    with view_by_both(here, there, token) as viewer:
        here.expire(token)
        viewer.link()


def test_a_viewer_follows_its_machine_by_another_proxy(pair):
    here, there = pair
    with (
        spice_target(password=PASSWORD) as (server, new),
        spice_target(password=PASSWORD, tells=switch_host(new.port)) as (_, old),
    ):
        token = here.token(old.port)
        with here.view(token, "connect") as viewer:
            viewer.channels()
            assert viewer.main.hear()[0] == 111
            with there.view(token, "connect") as following:
                following.link()
        assert server.linked == [(MAIN, 0), (INPUTS, 0)]
        assert old.connections == 1


def test_a_viewer_takes_over_by_another_proxy(yielding, machine):
    here, there = yielding
    token = here.token(machine.port)
    with here.view(token) as first:
        first.link()
        with there.view(token) as second:
            second.link()
            begun = time.monotonic()
            for link in (first.main, *first.links):
                assert link.peer.until_close() == b""
                assert (link.peer.close_code, link.peer.close_reason) == (1008, CloseReason.POLICY.sentence)
            assert time.monotonic() - begun < 5
            second.links[0].echo()
    assert here.record(token)["close_reason"] == "policy"
    assert there.record(token)["close_reason"] == "client-closed"


def test_a_proxy_dies_and_its_session_does_not_live_on(tmp_path, machine):
    """Its row lapses: until then the token is taken, and channels by other proxies live."""
    with cluster(tmp_path) as (here, there):
        token = here.token(machine.port)
        with view_by_both(here, there, token) as viewer:
            viewer.link()
            here.process.send_signal(signal.SIGKILL)
            here.process.wait()
            assert viewer.main.peer.until_close() == b""
            assert Link(there.come(token)).refused() is LinkError.PERMISSION_DENIED
            viewer.links[0].echo()
            here.set_row("console_spice_sessions", token, kept_until=int(time.time()) - 1)
            with there.view(token) as another:
                another.link()
                assert viewer.links[0].peer.until_close() == b""
                another.links[0].echo()
        assert there.record(token, close_reason="client-closed")["channels"] == ["main", "inputs"]
