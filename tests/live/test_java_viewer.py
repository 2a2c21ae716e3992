"""TightVNC's Java viewer on an X display of its own, which comes in by CONNECT."""

import re
from collections.abc import Callable
from itertools import cycle, product
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tests.certificates import certificate
from tests.live.laboratory import Laboratory
from tests.live.machine import Target
from tests.live.processes import Process, until
from tests.live.screen import Screen
from tests.live.tls_tunnel import tls_tunnel
from tests.proxy_process import running

JAR = Path("/usr/share/java/tightvncviewer.jar")
EDGE = 24  # pixels; a frame may be so thick


def lay_out(screen: Screen, title: str, width: int) -> None:
    """Give the viewer's window another size, so that AWT's own thread lays it out anew."""
    pattern = f"^{re.escape(title)}$"
    screen.xdotool("search", "--onlyvisible", "--name", pattern, "windowsize", "%@", str(width), "600")


def viewer(lab: Laboratory, screen: Screen, token: str, port: int, name: str) -> Process:
    if not JAR.is_file():
        pytest.fail("tightvnc-java is not installed: sh tests/live/debian.sh", pytrace=False)
    parameters = {
        "HOST": token,
        "PORT": "5900",
        "SocketFactory": "tightvncviewer.HTTPConnectSocketFactory",
        "PROXYHOST1": "127.0.0.1",
        "PROXYPORT1": str(port),
        "Show controls": "No",
        "Cursor shape updates": "Ignore",  # else the pointer is in the picture
        "JPEG image quality": "JPEG off",
    }
    options = [word for pair in parameters.items() for word in pair]
    return Process(
        f"java-{name}",
        ["java", "-cp", str(JAR), "tightvncviewer.VncViewer", *options],
        lab.folder,
        environment={"DISPLAY": screen.display},
    )


def wait_same(screen: Screen, target: Target) -> Image.Image:
    """Wait until the screen shows, within its upper left corner, what the target shows; returns that picture.

    The viewer lays its frame out on a thread of its own, while AWT's thread does so too, and its scroll pane may keep
    the size that it had first: it then shows 81 x 81 pixels of the desktop for ever. Once it is at rest, another size
    has it laid out by AWT's thread alone.
    """
    widths, before = cycle((800, 801)), Image.new("RGB", (1, 1))

    def same() -> Image.Image | None:
        nonlocal before
        real, seen = target.capture(), screen.picture()
        for left, top in product(range(EDGE), repeat=2):
            shown = seen.crop((left, top, left + real.width, top + real.height))
            if ImageChops.difference(shown, real).getbbox() is None:
                return shown
        if seen.tobytes() == before.tobytes():
            lay_out(screen, target.desktop_name, next(widths))
        before = seen
        return None

    try:
        return until(same, f"picture of {target.name}")
    except pytest.fail.Exception:
        screen.picture().save(target.folder / "seen.png")
        target.capture().save(target.folder / "target.png")
        raise


@pytest.mark.parametrize("name", ["qemu-none", "qemu-password", "xvnc-none", "xvnc-vncauth"])
def test_it_sees_and_types(lab: Laboratory, screen: Screen, name: str, new_text: Callable[[], str]) -> None:
    proxy, target = lab.own_page, lab.target(name)
    console, known, text = proxy.console(target), len(proxy.records()), new_text()
    screen.xdotool("mousemove", "1000", "740")  # out of the way of what appears
    process = viewer(lab, screen, console.token, proxy.port, name)
    try:
        before = wait_same(screen, target)
        screen.xdotool("mousemove", "300", "200", "click", "1", "type", "--delay", "40", text)
        target.wait_typed(text)
        after = wait_same(screen, target)
        assert before.tobytes() != after.tobytes()
        screen.xdotool("key", "Return")
        target.wait_typed(f"{text}\n")
    finally:
        process.stop()
    record = proxy.next_record(known, console.token_id)
    assert record["way_in"] == "connect"
    assert record["close_reason"] == "client-closed"
    assert (record["client_version"], record["client_security"]) == ("3.8", "None")
    assert record["target_security"] == target.security
    assert record["bytes_to_client"] > 0 < record["bytes_to_target"]
    proxy.secrets.add(text)
    proxy.check_secrets_kept()


def test_it_sees_and_types_by_tls(lab: Laboratory, screen: Screen, tmp_path: Path, new_text: Callable[[], str]) -> None:
    """The viewer speaks no TLS itself, so a tunnel does; the proxy's side of it is encrypted from the first byte."""
    pem, target, text = tmp_path / "both.pem", lab.target("xvnc-none"), new_text()
    certificate(pem, pem)
    with (
        running(tmp_path, f"[DEFAULT]\ncert = {pem}\nssl_only = True") as proxy,
        tls_tunnel(proxy.port, pem) as port,
    ):
        process = viewer(lab, screen, proxy.create(target.port)["token"], port, "tls")
        try:
            wait_same(screen, target)
            screen.xdotool("mousemove", "300", "200", "click", "1", "type", "--delay", "40", text)
            target.wait_typed(text)
        finally:
            process.stop()
        assert proxy.next_record(0)["close_reason"] == "client-closed"


def test_what_it_reports_of_a_wrong_token(lab: Laboratory, screen: Screen) -> None:
    proxy = lab.own_page
    known, wrong = len(proxy.records()), "00000000-0000-4000-8000-000000000000"
    process = viewer(lab, screen, wrong, proxy.port, "refused")
    try:
        record = proxy.next_record(known, None)
        until(lambda: "401 Unauthorized" in process.log, "the viewer's report")
    finally:
        process.stop()
    assert (record["way_in"], record["close_reason"]) == ("connect", "token-unknown")
