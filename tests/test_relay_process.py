"""A client that does not read, at the real `twistd consoleproxy`."""

import contextlib
import signal
import threading
import time

import pytest

from rfbproxy.reasons import CloseReason
from tests.java_viewer import JavaViewer
from tests.peers import SERVER_INIT, WebSocket, enter, rfb_server, target
from tests.proxy_process import free_port, running, until

FLOOD = 200_000_000  # bytes
PIECE = bytes(range(256)) * 4096


class Flooding:
    """A machine that sends without an end of its own."""

    def __init__(self):
        self.sent = 0
        self.over = threading.Event()

    def __call__(self, sock):
        rfb_server(sock)
        sock.settimeout(60.0)
        with contextlib.suppress(OSError):
            while self.sent < FLOOD:
                self.sent += sock.send(PIECE[self.sent % len(PIECE) :])
        self.over.set()


def is_stalled(flooding):
    """Whether nothing was sent for a while."""
    before = flooding.sent
    time.sleep(0.5)
    return flooding.sent == before


@contextlib.contextmanager
def stalled(folder, way):
    """A proxy, the machine, and a client that reads nothing after its handshake."""
    flooding = Flooding()
    xvp_port = free_port()
    options = f"[vnc]\nxvpvncproxy_host = 127.0.0.1\nxvpvncproxy_port = {xvp_port}\n"
    with running(folder, options) as proxy, target(flooding) as machine:
        if way == "websocket":
            client = WebSocket(proxy.port, f"?token={proxy.create(machine.port)['token']}")
        else:
            token = proxy.create(machine.port, console_type="xvpvnc")["token"]
            client = JavaViewer(xvp_port, f"/console?token={token}")
        with client:
            before = proxy.memory_kib
            assert enter(client) == SERVER_INIT
            until(lambda: flooding.sent and is_stalled(flooding), "the machine to be stopped")
            yield proxy, client, flooding, before


@pytest.mark.parametrize("way", ["websocket", "connect"])
def test_a_client_that_does_not_read_costs_little(tmp_path, way):
    with stalled(tmp_path, way) as (proxy, client, flooding, before):
        assert flooding.sent < FLOOD / 4, "the rest is not taken"
        assert proxy.memory_kib - before <= 1024
        received = 0
        while received < FLOOD:
            piece = client.receive(min(len(PIECE), FLOOD - received))
            assert piece == PIECE[: len(piece)]
            received += len(piece)
        assert flooding.over.wait(10)
        assert proxy.memory_kib - before <= 4096, "nothing was gathered on the way"


@pytest.mark.parametrize("way", ["websocket", "connect"])
def test_a_service_stops_though_a_client_does_not_read(tmp_path, way):
    with stalled(tmp_path, way) as (proxy, _, flooding, _):
        assert proxy.stop(signal.SIGTERM) == 0
        assert flooding.over.wait(10), "the machine was let go"
        (record,) = proxy.records
        assert record["close_reason"] == CloseReason.SHUTDOWN.value
