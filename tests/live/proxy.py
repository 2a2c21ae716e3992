"""The proxy as an operator runs it: a configuration file, a process, tokens by the command, records in a file."""

import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.live.machine import Target
from tests.live.processes import Process, program, until
from tests.ports import free_port
from tests.proxy_process import records_in


@dataclass(frozen=True)
class Console:
    """What `console create --json` printed."""

    token: str
    url: str
    instance: str

    @property
    def token_id(self) -> str:
        """As records name it."""
        return sha256(self.token.encode()).hexdigest()[:8]


class Proxy:
    """A running service with a store, an audit log and a configuration file of its own.

    Args:
        command: what runs it, the configuration file left out.
        web: the operator's folder.
        page: the page that access URLs name.
        base: what access URLs begin with, where that is not the proxy itself.
        options: of `[consoleproxy]`, and further sections.
        native: whether native viewers are listened for.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: list[str],
        *,
        web: Path | None = None,
        page: str = "vnc_auto.html",
        base: str | None = None,
        options: str = "",
        native: bool = False,
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.port = free_port()
        self.native_port = free_port() if native else None
        self.origin = f"http://127.0.0.1:{self.port}"
        self.secrets: set[str] = set()  # that may appear nowhere
        self._consoles: dict[Target, Console] = {}
        self._audit = self.folder / "audit.jsonl"
        self._state = self.folder / "state"
        self._config = self.folder / "nova.conf"
        self._config.write_text(
            "[DEFAULT]\n"
            f"state_path = {self._state}\n"
            f"{f'web = {web}' if web else ''}\n"
            "[vnc]\n"
            "novncproxy_host = 127.0.0.1\n"
            f"novncproxy_port = {self.port}\n"
            f"novncproxy_base_url = {base or self.origin}/{page}\n"
            "xvpvncproxy_host =\n"
            "[consoleproxy]\n"
            f"audit_log = {self._audit}\n"
            "workers = 1\n"
            f"{f'rfb_listen = 127.0.0.1:{self.native_port}' if native else ''}\n"
            f"{options}\n"
        )
        self.process = Process(name, [*command, "--config-file", str(self._config)], self.folder)
        until(self._is_ready, f"{name} ready")

    def _is_ready(self) -> bool:
        if not self.process.is_running:
            pytest.fail(f"{self.process.name} ended:\n{self.process.log}")
        try:
            with urlopen(f"{self.origin}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def console(self, target: Target) -> Console:
        """A token for the target; the same one each time, for it may be used often."""
        if target not in self._consoles:
            self._consoles[target] = self.create_for(target)
        return self._consoles[target]

    def create_for(self, target: Target, *options: str, kind: str = "novnc") -> Console:
        """A new token that logs in to the target as it wants it."""
        user = ["--username", target.username] if target.username is not None else []
        return self.create(target.port, target.password, *user, *options, kind=kind, host=target.host)

    def create(
        self, port: int, password: str | None = None, *options: str, kind: str = "novnc", host: str = "127.0.0.1"
    ) -> Console:
        """A new token, with more options of the command."""
        command = ["console", "create", "--type", kind, "--host", host, "--port", str(port), *options]
        if password is not None:
            file = self.folder / "password"
            file.write_text(f"{password}\n")
            command += ["--password-file", str(file)]
            self.secrets.add(password)
        done = subprocess.run(
            [program("consoleproxy"), "--json", "--config-file", self._config, *command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        self.secrets.add(made["token"])
        return Console(made["token"], made["url"], made["instance"])

    @property
    def said(self) -> str:
        """All that it logged so far."""
        return self.process.out.read_text() + self.process.err.read_text()

    def records(self) -> list[dict[str, Any]]:
        """The audit records so far."""
        return records_in(self._audit)

    def next_record(self, known: int, token_id: str | None) -> dict[str, Any]:
        """The first record with this token after `known` others; waits until there is one."""

        def look() -> dict[str, Any] | None:
            return next((record for record in self.records()[known:] if record["token"] == token_id), None)

        found = until(look, f"audit record of a visit with token {token_id}")
        assert found is not None
        return found

    def check_secrets_kept(self) -> None:
        """No token, password or typed text is in the log, the audit log, the store or the process list."""
        files = [self.process.out, self.process.err, self._audit, *self._state.iterdir()]
        places = {"command line": self.process.command_line}
        for file in files:
            with suppress(FileNotFoundError):  # a journal of the database
                places[str(file)] = file.read_bytes()
        leaks = [place for place, content in places.items() for secret in self.secrets if secret.encode() in content]
        assert not leaks
        assert places[str(self.process.out)] + places[str(self.process.err)], "the log is empty"
