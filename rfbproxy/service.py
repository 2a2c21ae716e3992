"""Assembles the console proxy from its options, and carries it from start to a clean end."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from socket import gethostname
from time import time
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from rfbproxy import api_assembly, assembly, metrics
from rfbproxy.api.server import ApiFactory, ApiListener
from rfbproxy.client.factory import ClientFactory
from rfbproxy.client.folders import Protocol
from rfbproxy.client.listener import Listener
from rfbproxy.client.pages import Pages, PageSite
from rfbproxy.client.probe import websocket_opens
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.config import Address, Config, is_trusted
from rfbproxy.consoleauth import Store, stores
from rfbproxy.consoleauth.threaded import ThreadedStore
from rfbproxy.errors import ConsoleProxyError, StoreError
from rfbproxy.exposition import process_snapshot
from rfbproxy.listening import Place, places
from rfbproxy.metrics import Figures, Snapshot
from rfbproxy.options import KEYSTONE_AUTHTOKEN
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.audit import AuditLog
from rfbproxy.session.limits import BadTokens, Limits
from rfbproxy.session.live_sessions import LiveSessions
from rfbproxy.session.rfb_visit import RfbVisit
from rfbproxy.session.spice_visit import SpiceVisit
from rfbproxy.session.visit import Surroundings
from rfbproxy.session.visits import Visits
from rfbproxy.spice_assembly import SpiceParts, viewer_files
from rfbproxy.systemd import notify, take_sockets

LISTEN = "--listen"  # the listener that an argument asks for
PURGE_INTERVAL_S = 300.0
READY_KEPT_S = 2.0
READY_TIMEOUT_S = 5.0
NEEDS_RESTART = (
    ("DEFAULT", "source_is_ipv6"),
    ("DEFAULT", "state_path"),
    ("vnc", "enabled"),
    ("vnc", "novncproxy_host"),
    ("vnc", "novncproxy_port"),
    ("vnc", "xvpvncproxy_host"),
    ("vnc", "xvpvncproxy_port"),
    ("spice", "enabled"),
    ("spice", "html5proxy_host"),
    ("spice", "html5proxy_port"),
    ("consoleauth", "connection"),
    ("consoleproxy", "api_listen"),
    *(("keystone_authtoken", option.dest) for option in KEYSTONE_AUTHTOKEN),
    ("consoleproxy", "rfb_listen"),
    ("consoleproxy", "spice_listen"),
    ("consoleproxy", "spice_tls_listen"),
    ("consoleproxy", "state_connection"),
    ("consoleproxy", "unix_socket_mode"),
)

_log = Logger()


class ConsoleProxyService(Service):
    """The running proxy: its listeners, its store and its visits.

    What can fail for a reason of configuration has failed before this exists, except for what `bind` does.

    Args:
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
    ) -> None:
        self._reactor = reactor
        self._config = self._started_with = config
        self._protocols = {name: protocols[name] for name in wanted if name != api_assembly.NAME}
        self._own_store = store
        self._figures = Figures()
        self._store_answers = False
        self._store = ThreadedStore(
            store, reactor, called=lambda seconds, failed: self._figures.store_called(seconds, failed=failed)
        )
        self._live = LiveSessions(self._store.sessions, f"{gethostname()}:{os.getpid()}", reactor, time)
        self._limits, self._waiting_room = Limits(), WaitingRoom()
        self._bad_api_tokens = BadTokens()
        self._set_limits(config)
        self._spice = SpiceParts(self._store.spice_sessions, reactor) if "spice" in self._protocols.values() else None
        self._visits = Visits(
            self._surroundings(config),
            AuditLog(config.path("consoleproxy", "audit_log")),
            self._figures,
        )
        self._listeners = self._make_listeners(config, wanted)
        self._factories = {
            name: ClientFactory(listener, assembly.kind_of(name)) for name, listener in self._listeners.items()
        }
        self._api = ApiFactory(self._make_api(config)) if api_assembly.NAME in wanted else None
        self._ready_answer: tuple[float, Deferred[str | None]] | None = None
        self._ports: list[IListeningPort] = []
        self._purging = LoopingCall(self._purge)
        self._purging.clock = reactor
        self._stopping: Deferred[None] | None = None
        self._places: list[Place] = []
        self._strangers: list[Place] = []

    def bind(self, wanted: Mapping[str, Sequence[Address]]) -> None:
        """Take the sockets that were handed over, and bind the rest; before the service starts.

        Raises:
            ConfigError: an address cannot be listened on, or there is none.
        """
        config = self._config
        self._places, self._strangers = places(
            wanted,
            take_sockets(),
            unix_mode=int(config.text("consoleproxy", "unix_socket_mode") or "0660", 8),
            prefer_ipv6=config.flag("DEFAULT", "source_is_ipv6"),
            unasked=assembly.unasked(config),
        )
        if not self._places:
            raise assembly.nothing_to_listen_on(config)

    @property
    def address(self) -> Address:
        """The first one that is listened on."""
        return self._places[0].address

    def _surroundings(self, config: Config) -> Surroundings:
        return Surroundings(
            assembly.rules(config),
            self._store,
            assembly.dialler(config, self._reactor, self._figures.dial_failed),
            assembly.target_tls(config),
            self._reactor,
            time,
            self._limits,
            assembly.target_check(config, self._store.run),
            None if self._spice is None else self._spice.surroundings(config),
            self._live,
        )

    def _set_limits(self, config: Config) -> None:
        self._limits.allow(
            int(config.number("consoleproxy", "max_sessions")),
            int(config.number("consoleproxy", "max_connections_per_source")),
        )
        self._waiting_room.allow(
            int(config.number("consoleproxy", "max_unauthenticated")),
            int(config.number("consoleproxy", "max_unauthenticated_per_source")),
        )

    def _make_listeners(self, config: Config, wanted: Mapping[str, Sequence[Address]]) -> dict[str, Listener]:
        bases = {protocol: self._make_listener(config, protocol) for protocol in set(self._protocols.values())}
        assembly.check_tls(wanted, has_tls=any(base.tls is not None for base in bases.values()))
        return {name: assembly.listener_of(name, bases[protocol], config) for name, protocol in self._protocols.items()}

    def _make_api(self, config: Config) -> ApiListener:
        return api_assembly.listener(
            config,
            self._own_store,
            self._store.run,
            self.ready,
            self._all_figures,
            self._bad_api_tokens,
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
            viewer_file=viewer_files(config, self._reactor, self._store, self._limits.bad_tokens)
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

    @property
    def has_tls(self) -> bool:
        """Whether clients may come in encrypted."""
        return any(listener.tls is not None for listener in self._listeners.values())

    def startService(self) -> None:
        """Accept clients."""
        super().startService()
        assembly.warn(self._config)
        api_assembly.warn(self._config)
        self._store.start()
        if self._spice is not None:
            self._spice.start()
        for place in self._strangers:
            _log.warn("a socket was handed over that is no listener's: {address}", address=str(place.address))
            place.socket.close()
        factories: dict[str, Any] = {**self._factories, api_assembly.NAME: self._api}
        self._ports = [place.open(factories[place.listener], self._reactor) for place in self._places]
        self._purging.start(PURGE_INTERVAL_S, now=False)
        for place in self._places:
            protocol = self._protocols.get(place.listener)
            what = f"{protocol.upper()} consoles" if protocol is not None else "the API"
            how = " (handed over)" if place.handed_over else ""
            _log.info("listening for {what} on {address}{how}", what=what, address=str(place.address), how=how)
        self._reactor.callWhenRunning(notify, "READY=1")

    def reload(self) -> None:
        """Read the files of the options again, for visits to come; if they cannot be used, everything stays."""
        if self._stopping is not None:
            return
        notify("RELOADING=1")
        try:
            config = self._config.again()
            listeners = self._make_listeners(config, {place.listener: [place.address] for place in self._places})
            api = self._make_api(config) if self._api is not None and config.api_listen else None
            surroundings = self._surroundings(config)
            audit = AuditLog(config.path("consoleproxy", "audit_log"))
        except ConsoleProxyError as error:
            _log.error("the options stay as they were: {error}", error=error)
        else:
            assembly.warn(config)
            api_assembly.warn(config)
            changed = [
                f"[{group}] {name}"
                for group, name in NEEDS_RESTART
                if config[group, name] != self._started_with[group, name]
            ]
            if changed:
                _log.warn("needs a restart: {options}", options=", ".join(changed))
            self._config, self._listeners = config, listeners
            for name, factory in self._factories.items():
                factory.listener = listeners[name]
            if self._api is not None and api is not None:
                self._api.renew(api)
            self._set_limits(config)
            self._visits.renew(surroundings, audit)
            _log.info("options were read again")
        notify("READY=1")

    def stopService(self) -> Deferred[None]:
        """Let nobody in, end all visits with `shutdown`, and wait for their clients within the drain timeout."""
        if self._stopping is None:
            super().stopService()
            self._stopping = Deferred.fromCoroutine(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        notify("STOPPING=1")
        _log.info("stopping: {count} visits live", count=len(self._visits))
        for port in self._ports:
            await _maybe(port.stopListening())
        if self._purging.running:
            self._purging.stop()
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
        await self._live.stop()
        await self._store.stop()
        _log.info("stopped")

    async def _drained(self, closing: Deferred[None]) -> None:
        await closing
        for factory in self._factories.values():
            await factory.when_consoles_gone()

    async def ready(self) -> str | None:
        """What keeps this proxy from serving a console, as a sentence; None: nothing. Kept for two seconds."""
        now = self._reactor.seconds()
        if not self._visits.accepting:
            return "The service is stopping."
        if self._ready_answer is None or now - self._ready_answer[0] >= READY_KEPT_S:
            # Put down before it is there, so that those who ask meanwhile wait for the same one.
            self._ready_answer = (now, Deferred.fromCoroutine(self._check_ready()).addErrback(_check_failed))
        answer: Deferred[str | None] = Deferred()

        def pass_on(problem: str | None) -> str | None:
            answer.callback(problem)
            return problem

        self._ready_answer[1].addCallback(pass_on)
        return await answer

    async def figures(self) -> dict[str, float]:
        """What this process counts, and what can be seen of it now, as a snapshot (see `rfbproxy.metrics`)."""
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

    async def _all_figures(self) -> list[Snapshot]:
        """Of every process of the service."""
        return [await self.figures()]

    async def _check_ready(self) -> str | None:
        if not all(websocket_opens(listener) for listener in self._listeners.values() if not listener.is_native):
            return "A WebSocket cannot be opened."
        self._store_answers = False
        asking = self._store.ping()
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

    def _purge(self) -> Deferred[Any]:
        purging = self._store.purge(int(time()))
        return purging.addErrback(lambda failure: _log.warn("purge: {why}", why=failure.getErrorMessage()))


def make_service(
    config: Config,
    reactor: Any,
    *,
    store: Store | None = None,
    address: Address | None = None,
    protocol: Protocol = "vnc",
) -> ConsoleProxyService:
    """Open and bind everything that the options name.

    Args:
        store: instead of the one in `[consoleauth] connection`.
        address: where to listen instead of everywhere that the options name.
        protocol: of the consoles there.

    Raises:
        ConfigError, StoreError: one line that says what cannot be used.
    """
    wanted = {**assembly.wanted(config), **api_assembly.wanted(config)} if address is None else {LISTEN: [address]}
    protocols = {**assembly.PROTOCOLS, LISTEN: protocol}
    service = ConsoleProxyService(config, store or open_store(config), reactor, wanted, protocols)
    service.bind(wanted)
    return service


def open_store(config: Config) -> Store:
    """The token store that the options name, opened; a default one lies in `state_path`, which is made if need be.

    Raises:
        ConfigError, StoreError: it cannot be opened.
    """
    state = _state_path(config)
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if f"{state}/" in (config.text("consoleauth", "connection") or ""):
            raise StoreError(f"[DEFAULT] state_path: {state} cannot be made: {error.strerror}") from error
    store = named_store(config)
    try:
        store.open()
    except StoreError:
        store.close()
        raise
    return store


def named_store(config: Config) -> Store:
    """The token store that the options name, not opened: neither file nor network is touched.

    Raises:
        ConfigError, StoreError: its address, or an option that goes with it, cannot be used.
    """
    options = stores.StoreOptions(
        config.text("consoleproxy", "state_connection") or f"sqlite:///{_state_path(config)}/grants.sqlite",
        config.keystone_login,
        int(config.number("consoleauth", "token_ttl")),
        lambda line: _log.warn("{line}", line=line),
    )
    return stores.make_store(config.text("consoleauth", "connection") or "", options)


def _state_path(config: Config) -> Path:
    return Path(config.text("DEFAULT", "state_path") or ".")


def install_signals(service: ConsoleProxyService, reactor: Any, hang_up: Callable[[], None] | None = None) -> None:
    """End cleanly, with status 0, on SIGTERM and SIGINT; the reactor's own handlers would end with the signal.

    Args:
        hang_up: what SIGHUP means; None: the end of the program, as a terminal wants it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if not reactor.running:
            raise SystemExit(0)
        reactor.callFromThread(lambda: service.stopService().addBoth(lambda _: _stop_reactor(reactor)))

    def tell(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(hang_up)

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if hang_up is not None:
            signal.signal(signal.SIGHUP, tell)

    install()
    reactor.callWhenRunning(install)  # again: the reactor puts its own there when it starts


def _stop_reactor(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()


def _check_failed(failure: Failure) -> str:
    _log.failure("the readiness check failed", failure)
    return "The readiness check failed."


async def _maybe(result: object) -> None:
    if isinstance(result, Deferred):
        await result
