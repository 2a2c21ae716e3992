"""The console proxy in one process: assembled from its options, started, reloaded and stopped."""

import os
from collections.abc import Mapping, Sequence
from socket import gethostname
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rfbproxy import api_assembly, assembly
from rfbproxy.address import Address
from rfbproxy.client.folders import Protocol
from rfbproxy.config import Config
from rfbproxy.consoleauth import Store
from rfbproxy.errors import ConsoleProxyError
from rfbproxy.heartbeat import keep_beating
from rfbproxy.listening import Place
from rfbproxy.purging import Purging
from rfbproxy.renewal import warn
from rfbproxy.serving import Serving, Share
from rfbproxy.session.limits import Limits
from rfbproxy.store_options import open_store
from rfbproxy.systemd import notify

LISTEN = "--listen"  # the listener that an argument asks for

_log = Logger()


class ConsoleProxyService(Service):
    """The running proxy.

    Args:
        serving: what serves its clients.
        limits: those that it serves within.
        places: where it listens.
        strangers: sockets that were handed over, and are nobody's.
        protocols: of the consoles of each listener, by its name.
    """

    def __init__(
        self,
        config: Config,
        serving: Serving,
        limits: Limits,
        reactor: Any,
        places: Sequence[Place],
        strangers: Sequence[Place],
        protocols: Mapping[str, Protocol],
    ) -> None:
        self._config = self._started_with = config
        self._serving = serving
        self._limits = limits
        self._reactor = reactor
        self._places = places
        self._strangers = strangers
        self._protocols = protocols
        self._purging = Purging(serving.store, reactor)
        self._stopping: Deferred[None] | None = None

    @property
    def address(self) -> Address:
        """The first one that is listened on."""
        return self._places[0].address

    @property
    def has_tls(self) -> bool:
        """Whether clients may come in encrypted."""
        return self._serving.has_tls

    def startService(self) -> None:
        """Accept clients."""
        super().startService()
        warn(self._config)
        assembly.leave_alone(self._strangers)
        self._serving.start(self._places)
        self._purging.start()
        assembly.announce(self._places, self._protocols)
        self._reactor.callWhenRunning(notify, "READY=1")
        self._reactor.callWhenRunning(keep_beating, self._reactor)

    def reload(self) -> None:
        """Read the files of the options again, for visits to come; if they cannot be used, everything stays."""
        if self._stopping is not None:
            return
        notify("RELOADING=1")
        try:
            config = self._config.again()
            self._serving.renew(config)
        except ConsoleProxyError as error:
            _log.error("the options stay as they were: {error}", error=error)
        else:
            warn(config, self._started_with)
            self._config = config
            self._limits.allow(*assembly.session_limits(config))
            _log.info("options were read again")
        notify("READY=1")

    def stopService(self) -> Deferred[None]:
        """Let nobody in, end all visits with `shutdown`, and wait for their clients within the drain timeout."""
        if self._stopping is None:
            super().stopService()
            notify("STOPPING=1")
            self._purging.stop()
            self._stopping = self._serving.stop()
        return self._stopping


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
    limits = Limits(*assembly.session_limits(config))
    share = Share(service_name, limits)
    serving = Serving(config, store or open_store(config), reactor, wanted, protocols, share)
    return ConsoleProxyService(config, serving, limits, reactor, *assembly.bind(config, wanted), protocols)


def service_name() -> str:
    """What the service that this process was started for is called in the table of sessions."""
    return f"{gethostname()}:{os.getpid()}"
