"""Nova's own code and a database of a cell, in a process that does what it is asked (`nova_tokens.py`)."""

import json
import os
import select
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.live.processes import PATIENCE_S

DEBIAN_PYTHON = "/usr/bin/python3"
DEBIAN_NOVA = Path("/usr/lib/python3/dist-packages/nova")
TOKENS = Path(__file__).with_name("nova_tokens.py")


class Nova:
    """Nova on an SQLite database.

    Args:
        database: a file; nova's tables are made by `ask("sync")` only.
    """

    def __init__(self, folder: Path, database: Path) -> None:
        if not DEBIAN_NOVA.is_dir():
            pytest.fail("python3-nova is not installed: sh tests/live/debian.sh", pytrace=False)
        folder.mkdir()
        self.database = database
        self._log = folder / "log"
        config = folder / "nova.conf"
        config.write_text(
            "[DEFAULT]\n"
            "transport_url = fake://\n"
            f"state_path = {folder}\n"
            "[database]\n"
            f"connection = sqlite:///{database}\n"
            "[oslo_concurrency]\n"
            f"lock_path = {folder}\n"
        )
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [DEBIAN_PYTHON, TOKENS, config],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, bufsize=0,
            )  # fmt: skip

    def ask(self, command: str, *arguments: object) -> Any:
        """Let nova do one thing, and give what came of it."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        answer, deadline = b"", time.monotonic() + PATIENCE_S
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self._popen.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._popen.stdout.fileno(), 65536) if ready else b""
            if not piece:
                pytest.fail(f"nova did not answer {command}:\n{self._log.read_text()}")
            answer += piece
        return json.loads(answer)

    def authorize(self, port: int, *, ttl: int = 600, console_type: str = "novnc", base: str = "") -> dict[str, str]:
        """A console of a new machine at this port: its token, instance and URL."""
        fields = {"console_type": console_type, "host": "127.0.0.1", "port": port, "internal_access_path": None}
        made = self.ask("authorize", ttl, {**fields, "access_url_base": base})
        assert isinstance(made, dict)
        return made

    def dump(self) -> list[str]:
        """All that is in the database, as SQL."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return list(connection.iterdump())

    def stop(self) -> None:
        self._popen.kill()
        self._popen.communicate(timeout=PATIENCE_S)
