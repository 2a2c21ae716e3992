"""SPICE viewers of the desktop: by TLS with the token as password, and by connection files."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rfbproxy.reasons import CloseReason
from tests.live.laboratory import Laboratory
from tests.live.pki import HOST_SUBJECT
from tests.live.processes import until
from tests.live.screen import Screen
from tests.live.spice_targets import SCREEN_AND_KEYS, SpiceMachine
from tests.live.spice_viewers import RemoteViewer, SpicyScreenshot

SOON_S = 5.0  # the server itself sends something every 15 s
AUTH_FAILED = 23  # SPICE_CHANNEL_ERROR_AUTH of spice-gtk
NAMES = ["spice-none", "spice-ticket", "spice-tls", "spice-secured", "spice-agent", "spice-ipv6"]
CASES = [*((name, "spice") for name in NAMES), ("spice-secured", "spice_secure")]


def shoot(lab: Laboratory, folder: Path, target: SpiceMachine, *options: str, through: str | None = None) -> None:
    """Take a picture, which is that of the target."""
    shot = SpicyScreenshot(folder, *options, ca=lab.pki.proxy.ca, through=through)
    assert shot.status == 0, shot.said
    assert shot.picture is not None
    assert shot.picture.size == target.capture().size
    assert shot.picture.tobytes() == target.capture().tobytes()


@pytest.mark.parametrize(("name", "way"), CASES)
def test_by_tls_with_the_token_as_password(lab: Laboratory, tmp_path: Path, name: str, way: str) -> None:
    proxy, target = getattr(lab, way), lab.spice_machine(name)
    console, known = proxy.create_spice(target, kind="spice-direct"), len(proxy.records())
    shoot(lab, tmp_path, target, "-h", "127.0.0.1", "-s", str(proxy.spice_tls_listen), "-w", console.token)
    record = proxy.check_record(known, console, target)
    assert record["way_in"] == "spice"
    assert set(record["channels"]) == {"main", "display"}
    proxy.check_secrets_kept()


def test_in_clear_is_told_to_use_tls(lab: Laboratory, tmp_path: Path) -> None:
    proxy, target = lab.spice, lab.spice_machine("spice-ticket")
    console, known = proxy.create_spice(target, kind="spice-direct"), len(proxy.records())
    ports = ["-p", str(proxy.spice_listen), "-s", str(proxy.spice_tls_listen)]
    shoot(lab, tmp_path, target, "-h", "127.0.0.1", *ports, "-w", console.token)
    proxy.check_record(known, console, target)


def test_by_connect(lab: Laboratory, tmp_path: Path) -> None:
    proxy, target = lab.spice, lab.spice_machine("spice-ticket")
    console, known = proxy.create_spice(target, kind="spice-direct"), len(proxy.records())
    to = ["-h", console.token, "-p", "5900", "-w", console.token]
    shoot(lab, tmp_path, target, *to, through=f"http://127.0.0.1:{proxy.spice_port}")
    assert proxy.check_record(known, console, target)["way_in"] == "connect"


def test_a_wrong_token_is_a_wrong_password(lab: Laboratory, tmp_path: Path) -> None:
    """At another proxy than the rest, for wrong tokens make an address wait longer and longer."""
    proxy, known, wrong = lab.spice_secure, len(lab.spice_secure.records()), str(uuid.uuid4())
    proxy.secrets.add(wrong)
    shot = SpicyScreenshot(
        tmp_path, "-h", "127.0.0.1", "-s", str(proxy.spice_tls_listen), "-w", wrong, ca=lab.pki.proxy.ca
    )
    assert (shot.status, shot.picture) == (1, None)
    assert f"main channel event: {AUTH_FAILED}" in shot.said
    assert proxy.next_record(known, None)["close_reason"] == CloseReason.TOKEN_UNKNOWN.value
    proxy.check_secrets_kept()


@contextmanager
def remote_viewer(folder: Path, screen: Screen, connection: str) -> Iterator[RemoteViewer]:
    viewer = RemoteViewer(folder, screen, connection)
    try:
        yield viewer
    finally:
        viewer.stop()


WAYS = pytest.mark.parametrize("way", ["spice", "spice_connect"], ids=["TLS", "CONNECT"])


@WAYS
@pytest.mark.parametrize("name", ["spice-ticket", "spice-secured", "spice-agent"])
def test_a_connection_file_opens_the_console(
    lab: Laboratory, screen: Screen, tmp_path: Path, way: str, name: str, new_text: Callable[[], str]
) -> None:
    proxy, target, text = getattr(lab, way), lab.spice_machine(name), new_text()
    subject = ["--host-subject", HOST_SUBJECT] if target.tls_port is not None else []
    console, known = proxy.create_spice(target, *subject, kind="spice-direct"), len(proxy.records())
    proxy.secrets.add(text)
    connection = proxy.connection_file(console)
    assert ("proxy=" in connection) is (way == "spice_connect")
    for of_target in [target.port, target.tls_port, HOST_SUBJECT, target.password]:
        assert str(of_target) not in connection
    with remote_viewer(tmp_path, screen, connection) as viewer:
        viewer.see_and_type(target, text)
    record = proxy.check_record(known, console, target)
    assert set(record["channels"]) >= SCREEN_AND_KEYS
    assert not viewer.file.exists(), "the viewer shall delete the file, which holds the token"
    proxy.check_secrets_kept()


@WAYS
def test_each_letter_is_seen_when_it_is_typed(
    lab: Laboratory, screen: Screen, tmp_path: Path, way: str, new_text: Callable[[], str]
) -> None:
    """And not when something else comes: spice-gtk overlooks what lies in its TLS."""
    proxy, target, text = getattr(lab, way), lab.spice_machine("spice-ticket"), new_text()
    console = proxy.create_spice(target, kind="spice-direct")
    with remote_viewer(tmp_path, screen, proxy.connection_file(console)) as viewer:
        screen.wait_same(target)
        for letter in text:
            screen.type_into(viewer.title, letter)
            target.wait_typed(letter)
            screen.wait_same(target, timeout_s=SOON_S)
        screen.xdotool("key", "Return")
        target.wait_typed(f"{text}\n")


@WAYS
def test_a_viewer_refuses_a_proxy_with_another_certificate(
    lab: Laboratory, screen: Screen, tmp_path: Path, way: str
) -> None:
    proxy, target = getattr(lab, way), lab.spice_machine("spice-ticket")
    console = proxy.create_spice(target, kind="spice-direct")
    stranger = lab.pki.strange_server.ca.read_text().replace("\n", r"\n")
    connection = re.sub("(?m)^ca=.*$", lambda _: f"ca={stranger}", proxy.connection_file(console))
    assert stranger in connection
    with remote_viewer(tmp_path, screen, connection) as viewer:
        until(lambda: "Error in certificate chain verification" in viewer.said, "complaint of the viewer")
    assert target.channels() == {}
    assert "Traceback" not in proxy.said
    with remote_viewer(tmp_path, screen, proxy.connection_file(console)) as viewer:
        screen.wait_same(target)
