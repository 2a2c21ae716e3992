"""Assembles the console proxy from its options, and carries it from start to a clean end."""

import signal
import socket
import sys
from pathlib import Path
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

from rfbproxy import web
from rfbproxy.client.listener import ClientFactory, Listener
from rfbproxy.client.pages import Folders, Pages, PageSite
from rfbproxy.client.probe import websocket_opens
from rfbproxy.client.tls import ServerTls
from rfbproxy.client.websocket import ClientWebSocketFactory
from rfbproxy.config import Address, Config, is_trusted
from rfbproxy.consoleauth import SqlStore
from rfbproxy.consoleauth.threaded import ThreadedStore
from rfbproxy.errors import ConfigError, StoreError
from rfbproxy.listening import listen
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.audit import AuditLog
from rfbproxy.session.visit import Surroundings, VisitRules
from rfbproxy.session.visits import Visits
from rfbproxy.target.dial import Dialler

PURGE_INTERVAL_S = 300.0
READY_KEPT_S = 2.0
READY_TIMEOUT_S = 5.0

_log = Logger()


class ConsoleProxyService(Service):
    """The running proxy: one listener for browsers, its store and its visits.

    Everything that can fail for a reason of configuration has failed before this exists.
    """

    def __init__(self, config: Config, store: SqlStore, reactor: Any, *, address: Address | None = None) -> None:
        self._reactor = reactor
        self._config = config
        self._store = ThreadedStore(store, reactor)
        self._drain_timeout_s = config.number("consoleproxy", "drain_timeout_s")
        audit_log = config.text("consoleproxy", "audit_log")
        self._visits = Visits(
            Surroundings(_rules(config), self._store, _dialler(config, reactor), reactor, time),
            AuditLog(Path(audit_log) if audit_log else None),
            max_visits=int(config.number("consoleproxy", "max_sessions")),
            max_visits_per_source=int(config.number("consoleproxy", "max_connections_per_source")),
        )
        self._listener = self._make_listener(config)
        self._factory = ClientFactory(self._listener)
        self._ready_answer: tuple[float, Deferred[str | None]] | None = None
        self._ports: list[IListeningPort] = []
        self._purging = LoopingCall(self._purge)
        self._purging.clock = reactor
        self._stopping: Deferred[None] | None = None
        self.address = address or config.novnc_address
        self._unix_mode = int(config.text("consoleproxy", "unix_socket_mode") or "0660", 8)
        self._socket: socket.socket | None = listen(self.address, unix_mode=self._unix_mode)
        if self.address.path is None:
            self.address = Address(*self._socket.getsockname()[:2])

    def _make_listener(self, config: Config) -> Listener:
        head_timeout_s = config.number("consoleproxy", "handshake_timeout_s")
        pages = Pages(_folders(config), config.words("console", "allowed_origins"), self.ready)
        return Listener(
            open_console=self._visits.open,
            pages=PageSite(pages, reactor=self._reactor),
            websockets=ClientWebSocketFactory(config.number("consoleproxy", "ping_interval_s"), self._reactor),
            head_timeout_s=head_timeout_s,
            trusted_proxies=lambda source: is_trusted(source, config.trusted_proxies),
            clock=self._reactor,
            tls=_tls(config),
            tls_only=config.flag("DEFAULT", "ssl_only"),
        )

    @property
    def has_tls(self) -> bool:
        """Whether clients may come in encrypted."""
        return self._listener.tls is not None

    def startService(self) -> None:
        """Accept clients."""
        super().startService()
        for name in self._config.unknown:
            _log.warn("unknown option {name} is ignored", name=name)
        if (self._config.text("DEFAULT", "record") or "False").lower() != "false":
            _log.warn("[DEFAULT] record is set, but this version does not record: sessions are NOT recorded")
        if self._config.flag("spice", "enabled"):
            _log.warn("[spice] enabled is set, but this version does not speak SPICE: it is NOT listened for")
        self._store.start()
        listening, self._socket = self._socket, None
        if listening is not None:
            port = self._reactor.adoptStreamPort(listening.fileno(), listening.family, self._factory)
            self._ports.append(port)
            listening.close()
            if self.address.path is not None:  # adopting makes it open to the world
                Path(self.address.path).chmod(self._unix_mode)
        self._purging.start(PURGE_INTERVAL_S, now=False)
        _log.info("listening for VNC consoles on {address}", address=str(self.address))

    def stopService(self) -> Deferred[None]:
        """Let nobody in, end all visits with `shutdown`, and wait for their clients within the drain timeout."""
        if self._stopping is None:
            super().stopService()
            self._stopping = Deferred.fromCoroutine(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        _log.info("stopping: {count} visits live", count=len(self._visits))
        for port in self._ports:
            await _maybe(port.stopListening())
        if self._purging.running:
            self._purging.stop()
        closing = self._visits.close_all(Refused(CloseReason.SHUTDOWN, "the service is stopping"))
        drained = Deferred.fromCoroutine(self._drained(closing))
        drained.addTimeout(self._drain_timeout_s, self._reactor)
        try:
            await drained
        except DeferredTimeout:
            _log.warn("{count} visits did not end in time and are dropped", count=len(self._visits))
        self._visits.abort_all()
        self._factory.abort_all()
        await deferLater(self._reactor, 0, lambda: None)
        await self._store.stop()
        _log.info("stopped")

    async def _drained(self, closing: Deferred[None]) -> None:
        await closing
        await self._factory.when_consoles_gone()

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

    async def _check_ready(self) -> str | None:
        if not websocket_opens(self._listener):
            return "A WebSocket cannot be opened."
        asking = self._store.ping()
        asking.addTimeout(READY_TIMEOUT_S, self._reactor)
        try:
            await asking
        except DeferredTimeout:
            return "The token store does not answer."
        except StoreError as error:
            _log.warn("token store is not ready: {error}", error=error)
            return "The token store fails."
        return None

    def _purge(self) -> Deferred[Any]:
        purging = self._store.purge(int(time()))
        return purging.addErrback(lambda failure: _log.warn("purge: {why}", why=failure.getErrorMessage()))


def make_service(
    config: Config, reactor: Any, *, store: SqlStore | None = None, address: Address | None = None
) -> ConsoleProxyService:
    """Open and bind everything that the options name.

    Args:
        store: instead of the one in `[consoleauth] connection`.
        address: where to listen instead of `[vnc] novncproxy_host`.

    Raises:
        ConfigError, StoreError: one line that says what cannot be used.
    """
    if address is None and not config.flag("vnc", "enabled"):
        raise ConfigError("[vnc] enabled is False, and there is nothing else to listen for")
    if address is None and config.text("vnc", "novncproxy_host") is None:
        raise ConfigError("[vnc] novncproxy_host is empty, and there is nothing else to listen on")
    return ConsoleProxyService(config, store or open_store(config), reactor, address=address)


def open_store(config: Config) -> SqlStore:
    """The token store that the options name, opened; a default one lies in `state_path`, which is made if need be.

    Raises:
        StoreError: it cannot be opened.
    """
    url = config.text("consoleauth", "connection") or ""
    state = Path(config.text("DEFAULT", "state_path") or ".")
    state_url = config.text("consoleproxy", "state_connection") or f"sqlite:///{state}/grants.sqlite"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if f"{state}/" in url:
            raise StoreError(f"[DEFAULT] state_path: {state} cannot be made: {error.strerror}") from error
    store = SqlStore(url, state_url)
    store.open()
    return store


def install_signals(service: ConsoleProxyService, reactor: Any) -> None:
    """End cleanly, with status 0, on SIGTERM and SIGINT; the reactor's own handlers would end with the signal."""

    def stop(number: int, frame: FrameType | None) -> None:
        if not reactor.running:
            raise SystemExit(0)
        reactor.callFromThread(lambda: service.stopService().addBoth(lambda _: _stop_reactor(reactor)))

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    install()
    reactor.callWhenRunning(install)  # again: the reactor puts its own there when it starts


def _stop_reactor(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()


def _rules(config: Config) -> VisitRules:
    return VisitRules(
        security_preference=config.security_preference,
        allowed_origins=config.words("console", "allowed_origins"),
        handshake_timeout_s=config.number("consoleproxy", "handshake_timeout_s"),
        idle_timeout_s=config.number("consoleproxy", "idle_timeout_s") or None,
        session_limit_s=config.number("consoleproxy", "session_limit_s") or None,
        enforce_session_timeout=config.flag("consoleauth", "enforce_session_timeout"),
    )


def _dialler(config: Config, reactor: Any) -> Dialler:
    return Dialler(reactor, config.number("consoleproxy", "connect_timeout_s"))


def _tls(config: Config) -> ServerTls | None:
    """TLS as the options want it; nova's default certificate `self.pem` need not exist unless `ssl_only` is set."""
    cert, key = Path(config.text("DEFAULT", "cert") or "self.pem"), config.text("DEFAULT", "key")
    if not cert.exists():
        if config.flag("DEFAULT", "ssl_only"):
            raise ConfigError(f"SSL only and {cert} not found")
        if key is None and str(cert) == "self.pem":
            return None
    return ServerTls(
        cert,
        Path(key) if key else None,
        minimum_version=config.text("console", "ssl_minimum_version") or "default",
        ciphers=config.text("console", "ssl_ciphers"),
    )


def _folders(config: Config) -> Folders:
    operator = None
    if config.web is not None:
        operator = Path(config.web)
        if not operator.is_dir():
            raise ConfigError(f"Can not find html/js files at {operator}: web is not a folder.")
    novnc = next((folder for folder in _NOVNC_FOLDERS if (folder / "core" / "rfb.js").is_file()), None)
    if novnc is None and operator is None:
        raise ConfigError(
            f"noVNC is not installed: there is none in {' or '.join(map(str, _NOVNC_FOLDERS))}; "
            "run make venv, or apt install novnc, or name a folder with web ="
        )
    return Folders(Path(web.__file__).parent, novnc, operator)


_NOVNC_FOLDERS = (
    Path(sys.prefix) / "share" / "rfbproxy" / "node_modules" / "@novnc" / "novnc",
    Path("/usr/share/novnc"),
)


def _check_failed(failure: Failure) -> str:
    _log.failure("the readiness check failed", failure)
    return "The readiness check failed."


async def _maybe(result: object) -> None:
    if isinstance(result, Deferred):
        await result
