"""How TCP connections send: unpaced within this machine, as the system has it to elsewhere."""

import socket

import pytest

from rfbproxy import congestion
from rfbproxy.congestion import send_unpaced_within_machine


def control_of(connection):
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.fixture
def connect():
    """Makes connections from one address of loopback to another."""
    made = []

    def connect(source, address, family=socket.AF_INET):
        with socket.socket(family) as server:
            server.bind((address, 0))
            server.listen()
            made.append(socket.create_connection(server.getsockname()[:2], source_address=(source, 0)))
            made.append(server.accept()[0])
        return made[-2]

    yield connect
    for connection in made:
        connection.close()


@pytest.fixture(params=["bbr", "bbr3", "cubic"])
def system(request, monkeypatch, tmp_path):
    """The name of what the system says it has."""
    file = tmp_path / "tcp_congestion_control"
    file.write_text(f"{request.param}\n")
    monkeypatch.setattr(congestion, "_SYSTEM", file)
    monkeypatch.setattr(congestion, "system_paces", congestion.system_paces.__wrapped__)
    return request.param


def paced(connection):
    """It with a control other than what it is to get."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    return connection


def test_within_the_machine_nothing_is_paced(connect, system):
    connection = paced(connect("127.0.0.1", "127.0.0.1"))
    send_unpaced_within_machine(connection)
    assert control_of(connection) == (b"cubic" if system == "cubic" else b"reno")


def test_ipv6(connect, system):
    connection = paced(connect("::1", "::1", socket.AF_INET6))
    send_unpaced_within_machine(connection)
    assert control_of(connection) == (b"cubic" if system == "cubic" else b"reno")


def test_to_another_address_the_system_decides(connect, system):
    connection = paced(connect("127.0.0.2", "127.0.0.1"))
    send_unpaced_within_machine(connection)
    assert control_of(connection) == b"cubic"


def test_a_connection_that_is_lost(system):
    with socket.socket() as connection:
        send_unpaced_within_machine(connection)


def test_a_system_that_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(congestion, "_SYSTEM", tmp_path / "none")
    assert not congestion.system_paces.__wrapped__()
