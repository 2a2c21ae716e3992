"""A synchronous token store behind a thread pool of its own: the face that the service sees."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from rfbproxy.consoleauth.token import ConsoleToken
from rfbproxy.errors import StoreError

MAX_WAITING = 1000

T = TypeVar("T")


class BlockingStore(Protocol):
    """What is asked of the store: it may block, and is called from several threads at once."""

    @property
    def in_memory(self) -> bool:
        """Whether more than one thread gains nothing."""

    def find(self, token: str) -> ConsoleToken | None:
        """The token, be it valid or not."""

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""

    def purge(self, now: int) -> int:
        """Delete what is no longer valid."""


class ThreadedStore:
    """The store, answered by Deferreds; names being resolved in the reactor's pool do not delay it.

    To be used on the reactor thread alone. Opening and closing the store stay with whoever made it.

    Args:
        store: an open store.
        reactor: where the Deferreds fire.
        threads: how many calls may run at once; a memory database gets one.
    """

    def __init__(self, store: BlockingStore, reactor: IReactorFromThreads, threads: int = 4) -> None:
        self._store = store
        self._reactor = reactor
        self._threads = 1 if store.in_memory else threads
        self._pool = ThreadPool(0, self._threads, "consoleauth")
        self._unfinished = 0
        self._running = False
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """Let calls run."""
        self._pool.start()
        self._running = True

    def stop(self) -> Deferred[None]:
        """Take no more calls, let those that wait fail, and fire when the running ones are done."""
        if not self._running:
            return succeed(None)
        self._running = False
        self._stopped = stopped = Deferred[None]()
        self._stop_when_idle()
        return stopped

    def find(self, token: str) -> Deferred[ConsoleToken | None]:
        """The token's row with its grant, be it valid or not."""
        return self._call(lambda: self._store.find(token))

    def ping(self) -> Deferred[None]:
        """Fail with `StoreError` unless the store answers."""
        return self._call(self._store.ping)

    def purge(self, now: int) -> Deferred[int]:
        """Delete the tokens that are no longer valid."""
        return self._call(lambda: self._store.purge(now))

    def _call(self, function: Callable[[], T]) -> Deferred[T]:
        if not self._running:
            return fail(StoreError("the token store is stopped"))
        if self._unfinished >= self._threads + MAX_WAITING:
            return fail(StoreError(f"{MAX_WAITING} calls wait for the token store already"))
        self._unfinished += 1
        result: Deferred[T] = Deferred()

        def run() -> T:
            if not self._running or result.called:
                raise StoreError("the token store was stopped, or the caller has gone, before its turn came")
            return function()

        def done(_success: bool, outcome: T | Failure) -> None:
            self._reactor.callFromThread(self._finish, result, outcome)

        self._pool.callInThreadWithCallback(done, run)
        return result

    def _finish(self, result: Deferred[T], outcome: T | Failure) -> None:
        self._unfinished -= 1
        result.callback(outcome)
        self._stop_when_idle()

    def _stop_when_idle(self) -> None:
        if self._stopped is not None and self._unfinished == 0:
            stopped, self._stopped = self._stopped, None
            self._pool.stop()
            stopped.callback(None)
