"""What the options become for the API."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from twisted.logger import Logger

from rfbproxy import assembly
from rfbproxy.api.access import TokenFile
from rfbproxy.api.resource import ApiRules, OnThread
from rfbproxy.api.server import ApiListener
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.config import Address, Config
from rfbproxy.consoleauth import Store
from rfbproxy.consoles import Consoles
from rfbproxy.errors import ConfigError

NAME = "api"  # of its listener, as LISTEN_FDNAMES may name it

_log = Logger()


def wanted(config: Config) -> Mapping[str, Sequence[Address]]:
    """Where the API is listened for, by its listener's name; nothing where it is off."""
    return {NAME: config.api_listen} if config.api_listen else {}


def listener(
    config: Config,
    store: Store,
    on_thread: OnThread,
    ready: Callable[[], Awaitable[str | None]],
    waiting_room: WaitingRoom,
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
    return ApiListener(rules, reactor, assembly.tls(config), waiting_room)


def warn(config: Config) -> None:
    """Tell the operator if the API's token is to cross a network in clear."""
    exposed = [address for address in config.api_listen if address.path is None and not _is_loopback(address.host)]
    if exposed and config.certificate_file is None:
        _log.warn("the API is offered in clear on {addresses}: whoever is in between reads its token; set [DEFAULT] "
                  "cert", addresses=", ".join(map(str, exposed)))  # fmt: skip


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
