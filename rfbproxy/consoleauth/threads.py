"""Threads for calls that may block, with a short way there and back.

A visit waits for one such call, and pays for the way: Twisted's `ThreadPool`, which counts who is busy and carries
contexts along, costs some three times as much CPU.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

Done = Callable[[Any], None]


class Threads:
    """A few threads that do what comes in turn; each of the first calls starts one, so before them there is none.

    To be used on the reactor thread alone.

    Args:
        reactor: on whose thread the outcomes are told.
        count: how many calls may run at once.
        name: of the threads.
    """

    def __init__(self, reactor: IReactorFromThreads, count: int, name: str) -> None:
        self._reactor = reactor
        self._calls: SimpleQueue[tuple[Callable[[], object], Done] | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._count = count
        self._name = name

    def stop(self) -> None:
        """End the threads once everything that came before is done; blocks until then."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def call(self, function: Callable[[], object], done: Done) -> None:
        """Call a function on one of the threads.

        Args:
            done: told what the function returned, or the `Failure` of what it raised.

        Raises:
            RuntimeError: there is no thread, and the system lets none be started.
        """
        if len(self._threads) < self._count:
            self._start_another()
        self._calls.put((function, done))

    def _start_another(self) -> None:
        thread = Thread(target=self._work, name=f"{self._name}-{len(self._threads)}")
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, done = call
            try:
                outcome: object = function()
            except BaseException:  # also what ends a thread elsewhere, for somebody waits for the outcome
                outcome = Failure()
            self._reactor.callFromThread(done, outcome)
            del call, function, done, outcome  # nothing of a visit is kept alive by a thread that waits
