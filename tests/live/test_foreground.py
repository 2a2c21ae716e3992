"""`consoleproxy demo` and `consoleproxy view`, as somebody tries them first."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from rfbproxy.demo.layout import DEFAULT_SIZE, Button, layout_for
from rfbproxy.reasons import CloseReason
from tests.live.browser import ConsolePage, SpicePage
from tests.live.laboratory import Laboratory
from tests.live.processes import Process
from tests.ports import free_port

QUICKLY_S = 3.0


@pytest.fixture
def listen() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def demo(lab: Laboratory, listen: str) -> Iterator[Process]:
    process = lab.start("demo", ["consoleproxy", "demo", "--listen", listen])
    yield process
    process.stop()


def check_ends(process: Process, console: ConsolePage) -> None:
    """SIGTERM ends the proxy with status 0, and the page says why."""
    began = time.monotonic()
    process.terminate()
    assert process.wait() == 0
    assert time.monotonic() - began < QUICKLY_S
    console.page.wait_for_function("() => document.documentElement.dataset.state === 'closed'")
    assert console.page.locator("#sentence").inner_text() == CloseReason.SHUTDOWN.sentence


def test_demo(demo: Process, listen: str, page: Page, new_text: Callable[[], str]) -> None:
    url = demo.wait_for_line()
    assert url.startswith(f"http://{listen}/vnc_auto.html?path=%3Ftoken%3D")
    console = ConsolePage(page, url)
    console.wait_connected()
    assert page.locator("#name").inner_text() == "Demo desktop"
    before = console.picture()
    assert before.size == DEFAULT_SIZE
    text = new_text()
    console.type(text)
    assert cut_text(console) == text
    paper = layout_for(*DEFAULT_SIZE).text
    box = (paper.x, paper.y, paper.right, paper.bottom)
    assert console.picture().crop(box).tobytes() != before.crop(box).tobytes()
    check_ends(demo, console)
    assert demo.out.read_text() == f"{url}\n"
    assert url.rpartition("%3D")[2] not in demo.err.read_text()
    assert text not in demo.err.read_text()


def cut_text(console: ConsolePage) -> str:
    """What the demo desktop's copy button puts on the viewer's clipboard: all that was typed."""
    x, y, width, height = button_on_page(console, Button.COPY)
    console.page.evaluate(
        "() => window.consolePage.rfb.addEventListener('clipboard', (event) => { window.cut = event.detail.text; })"
    )
    console.page.mouse.click(x + width / 2, y + height / 2)
    console.page.wait_for_function("() => window.cut !== undefined")
    return console.page.evaluate("() => window.cut")


def button_on_page(console: ConsolePage, button: Button) -> tuple[float, float, float, float]:
    """Where a button of the desktop is seen, the page's scaling counted in."""
    rect = layout_for(*DEFAULT_SIZE).buttons[button]
    canvas = console.page.locator(console.canvas).bounding_box()
    assert canvas is not None
    scale = canvas["width"] / DEFAULT_SIZE[0]
    return canvas["x"] + rect.x * scale, canvas["y"] + rect.y * scale, rect.width * scale, rect.height * scale


@pytest.mark.parametrize(
    ("name", "kind", "page_kind"),
    [
        ("qemu-password", "novnc", ConsolePage),
        ("xvnc-none", "novnc", ConsolePage),
        ("spice-ticket", "spice-html5", SpicePage),
    ],
)
def test_view(
    lab: Laboratory,
    listen: str,
    page: Page,
    tmp_path: Path,
    name: str,
    kind: str,
    page_kind: type[ConsolePage],
    new_text: Callable[[], str],
) -> None:
    target = lab.target(name)
    command = ["consoleproxy", "view", f"127.0.0.1:{target.port}", "--type", kind, "--listen", listen]
    if target.password is not None:
        (tmp_path / "password").write_text(target.password)
        command += ["--password-file", str(tmp_path / "password")]
    process = lab.start(f"view-{name}", command)
    try:
        url = process.wait_for_line()
        console = page_kind(page, url)
        console.wait_connected()
        console.wait_same(target)
        text = new_text()
        console.type(text)
        target.wait_typed(text)
        console.wait_same(target)
        console.type("\n")
        target.wait_typed(f"{text}\n")
        told = process.err.read_bytes() + process.command_line
        check_ends(process, console)
    finally:
        assert process.stop() != -signal.SIGKILL
    token = re.split("=|%3D", url)[-1]
    secrets = [token, text, *([target.password] if target.password else [])]
    assert not [secret for secret in secrets if secret.encode() in told + process.err.read_bytes()]
