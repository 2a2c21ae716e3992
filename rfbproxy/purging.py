"""Deleting what is dead from the token store, every now and then."""

from time import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rfbproxy.consoleauth.threaded import ThreadedStore

INTERVAL_S = 300.0

_log = Logger()


class Purging:
    """Purges a store for as long as it runs."""

    def __init__(self, store: ThreadedStore, reactor: Any) -> None:
        self._store = store
        self._purging = LoopingCall(self._purge)
        self._purging.clock = reactor

    def start(self) -> None:
        """Begin; the store must have been started."""
        self._purging.start(INTERVAL_S, now=False)

    def stop(self) -> None:
        """Purge no more."""
        if self._purging.running:
            self._purging.stop()

    def _purge(self) -> Deferred[Any]:
        purging = self._store.purge(int(time()))
        return purging.addErrback(lambda failure: _log.warn("purge: {why}", why=failure.getErrorMessage()))
