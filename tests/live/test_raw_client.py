"""Both halves of RFB without browser and WebSocket: vncdotool through the proxy's sessions, to every RFB version."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from tests.live.laboratory import Laboratory
from tests.live.machine import Target
from tests.live.processes import program, until

REPOSITORY = Path(__file__).parent.parent.parent
TARGETS = [
    "qemu-none",
    "qemu-password",
    "xvnc-none",
    "xvnc-vncauth",
    "xvnc-rfb33",
    "xvnc-rfb33-vncauth",
    "x11vnc-rfb37",
]


@dataclass(frozen=True)
class RawProxy:
    """`raw_client` running for one target."""

    target: Target
    port: int
    folder: Path
    audit: Path

    def vncdotool(self, *actions: str) -> None:
        """Do something as a viewer, and leave."""
        done = subprocess.run(
            [
                program("vncdotool"),
                "-s",
                f"127.0.0.1::{self.port}",
                "--timeout=25",
                "--delay=20",
                "--nocursor",
                *actions,
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr

    def capture(self) -> Image.Image:
        """What vncdotool sees.

        Only its second capture can be trusted: it takes the first rectangle that it ever gets for the whole screen,
        wherever that one lies (vncdotool 1.4.2, `updateRectangle`).
        """
        self.vncdotool("capture", "first.png", "capture", "second.png")
        with Image.open(self.folder / "second.png") as picture:
            return picture.convert("RGB")

    def wait_same(self) -> Image.Image:
        """Wait until vncdotool sees what the target shows."""

        def same() -> Image.Image | None:
            seen, real = self.capture(), self.target.capture()
            return seen if seen.size == real.size and not ImageChops.difference(seen, real).getbbox() else None

        return until(same, f"picture of {self.target.name}")

    def records(self, count: int) -> list[dict[str, Any]]:
        """The audit records, once there are as many."""
        until(lambda: self.audit.read_text().count("\n") >= count, "audit records")
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@pytest.fixture(params=TARGETS)
def raw_proxy(request: pytest.FixtureRequest, lab: Laboratory, tmp_path: Path) -> Iterator[RawProxy]:
    target = lab.target(request.param)
    audit = tmp_path / "audit.jsonl"
    command = [sys.executable, "-m", "tests.live.raw_client", f"127.0.0.1:{target.port}", "--audit", str(audit)]
    if target.password is not None:
        (tmp_path / "password").write_text(target.password)
        command += ["--password-file", str(tmp_path / "password")]
    process = lab.start(f"raw-client-{target.name}", command, cwd=REPOSITORY)
    yield RawProxy(target, int(process.wait_for_line()), tmp_path, audit)
    process.stop()


def test_vncdotool_sees_and_types(raw_proxy: RawProxy, new_text: Callable[[], str]) -> None:
    text = new_text()
    before = raw_proxy.wait_same()
    raw_proxy.vncdotool("type", text)
    raw_proxy.target.wait_typed(text)
    after = raw_proxy.wait_same()
    assert before.tobytes() != after.tobytes()
    raw_proxy.vncdotool("key", "enter")
    raw_proxy.target.wait_typed(f"{text}\n")
    records = raw_proxy.records(4)
    assert records[0]["bytes_to_client"] > 0  # one that only types may be sent nothing
    for record in records:
        assert record["way_in"] == "test"
        assert record["close_reason"] == "client-closed"
        assert record["client_version"] == "3.8"
        assert record["client_security"] == "None"
        assert record["target_version"] == raw_proxy.target.version
        assert record["target_security"] == raw_proxy.target.security
        assert record["bytes_to_target"] > 0
