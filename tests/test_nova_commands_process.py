"""What nova's commands do as they start (nova/cmd/baseproxy.py; nova_B…), done by ours."""

import subprocess

import pytest

from rfbproxy.config import Config
from tests.peers import SERVER_INIT, WebSocket, cut_text, echo, enter, http, target
from tests.proxy_process import Proxy, run, running

NOVAS_STATUS = 255  # sys.exit(-1)


def started_in_vain(proxy: Proxy) -> subprocess.CompletedProcess[str]:
    done = run("consoleproxy", "--config-file", proxy.config, "serve", cwd=proxy.folder)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done


def test_nova_B01_ssl_only_without_a_certificate(tmp_path):
    """Nova's words; a deviation: the status is 1, as for all that cannot be used."""
    done = started_in_vain(Proxy(tmp_path, "[DEFAULT]\nssl_only = True"))
    assert "SSL only and self.pem not found" in done.stderr
    assert done.returncode == 1 != NOVAS_STATUS


def test_nova_B02_pages_that_are_missing(tmp_path):
    """Nova's words; a deviation: the status is 1, as for all that cannot be used."""
    done = started_in_vain(Proxy(tmp_path, f"[DEFAULT]\nweb = {tmp_path}/none"))
    assert f"Can not find html/js files at {tmp_path}/none" in done.stderr
    assert done.returncode == 1 != NOVAS_STATUS


def test_nova_B03_defaults(tmp_path):
    (tmp_path / "nova.conf").write_text("")
    config = Config([str(tmp_path / "nova.conf")], base=tmp_path)
    assert [str(address) for address in config.addresses("vnc", "novncproxy")] == ["0.0.0.0:6080"]
    assert config.text("DEFAULT", "cert") == "self.pem"
    assert config.path("DEFAULT", "key") is None


def test_nova_B03_files_only_and_no_traffic_in_the_log(tmp_path):
    (tmp_path / "pages" / "folder").mkdir(parents=True)
    (tmp_path / "pages" / "folder" / "page.html").write_text("a page")
    with running(tmp_path, f"[DEFAULT]\nweb = {tmp_path}/pages\ndebug = True") as proxy, target(echo) as server:
        assert [http(proxy.port, f"GET {path} HTTP/1.0\r\n\r\n")[0] for path in ("/folder/page.html", "/folder/")] == [
            200,
            404,
        ]
        with WebSocket(proxy.port, f"/?token={proxy.create(server.port)['token']}") as client:
            assert enter(client) == SERVER_INIT
            before = proxy.log.count("\n")
            for _ in range(20):
                client.send(cut_text(b"traffic"))
                client.receive(len(cut_text(b"traffic")))
            assert proxy.log.count("\n") - before <= 1, "that it relays"


@pytest.mark.parametrize("command", [["twistd", "-n", "consoleproxy"], ["consoleproxy", "serve"]], ids=" ".join)
def test_nova_B03_no_certificate_is_needed_unless_ssl_only_is_set(tmp_path, command):
    with running(tmp_path, command=command) as proxy:
        assert http(proxy.port, "GET /healthz HTTP/1.0\r\n\r\n")[0] == 200
