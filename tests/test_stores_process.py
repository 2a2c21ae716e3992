"""Consoles whose tokens are somebody else's, through the real `twistd consoleproxy`."""

import pytest

from rfbproxy.consoleauth.token import hash_token
from rfbproxy.reasons import CloseReason
from tests.consoleauth.openstack import openstack
from tests.peers import SERVER_INIT, WebSocket, echo, enter, refusal, target
from tests.proxy_process import Proxy, run, running, until

TOKEN = "8f14e45f-ceea-467f-a2b5-1d1a4b1f0c11"
UUID = "11111111-2222-3333-4444-555555555555"


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
    options = f"""
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

    def test_a_target_that_is_another_machines_by_now(self, cloud_proxy, echoing):
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
