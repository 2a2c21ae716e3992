"""Programs that a benchmark runs, and what a proxy's whole process tree has used."""

from __future__ import annotations

import os
import random
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 60.0  # for a program to say what it should, whatever the machine is busy with
_PORTS = range(20000, 32000)  # below those that Linux gives to outgoing connections
_TICKS = os.sysconf("SC_CLK_TCK")
_PROCESSORS = sorted(os.sched_getaffinity(0))
LAST, ALL_BUT_LAST = slice(-1, None), slice(0, -1)  # of the processors


class BenchmarkError(Exception):
    """A program is missing, or did not do what it should."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise BenchmarkError(f"no port of {_PORTS.start} to {_PORTS.stop} is free")


def file_limit() -> int:
    """How many files a program here may have open; raised as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def processors(part: slice) -> Iterator[None]:
    """Programs started meanwhile share that part of the processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _PROCESSORS[part] or _PROCESSORS)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def first() -> Iterator[None]:
    """Programs started meanwhile run before all others (sched(7)); only root may let them."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Program:
    """A running program with a process group of its own.

    Args:
        log: where its errors go, and its output unless it `talks`.
        talks: whether its output and input are for `line` and `go_on`.
        yields: whether those that are `first` go before it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        talks: bool = False,
        yields: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        self.log = log
        self.started = time.monotonic()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else errors,
                stderr=errors,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self.process.pid
        if yields:
            os.sched_setscheduler(self.pid, os.SCHED_OTHER, os.sched_param(0))
        self._heard = b""

    def line(self, timeout_s: float = PATIENCE_S) -> str:
        """The next line of its output."""
        deadline = time.monotonic() + timeout_s
        output = self.process.stdout
        assert output is not None
        while b"\n" not in self._heard:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                raise BenchmarkError(f"{self.name} said nothing for {timeout_s:g} s: {self.errors}")
            if not (more := os.read(output.fileno(), 4096)):
                raise BenchmarkError(f"{self.name} ended: {self.errors}")
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def go_on(self) -> None:
        """Give it a line of input."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(b"\n")

    @property
    def errors(self) -> str:
        """The end of what it complained of."""
        return self.log.read_text(errors="replace")[-1000:].strip()

    def wait_for_port(self, port: int) -> None:
        """Wait until it listens on `port`."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BenchmarkError(f"{self.name} ended with status {self.process.returncode}: {self.errors}")
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.002)
        raise BenchmarkError(f"{self.name} does not listen: {self.errors}")

    def stop(self) -> None:
        """End it and what is left of its process group."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and all its descendants, of those that have ended and were waited for too.

    To the nanosecond for what lives (schedstat), in ticks for what has ended.
    """
    return sum(_own_cpu_s(each) for each in _tree(pid))


def pss_kib(pid: int) -> int:
    """Memory of a process and its descendants, where shared pages count once."""
    return sum(_field_kib(each, "smaps_rollup", "Pss:") for each in _tree(pid))


def rss_kib(pid: int) -> int:
    """Resident memory of a process and its descendants, each counted whole."""
    return sum(_field_kib(each, "status", "VmRSS:") for each in _tree(pid))


def _tree(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (stat := _stat(int(folder.name))):
            children.setdefault(int(stat[1]), []).append(int(folder.name))
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += children.get(each, [])


def _stat(pid: int) -> list[str]:
    """What stands in `/proc/PID/stat` after the name: state, parent, …; nothing where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _own_cpu_s(pid: int) -> float:
    stat = _stat(pid)
    if not stat:
        return 0.0
    own, children = (sum(map(int, stat[at : at + 2])) / _TICKS for at in (11, 13))
    exact = 0.0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            exact += int(task.read_text().split()[0]) / 1e9
    return max(own, exact) + children  # threads that have ended are in `own` alone


def _field_kib(pid: int, file: str, name: str) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/{file}").read_text().partition(name)[2].split()[0])
    return 0
