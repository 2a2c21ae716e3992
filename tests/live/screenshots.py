"""Makes the pictures of the documentation from the real thing: `python -m tests.live.screenshots`."""

import io
import tempfile
import uuid
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.live.browser import ConsolePage, launch, window
from tests.live.laboratory import Laboratory
from tests.ports import free_port

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
SIZE_LIMIT = 100_000  # bytes
TYPED = "Hello from my browser.\n\nWhat I type goes through the proxy,\nand the machine answers in pixels."


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        laboratory = Laboratory(Path(folder))
        browser = launch(playwright)
        try:
            demo = laboratory.start("demo", ["consoleproxy", "demo", "--listen", f"127.0.0.1:{free_port()}"])
            url = demo.wait_for_line()
            with window(browser) as page:
                connected(page, url)
            with window(browser) as page:
                refused(page, url)
        finally:
            browser.close()
            laboratory.stop()


def connected(page: Page, url: str) -> None:
    """The console with the demo desktop, which takes the window's size."""
    console = ConsolePage(page, f"{url}&resize=remote")
    console.wait_connected()
    box = page.locator("#screen").bounding_box()
    assert box is not None
    page.wait_for_function("(size) => document.querySelector('#screen canvas').width === size", arg=round(box["width"]))
    console.type(TYPED)
    for step in range(30):  # the pointer's trail
        page.mouse.move(box["x"] + 560 + 6 * step, box["y"] + 560 - (step - 14) ** 2 / 2)
    page.wait_for_timeout(300)  # the last updates are on their way; the trail must not fade
    save(page, "console-connected.png")


def refused(page: Page, url: str) -> None:
    """The page with a token that nobody gave out."""
    console = ConsolePage(page, f"{url.rpartition('%3D')[0]}%3D{uuid.uuid4()}")
    console.wait_refused()
    page.evaluate("() => Promise.all(document.getAnimations().map((animation) => animation.finished))")
    save(page, "console-refused.png")


def save(page: Page, name: str) -> None:
    """Write the picture in all its colours, or with a palette if that would take too much room."""
    file = IMAGES / name
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(file, optimize=True)
    if file.stat().st_size > SIZE_LIMIT:
        picture.quantize(256).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{file}: {picture.width} x {picture.height}, {size} bytes")
    if size > SIZE_LIMIT:
        raise SystemExit(f"{file} has {size} bytes, allowed are {SIZE_LIMIT}")


if __name__ == "__main__":
    main()
