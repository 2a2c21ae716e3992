"""What the options become for the API."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rfbproxy import assembly
from rfbproxy.api.access import TokenFile
from rfbproxy.api.resource import ApiRules, OnThread
from rfbproxy.api.server import ApiListener
from rfbproxy.config import Address, Config
from rfbproxy.consoleauth import SqlStore
from rfbproxy.consoles import Consoles
from rfbproxy.errors import ConfigError

NAME = "api"  # of its listener, as LISTEN_FDNAMES may name it


def wanted(config: Config) -> Mapping[str, Sequence[Address]]:
    """Where the API is listened for, by its listener's name; nothing where it is off."""
    return {NAME: config.api_listen} if config.api_listen else {}


def listener(
    config: Config,
    store: SqlStore,
    on_thread: OnThread,
    ready: Callable[[], Awaitable[str | None]],
    reactor: Any,
) -> ApiListener:
    """What clients of the API meet.

    Args:
        store: an open one.
        on_thread: runs what uses the store.

    Raises:
        ConfigError: there is no token, or a file cannot be used.
    """
    file = config.path("consoleproxy", "api_token_file")
    if file is None:
        raise ConfigError("[consoleproxy] api_listen needs a token: set [consoleproxy] api_token_file")
    tls_only = assembly.tls_only(config)
    rules = ApiRules(
        consoles=Consoles(store, config),
        on_thread=on_thread,
        access=TokenFile(file),
        enabled=tuple(protocol for protocol in ("vnc", "spice") if config.flag(protocol, "enabled")),
        ready=ready,
        tls_only=tls_only,
    )
    return ApiListener(rules, reactor, assembly.tls(config))
