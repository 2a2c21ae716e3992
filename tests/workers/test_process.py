"""Ending a real process by signals."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import Clock

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


@pytest.mark.parametrize(("end", "by"), [("abort", signal.SIGABRT), ("kill", signal.SIGKILL)])
def test_a_process_is_ended_and_once_it_has_is_left_alone(end, by):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        worker = WorkerProcess(None)
        getattr(worker, end)()  # there is none yet
        worker.makeConnection(Transport(process))
        getattr(worker, end)()
        assert process.wait(10) == -by
        getattr(worker, end)()
