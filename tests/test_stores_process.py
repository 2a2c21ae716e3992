"""Consoles whose tokens are somebody else's, through the real `twistd consoleproxy`."""

import json
import time

import pytest

from rfbproxy.consoleauth.token import hash_token
from rfbproxy.reasons import CloseReason
from tests.consoleauth.openstack import openstack
from tests.peers import SERVER_INIT, WebSocket, cut_text, echo, enter, http, refusal, target
from tests.ports import free_port
from tests.proxy_process import Proxy, run, running, until

TOKEN = "8f14e45f-ceea-467f-a2b5-1d1a4b1f0c11"
UUID = "11111111-2222-3333-4444-555555555555"
WITHDRAWAL_S = 2.0  # from the withdrawal of a token to the end of its sessions


@pytest.fixture(scope="module")
def echoing():
    with target(echo) as server:
        yield server


def see(proxy: Proxy) -> dict:
    """Open the console in a browser's way, and give its record."""
    before = proxy.settled()
    with WebSocket(proxy.port, f"/?token={TOKEN}", f"Origin: http://127.0.0.1:{proxy.port}") as client:
        assert enter(client) == SERVER_INIT
    return proxy.next_record(before)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return tmp_path_factory.mktemp("tokens") / "tokens.cfg"


@pytest.fixture(scope="module")
def file_proxy(lines, tmp_path_factory):
    lines.write_text("")
    with running(tmp_path_factory.mktemp("proxy"), f"[consoleauth]\nconnection = file://{lines}") as started:
        yield started


@pytest.fixture(scope="module")
def cloud():
    with openstack() as running_cloud:
        yield running_cloud


@pytest.fixture(scope="module")
def cloud_proxy(cloud, tmp_path_factory):
    login = "\n".join(f"{name} = {value}" for name, value in cloud.login.items())
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "libvirt").mkdir()
    (folder / "key").write_text("the-key\n")
    api_port = free_port()
    options = f"""
api_listen = 127.0.0.1:{api_port}
api_token_file = {folder}/key
target_check = libvirt
libvirt_xml = {folder}/libvirt
[consoleauth]
connection = {cloud.url}
[keystone_authtoken]
www_authenticate_uri = {cloud.login["auth_url"]}
memcached_servers = 127.0.0.1:11211
{login}
"""
    with running(folder, options) as started:
        started.api_port = api_port
        yield started


class TestFile:
    def test_its_tokens_open_consoles(self, file_proxy, lines, echoing):
        lines.write_text(f"# mine\n{TOKEN}: 127.0.0.1:{echoing.port}\ngeheim:other:1\n")
        record = see(file_proxy)
        assert record["console_type"] == "novnc"
        assert record["instance"] is None
        assert record["token"] == hash_token(TOKEN)[:8]
        until(lambda: f"line 3 of {lines} is ignored" in file_proxy.log, "the malformed line in the log")
        assert "geheim" not in file_proxy.log
        assert TOKEN not in file_proxy.log

    def test_it_is_listed_but_not_changed(self, file_proxy, lines, echoing):
        lines.write_text(f"{TOKEN}: 127.0.0.1:{echoing.port}\n")
        (console,) = file_proxy.console("list")["consoles"]
        assert console["id"] == hash_token(TOKEN)[:8]
        assert (console["type"], console["instance"]) == (None, None)
        done = run("consoleproxy", "--config-file", file_proxy.config, "console", "revoke", "--instance", UUID)
        assert done.returncode == 1
        assert "is only read: its tokens are lines of files" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_removed_line_ends_its_sessions(self, file_proxy, lines, echoing):
        other = TOKEN.replace("8", "9")
        lines.write_text(f"{TOKEN}: 127.0.0.1:{echoing.port}\n{other}: 127.0.0.1:{echoing.port}\n")
        before = file_proxy.settled()
        first, second = (WebSocket(file_proxy.port, f"/?token={token}") for token in (TOKEN, other))
        with first, second:
            assert enter(first) == enter(second) == SERVER_INIT
            time.sleep(1.0)  # while the proxy looks at both lines
            lines.write_text(f"{other}: 127.0.0.1:{echoing.port}\n")
            removed = time.monotonic()
            first.until_close()
            assert time.monotonic() - removed < WITHDRAWAL_S
            assert (first.close_code, first.close_reason) == (1008, CloseReason.REVOKED.sentence)
            record = file_proxy.next_record(before)
            assert (record["token"], record["close_reason"]) == (hash_token(TOKEN)[:8], "revoked")
            with WebSocket(file_proxy.port, f"/?token={TOKEN}") as late:
                assert refusal(late) == CloseReason.TOKEN_UNKNOWN.sentence
            second.send(cut_text(b"still there"))
            assert second.receive(len(cut_text(b"still there"))) == cut_text(b"still there")

    def test_a_file_that_is_missing_for_a_while_ends_no_session(self, file_proxy, lines, echoing):
        text = f"{TOKEN.replace('8', '7')}: 127.0.0.1:{echoing.port}\n"
        lines.write_text(text)
        with WebSocket(file_proxy.port, f"/?token={TOKEN.replace('8', '7')}") as client:
            assert enter(client) == SERVER_INIT
            lines.unlink()
            until(lambda: "No such file or directory" in file_proxy.log, "the missing file in the log")
            lines.write_text(text)
            time.sleep(1.0)
            client.send(cut_text(b"still there"))
            assert client.receive(len(cut_text(b"still there"))) == cut_text(b"still there")


class TestComputeApi:
    @staticmethod
    def machine(proxy, port):
        console = f"<graphics type='vnc' port='{port}' autoport='yes'/>"
        xml = f"<domstatus><domain><uuid>{UUID}</uuid><devices>{console}</devices></domain></domstatus>"
        (proxy.folder / "libvirt" / "instance.xml").write_text(xml)

    @pytest.fixture(autouse=True)
    def known(self, cloud, echoing):
        cloud.status = None
        console = {"instance_uuid": UUID, "host": "127.0.0.1", "port": echoing.port, "internal_access_path": None}
        cloud.consoles[TOKEN] = console

    def test_its_tokens_open_consoles(self, cloud_proxy, echoing):
        self.machine(cloud_proxy, echoing.port)
        record = see(cloud_proxy)
        assert (record["console_type"], record["instance"]) == ("novnc", UUID)
        assert "unknown option" not in cloud_proxy.log
        assert TOKEN not in cloud_proxy.log
        assert "geheim" not in cloud_proxy.log

    def test_it_is_not_listed(self, cloud_proxy):
        done = run("consoleproxy", "--config-file", cloud_proxy.config, "console", "list")
        assert done.returncode == 1
        assert "cannot be listed: nova's compute API does not tell its tokens" in done.stderr
        assert done.stderr.count("\n") == 1
        bearer = "Host: h\r\nAuthorization: Bearer the-key\r\nConnection: close\r\n\r\n"
        status, _, body = http(cloud_proxy.api_port, f"GET /v1/consoles HTTP/1.1\r\n{bearer}")
        assert status == 501
        message = "The tokens of this store are nova's, which does not tell which there are."
        assert json.loads(body) == {"notImplemented": {"code": 501, "message": message}}
        remote = ["--api", f"http://127.0.0.1:{cloud_proxy.api_port}", "--api-token-file", cloud_proxy.folder / "key"]
        done = run("consoleproxy", "--config-file", cloud_proxy.config, "console", "list", *remote)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert f"answers 501: {message}" in done.stderr

    @pytest.mark.parametrize(
        ("status", "reason"), [(404, CloseReason.TOKEN_UNKNOWN), (403, CloseReason.INTERNAL)], ids=str
    )
    def test_refusals(self, cloud_proxy, cloud, echoing, status, reason):
        self.machine(cloud_proxy, echoing.port)
        cloud.status = status
        before = cloud_proxy.settled()
        token = TOKEN.replace("8", str(status % 10))
        with WebSocket(cloud_proxy.port, f"/?token={token}") as client:
            assert refusal(client) == reason.sentence
        assert cloud_proxy.next_record(before)["close_reason"] == reason.value

    def test_nova_A03_a_target_that_is_another_machines_by_now(self, cloud_proxy, echoing):
        self.machine(cloud_proxy, echoing.port - 1)
        connections, before = echoing.connections, cloud_proxy.settled()
        with WebSocket(cloud_proxy.port, f"/?token={TOKEN}") as client:
            assert refusal(client) == CloseReason.TARGET_UNREACHABLE.sentence
        record = cloud_proxy.next_record(before)
        assert record["close_reason"] == "target-unreachable"
        assert record["instance"] == UUID
        assert echoing.connections == connections
        assert "is not the instance's console any more" in cloud_proxy.log


def test_an_address_of_no_store_is_refused_at_start(tmp_path):
    proxy = Proxy(tmp_path, "[consoleauth]\nconnection = redis://:geheim@h/0")
    done = run("consoleproxy", "--config-file", proxy.config, "serve")
    assert done.returncode == 1
    assert "'redis', that is unknown; allowed is what begins with sqlite://" in done.stderr
    assert "geheim" not in done.stderr
