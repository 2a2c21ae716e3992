"""SPICE viewers of the desktop: spice-gtk's `spicy-screenshot`, which needs no screen, and `remote-viewer`."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from tests.live.machine import Target
from tests.live.processes import Process
from tests.live.screen import Screen


class SpicyScreenshot:
    """Takes one picture and ends.

    Args:
        ca: the authority that it believes.
        through: an HTTP proxy that it comes by, with `http://`.
    """

    def __init__(self, folder: Path, *options: str, ca: Path, through: str | None = None) -> None:
        file = folder / "seen.ppm"
        environment = {"SSL_CERT_FILE": str(ca), **({"SPICE_PROXY": through} if through else {})}
        self._process = Process(
            "spicy-screenshot", ["spicy-screenshot", "-o", str(file), *options], folder, environment=environment
        )
        try:
            self.status = self._process.wait()
        finally:
            self._process.stop()
        self.said = self._process.log
        self.picture: Image.Image | None = None
        if file.exists():
            with Image.open(file) as picture:
                self.picture = picture.convert("RGB")
            file.unlink()


class RemoteViewer:
    """virt-viewer's, opening a connection file of this text, in the upper left corner of the screen."""

    title = r"\(1\)$"  # the number of its display, after the title that the file gives

    def __init__(self, folder: Path, screen: Screen, connection: str) -> None:
        self.screen = screen
        self.file = folder / "console.vv"
        self.file.write_text(connection)
        self.process = Process(
            "remote-viewer", ["remote-viewer", str(self.file)], folder, environment=at_home(folder, screen)
        )

    def see_and_type(self, target: Target, text: str) -> None:
        """Look, type, look again."""
        self.screen.see_and_type(self.title, target, text)

    @property
    def said(self) -> str:
        """What it says, its line breaks left out."""
        return " ".join(self.process.log.split())

    def stop(self) -> None:
        self.process.stop()


def at_home(folder: Path, screen: Screen) -> Mapping[str, str]:
    """An environment in which GTK keeps to the folder and the screen, and looks for no desktop session."""
    return {
        "DISPLAY": screen.display,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "NO_AT_BRIDGE": "1",
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "GSETTINGS_BACKEND": "memory",
    }
