"""`consoleproxy config …`."""

import json

import pytest

from tests.cli.commands import command


def test_config_check_says_what_is_to_be_known_and_that_the_options_can_be_used(store):
    store.write_config("[DEFAULT]\nconsole_driver = xvp\n")
    result = command(store, "config", "check")
    assert (result.returncode, result.stderr) == (0, "")
    first, last = result.stdout.splitlines()
    assert first.startswith("[DEFAULT] console_driver: not needed: ")
    assert last == "the configuration is usable"
    found = json.loads(command(store, "config", "check", "--json").stdout)
    assert found == {
        "usable": True,
        "findings": [{"option": "[DEFAULT] console_driver", "says": first.partition(": ")[2]}],
    }
    assert sorted(path.name for path in store.folder.iterdir()) == ["nova.conf"]


@pytest.mark.parametrize(
    ("options", "option"),
    [("[vnc]\nnovncproxy_port = many", "[vnc] novncproxy_port"), ("[vnc]\nno = 1", "[vnc] no"), ("nonsense", None)],
)
def test_config_check_refuses_with_one_line_and_as_json_too(store, options, option):
    store.write_config(options)
    result = command(store, "config", "check")
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    result = command(store, "--json", "config", "check")
    found = json.loads(result.stdout)
    assert (result.returncode, found["usable"]) == (1, False)
    assert [finding["option"] for finding in found["findings"]] == [option]
    assert result.stderr == f"consoleproxy: {found['findings'][0]['says']}\n"


def test_config_sample_passes_the_check(store, tmp_path):
    (tmp_path / "sample.conf").write_text(command(store, "config", "sample").stdout)
    result = command(store, "config", "check", "--config-file", tmp_path / "sample.conf")
    assert (result.returncode, result.stdout) == (0, "the configuration is usable\n")
