"""Machines and desktops to look at by VNC: QEMU with a guest of our own, and Xvnc with a terminal."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageGrab

from tests.live.machine import Machine, Target
from tests.live.processes import Process, program, until

SIZE = (640, 400)


class Qemu(Machine):
    """A machine with VNC; the password of VNC Authentication is set while it runs.

    Args:
        vnc: more of its option of that name.
        objects: what that names.
        environment: of the process.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        password: bool = False,
        username: str | None = None,
        vnc: str = "",
        objects: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._vnc = f"{',password=on' if password else ''}{vnc}"
        self._objects = objects
        super().__init__(name, folder, password=password, username=username, environment=environment)
        if password:
            self.monitor.do("set_password", protocol="vnc", password=self.password)

    def _console_options(self) -> list[str]:
        objects = [word for each in self._objects for word in ("-object", each)]
        return ["-vnc", f"{self.host}:{self.port - 5900}{self._vnc}", *objects]

    @property
    def desktop_name(self) -> str:
        return f"QEMU ({self.name})"


def terminal_script(name: str, typed: Path) -> str:
    """What a terminal runs to show colours and then what is typed, which it keeps in a file."""
    colours = "".join(rf"\033[4{n}m  \033[3{n};40m {n} " for n in range(1, 8))
    return f"stty -icanon; printf '\\033[?25l{colours}\\033[0m\\r\\n{name}\\r\\n'; exec cat >{typed}"


class Xvnc(Target):
    """A TigerVNC desktop that a terminal covers; the terminal keeps in a file what is typed."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        password: bool = False,
        username: str | None = None,
        protocol_3_3: bool = False,
    ) -> None:
        super().__init__(name, folder, password=password, username=username)
        self._typed = self.folder / "typed"
        told, tell = os.pipe()
        self._server = Process(
            name,
            [
                *["Xvnc", "-displayfd", str(tell), "-geometry", "{}x{}".format(*SIZE), "-depth", "24", "-nocursor"],
                *["-nolisten", "tcp", "-localhost", "-UseBlacklist=0", "-AlwaysShared", "-desktop", name],
                *["-rfbport", str(self.port), *(["-Protocol3.3=1"] if protocol_3_3 else [])],
                *self._security_options(),
            ],
            self.folder,
            pass_fds=[tell],
        )
        os.close(tell)
        with os.fdopen(told) as display:
            self.display = f":{display.readline().strip()}"
        self._server.wait_for_port(self.port)
        self._terminal = Process(
            f"{name}-xterm",
            [
                *["xterm", "-geometry", "120x40+0+0", "-b", "0", "-bw", "0", "+sb", "-fn", "fixed"],
                *["-bg", "black", "-fg", "grey", "-e", "sh", "-c", terminal_script(name, self._typed)],
            ],
            self.folder,
            environment={"DISPLAY": self.display},
        )
        until(self._has_started, f"terminal of {name}")
        if protocol_3_3:
            self.version = "3.3"

    @property
    def processes(self) -> list[Process]:
        return [self._server, self._terminal]

    def _security_options(self) -> list[str]:
        if self.password is None:
            return ["-SecurityTypes", "None"]
        return ["-SecurityTypes", "VncAuth", *self._password_options()]

    def _password_options(self) -> list[str]:
        file = self.folder / "passwd"
        made = subprocess.run(
            [program("vncpasswd"), "-f"], input=f"{self.password}\n".encode(), capture_output=True, check=True
        )
        file.write_bytes(made.stdout)
        return ["-PasswordFile", str(file)]

    def _has_started(self) -> bool:
        """`cat` has begun, and something is on the screen."""
        return self._typed.exists() and self.capture().getbbox() is not None

    def capture(self) -> Image.Image:
        return ImageGrab.grab(xdisplay=self.display).convert("RGB")

    def typed(self) -> str:
        return self._typed.read_text()


class X11vnc(Target):
    """LibVNCServer's view of an Xvnc desktop."""

    def __init__(
        self,
        name: str,
        folder: Path,
        desktop: Xvnc,
        *,
        password: bool = False,
        username: str | None = None,
        version: str = "3.8",
    ) -> None:
        super().__init__(name, folder, password=password, username=username)
        self.version = version
        self._desktop = desktop
        self._process = Process(
            name,
            [
                *["x11vnc", "-display", desktop.display, "-rfbversion", self.version, "-rfbport", str(self.port)],
                *["-localhost", "-no6", "-forever", "-shared", "-nocursor", "-noxdamage", "-norc", "-quiet"],
                *self._security_options(),
            ],
            self.folder,
            environment=self._environment(),
        )
        self._process.wait_for_port(self.port)

    def _security_options(self) -> list[str]:
        return ["-nopw"]

    def _environment(self) -> dict[str, str]:
        return {}

    @property
    def processes(self) -> list[Process]:
        return [self._process]

    def capture(self) -> Image.Image:
        return self._desktop.capture()

    def typed(self) -> str:
        return self._desktop.typed()
