"""Headless Chromium, and the pages that show a console in it."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Browser, Dialog, Page, Playwright, expect

from tests.live.machine import Target
from tests.live.processes import PATIENCE_S, program, until

KEY_DELAY_MS = 20  # between typed keys: a BIOS keeps fifteen
WINDOW = (1280, 800)
FLAGS = [
    "--no-sandbox",  # which it cannot have as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=program("chromium"), headless=True, args=FLAGS)


@contextmanager
def window(browser: Browser) -> Iterator[Page]:
    """A window that shares nothing with others."""
    context = browser.new_context(viewport={"width": WINDOW[0], "height": WINDOW[1]})
    context.set_default_timeout(PATIENCE_S * 1000)
    try:
        yield context.new_page()
    finally:
        context.close()


class ConsolePage:
    """The project's own page; others differ in what is overridden."""

    canvas = "#screen canvas"
    connected = "() => document.documentElement.dataset.state === 'connected'"
    refused = "() => document.documentElement.dataset.state === 'refused'"
    sentence_at = "#sentence"
    sentence_begins = ""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requested: set[str] = set()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: self.requested.add(request.url))
        self.open(url)

    def open(self, url: str) -> None:
        self.page.goto(url)

    def wait_connected(self) -> None:
        self.page.wait_for_function(self.connected)

    def wait_refused(self) -> str:
        """The sentence that a person reads."""
        self.page.wait_for_function(self.refused)
        sentence = self.page.locator(self.sentence_at)
        expect(sentence).to_be_visible()  # noVNC lets it slide in
        return sentence.inner_text().removeprefix(self.sentence_begins)

    def picture(self) -> Image.Image:
        """The canvas's own pixels, before the page scales them."""
        url = self.page.locator(self.canvas).evaluate("canvas => canvas.toDataURL('image/png')")
        return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")

    def focus(self) -> None:
        """Nothing: this page gives the keyboard to the machine by itself."""

    def type(self, text: str) -> None:
        self.focus()
        self.page.keyboard.type(text, delay=KEY_DELAY_MS)

    def see_and_type(self, target: Target, text: str) -> None:
        """Look, type, look again, leave."""
        self.wait_connected()
        before = self.wait_same(target)
        self.type(text)
        target.wait_typed(text)
        after = self.wait_same(target)
        assert after.tobytes() != before.tobytes()
        self.type("\n")  # an empty line for the next one
        target.wait_typed(f"{text}\n")
        self.page.close()

    def wait_same(self, target: Target) -> Image.Image:
        """Wait until the canvas shows what the target shows; returns that picture."""
        try:
            return until(lambda: self._same(target), f"picture of {target.name}")
        except pytest.fail.Exception:
            self.picture().save(target.folder / "canvas.png")
            target.capture().save(target.folder / "target.png")
            raise

    def _same(self, target: Target) -> Image.Image | None:
        shown, real = self.picture(), target.capture()
        same = shown.size == real.size and ImageChops.difference(shown, real).getbbox() is None
        return shown if same else None


class NovncPage(ConsolePage):
    """noVNC's application, `vnc.html`; opened with nova's URL it waits for a click."""

    name = "vnc.html"
    canvas = "#noVNC_container canvas"
    connected = "() => document.documentElement.classList.contains('noVNC_connected')"
    refused = "() => document.querySelector('#noVNC_status.noVNC_open.noVNC_status_error') !== null"
    sentence_at = "#noVNC_status"
    sentence_begins = "New connection has been rejected with reason: "

    def open(self, url: str) -> None:
        self.page.goto(url.replace("/vnc_auto.html?", f"/{self.name}?"))
        self.page.locator("#noVNC_connect_button").click()

    def focus(self) -> None:
        self.page.locator(self.canvas).click()


class NovncAutoPage(NovncPage):
    """The same under the name that nova's URLs have, told to connect by itself."""

    name = "vnc_auto.html"

    def open(self, url: str) -> None:
        self.page.goto(f"{url}&autoconnect=true")


class NovncLitePage(NovncPage):
    """noVNC's example, `vnc_lite.html`."""

    name = "vnc_lite.html"
    canvas = "#screen canvas"
    connected = "() => document.querySelector('#status')?.textContent.startsWith('Connected to ')"

    def open(self, url: str) -> None:
        self.page.goto(url.replace("/vnc_auto.html?", f"/{self.name}?"))


class MinimalPage(ConsolePage):
    """`minimal.html`."""

    connected = "() => window.events?.some((event) => event.name === 'connect')"

    def focus(self) -> None:
        self.page.locator(self.canvas).click()


class SpicePage(ConsolePage):
    """The project's own page on a listener for SPICE."""

    def open(self, url: str) -> None:
        self.page.goto(url.replace("/spice_auto.html?", "/?"))

    def sockets(self) -> list[str]:
        """The URLs of the session's WebSockets that are open, the main channel's first."""
        return self.page.evaluate(
            "() => [consolePage.main, ...consolePage.main.channels].filter(({ ws }) => ws?.readyState === 1)"
            ".map(({ ws }) => ws.url)"
        )


class SpiceHtml5Page(ConsolePage):
    """spice-html5's `spice_auto.html`, which tells a person nothing: what it notes of a refusal is hidden."""

    canvas = "#spice-screen canvas"
    connected = "() => document.querySelector('#spice-screen canvas') !== null"
    refused = "() => document.querySelector('#message-div')?.textContent.includes('Error: ')"

    def open(self, url: str) -> None:
        self.page.on("dialog", self._dismiss)
        self.page.goto(url)

    def wait_refused(self) -> str:
        """Its own words; the service's sentence is in none of them."""
        self.page.wait_for_function(self.refused)
        return self.page.locator("#message-div p", has_text="Error: ").first.text_content() or ""

    def _dismiss(self, dialog: Dialog) -> None:
        """It asks for a password where there should be none to ask for, and for ever."""
        self.complaints.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()

    def focus(self) -> None:
        self.page.locator(self.canvas).hover()
