"""What can be done with consoles and sessions, on a store of this machine: the same for the command and for the API.

Every answer is the JSON of docs/reference/api.md.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from rfbproxy.config import Config
from rfbproxy.consoleauth import ConsoleToken, SessionRow, Store, hash_token
from rfbproxy.errors import ConfigError
from rfbproxy.issue import Console, issue, target_host
from rfbproxy.viewer_file import own_certificate, viewer_file

Json = dict[str, Any]


class Commands(Protocol):
    """What the command asks for, here or of the API of another machine; all of it raises `ConsoleProxyError`."""

    def create(self, console: Console, ttl: int | None = None) -> Json:
        """Issue a token."""

    def list(self) -> Json:
        """The consoles that can be opened now."""

    def revoke(self, *, token: str | None = None, instance: str | None = None, id: str | None = None) -> Json:  # noqa: A002
        """Withdraw the tokens of exactly one selector."""

    def move(self, instance: str, host: str, port: int | None = None, tls_port: int | None = None) -> Json:
        """Point the tokens of an instance at another host."""

    def sessions(self) -> Json:
        """The sessions that live now."""

    def end_session(self, id: str) -> Json:  # noqa: A002
        """Let a session end."""


class Consoles:
    """The consoles of a store; synchronous, and as safe to use from any thread as the store.

    Args:
        store: an open one.
        config: says what URLs begin with, how long tokens live, and what viewer files tell.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, config: Config, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._config = config
        self._clock = clock

    def create(self, console: Console, ttl: int | None = None) -> Json:
        """Issue a token; of `spice-direct` the viewer file's text comes along.

        Args:
            ttl: seconds it lives; None: as `[consoleauth] token_ttl` says.

        Raises:
            ConfigError: something of the console, or an option that it needs, cannot be used.
            StoreError: the store cannot take it.
        """
        config, is_direct = self._config, console.console_type == "spice-direct"
        certificate = own_certificate(config) if is_direct else None
        if ttl is None:
            ttl = int(config.number("consoleauth", "token_ttl"))
        issued = issue(self._store, console, base=config.base_url(console.console_type), ttl=ttl, now=self._now)
        result = issued.as_json()
        if is_direct:
            title = issued.console.instance_uuid or ""
            result["vv"] = viewer_file(config, issued.token, title=title, certificate=certificate).text()
        return result

    def list(self) -> Json:
        """The consoles that can be opened now, without their tokens."""
        return {"consoles": [_listed(console) for console in self._store.list(self._now)]}

    def find(self, token: str) -> ConsoleToken | None:
        """What a token opens; None where it is none, or none any more."""
        console = self._store.find(token)
        return console if console is not None and console.expires > self._now else None

    def revoke(self, *, token: str | None = None, instance: str | None = None, id: str | None = None) -> Json:  # noqa: A002
        """Withdraw the tokens of exactly one selector, and end their sessions; says how many tokens there were.

        Args:
            id: as `list` tells it.
        """
        token_hash = hash_token(token) if token is not None else None
        return {"revoked": self._store.revoke(token_hash=token_hash, instance_uuid=instance, id=id)}

    def move(self, instance: str, host: str, port: int | None = None, tls_port: int | None = None) -> Json:
        """Point the tokens of an instance at another host, for sessions to come; says how many there are.

        Args:
            port: None: as it was, and so is the TLS port.

        Raises:
            ConfigError: the host is none, or there is a TLS port without a port.
        """
        if tls_port is not None and port is None:
            raise ConfigError("a TLS port is given together with the port")
        return {"moved": self._store.move(instance, target_host(host), port, tls_port)}

    def sessions(self) -> Json:
        """The sessions that live now, on all proxies of the store, the oldest first."""
        return {"sessions": [_session(row) for row in self._store.sessions.list(self._now)]}

    def end_session(self, id: str) -> Json:  # noqa: A002
        """Let a session end, wherever it is; says how many there were."""
        return {"ended": self._store.sessions.end(id, self._now)}

    @property
    def _now(self) -> int:
        return int(self._clock())


def _listed(console: ConsoleToken) -> Json:
    return {
        "id": console.id,
        "type": console.console_type,
        "host": console.host,
        "port": console.port,
        "instance": console.instance_uuid,
        "expires": console.expires,
    }


def _session(row: SessionRow) -> Json:
    return {
        "id": row.id,
        "type": row.type,
        "client": row.client,
        "target": row.target,
        "instance": row.instance,
        "started": row.started,
        "bytes_to_client": row.bytes_to_client,
        "bytes_to_target": row.bytes_to_target,
        "proxy": row.proxy,
    }
