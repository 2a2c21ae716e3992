"""Ending a real process by signals."""

import signal
import subprocess
import sys

import pytest
from twisted.internet.error import ProcessExitedAlready

from rfbproxy.workers.process import WorkerProcess


class Transport:
    """Twisted's, of a process that may have ended."""

    def __init__(self, process):
        self.pid = process.pid
        self._process = process

    def signalProcess(self, number):
        if self._process.poll() is not None:
            raise ProcessExitedAlready
        self._process.send_signal(number)


@pytest.mark.parametrize(("end", "by"), [("abort", signal.SIGABRT), ("kill", signal.SIGKILL)])
def test_a_process_is_ended_and_once_it_has_is_left_alone(end, by):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        worker = WorkerProcess(1, 1, None, lambda _: None, lambda *_: None)
        getattr(worker, end)()  # there is none yet
        worker.makeConnection(Transport(process))
        getattr(worker, end)()
        assert process.wait(10) == -by
        getattr(worker, end)()
