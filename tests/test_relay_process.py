"""A client that does not read, at the real `twistd consoleproxy`."""

import contextlib
import signal
import ssl
import threading
import time

import pytest

from rfbproxy.reasons import CloseReason
from tests.certificates import certificate
from tests.java_viewer import JavaViewer
from tests.peers import SERVER_INIT, WebSocket, enter, rfb_server, secured_rfb_server, target
from tests.ports import free_port
from tests.proxy_process import running, until

FLOOD = 200_000_000  # bytes
PIECE = bytes(range(256)) * 4096


WAYS = [
    ("websocket", ()),
    ("connect", ()),
    ("websocket", ("client",)),
    ("websocket", ("target",)),
    ("websocket", ("client", "target")),
    ("connect", ("client", "target")),
]


class Flooding:
    """A machine that sends without an end of its own."""

    def __init__(self, tls):
        self._tls = tls
        self.sent = 0
        self.over = threading.Event()

    def __call__(self, sock):
        if self._tls is None:
            rfb_server(sock)
        else:
            sock = secured_rfb_server(sock, self._tls)
        sock.settimeout(60.0)
        with contextlib.suppress(OSError):
            while self.sent < FLOOD:
                at = self.sent % len(PIECE)
                self.sent += sock.send(PIECE[at : at + 65536])
        self.over.set()


def is_stalled(flooding):
    """Whether nothing was sent for a while."""
    before = flooding.sent
    time.sleep(0.5)
    return flooding.sent == before


@contextlib.contextmanager
def stalled(folder, way, encrypted):
    """A proxy, the machine, and a client that reads nothing after its handshake."""
    pem = folder / "both.pem"
    certificate(pem, pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    asking = ssl.create_default_context(cafile=pem)
    asking.check_hostname = False
    flooding = Flooding(serving if "target" in encrypted else None)
    xvp_port = free_port()
    options = f"""
[DEFAULT]
cert = {pem}
[vnc]
auth_schemes = vencrypt,none
vencrypt_ca_certs = {pem}
xvpvncproxy_host = 127.0.0.1
xvpvncproxy_port = {xvp_port}
"""
    with running(folder, options) as proxy, target(flooding) as machine:
        tls = asking if "client" in encrypted else None
        if way == "websocket":
            client = WebSocket(proxy.port, f"?token={proxy.create(machine.port)['token']}", tls=tls)
        else:
            token = proxy.create(machine.port, console_type="xvpvnc")["token"]
            client = JavaViewer(xvp_port, f"/console?token={token}", context=tls)
        with client:
            before = proxy.memory_kib
            assert enter(client) == SERVER_INIT
            until(lambda: flooding.sent and is_stalled(flooding), "the machine to be stopped")
            yield proxy, client, flooding, before


@pytest.mark.parametrize(("way", "encrypted"), WAYS)
def test_a_client_that_does_not_read_costs_little(tmp_path, way, encrypted):
    with stalled(tmp_path, way, encrypted) as (proxy, client, flooding, before):
        assert flooding.sent < FLOOD / 4, "the rest is not taken"
        assert proxy.memory_kib - before <= (2048 if encrypted else 1024)  # the first of all TLS brings its code
        received = 0
        while received < FLOOD:
            piece = client.receive(min(len(PIECE), FLOOD - received))
            assert piece == PIECE[: len(piece)]
            received += len(piece)
        assert flooding.over.wait(10)
        assert proxy.memory_kib - before <= 4096, "nothing was gathered on the way"


@pytest.mark.parametrize(("way", "encrypted"), WAYS)
def test_a_service_stops_though_a_client_does_not_read(tmp_path, way, encrypted):
    with stalled(tmp_path, way, encrypted) as (proxy, _, flooding, _):
        assert proxy.stop(signal.SIGTERM) == 0
        assert flooding.over.wait(10), "the machine was let go"
        (record,) = proxy.records
        assert record["close_reason"] == CloseReason.SHUTDOWN.value
