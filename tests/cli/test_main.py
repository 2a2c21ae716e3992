"""What every command has in common: its options, what it prints, and its exit status."""

import json
import subprocess

import pytest

from tests.cli.commands import CREATE, command
from tests.proxy_process import BIN


def test_json_may_stand_before_or_after_the_command(store):
    before = command(store, "--json", "console", *CREATE)
    after = command(store, "console", *CREATE, "--json")
    assert json.loads(before.stdout).keys() == json.loads(after.stdout).keys()


def test_options_before_and_after_the_command_add_up(store, tmp_path):
    (tmp_path / "more.conf").write_text("[vnc]\nnovncproxy_base_url = http://more.example/vnc.html\n")
    result = command(store, "console", "--json", *CREATE, "--config-file", tmp_path / "more.conf")
    assert json.loads(result.stdout)["url"].startswith("http://more.example/")
    assert len(store.console("list")["consoles"]) == 1, "the first file named the store"


def test_a_result_that_cannot_be_printed_is_one_line(store):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = subprocess.run(
            [BIN / "consoleproxy", "--config-file", store.config, "console", "list"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr == "consoleproxy: done, but the result cannot be printed: No space left on device\n"


def test_for_people_there_is_a_table(store):
    assert command(store, "console", "list").stdout == "none\n"
    made = command(store, "console", *CREATE).stdout
    assert {line.split()[0] for line in made.splitlines()} == {"token", "url", "type", "expires", "instance"}
    listed = command(store, "console", "list").stdout.splitlines()
    assert listed[0].split() == ["id", "type", "host", "port", "instance", "expires"]
    assert listed[1].split()[1:4] == ["novnc", "192.0.2.7", "5900"]


@pytest.mark.parametrize("arguments", [
    (), ("nonsense",), ("console",), ("console", "create"), ("console", *CREATE, "--port", "0"),
    ("console", *CREATE, "--port", "70000"), ("console", *CREATE, "--type", "x"), ("console", *CREATE, "--ttl", "-1"),
    ("console", "revoke"), ("console", "revoke", "--token", "a", "--id", "b"), ("view",),
    ("view", "h:1", "--type", "x"), ("view", "127.0.0.1"), ("view", "h:99999"), ("view", ":5900"), ("view", "::1:5900"),
    ("view", "unix:/x"), ("view", "h:1", "--listen", "foo"), ("demo", "--listen", "6080"),
    ("console", *CREATE, "--require-security", "ssl"), ("console", *CREATE, "--share", "alone"), ("session",),
    ("session", "end"), ("console", "move", "--host", "h"), ("console", "move", "--instance", "i"),
])  # fmt: skip
def test_wrong_usage_is_status_2(store, arguments):
    result = command(store, *arguments)
    assert result.returncode == 2
    assert "usage:" in result.stderr
