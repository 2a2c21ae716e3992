"""Programs that the live tests run: each in its own process group, with its output kept, stopped by its id."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

PATIENCE_S = 30.0  # for anything that should take well below a second; the machine may be busy
LOG_TAIL = 4000  # characters of each log that a failure shows

T = TypeVar("T")


def program(name: str) -> str:
    """Where a program is; a test without it fails."""
    found = shutil.which(name, path=f"{Path(sys.prefix) / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is not installed: make venv, and sh tests/live/debian.sh", pytrace=False)
    return found


def until(look: Callable[[], T], what: str, timeout_s: float = PATIENCE_S) -> T:
    """The first true answer of `look`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.02)
    return answer


class Process:
    """A running program. `out` and `err` are the files that it writes to."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._popen = subprocess.Popen(
                [program(command[0]), *command[1:]],
                cwd=cwd or folder,
                env={**os.environ, **(environment or {})},
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        started.append(self)

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def command_line(self) -> bytes:
        """As the process list shows it."""
        return Path(f"/proc/{self.pid}/cmdline").read_bytes()

    def terminate(self) -> None:
        if self.is_running:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit status; negative for the signal that ended it."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} did not end within {timeout_s:g} s")

    def stop(self, timeout_s: float = 10.0) -> int:
        """End it, gently first, and whatever it left in its process group."""
        self.terminate()
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            if self in started:
                started.remove(self)
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def wait_for_line(self) -> str:
        """The first line that it writes to its standard output."""
        return until(self._first_line, f"first line of {self.name}")

    def _first_line(self) -> str:
        line, newline, _ = self.out.read_text().partition("\n")
        if not newline and not self.is_running:
            pytest.fail(f"{self.name} ended with status {self._popen.returncode}:\n{self.log}")
        return line if newline else ""

    def wait_for_port(self, port: int, host: str = "127.0.0.1") -> None:
        """Wait until somebody answers there, this process being alive."""

        def answers() -> bool:
            if not self.is_running:
                pytest.fail(f"{self.name} ended with status {self._popen.returncode}:\n{self.log}")
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
                return trial.connect_ex((host, port)) == 0

        until(answers, f"port {port} of {self.name}")

    @property
    def log(self) -> str:
        """The end of what it wrote."""
        return "".join(file.read_text(errors="replace")[-LOG_TAIL:] for file in (self.out, self.err))


started: list[Process] = []  # and not stopped yet, in this order


def stop_all() -> None:
    """Stop what is left, the last started first."""
    for process in reversed(started.copy()):
        process.stop()
