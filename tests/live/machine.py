"""What is looked at: a target, and the one that most tests take, a PC of QEMU's with a guest of our own."""

import json
import secrets
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.live.processes import Process, program, until
from tests.ports import free_port

GUEST_SOURCE = Path(__file__).with_name("guest.S")


class Target(ABC):
    """A server that shows what is typed.

    Attributes:
        host: where it is, with `port`.
        username: whom it lets in; None where it does not ask.
        password: what it asks for; None where it asks for none.
        version: the RFB version that it speaks, if it does.
    """

    host = "127.0.0.1"
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
        """What it shows, taken on its own side."""

    @abstractmethod
    def typed(self) -> str:
        """Every character that ever arrived."""

    def wait_typed(self, text: str) -> None:
        """Wait until the last characters that arrived are these."""
        until(lambda: self.typed().endswith(text), f"text typed into {self.name}")

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


class Machine(Target):
    """A PC whose boot sector is `guest.S`. It listens at `port` when it is made, and waits for keys.

    Args:
        vga: the display adapter.
        environment: of the process.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        password: bool = False,
        username: str | None = None,
        vga: str = "std",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, folder, password=password, username=username)
        self._process = Process(
            name,
            [
                *["qemu-system-x86_64", "-name", name, "-machine", "pc,accel=tcg", "-m", "16"],
                *["-nodefaults", "-no-user-config", "-vga", vga, "-boot", "a"],
                *["-drive", f"if=floppy,format=raw,readonly=on,file={self._assemble()}"],
                *["-debugcon", f"file:{self.folder / 'typed'}"],
                *["-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"],
                *self._console_options(),
            ],
            self.folder,
            environment=environment,
        )
        self._process.wait_for_port(self.listening_port, self.host)
        self.monitor = Monitor(self.folder / "qmp")
        until(self._has_booted, f"guest of {name}")

    @property
    def listening_port(self) -> int:
        """Where it may be connected to."""
        return self.port

    @abstractmethod
    def _console_options(self) -> Sequence[str]:
        """What makes it listen."""

    @property
    def processes(self) -> list[Process]:
        return [self._process]

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
        self.monitor.do("screendump", filename=str(file), format="png")
        with Image.open(file) as picture:
            return picture.convert("RGB")

    def typed(self) -> str:
        return (self.folder / "typed").read_text()


class Monitor:
    """QEMU's QMP."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        until(lambda: self._socket.connect_ex(str(path)) == 0, f"monitor {path}")  # SPICE listens before it does
        self._file = self._socket.makefile("rw")
        self.do("qmp_capabilities")

    def do(self, command: str, **arguments: object) -> Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while not (answer := json.loads(self._file.readline())).keys() & {"return", "error"}:
            pass  # an event, or the greeting
        assert "return" in answer, answer
        return answer["return"]
