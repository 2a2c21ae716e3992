"""wayvnc's view of a headless Wayland desktop that a terminal covers."""

import io
import os
import subprocess
from pathlib import Path

from PIL import Image

from tests.live.accounts import USER
from tests.live.machine import Target
from tests.live.pki import Identity
from tests.live.processes import Process, program, until
from tests.live.targets import SIZE, terminal_script

SWAY = """xwayland disable
output HEADLESS-1 resolution {}x{} position 0 0
default_border none
seat * hide_cursor 100
"""


class Wayvnc(Target):
    """Without a certificate it asks for nothing; with one, for a user and a password inside of X509."""

    def __init__(self, name: str, folder: Path, identity: Identity | None = None) -> None:
        super().__init__(name, folder, username=None if identity is None else USER)
        self._typed = self.folder / "typed"
        runtime = self.folder / "runtime"
        runtime.mkdir(mode=0o700)
        self._environment = {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}
        self._sway = self._start_sway()
        displays = until(lambda: list(runtime.glob("wayland-*[0-9]")), f"display of {name}")
        self._environment["WAYLAND_DISPLAY"] = displays[0].name
        terminal = ["foot", "--override=colors.background=000000", "sh", "-c", terminal_script(name, self._typed)]
        self._terminal = Process(f"{name}-foot", terminal, self.folder, environment=self._environment)
        configuration = self.folder / "wayvnc.conf"
        configuration.write_text(self._configuration(identity))
        self._server = Process(name, ["wayvnc", "-C", str(configuration)], self.folder, environment=self._environment)
        self._server.wait_for_port(self.port)
        until(self._has_started, f"terminal of {name}")

    def _start_sway(self) -> Process:
        configuration = self.folder / "sway.conf"
        configuration.write_text(SWAY.format(*SIZE))
        nobody = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]  # for it refuses to be root
        headless = {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}
        return Process(
            f"{self.name}-sway",
            [*nobody, "sway", "-c", str(configuration)],
            self.folder,
            environment={**self._environment, **headless},
        )

    def _configuration(self, identity: Identity | None) -> str:
        lines = ["address=127.0.0.1", f"port={self.port}"]
        if identity is not None:
            lines += [
                *["enable_auth=true", f"username={self.username}", f"password={self.password}"],
                *[f"private_key_file={identity.key}", f"certificate_file={identity.cert}"],
            ]
        return "\n".join([*lines, ""])

    @property
    def processes(self) -> list[Process]:
        return [self._sway, self._terminal, self._server]

    @property
    def desktop_name(self) -> str:
        return "WayVNC"

    def _has_started(self) -> bool:
        """`cat` has begun, and something is on the screen."""
        return self._typed.exists() and self.capture().getbbox() is not None

    def capture(self) -> Image.Image:
        environment = {**os.environ, **self._environment}
        done = subprocess.run(
            [program("grim"), "-t", "ppm", "-"], env=environment, capture_output=True, check=True, timeout=30
        )
        return Image.open(io.BytesIO(done.stdout)).convert("RGB")

    def typed(self) -> str:
        return self._typed.read_text()
