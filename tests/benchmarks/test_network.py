"""The network of a run's own."""

import os
import subprocess
import sys

import pytest

WITHIN = """
import socket
from benchmarks import network
assert network.enter()
print(network.described())
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
    print(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\\0").decode())
print([name for _, name in socket.if_nameindex()])
"""
FORBIDDEN = """
import os
from benchmarks import network
if os.geteuid() == 0:
    os.setuid(65534)
print(network.enter())
"""


def told(script):
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return run.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has it")
def test_it_has_loopback_alone_and_linuxs_own_tcp():
    assert told(WITHIN) == ["cubic as TCP's congestion control", "cubic", "['lo']"]


def test_others_have_the_systems():
    assert told(FORBIDDEN) == ["False"]
