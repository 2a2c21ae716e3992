"""Which token store an address means: the one place that knows them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rfbproxy.consoleauth.addresses import scheme_of
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.store import Store
from rfbproxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What stores are made from, beside their address.

    Attributes:
        state_url: database of what is kept of tokens that are somebody else's.
        login: options of `[keystone_authtoken]` by name.
        token_ttl: seconds that tokens live at most.
        report: told of what the operator should hear, a line each; from any thread.
    """

    state_url: str
    login: Mapping[str, Any] = field(default_factory=dict, repr=False)
    token_ttl: int = 600
    report: Callable[[str], None] = lambda _: None


def _sql(url: str, options: StoreOptions) -> Store:
    return SqlStore(url, options.state_url)


def _compute_api(url: str, options: StoreOptions) -> Store:
    from rfbproxy.consoleauth.compute_api import ComputeApi

    return ComputeApi(url, options.state_url, options.login, options.token_ttl)


def _token_file(url: str, options: StoreOptions) -> Store:
    from rfbproxy.consoleauth.token_file import TokenFile

    return TokenFile(url, options.state_url, options.report)


_STORES: dict[str, Callable[[str, StoreOptions], Store]] = {
    "sqlite": _sql,
    "postgresql+psycopg": _sql,
    "mysql+pymysql": _sql,
    "nova+https": _compute_api,
    "nova+http": _compute_api,
    "file": _token_file,
}


def make_store(url: str, options: StoreOptions) -> Store:
    """The store at an address, not opened: neither file nor network is touched.

    Raises:
        ConfigError, StoreError: the address, or an option that goes with it, cannot be used.
    """
    scheme = scheme_of(url)
    if scheme not in _STORES:
        allowed = ", ".join(f"{name}://" for name in _STORES)
        # What has no scheme may be anything, a password too.
        what = f"a kind of token store, {scheme[:80]!r}, that is unknown" if scheme else "not a database URL"
        raise ConfigError(f"[consoleauth] connection is {what}; allowed is what begins with {allowed}")
    return _STORES[scheme](url, options)
