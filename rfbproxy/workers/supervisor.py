"""The started process where several serve: it listens, looks after the workers, and holds what they share."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import time
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger

from rfbproxy import api_assembly, assembly, listening
from rfbproxy.address import Address
from rfbproxy.config import Config
from rfbproxy.consoleauth import Store, worker_of
from rfbproxy.consoleauth.threaded import ThreadedStore
from rfbproxy.deferreds import following
from rfbproxy.errors import ConsoleProxyError, StoreError
from rfbproxy.heartbeat import keep_beating
from rfbproxy.listening import Place
from rfbproxy.purging import Purging
from rfbproxy.renewal import NEEDS_RESTART, warn
from rfbproxy.service import service_name
from rfbproxy.serving import Serving, Share
from rfbproxy.session.limits import Limits
from rfbproxy.store_options import open_store
from rfbproxy.systemd import notify
from rfbproxy.workers.figures import WorkersFigures
from rfbproxy.workers.limits import SharedLimits
from rfbproxy.workers.link import Link
from rfbproxy.workers.process import WorkerProcess, start_worker
from rfbproxy.workers.slot import Slot
from rfbproxy.workers.watch import Watch

GRACE_S = 4.0  # for a worker to go after its drain timeout, before it is killed
FORGET_S = 1.0  # for the store to hear, at the end, of workers that died

_log = Logger()


class Supervisor(Service):
    """Looks after the workers.

    What can fail for a reason of configuration has failed before this exists.

    Args:
        store: an open one.
        places: where the workers listen.
        strangers: sockets that were handed over, and are nobody's.
        workers: how many.
        log: where theirs goes; see `log_file.log_as_told`.
        spares: workers that were started already, and wait.
        start_worker: for tests.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        reactor: Any,
        places: Sequence[Place],
        strangers: Sequence[Place],
        workers: int,
        log: Mapping[str, str | None],
        spares: Iterable[WorkerProcess] = (),
        start_worker: Callable[[Any], WorkerProcess] = start_worker,
    ) -> None:
        self._config = self._started_with = config
        self._options = 1  # which reading of them `_config` is
        self._own_store = store
        self._store = ThreadedStore(store, reactor)
        self._purging = Purging(self._store, reactor)
        self._reactor = reactor
        self._places = places
        self._strangers = strangers
        self._log_told = log
        self._spares = list(spares)
        self._start_worker = start_worker
        self._limits = SharedLimits(Limits(*assembly.session_limits(config)), self._links)
        self._slots = [Slot(number, self._start, reactor, self._one_serves) for number in range(1, workers + 1)]
        self._workers: set[WorkerProcess] = set()  # all that live
        self._watch = Watch(lambda: self._workers, reactor)
        self._rolling: Deferred[None] | None = None
        self._figures = WorkersFigures(reactor)
        self._forgetting: list[Deferred[None]] = []
        self._is_up = False
        self._stopping: Deferred[None] | None = None
        self._all_gone: Deferred[None] = Deferred()

    def startService(self) -> None:
        """Start the workers, which accept clients."""
        super().startService()
        warn(self._config)
        assembly.leave_alone(self._strangers)
        self._store.start()
        self._purging.start()
        for slot in self._slots:
            self._reactor.callWhenRunning(slot.begin)
        self._watch.start()
        self._reactor.callWhenRunning(keep_beating, self._reactor)

    def reload(self) -> None:
        """Read the files of the options again, and replace the workers one by one; if they cannot be used, all stays.

        No session ends by that.
        """
        if self._stopping is not None:
            return
        for link in self._links(None):
            link.tell("reopen")
        notify("RELOADING=1")
        try:
            read = self._config.again()
            config = read.with_those_of(self._started_with, NEEDS_RESTART)
            judge(config, self._own_store, self._reactor, _addresses(self._places))
        except ConsoleProxyError as error:
            _log.error("the options stay as they were: {error}", error=error)
            if self._rolling is None:
                notify("READY=1")
            return
        warn(read, self._started_with)
        self._config = config
        self._options += 1
        self._limits.allow(*assembly.session_limits(config))
        if self._rolling is None:
            self._rolling = Deferred.fromCoroutine(self._roll())
            self._rolling.addErrback(lambda failure: failure.trap(CancelledError))

    def stopService(self) -> Deferred[None]:
        """Let nobody in, let the workers end their sessions within the drain timeout, and kill those that stay."""
        if self._stopping is None:
            super().stopService()
            self._stopping = Deferred.fromCoroutine(self._stop())
        return following(self._stopping)

    def _start(self, slot: Slot) -> WorkerProcess:
        worker = self._spares.pop() if self._spares else self._start_worker(self._reactor)
        self._workers.add(worker)
        places = [
            {"listener": place.listener, "host": place.address.host, "port": place.address.port,
             "path": place.address.path} for place in self._places
        ]  # fmt: skip
        told = {
            "options": self._config.as_told(),
            "places": places,
            "service": service_name(),
            "number": slot.number,
            "workers": len(self._slots),
            "full": self._limits.full,
            "log": self._log_told,
        }
        hears = {**self._limits.hears(worker), **self._figures.hears(worker)}
        worker.begin(
            self._options,
            [place.socket.fileno() for place in self._places],
            told,
            hears,
            slot.serves,
            lambda worker, how: self._gone(slot, worker, how),
        )
        return worker

    def _one_serves(self) -> None:
        if not self._is_up and all(slot.serving is not None for slot in self._slots):
            self._is_up = True
            assembly.announce(self._places)
            notify("READY=1")

    async def _roll(self) -> None:
        """Replace one worker after the other, until all have the present options."""
        while (slot := next((slot for slot in self._slots if slot.has_others_than(self._options)), None)) is not None:
            await slot.replace()
        self._rolling = None
        _log.info("options were read again")
        notify("READY=1")

    def _gone(self, slot: Slot, worker: WorkerProcess, how: str) -> None:
        """A worker has ended; what it held is given back at once."""
        self._workers.discard(worker)
        self._limits.forget(worker)
        self._figures.forget(worker)
        if not worker.ended_well:
            forgetting = Deferred.fromCoroutine(self._forget(worker_of(service_name(), worker.pid)))
            forgetting.addErrback(lambda failure: _log.failure("a worker's sessions are not forgotten", failure))
            self._forgetting = [*(each for each in self._forgetting if not each.called), forgetting]
        slot.gone(worker, how)
        if not self._workers and self._stopping is not None and not self._all_gone.called:
            self._all_gone.callback(None)

    async def _forget(self, proxy: str) -> None:
        """Take a worker's sessions out of the store; one that went in order has done so itself."""
        try:
            for session, token_hash in (await self._store.sessions.forget(proxy, int(time()))).items():
                await self._store.spice_sessions.end(token_hash, session)
        except StoreError as error:  # then they are dead once nobody has told of them for a while
            _log.warn("the session table keeps what a worker had: {error}", error=error)

    async def _stop(self) -> None:
        notify("STOPPING=1")
        _log.info("stopping: {count} workers", count=len(self._workers))
        if self._rolling is not None:
            self._rolling.cancel()
        self._purging.stop()
        self._watch.stop()
        listening.close(self._places)
        for slot in self._slots:
            slot.stop()
        for worker in self._workers:
            worker.drain()
        if self._workers:
            patience_s = self._config.number("consoleproxy", "drain_timeout_s") + GRACE_S
            try:
                await following(self._all_gone).addTimeout(patience_s, self._reactor)
            except DeferredTimeout:
                for worker in self._workers:
                    _log.error("worker {number} (process {pid}) does not go, and is killed", number=worker.number,
                               pid=worker.pid)  # fmt: skip
                    worker.kill()
                await self._all_gone
        forgotten = DeferredList(self._forgetting)
        with suppress(DeferredTimeout):
            await forgotten.addTimeout(FORGET_S, self._reactor)
        await self._store.stop()
        _log.info("stopped")

    def _links(self, but: Hashable | None) -> Collection[Link]:
        return [worker.link for worker in self._workers if worker is not but]


def make_supervisor(
    config: Config, reactor: Any, workers: int, log: Mapping[str, str | None], spares: Iterable[WorkerProcess] = ()
) -> Supervisor:
    """Judge the options, and bind everything that they name, for several workers; see `Supervisor`.

    Raises:
        ConfigError, StoreError: one line that says what cannot be used.
    """
    wanted = {**assembly.wanted(config), **api_assembly.wanted(config)}
    store = open_store(config)
    judge(config, store, reactor, wanted)
    return Supervisor(config, store, reactor, *assembly.bind(config, wanted), workers, log, spares)


def judge(config: Config, store: Store, reactor: Any, wanted: Mapping[str, Sequence[Address]]) -> None:
    """Find out whether workers can serve with these options.

    Raises:
        ConfigError: they cannot.
    """
    Serving(config, store, reactor, wanted, assembly.PROTOCOLS, Share(str, Limits()))


def _addresses(places: Sequence[Place]) -> Mapping[str, Sequence[Address]]:
    return {place.listener: [place.address] for place in places}
