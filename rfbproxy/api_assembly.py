"""What the options become for the API.

It is imported where it is wanted: what judges its bodies takes a tenth of the time in which the service starts.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rfbproxy import assembly
from rfbproxy.address import Address
from rfbproxy.api.access import Access, BadTokens, TokenFile, weaknesses
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.config import Config
from rfbproxy.consoleauth import Store
from rfbproxy.errors import ConfigError
from rfbproxy.metrics import Snapshot
from rfbproxy.written import Finding

if TYPE_CHECKING:
    from rfbproxy.api.resource import OnThread
    from rfbproxy.api.server import ApiFactory, ApiListener

NAME = "api"  # of its listener, as LISTEN_FDNAMES may name it

_FILES = ("api_token_file", "metrics_token_file")

_log = Logger()


def wanted(config: Config) -> Mapping[str, Sequence[Address]]:
    """Where the API is listened for, by its listener's name; nothing where it is off."""
    return {NAME: config.api_listen} if config.api_listen else {}


def listener(
    config: Config,
    store: Store,
    on_thread: "OnThread",
    ready: Callable[[], Awaitable[str | None]],
    figures: Callable[[], Awaitable[Sequence[Snapshot]]],
    bad_tokens: BadTokens,
    waiting_room: WaitingRoom,
    reactor: Any,
) -> "ApiListener":
    """What clients of the API meet.

    Args:
        store: an open one.
        on_thread: runs what uses the store.
        ready: see `ApiRules`, and so `figures`.
        bad_tokens: remembers who guesses at the API's tokens.

    Raises:
        ConfigError: there is no token, or a file cannot be used.
    """
    from rfbproxy.api.resource import ApiRules
    from rfbproxy.api.server import ApiListener
    from rfbproxy.consoles import Consoles

    file, for_metrics = (config.path("consoleproxy", name) for name in _FILES)
    if file is None:
        raise ConfigError("[consoleproxy] api_listen needs a token: set [consoleproxy] api_token_file")
    tls_only = assembly.tls_only(config)
    rules = ApiRules(
        consoles=Consoles(store, config),
        on_thread=on_thread,
        access=Access(
            TokenFile(file, f"[consoleproxy] {_FILES[0]}"),
            bad_tokens,
            TokenFile(for_metrics, f"[consoleproxy] {_FILES[1]}") if for_metrics is not None else None,
        ),
        clock=reactor,
        enabled=tuple(protocol for protocol in ("vnc", "spice") if config.flag(protocol, "enabled")),
        ready=ready,
        figures=figures,
        tls_only=tls_only,
    )
    return ApiListener(rules, reactor, assembly.tls(config), waiting_room)


def factory(listener: "ApiListener") -> "ApiFactory":
    """What builds its connections."""
    from rfbproxy.api.server import ApiFactory

    return ApiFactory(listener)


def warn(config: Config) -> None:
    """Tell the operator what is weak about the API."""
    for finding in weak(config):
        _log.warn("{finding}", finding=str(finding))


def weak(config: Config) -> Iterator[Finding]:
    """Whether its tokens are to cross a network in clear, can be read by everybody, or can be guessed."""
    if not config.api_listen:
        return
    exposed = [address for address in config.api_listen if address.path is None and not _is_loopback(address.host)]
    if exposed and config.certificate_file is None:
        where = ", ".join(map(str, exposed))
        yield Finding(
            "[consoleproxy] api_listen",
            f"the API is offered in clear on {where}: whoever is in between reads its token; set [DEFAULT] cert",
        )
    for name in _FILES:
        if (file := config.path("consoleproxy", name)) is not None:
            yield from (Finding(f"[consoleproxy] {name}", weakness) for weakness in weaknesses(file))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
