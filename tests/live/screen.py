"""An X display for viewers, without a window manager."""

import os
import subprocess
from itertools import product
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageGrab

from tests.live.machine import Target
from tests.live.processes import PATIENCE_S, Process, program, until

MENU_LIMIT = 60  # pixels; a viewer's menu above the picture may be so high
FRAME_LIMIT = 6  # pixels; a frame beside it may be so thick


class Screen:
    """What is on it, and who presses its keys."""

    def __init__(self, folder: Path) -> None:
        told, tell = os.pipe()
        command = ["Xvfb", "-displayfd", str(tell), "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-noreset"]
        self._process = Process("screen", command, folder, pass_fds=[tell])
        os.close(tell)
        with os.fdopen(told) as display:
            self.display = f":{display.readline().strip()}"
        assert self.display != ":", self._process.log

    def picture(self) -> Image.Image:
        return ImageGrab.grab(xdisplay=self.display).convert("RGB")

    def xdotool(self, *actions: str) -> bool:
        command = [program("xdotool"), *actions]
        environment = {**os.environ, "DISPLAY": self.display}
        return subprocess.run(command, env=environment, timeout=30, capture_output=True).returncode == 0

    def has_window(self, title: str) -> bool:
        return self.xdotool("search", "--onlyvisible", "--name", title)

    def type_into(self, title: str, text: str) -> None:
        """Give the window the keyboard, for nobody else does, and type."""
        assert self.xdotool("search", "--onlyvisible", "--name", title, "windowfocus")
        self.xdotool("mousemove", "300", "200", "click", "1", "type", "--delay", "30", text)

    def see_and_type(self, title: str, target: Target, text: str) -> None:
        """Look at a viewer's window, type into it, look again."""
        before = self.wait_same(target)
        self.type_into(title, text)
        target.wait_typed(text)
        self.wait_same(target, unlike=before)
        self.xdotool("key", "Return")
        target.wait_typed(f"{text}\n")

    def wait_same(
        self, target: Target, *, unlike: Image.Image | None = None, timeout_s: float = PATIENCE_S
    ) -> Image.Image:
        """Wait until a window in the upper left corner shows what the target shows; returns that picture.

        Args:
            unlike: what the target showed before.
        """

        def same() -> Image.Image | None:
            real, seen = target.capture(), self.picture()
            if unlike is not None and real.tobytes() == unlike.tobytes():
                return None
            for top, left in product(range(MENU_LIMIT), range(FRAME_LIMIT)):
                shown = seen.crop((left, top, left + real.width, top + real.height))
                if ImageChops.difference(shown, real).getbbox() is None:
                    return shown
            return None

        try:
            return until(same, f"picture of {target.name}", timeout_s)
        except pytest.fail.Exception:
            self.picture().save(target.folder / "seen.png")
            target.capture().save(target.folder / "target.png")
            raise

    def stop(self) -> None:
        self._process.stop()
