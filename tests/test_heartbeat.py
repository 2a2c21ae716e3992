"""What systemd's watchdog hears."""

import errno
import os
import socket

import pytest
from twisted.internet.task import Clock

from rfbproxy import heartbeat, systemd


@pytest.fixture
def told(monkeypatch):
    told = []
    monkeypatch.setattr(heartbeat, "notify", told.append)
    return told


@pytest.mark.parametrize("process", [None, str(os.getpid())], ids=["anybody", "this process"])
def test_it_beats_twice_in_the_time_that_systemd_waits(told, monkeypatch, process):
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", process) if process else monkeypatch.delenv("WATCHDOG_PID", raising=False)
    clock = Clock()
    heartbeat.keep_beating(clock)
    clock.pump([10.0] * 9)
    assert told == ["WATCHDOG=1"] * 4


@pytest.mark.parametrize(
    ("usec", "process"), [(None, None), ("", None), ("0", None), ("often", None), ("60000000", "1")]
)
def test_it_does_not_where_nobody_listens(told, monkeypatch, usec, process):
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", process)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    clock = Clock()
    heartbeat.keep_beating(clock)
    assert not clock.getDelayedCalls()
    assert told == []


def test_a_beat_that_finds_no_descriptor_free_is_not_the_last(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        clock = Clock()
        heartbeat.keep_beating(clock)
        assert told.recv(100) == b"WATCHDOG=1"
        with monkeypatch.context() as none_free:
            none_free.setattr(systemd.socket, "socket", full)
            clock.advance(1)
        clock.advance(1)
        assert told.recv(100) == b"WATCHDOG=1"
