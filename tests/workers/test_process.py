"""Ending a real process by signals."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import Clock

from rfbproxy.workers import process
from rfbproxy.workers.process import WorkerProcess, start_worker


class Transport:
    """Twisted's, of a process that may have ended."""

    def __init__(self, process):
        self.pid = process.pid
        self._process = process

    def signalProcess(self, number):
        if self._process.poll() is not None:
            raise ProcessExitedAlready
        self._process.send_signal(number)


class Reactor(Clock):
    """Starts nothing."""

    def spawnProcess(self, *_arguments, **_named):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def test_who_could_not_be_started_has_gone_when_it_is_to_begin():
    gone = []
    reactor = Reactor()
    worker = start_worker(reactor)
    worker.begin(1, [0], {"number": 2}, {}, lambda _: None, lambda *how: gone.append(how))
    assert gone == [], "whoever lets it begin knows it by now"
    reactor.advance(0)
    assert gone == [(worker, "before it began: Cannot allocate memory")]
    assert worker.number == 2


def no_descriptor_is_free(*_arguments):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_who_has_no_descriptors_for_its_link_has_gone_when_it_is_to_begin(monkeypatch):
    monkeypatch.setattr(process.socket, "socketpair", no_descriptor_is_free)
    gone = []
    reactor = Clock()
    start_worker(reactor).begin(1, [], {"number": 1}, {}, lambda _: None, lambda _, how: gone.append(how))
    reactor.advance(0)
    assert gone == ["before it began: Too many open files"]


class DeafReactor(Clock):
    """Starts a process, and cannot have a link to it."""

    adoptStreamConnection = staticmethod(no_descriptor_is_free)

    def spawnProcess(self, protocol, *_arguments, **_named):
        self.started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        protocol.makeConnection(Transport(self.started))


def test_who_cannot_be_spoken_to_is_killed():
    reactor = DeafReactor()
    start_worker(reactor)
    with reactor.started as started:
        assert started.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize(("end", "by"), [("abort", signal.SIGABRT), ("kill", signal.SIGKILL)])
def test_a_process_is_ended_and_once_it_has_is_left_alone(end, by):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as started:
        worker = WorkerProcess(None)
        getattr(worker, end)()  # there is none yet
        worker.makeConnection(Transport(started))
        getattr(worker, end)()
        assert started.wait(10) == -by
        getattr(worker, end)()
