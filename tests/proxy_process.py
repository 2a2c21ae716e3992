"""The installed program as a process of its own, and what it leaves behind: log, audit records, exit status."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rfbproxy.config import Config
from rfbproxy.consoleauth import Grant
from rfbproxy.issue import SPICE_TYPES, Console, issue
from rfbproxy.store_options import open_store
from tests.ports import free_port

BIN = Path(sys.executable).parent
TIMEOUT_S = 20.0


def until(condition, what: str, timeout_s: float = TIMEOUT_S):
    """Poll until `condition()` is true, and give its value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {timeout_s} s for {what}")


def records_in(audit: Path) -> list[dict]:
    """The records of an audit log, but for one of which the file system shows no more than a part yet."""
    whole, _, _ = audit.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


class Proxy:
    """A running proxy with a folder of its own: `nova.conf`, token store, audit log, log; one process, unless told."""

    def __init__(self, folder: Path, options: str = "", *, command: Sequence[str] = ("twistd", "-n", "consoleproxy")):
        self.folder = folder
        self.port = free_port()
        self.spice_port = free_port()
        self.config = folder / "nova.conf"
        self.audit_file = folder / "audit.jsonl"
        self.log_file = folder / "log"
        self._command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.write_config(options)

    def write_config(self, options: str) -> None:
        """Write the configuration; `options` are sections and come last, where they win."""
        self.config.write_text(f"""
[DEFAULT]
state_path = {self.folder}/state
[vnc]
novncproxy_host = 127.0.0.1
novncproxy_port = {self.port}
novncproxy_base_url = http://127.0.0.1:{self.port}/vnc_auto.html
xvpvncproxy_host =
[spice]
html5proxy_host = 127.0.0.1
html5proxy_port = {self.spice_port}
html5proxy_base_url = http://127.0.0.1:{self.spice_port}/
[consoleproxy]
audit_log = {self.audit_file}
workers = 1
{options}
""")

    def start(self) -> Proxy:
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / self._command[0], *self._command[1:], "--config-file", self.config],
                stdout=log, stderr=subprocess.STDOUT, cwd=self.folder,
            )  # fmt: skip
        until(self._is_up, "the proxy to listen")
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return "listening for VNC consoles" in self.log

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def console(self, *arguments: str, stdin: str = "") -> dict:
        """Run `consoleproxy console …` on this proxy's store."""
        result = run("consoleproxy", "--json", "--config-file", self.config, "console", *arguments, stdin=stdin)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def create(
        self, port: int, *, console_type: str = "novnc", host: str = "127.0.0.1", ttl: int = 600, **grant
    ) -> dict:
        """Issue a token as `consoleproxy console create` does (`tests/cli`), without the wait for a process."""
        instance, path = grant.pop("instance", None), grant.pop("internal_access_path", None)
        tls_port = grant.pop("tls_port", None)
        console = Console(
            console_type,
            host,
            port,
            tls_port=tls_port,
            instance=instance,
            internal_access_path=path,
            grant=Grant(**grant),
        )
        is_spice = console_type in SPICE_TYPES
        base = f"http://127.0.0.1:{self.spice_port}/" if is_spice else f"http://127.0.0.1:{self.port}/vnc_auto.html"
        with contextlib.closing(open_store(Config([str(self.config)]))) as store:
            return issue(store, console, base=base, ttl=ttl, now=int(time.time())).as_json()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def records(self) -> list[dict]:
        with contextlib.suppress(FileNotFoundError):
            return records_in(self.audit_file)
        return []

    def settled(self) -> int:
        """Wait until every visit that came has left its record, and say how many there are."""
        until(lambda: self.log.count(" comes by ") == len(self.records), "all visits to end")
        return len(self.records)

    def next_record(self, before: int, timeout_s: float = TIMEOUT_S) -> dict:
        """The record of the visit that ended after there were `before` records."""
        return until(lambda: self.records[before : before + 1], "an audit record", timeout_s)[0]

    @property
    def open_files(self) -> int:
        """Descriptors, but for those of the store, whose threads each open it when they are first needed, and pipes."""
        return sum(".sqlite" not in name and not name.startswith("pipe:") for name in self._open())

    @property
    def open_pipes(self) -> int:
        """Descriptors of pipes, of which some are kept for the relays to come."""
        return sum(name.startswith("pipe:") for name in self._open())

    def _open(self) -> Iterator[str]:
        assert self.process is not None
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                yield str(descriptor.readlink())

    @property
    def memory_kib(self) -> int:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


P = TypeVar("P", bound=Proxy)


def run(command: str, *arguments: object, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the project to its end."""
    return subprocess.run(
        [str(BIN / command), *map(str, arguments)],
        input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=cwd,
    )  # fmt: skip


@contextlib.contextmanager
def running(folder: Path, options: str = "", *, kind: Callable[..., P] = Proxy, **named: Sequence[str]) -> Iterator[P]:
    proxy = kind(folder, options, **named)
    try:
        yield proxy.start()
    finally:
        if proxy.process is not None:
            proxy.stop()
