"""What the options become for SPICE, and what the service has for it as long as it runs: sessions and ticket keys."""

from collections.abc import Awaitable, Callable
from time import time
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.http import FORBIDDEN, INTERNAL_SERVER_ERROR

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.config import Config
from rfbproxy.consoleauth import SpiceSessionStore, TokenStore
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.secret import Secret
from rfbproxy.session.authorise import authorise
from rfbproxy.session.limits import BadTokens
from rfbproxy.session.spice_sessions import SpiceSessions
from rfbproxy.session.spice_surroundings import SpiceRules, SpiceSurroundings
from rfbproxy.session.spice_visit import SpiceVisit
from rfbproxy.session.ticket_keys import TicketKeys
from rfbproxy.spice import Destination
from rfbproxy.target.tls import TargetTls, TargetTlsRules
from rfbproxy.viewer_file import ViewerFile, own_certificate, viewer_file

_log = Logger()


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
        """No more keys are needed, and no sessions live."""
        self._sessions.stop()
        if self._pool.started:
            self._pool.stop()

    def surroundings(self, config: Config) -> SpiceSurroundings:
        """For visits to come.

        Raises:
            ConfigError: a file that an option names cannot be used.
        """
        return SpiceSurroundings(_rules(config), self._sessions, self._keys, _target_tls(config))


def _rules(config: Config) -> SpiceRules:
    return SpiceRules(
        take_over=config.text("consoleproxy", "spice_second_main") == "take-over",
        native_tls=own_certificate(config) is not None,
        target_tls_only=config.flag("spice", "require_secure"),
        public=lambda: _public(config),
        subject=lambda: _told(config).host_subject,
    )


def _told(config: Config) -> ViewerFile:
    """What viewers are told of this proxy, whatever their token: with the certificate that is in its file by now."""
    return viewer_file(config, Secret("-"), title="", certificate=own_certificate(config))


def _public(config: Config) -> Destination | None:
    """Where native viewers find this proxy, as they are told in files."""
    told = _told(config)
    if told.proxy is not None:
        return None
    return Destination(told.host, told.port or 0, told.tls_port or 0, told.host_subject)


def _target_tls(config: Config) -> TargetTls:
    return TargetTls(
        TargetTlsRules(
            ca_certs=config.path("consoleproxy", "spice_ca_certs"),
            minimum_version=config.text("consoleproxy", "target_tls_minimum_version") or "default",
            options=("[consoleproxy] spice_ca_certs", "a client certificate", "its key"),
        )
    )


def viewer_files(
    config: Config, clock: IReactorTime, store: TokenStore, bad_tokens: BadTokens
) -> Callable[[str, str], Awaitable[bytes | tuple[int, str]]]:
    """What makes `/console.vv` for a token and the address of who asks, or a status and a sentence why not.

    Raises:
        ConfigError: the certificate, of which files tell, cannot be read.
    """
    own_certificate(config)  # judged now

    async def make(token: str, source: str) -> bytes | tuple[int, str]:
        request = ConsoleRequest(way_in="page", source=source, token=token)
        await deferLater(clock, bad_tokens.delay_s(source, time()))
        try:
            console = await authorise(
                request,
                store,
                bad_tokens,
                lambda _: None,
                console_types=SpiceVisit.console_types,
                allowed_origins=(),
                now=time(),
                untold_type="spice-direct",
            )
        except Refused as refused:
            _log.info("refused a viewer file to {source}: {why}", source=source, why=refused.detail)
            is_ours = refused.reason is CloseReason.INTERNAL
            return (INTERNAL_SERVER_ERROR if is_ours else FORBIDDEN), refused.sentence
        certificate = own_certificate(config)  # as it is by now
        file = viewer_file(config, Secret(token), title=console.instance_uuid or "", certificate=certificate)
        return file.text().encode()

    return make
