"""What the options become for SPICE, and what the service has for it as long as it runs: sessions and ticket keys."""

from time import time
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from rfbproxy.config import Config
from rfbproxy.consoleauth import SpiceSessionStore
from rfbproxy.session.spice_sessions import SpiceSessions
from rfbproxy.session.spice_surroundings import SpiceRules, SpiceSurroundings
from rfbproxy.session.ticket_keys import TicketKeys
from rfbproxy.target.tls import TargetTls, TargetTlsRules


class SpiceParts:
    """What lives on when options are read again.

    Raises:
        ConfigError: this system has no keys of the kind that SPICE needs.
    """

    def __init__(self, table: SpiceSessionStore, reactor: Any) -> None:
        self._pool = ThreadPool(0, 1, "ticket keys")
        self._keys = TicketKeys(reactor, lambda make: deferToThreadPool(reactor, self._pool, make))
        self._sessions = SpiceSessions(table, reactor, time)

    def start(self) -> None:
        """Let keys be made ahead."""
        self._pool.start()

    def stop(self) -> None:
        """No more keys are needed."""
        if self._pool.started:
            self._pool.stop()

    def surroundings(self, config: Config, *, has_tls: bool) -> SpiceSurroundings:
        """For visits to come.

        Raises:
            ConfigError: a file that an option names cannot be used.
        """
        return SpiceSurroundings(_rules(config, has_tls=has_tls), self._sessions, self._keys, _target_tls(config))


def _rules(config: Config, *, has_tls: bool) -> SpiceRules:
    return SpiceRules(
        take_over=config.text("consoleproxy", "spice_second_main") == "take-over",
        native_tls=has_tls,
        target_tls_only=config.flag("spice", "require_secure"),
    )


def _target_tls(config: Config) -> TargetTls:
    return TargetTls(
        TargetTlsRules(
            ca_certs=config.path("consoleproxy", "spice_ca_certs"),
            minimum_version=config.text("consoleproxy", "target_tls_minimum_version") or "default",
            options=("[consoleproxy] spice_ca_certs", "a client certificate", "its key"),
        )
    )
