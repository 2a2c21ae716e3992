"""A worker: serves on sockets that it was given, with options that it is told, for as long as its supervisor lives."""

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from rfbproxy import assembly
from rfbproxy.address import Address
from rfbproxy.config import Config
from rfbproxy.consoleauth import worker_of
from rfbproxy.errors import ConsoleProxyError
from rfbproxy.listening import Place
from rfbproxy.log_file import begin_log, movable_log
from rfbproxy.metrics import Snapshot
from rfbproxy.serving import Serving, Share
from rfbproxy.store_options import open_store
from rfbproxy.workers.limits import Full, WorkersLimits
from rfbproxy.workers.link import Link
from rfbproxy.workers.process import LINK_DESCRIPTOR

FIGURES_S = 5.0  # for the supervisor to gather those of all workers

_log = Logger()


class Worker:
    """One of several processes that serve.

    Attributes:
        link: to the supervisor.
        status: that the process is to leave with.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._serving: Serving | None = None
        self.status = 0
        self.link = Link({}, self.drain)
        self._limits = WorkersLimits(self.link, reactor)
        self.link.hears = {
            "begin": self._begin,
            "retire": self._retire,
            "drain": self.drain,
            "reopen": movable_log.reopen,
            "figures": self._figures,
            "alive": lambda: None,
            **self._limits.hears(),
        }

    def drain(self) -> None:
        """End all sessions within the drain timeout, and the process; so too when the supervisor has gone."""
        stopping = self._serving.stop() if self._serving is not None else succeed(None)
        stopping.addBoth(lambda _: self._end())

    def _retire(self) -> None:
        if self._serving is not None:
            retiring = Deferred.fromCoroutine(self._serving.retire())
            retiring.addErrback(lambda failure: _log.failure("cannot retire", failure))
            retiring.addBoth(lambda _: self._end())

    def _begin(
        self,
        options: Mapping[str, Any],
        places: Sequence[Mapping[str, Any]],
        service: str,
        number: int,
        workers: int,
        full: Full,
        log: Mapping[str, str | None],
    ) -> None:
        begin_log(log, number, sys.stdout)
        self._limits.note_full(full)
        given = [_place(place, descriptor) for place, descriptor in zip(places, self.link.given, strict=True)]
        name = worker_of(service, os.getpid())
        limits = self._limits
        share = Share(lambda: name, limits, limits.bad_api_tokens, workers, self._all_figures)
        try:
            config = Config.of_told(options)
            addresses = {place.listener: [place.address] for place in given}
            serving = Serving(config, open_store(config), self._reactor, addresses, assembly.PROTOCOLS, share)
        except ConsoleProxyError as error:
            _log.error("cannot serve: {error}", error=error)
            self.status = 1
            self.link.close()
            return
        serving.start(given)
        self._serving = serving
        self.link.tell("serving")

    def _figures(self) -> Deferred[dict[str, float]]:
        return Deferred.fromCoroutine(self._serving.figures()) if self._serving is not None else succeed({})

    async def _all_figures(self) -> Sequence[Snapshot]:
        snapshots: Sequence[Snapshot] = await self.link.ask("all_figures").addTimeout(FIGURES_S, self._reactor)
        return snapshots

    def _end(self) -> None:
        """Say the last, and end the process once that is on its way: the link's end leads here again."""
        if self.link.connected:
            saying = self._figures().addCallback(lambda figures: self.link.tell("last_figures", figures=figures))
            saying.addErrback(lambda failure: _log.failure("what was counted is lost", failure))
            saying.addBoth(lambda _: self.link.close())
        elif self._reactor.running:
            self._reactor.stop()


def run(reactor: Any) -> int:
    """Be a worker to the end; gives the status to leave with."""
    worker = Worker(reactor)
    linked = socket.socket(fileno=LINK_DESCRIPTOR)
    linked.setblocking(False)
    factory = Factory.forProtocol(lambda: worker.link)
    factory.noisy = False
    reactor.adoptStreamConnection(linked.fileno(), socket.AF_UNIX, factory)
    linked.close()
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(worker.drain))
    reactor.run(installSignalHandlers=False)
    return worker.status


def _place(told: Mapping[str, Any], descriptor: int) -> Place:
    listening = socket.socket(fileno=descriptor)
    listening.setblocking(False)
    return Place(listening, Address(told["host"], told["port"], told["path"]), True, told["listener"])
