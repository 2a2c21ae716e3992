"""Machines and desktops to look at: QEMU with a guest of our own, and Xvnc with a terminal."""

import json
import os
import secrets
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageGrab

from tests.live.processes import Process, free_port, program, until

GUEST_SOURCE = Path(__file__).with_name("guest.S")
SIZE = (640, 400)


class Target(ABC):
    """A VNC server that shows what is typed.

    Attributes:
        username: whom it lets in; None where it does not ask.
        password: what it asks for; None where it asks for none.
        version: the RFB version that it speaks.
    """

    version = "3.8"

    def __init__(self, name: str, folder: Path, *, password: bool = False, username: str | None = None) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.port = free_port()
        self.username = username
        self.password = secrets.token_hex(4) if password or username else None

    @property
    def security(self) -> str:
        """As the audit record names it, where the target asks for no more than a password."""
        return "None" if self.password is None else "VNC Authentication"

    @property
    def desktop_name(self) -> str:
        """As its ServerInit says."""
        return self.name

    @property
    @abstractmethod
    def processes(self) -> list[Process]:
        """What runs for it, the last started last."""

    @abstractmethod
    def capture(self) -> Image.Image:
        """What it shows, taken without RFB."""

    @abstractmethod
    def typed(self) -> str:
        """Every character that ever arrived."""

    def wait_typed(self, text: str) -> None:
        """Wait until the last characters that arrived are these."""
        until(lambda: self.typed().endswith(text), f"text typed into {self.name}")

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


class Qemu(Target):
    """A PC whose boot sector is `guest.S`; the password of VNC Authentication is set while it runs.

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
        super().__init__(name, folder, password=password, username=username)
        vnc = f"127.0.0.1:{self.port - 5900}{',password=on' if password else ''}{vnc}"
        self._process = Process(
            name,
            [
                *["qemu-system-x86_64", "-name", name, "-machine", "pc,accel=tcg", "-m", "16"],
                *["-nodefaults", "-no-user-config", "-vga", "std", "-boot", "a"],
                *["-drive", f"if=floppy,format=raw,readonly=on,file={self._assemble()}"],
                *["-debugcon", f"file:{self.folder / 'typed'}"],
                *["-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off", "-vnc", vnc],
                *(word for each in objects for word in ("-object", each)),
            ],
            self.folder,
            environment=environment,
        )
        self._process.wait_for_port(self.port)
        self._monitor = Monitor(self.folder / "qmp")
        if password:
            self._monitor.do("set_password", protocol="vnc", password=self.password)
        until(self._has_booted, f"guest of {name}")

    @property
    def processes(self) -> list[Process]:
        return [self._process]

    @property
    def desktop_name(self) -> str:
        return f"QEMU ({self.name})"

    def _assemble(self) -> Path:
        source, image = self.folder / "guest.o", self.folder / "guest.img"
        subprocess.run([program("as"), "--32", "-o", source, GUEST_SOURCE], check=True)
        layout = ["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"]
        subprocess.run([program("ld"), *layout, "-o", image, source], check=True)
        return image

    def _has_booted(self) -> bool:
        """The guest has said so."""
        return self.typed() != ""

    def capture(self) -> Image.Image:
        file = self.folder / "screen.png"
        self._monitor.do("screendump", filename=str(file), format="png")
        with Image.open(file) as picture:
            return picture.convert("RGB")

    def typed(self) -> str:
        return (self.folder / "typed").read_text()


class Monitor:
    """QEMU's QMP."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")
        self._file.readline()  # its greeting
        self.do("qmp_capabilities")

    def do(self, command: str, **arguments: object) -> object:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while "event" in (answer := json.loads(self._file.readline())):
            pass
        assert "return" in answer, answer
        return answer["return"]


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
