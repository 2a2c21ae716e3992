"""`consoleproxy console …`: what it prints, and what it refuses."""

import contextlib
import json
import time
import uuid

import pytest

from rfbproxy.config import Config
from rfbproxy.store_options import open_store
from tests.cli.commands import CREATE, command


def test_create_prints_token_url_type_expiry_and_instance(store):
    begun = int(time.time())
    created = store.console(*CREATE, "--instance", "an-instance", "--ttl", "60")
    assert str(uuid.UUID(created["token"], version=4)) == created["token"]
    assert created["url"] == f"http://127.0.0.1:{store.port}/vnc_auto.html?path=%3Ftoken%3D{created['token']}"
    assert created["type"] == "novnc"
    assert created["instance"] == "an-instance"
    assert begun + 60 <= created["expires"] <= time.time() + 60
    assert list(created) == ["token", "url", "type", "expires", "instance"]


@pytest.mark.parametrize(("console_type", "base"), [
    ("xvpvnc", "http://127.0.0.1:6081/console?token="),
    ("spice-html5", "http://127.0.0.1:{spice_port}/?token="),
    ("spice-direct", "http://127.0.0.1:{spice_port}/console.vv?token="),
])  # fmt: skip
def test_other_types_get_their_own_base(store, console_type, base):
    created = store.console("create", "--type", console_type, "--host", "h", "--port", "1")
    assert created["url"] == base.format(spice_port=store.spice_port) + created["token"]


def test_list_shows_what_can_be_opened_and_no_token(store):
    created = store.console(*CREATE)
    store.console(*CREATE, "--ttl", "0")
    listed = store.console("list")["consoles"]
    assert [list(console) for console in listed] == [["id", "type", "host", "port", "instance", "expires"]]
    assert len(listed[0]["id"]) == 8
    assert created["token"] not in json.dumps(listed)


@pytest.mark.parametrize("how", ["--token", "--token-file", "--id", "--instance"])
def test_revoke(store, tmp_path, how):
    created = store.console(*CREATE)
    store.console(*CREATE)
    (tmp_path / "token").write_text(created["token"] + "\n")
    which = {
        "--token": created["token"],
        "--token-file": str(tmp_path / "token"),
        "--id": store.console("list")["consoles"][0]["id"],
        "--instance": created["instance"],
    }[how]
    assert store.console("revoke", how, which) == {"revoked": 1}
    assert len(store.console("list")["consoles"]) == 1


def test_revoke_of_an_unknown_token_revokes_nothing(store):
    assert store.console("revoke", "--token", "unknown") == {"revoked": 0}


@pytest.mark.parametrize(("arguments", "expected"), [
    (("--host", "a b"), "host 'a b' is neither a name nor an address"),
    (("--host", "host:5900"), "host 'host:5900' is neither"),
    (("--host", ""), "host '' is neither"),
    (("--instance", "x" * 37), "allowed are 1 to 36"),
    (("--host", "[::1"), "'[::1'"), (("--host", "::1]"), "'::1]'"), (("--host", "[127.0.0.1]x"), "'[127.0.0.1]x'"),
    (("--host", "1.2.3.4.5"), "'1.2.3.4.5'"), (("--host", "[host]"), "'[host]'"), (("--tls-name", "a b"), "'a b'"),
    (("--instance", ""), "allowed are 1 to 36"),
    (("--password-file", "/nonexistent"), "/nonexistent cannot be read"),
    (("--internal-access-path", "a b"), "without spaces"),
    (("--internal-access-path", "a\r\nHost: x"), "without spaces"),
    (("--type", "vnc-direct"), "vnc-direct"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_with_one_line(store, arguments, expected):
    result = command(store, "console", *CREATE, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["[2001:db8::1]", "2001:db8::1", "2001:DB8:0::1"])
def test_ipv6_hosts_come_with_or_without_brackets(store, host):
    store.console("create", "--type", "novnc", "--host", host, "--port", "5900")
    assert store.console("list")["consoles"][0]["host"] == "2001:db8::1"


def test_a_store_of_nova_is_only_read(store, tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "nova.sqlite") as database:
        database.execute(
            "CREATE TABLE console_auth_tokens (created_at, updated_at, id INTEGER PRIMARY KEY, token_hash,"
            " console_type, host, port INTEGER, internal_access_path, instance_uuid, expires INTEGER, access_url_base)"
        )
    store.write_config(f"[consoleauth]\nconnection = sqlite:///{tmp_path}/nova.sqlite")
    result = command(store, "console", *CREATE)
    assert result.returncode == 1
    assert "only read" in result.stderr
    assert store.console("list") == {"consoles": []}


def test_move(store):
    created = store.console(*CREATE, "--instance", "an-instance", "--tls-port", "5901")
    assert store.console("move", "--instance", "an-instance", "--host", "[2001:db8::1]") == {"moved": 1}
    assert store.console("list")["consoles"][0]["host"] == "2001:db8::1"
    assert store.console("list")["consoles"][0]["port"] == 5900
    moved = store.console("move", "--instance", "an-instance", "--host", "h", "--port", "1", "--tls-port", "2")
    assert moved == {"moved": 1}
    with contextlib.closing(open_store(Config([str(store.config)]))) as opened:
        found = opened.find(created["token"])
    assert (found.host, found.port, found.tls_port) == ("h", 1, 2)
    assert store.console("move", "--instance", "another", "--host", "h") == {"moved": 0}


@pytest.mark.parametrize(("arguments", "expected"), [
    (("--host", "a b"), "host 'a b' is neither a name nor an address"),
    (("--host", "h", "--tls-port", "5"), "a TLS port is given together with the port"),
])  # fmt: skip
def test_what_nothing_can_be_moved_to(store, arguments, expected):
    result = command(store, "console", "move", "--instance", "i", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert expected in result.stderr


def test_recording_cannot_be_asked_for(store):
    result = command(store, "console", *CREATE, "--record")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "consoleproxy: --record: this version does not record, so the console would not be recorded\n"
    )
    assert store.console("list") == {"consoles": []}


def test_a_console_for_native_viewers_has_an_address_and_no_token_in_it(store):
    store.write_config("rfb_listen = [2001:db8::1]:5900, unix:/run/vnc")
    created = store.console("create", "--type", "vnc-direct", "--host", "192.0.2.7", "--port", "5900")
    assert created["url"] == "vnc://[2001:db8::1]:5900"
    assert str(uuid.UUID(created["token"], version=4)) == created["token"]


def test_a_console_for_native_viewers_where_there_are_none(store):
    store.write_config("rfb_listen = unix:/run/vnc")
    result = command(store, "console", *CREATE, "--type", "vnc-direct")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "consoleproxy: console type 'vnc-direct' needs a host and port in [consoleproxy] rfb_listen\n"
    )
    assert store.console("list") == {"consoles": []}
