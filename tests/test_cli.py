"""`consoleproxy console …`: what it prints, for people and as JSON, and what it refuses."""

import contextlib
import json
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from rfbproxy.config import Config
from rfbproxy.rfb.preference import SUBTYPE_WORDS, TYPE_WORDS
from rfbproxy.store_options import open_store
from tests.proxy_process import BIN, Proxy, run


@pytest.fixture
def store(tmp_path):
    return Proxy(tmp_path)


CREATE = ("create", "--type", "novnc", "--host", "192.0.2.7", "--port", "5900")


def command(store, *arguments, stdin=""):
    return run("consoleproxy", "--config-file", store.config, *arguments, stdin=stdin)


def test_create_prints_token_url_type_expiry_and_instance(store):
    created = store.console(*CREATE, "--instance", "an-instance", "--ttl", "60")
    assert str(uuid.UUID(created["token"], version=4)) == created["token"]
    assert created["url"] == f"http://127.0.0.1:{store.port}/vnc_auto.html?path=%3Ftoken%3D{created['token']}"
    assert created["type"] == "novnc"
    assert created["instance"] == "an-instance"
    assert 55 <= created["expires"] - time.time() <= 60
    assert list(created) == ["token", "url", "type", "expires", "instance"]


@pytest.mark.parametrize(("console_type", "base"), [
    ("xvpvnc", "http://127.0.0.1:6081/console?token="),
    ("spice-html5", "http://127.0.0.1:{spice_port}/?token="),
    ("spice-direct", "http://127.0.0.1:{spice_port}/console.vv?token="),
])  # fmt: skip
def test_other_types_get_their_own_base(store, console_type, base):
    created = store.console("create", "--type", console_type, "--host", "h", "--port", "1")
    assert created["url"] == base.format(spice_port=store.spice_port) + created["token"]


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


def test_revoke_reads_a_token_from_standard_input(store):
    created = store.console(*CREATE)
    assert store.console("revoke", "--token-file", "-", stdin=created["token"]) == {"revoked": 1}


def test_a_token_among_the_arguments_is_hidden_at_once(store):
    """Once the process has begun its own work, not only once it has loaded everything that it needs."""
    token = "f3b1c9d2-0000-4000-8000-00000000abcd"
    command = [BIN / "consoleproxy", "--config-file", store.config, "console", "revoke", f"--token={token}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        seen = []
        while process.poll() is None:
            with contextlib.suppress(OSError):
                seen.append(token.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes())
            time.sleep(0.001)
    assert process.returncode == 0
    assert len(seen) > 50
    assert sum(seen) < len(seen) / 2, "it was there most of the time"
    assert not any(seen[len(seen) // 2 :])


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


def test_no_sessions(store):
    assert json.loads(command(store, "session", "list", "--json").stdout) == {"sessions": []}
    assert command(store, "session", "list").stdout == "none\n"
    assert json.loads(command(store, "session", "end", "0123", "--json").stdout) == {"ended": 0}


def test_recording_cannot_be_asked_for(store):
    result = command(store, "console", *CREATE, "--record")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "consoleproxy: --record: this version does not record, so the console would not be recorded\n"
    )
    assert store.console("list") == {"consoles": []}


# Consoles whose target, or whose viewer, logs in by VeNCrypt


def grant_of(store, created):
    """What the store keeps of a console beyond nova's row."""
    with contextlib.closing(open_store(Config([str(store.config)]))) as opened:
        return opened.find(created["token"]).grant


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("node1.example", "node1.example"), ("node1.example.", "node1.example."), ("192.0.2.9", "192.0.2.9"),
        ("[2001:db8::9]", "2001:db8::9"), ("2001:DB8:0::9", "2001:db8::9"), ("bücher.example", "bücher.example"),
    ],
)  # fmt: skip
def test_tls_name(store, name, kept):
    assert grant_of(store, store.console(*CREATE, "--tls-name", name)).tls_name == kept


@pytest.mark.parametrize("name", ["node1:5900", "", "1.2.3", "[node1]", "a/b"])
def test_what_is_no_tls_name(store, name):
    result = command(store, "console", *CREATE, "--tls-name", name)
    assert (result.returncode, result.stdout) == (1, "")
    assert "is neither a name nor an address" in result.stderr


@pytest.mark.parametrize(("word", "kept"), [("vencrypt", "vencrypt"), ("X509Plain", "x509plain"), ("ARD", "ard")])
def test_require_security(store, word, kept):
    assert grant_of(store, store.console(*CREATE, "--require-security", word)).require_security == kept


@pytest.mark.parametrize("word", ["share", "exclusive", "refuse"])
def test_one_time_and_share(store, word):
    grant = grant_of(store, store.console(*CREATE, "--one-time", "--share", word))
    assert (grant.one_time, grant.share) == (True, word)


def test_nothing_is_required_unless_it_is_said(store):
    grant = grant_of(store, store.console(*CREATE))
    assert (grant.tls_name, grant.require_security) == (None, None)


def test_the_words_of_require_security_are_in_its_help(store):
    printed = command(store, "console", "create", "--help").stdout
    for word in [*TYPE_WORDS, *SUBTYPE_WORDS]:
        assert word in printed


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


# SPICE

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


@pytest.mark.parametrize("protocol", ["vnc", "spice"])
def test_graphics_xml(store, protocol):
    printed = command(store, "graphics-xml", protocol)
    assert printed.returncode == 0
    assert printed.stdout.startswith(f'<graphics type="{protocol}" ')
    assert json.loads(command(store, "graphics-xml", protocol, "--json").stdout) == {"xml": printed.stdout[:-1]}


@pytest.mark.parametrize("arguments", [(), ("rdp",)])
def test_graphics_xml_of_another_protocol_is_wrong_usage(store, arguments):
    assert command(store, "graphics-xml", *arguments).returncode == 2


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


VMWARE = ("vmware", "port", "--instance", "an-instance")


def test_a_console_of_a_vmware_host_has_a_port_chosen_for_its_machine(store):
    store.write_config("[vmware]\nvnc_port = 6900\nvnc_port_total = 1\n")
    create = ("create", "--type", "novnc", "--host", "192.0.2.7", "--vmware")
    for _ in range(2):
        store.console(*create, "--instance", "an-instance")
    assert [each["port"] for each in store.console("list")["consoles"]] == [6900, 6900]
    assert command(store, *VMWARE, "--host", "192.0.2.7").stdout == "port  6900\n"
    full = command(store, "console", *create, "--instance", "another")
    assert (full.returncode, full.stdout) == (1, "")
    assert full.stderr == (
        "consoleproxy: no VNC port is free on 192.0.2.7: all 1 from 6900 to 6900 are allocated "
        "([vmware] vnc_port, vnc_port_total)\n"
    )
    store.console("revoke", "--instance", "an-instance")
    assert command(store, *VMWARE, "--release", "--json").stdout == '{"released": 1}\n', "revoking keeps the port"
    assert json.loads(command(store, *VMWARE, "--host", "[::1]", "--json").stdout) == {"port": 6900}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("console", *CREATE, "--vmware"), 2),
        (("console", "create", "--type", "novnc", "--host", "h"), 2),
        (("console", "create", "--type", "novnc", "--host", "h", "--vmware"), 1),
        (("console", "create", "--type", "spice-html5", "--host", "h", "--vmware", "--instance", "i"), 1),
        (VMWARE, 2),
        ((*VMWARE, "--host", "h", "--release"), 2),
        ((*VMWARE, "--host", "a b"), 1),
        (("vmware", "port", "--instance", "x" * 37, "--release"), 1),
    ],
)
def test_what_vmware_ports_cannot_be_asked_for(store, arguments, status):
    result = command(store, *arguments)
    assert (result.returncode, result.stdout) == (status, "")
    assert status == 2 or len(result.stderr.splitlines()) == 1
