"""Passwords and tokens on the command line."""

import contextlib
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.commands import CREATE, command
from tests.proxy_process import BIN


def test_revoke_reads_a_token_from_standard_input(store):
    created = store.console(*CREATE)
    assert store.console("revoke", "--token-file", "-", stdin=created["token"]) == {"revoked": 1}


def test_a_token_among_the_arguments_is_hidden_at_once(store):
    """Once the process has begun its own work, not only once it has loaded everything that it needs."""
    token = "f3b1c9d2-0000-4000-8000-00000000abcd"
    words = [BIN / "consoleproxy", "--config-file", store.config, "console", "revoke", f"--token={token}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        seen = []
        while process.poll() is None:
            with contextlib.suppress(OSError):
                seen.append(token.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes())
            time.sleep(0.001)
    assert process.returncode == 0
    assert len(seen) > 50
    assert sum(seen) < len(seen) / 2, "it was there most of the time"
    assert not any(seen[len(seen) // 2 :])


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "has 0 bytes"), (b"\n", "has 0 bytes"), (b"x" * 5000, "has 4097 bytes"), (b"\xff\xfe\n", "is not UTF-8"),
])  # fmt: skip
def test_a_password_file_that_holds_no_password_is_refused(store, tmp_path, content, expected):
    (tmp_path / "password").write_bytes(content)
    result = command(store, "console", *CREATE, "--password-file", tmp_path / "password")
    assert result.returncode == 1
    assert expected in result.stderr


def test_a_password_is_printed_nowhere(store):
    made = command(store, "console", *CREATE, "--password-file", "-", stdin="hunter2hunter2\n")
    listed = command(store, "console", "list", "--json")
    assert "hunter2" not in made.stdout + made.stderr + listed.stdout
    for file in (store.folder / "state").iterdir():
        assert b"hunter2" not in file.read_bytes()
