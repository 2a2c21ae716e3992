"""What serves clients in one process: its listeners, its store and its visits, from the first client to the last."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from rfbproxy import api_assembly, assembly, metrics
from rfbproxy.address import Address
from rfbproxy.client.factory import ClientFactory
from rfbproxy.client.folders import Protocol
from rfbproxy.client.listener import Listener
from rfbproxy.client.pages import Pages, PageSite
from rfbproxy.client.probe import websocket_opens
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.config import Config, is_trusted
from rfbproxy.consoleauth import Store
from rfbproxy.consoleauth.threaded import ThreadedStore
from rfbproxy.deferreds import following
from rfbproxy.errors import StoreError
from rfbproxy.listening import Place
from rfbproxy.metrics import Figures, Snapshot
from rfbproxy.readiness import Readiness
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.audit import AuditLog
from rfbproxy.session.limits import BadTokens, SessionLimits
from rfbproxy.session.live_sessions import LiveSessions
from rfbproxy.session.rfb_visit import RfbVisit
from rfbproxy.session.spice_visit import SpiceVisit
from rfbproxy.session.visit import Surroundings
from rfbproxy.session.visits import Visits
from rfbproxy.spice_assembly import SpiceParts, viewer_files

if TYPE_CHECKING:
    from rfbproxy.api.server import ApiListener

LOOK_S = 0.1  # between looks at who is still there, for one that retires
READY_TIMEOUT_S = 5.0

_log = Logger()


@dataclass(frozen=True, slots=True)
class Share:
    """What one process has of a service.

    Attributes:
        proxy: gives its name in the table of sessions, which no other process has; by then it has forked if it is to.
        limits: of sessions, of the whole service.
        bad_api_tokens: what guessing at the API's tokens costs.
        workers: how many processes serve.
        all_figures: gives the snapshots of all processes of the service; None: there is this one alone.
    """

    proxy: Callable[[], str]
    limits: SessionLimits
    bad_api_tokens: BadTokens = field(default_factory=BadTokens)
    workers: int = 1
    all_figures: Callable[[], Awaitable[Sequence[Snapshot]]] | None = None


class Serving:
    """Serves clients.

    What can fail for a reason of configuration has failed before this exists.

    Args:
        store: an open one.
        wanted: where each listener listens, by its name.
        protocols: of the consoles of each listener, by its name; that of the API has none.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        reactor: Any,
        wanted: Mapping[str, Sequence[Address]],
        protocols: Mapping[str, Protocol],
        share: Share,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._wanted = wanted
        self._protocols = {name: protocols[name] for name in wanted if name != api_assembly.NAME}
        self._own_store = store
        self._share = share
        self._figures = Figures()
        self._store_answers = False
        self.store = ThreadedStore(
            store, reactor, called=lambda seconds, failed: self._figures.store_called(seconds, failed=failed)
        )
        self._live = LiveSessions(self.store.sessions, share.proxy, reactor, time)
        self._waiting_room = WaitingRoom()
        self._spice = SpiceParts(self.store.spice_sessions, reactor) if "spice" in self._protocols.values() else None
        self._ready = Readiness(self._check_ready, reactor)
        self._visits = Visits(
            self._surroundings(config), AuditLog(config.path("consoleproxy", "audit_log")), self._figures
        )
        self._listeners = self._make_listeners(config)
        self._factories = {
            name: ClientFactory(listener, assembly.kind_of(name)) for name, listener in self._listeners.items()
        }
        self._api = api_assembly.factory(self._make_api(config)) if api_assembly.NAME in wanted else None
        self._admit_waiting(config)
        self._ports: list[IListeningPort] = []
        self._stopping: Deferred[None] | None = None

    @property
    def has_tls(self) -> bool:
        """Whether clients may come in encrypted."""
        return any(listener.tls is not None for listener in self._listeners.values())

    def start(self, places: Sequence[Place]) -> None:
        """Accept clients."""
        self.store.start()
        if self._spice is not None:
            self._spice.start()
        factories: dict[str, Any] = {**self._factories, api_assembly.NAME: self._api}
        self._ports = [place.open(factories[place.listener], self._reactor) for place in places]

    def renew(self, config: Config) -> None:
        """Hold the visits to come to other options, of which those that need a restart are not looked at.

        Raises:
            ConfigError: they cannot be used; everything stays.
        """
        listeners = self._make_listeners(config)
        api = self._make_api(config) if self._api is not None and config.api_listen else None
        surroundings = self._surroundings(config)
        audit = AuditLog(config.path("consoleproxy", "audit_log"))
        self._config, self._listeners = config, listeners
        for name, factory in self._factories.items():
            factory.listener = listeners[name]
        if self._api is not None and api is not None:
            self._api.renew(api)
        self._admit_waiting(config)
        self._visits.renew(surroundings, audit)

    async def retire(self) -> None:
        """Take no new clients, let everybody else come to their end, and stop then."""
        await self._stop_listening()
        now = self._reactor.seconds
        deadline = now() + self._config.number("consoleproxy", "handshake_timeout_s")
        while self._connections and now() < deadline and self._stopping is None:
            await deferLater(self._reactor, LOOK_S)
        for factory in self._factories.values():
            factory.abort_pages()
        while self._consoles and self._stopping is None:
            await deferLater(self._reactor, LOOK_S)
        await self.stop()

    def stop(self) -> Deferred[None]:
        """Let nobody in, end all visits with `shutdown`, and wait for their clients within the drain timeout."""
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._stop())
            self._stopping.addErrback(lambda failure: _log.failure("not everything was stopped", failure))
        return following(self._stopping)

    async def ready(self) -> str | None:
        """What keeps this process from serving a console, as a sentence; None: nothing. Kept for two seconds."""
        return await self._ready.answer() if self._visits.accepting else "The service is stopping."

    async def figures(self) -> dict[str, float]:
        """What this process counts, and what can be seen of it now, as a snapshot (see `rfbproxy.metrics`)."""
        from rfbproxy.exposition import process_snapshot  # whoever is not asked starts sooner without it

        is_ready = await self.ready() is None
        return self._figures.snapshot(
            {
                **self._visits.live_figures(),
                **process_snapshot(),
                metrics.key(metrics.READY.name): is_ready,
                metrics.key(metrics.STORE_UP.name): self._store_answers,
                metrics.key(metrics.UNAUTHENTICATED.name): len(self._waiting_room),
            }
        )

    async def _own_figures(self) -> list[Snapshot]:
        return [await self.figures()]

    @property
    def _consoles(self) -> int:
        return len(self._visits) + sum(factory.consoles for factory in self._factories.values())

    @property
    def _connections(self) -> int:
        found = len(self._visits) + sum(factory.connections for factory in self._factories.values())
        return found + (self._api.connections if self._api is not None else 0)

    def _surroundings(self, config: Config) -> Surroundings:
        return Surroundings(
            assembly.rules(config),
            self.store,
            assembly.dialler(config, self._reactor, self._figures.dial_failed),
            assembly.target_tls(config),
            self._reactor,
            time,
            self._share.limits,
            assembly.target_check(config, self.store.run),
            None if self._spice is None else self._spice.surroundings(config),
            self._live,
        )

    def _admit_waiting(self, config: Config) -> None:
        """Set the waiting room's limits, of which each worker has its part."""
        names = ("max_unauthenticated", "max_unauthenticated_per_source")
        limits = [int(config.number("consoleproxy", name)) for name in names]
        self._waiting_room.allow(*(max(1, limit // self._share.workers) if limit else 0 for limit in limits))

    def _make_listeners(self, config: Config) -> dict[str, Listener]:
        bases = {protocol: self._make_listener(config, protocol) for protocol in set(self._protocols.values())}
        assembly.check_tls(self._wanted, has_tls=any(base.tls is not None for base in bases.values()))
        return {name: assembly.listener_of(name, bases[protocol], config) for name, protocol in self._protocols.items()}

    def _make_api(self, config: Config) -> "ApiListener":
        return api_assembly.listener(
            config,
            self._own_store,
            self.store.run,
            self.ready,
            self._share.all_figures or self._own_figures,
            self._share.bad_api_tokens,
            self._waiting_room,
            self._reactor,
        )

    def _make_listener(self, config: Config, protocol: Protocol) -> Listener:
        """What all listeners of a protocol have in common."""
        tls_only = assembly.tls_only(config)
        pages = Pages(
            assembly.folders(config, protocol),
            config.words("console", "allowed_origins"),
            self.ready,
            strict_transport=tls_only,
            protocol=protocol,
            viewer_file=viewer_files(config, self._reactor, self.store, self._share.limits.bad_tokens)
            if protocol == "spice"
            else None,
        )
        return Listener(
            open_console=partial(self._visits.open, kind=SpiceVisit if protocol == "spice" else RfbVisit),
            pages=PageSite(pages, reactor=self._reactor),
            head_timeout_s=config.number("consoleproxy", "handshake_timeout_s"),
            ping_interval_s=config.number("consoleproxy", "ping_interval_s"),
            trusted_proxies=lambda source: is_trusted(source, config.trusted_proxies),
            waiting_room=self._waiting_room,
            clock=self._reactor,
            tls=assembly.tls(config),
            tls_only=tls_only,
            is_spice=protocol == "spice",
        )

    async def _stop_listening(self) -> None:
        ports, self._ports = self._ports, []
        for port in ports:
            stopping = port.stopListening()
            if isinstance(stopping, Deferred):
                await stopping

    async def _stop(self) -> None:
        _log.info("stopping: {count} visits live", count=len(self._visits))
        await self._stop_listening()
        closing = self._visits.close_all(Refused(CloseReason.SHUTDOWN, "the service is stopping"))
        drained = Deferred.fromCoroutine(self._drained(closing))
        drained.addTimeout(self._config.number("consoleproxy", "drain_timeout_s"), self._reactor)
        try:
            await drained
        except DeferredTimeout:
            _log.warn("{count} visits did not end, or their clients did not close, in time: all are dropped",
                      count=len(self._visits))  # fmt: skip
        self._visits.abort_all()
        for factory in self._factories.values():
            factory.abort_all()
        if self._api is not None:
            self._api.abort_all()
        await deferLater(self._reactor, 0, lambda: None)
        if self._spice is not None:
            self._spice.stop()
        try:
            await self._live.stop()
        finally:
            await self.store.stop()
        _log.info("stopped")

    async def _drained(self, closing: Deferred[None]) -> None:
        await closing
        for factory in self._factories.values():
            await factory.when_consoles_gone()

    async def _check_ready(self) -> str | None:
        if not all(websocket_opens(listener) for listener in self._listeners.values() if not listener.is_native):
            return "A WebSocket cannot be opened."
        self._store_answers = False
        asking = self.store.ping()
        asking.addTimeout(READY_TIMEOUT_S, self._reactor)
        try:
            await asking
        except DeferredTimeout:
            return "The token store does not answer."
        except StoreError as error:
            _log.warn("token store is not ready: {error}", error=error)
            return "The token store fails."
        self._store_answers = True
        return None
