"""`consoleproxy console create` for SPICE."""

import pytest

from tests.cli.commands import CREATE, command, grant_of
from tests.proxy_process import run

DIRECT = ("create", "--type", "spice-direct", "--host", "192.0.2.7", "--port", "5900")


def test_a_console_for_native_spice_viewers_has_a_file_for_them(store):
    created = store.console(*DIRECT, "--instance", "an-instance", "--tls-port", "5901")
    assert list(created) == ["token", "url", "type", "expires", "instance", "vv"]
    assert created["url"] == f"http://127.0.0.1:{store.spice_port}/console.vv?token={created['token']}"
    assert created["vv"] == (
        "[virt-viewer]\n"
        "type=spice\n"
        f"host={created['token']}\n"
        f"port={store.spice_port}\n"
        "title=an-instance\n"
        f"proxy=http://127.0.0.1:{store.spice_port}\n"
        "delete-this-file=1\n"
    )
    assert "192.0.2.7" not in created["vv"]


def test_novas_url_for_native_spice_viewers(store):
    store.write_config("[spice]\nspice_direct_proxy_base_url = http://kerbside.example/nova")
    created = store.console(*DIRECT)
    assert created["url"] == f"http://kerbside.example/nova?token={created['token']}"
    assert created["vv"].startswith("[virt-viewer]\n")


def test_for_people_the_file_is_not_printed(store):
    printed = command(store, "console", *DIRECT).stdout
    assert printed.splitlines()[-1].split(maxsplit=1) == ["vv", "printed with --json"]
    assert "virt-viewer" not in printed


def test_a_certificate_that_cannot_be_told_of_leaves_no_token(store):
    store.write_config("[DEFAULT]\ncert = nova.conf")
    result = run("consoleproxy", "--config-file", store.config, "console", *DIRECT, cwd=store.folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith("nova.conf holds no usable certificate\n")
    assert store.console("list") == {"consoles": []}


def test_what_a_spice_console_may_ask_for(store):
    more = ("--host-subject", r"O=Lab\, Inc,CN=node1", "--allow-channel", "usbredir", "--allow-channel", "webdav")
    grant = grant_of(store, store.console(*DIRECT, *more))
    assert grant.host_subject == r"O=Lab\, Inc,CN=node1"
    assert grant.allow_channels == ("usbredir", "webdav")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((*DIRECT, "--host-subject", "node1"), "host subject 'node1': 'node1' is not KEY=VALUE"),
        ((*DIRECT, "--username", "admin"), "username does not go with console type 'spice-direct'"),
        ((*CREATE, "--allow-channel", "usbredir"), "allow_channels does not go with console type 'novnc'"),
    ],
)
def test_what_a_console_of_this_type_may_not_ask_for(store, arguments, expected):
    result = command(store, "console", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"consoleproxy: {expected}")


@pytest.mark.parametrize("word", ["main", "sound"])
def test_a_channel_that_cannot_be_allowed_is_wrong_usage(store, word):
    result = command(store, "console", *DIRECT, "--allow-channel", word)
    assert result.returncode == 2
    assert "'record', 'smartcard', 'usbredir', 'port', 'webdav'" in result.stderr
