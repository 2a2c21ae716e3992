"""Console tokens: what they are, the URLs that carry them, and the store that keeps them.

`token`, `access_url`, `sealing` and `grants` are plain values and functions; `schema`, `database` and `sql` are the
synchronous store, used by the command line; `threaded` puts a store behind threads for the service, and alone knows
Twisted, so it is imported by its own name. `session`, `service` and `cli` may import from here; `client` and `target`
do not. Imports only `rfbproxy.errors` and `rfbproxy.secret`.
"""

from collections.abc import Awaitable
from typing import Protocol

from rfbproxy.consoleauth.access_url import access_url
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.token import CONSOLE_TYPES, ConsoleToken, Grant, hash_token, new_token

__all__ = [
    "CONSOLE_TYPES",
    "ConsoleToken",
    "Grant",
    "SqlStore",
    "TokenStore",
    "access_url",
    "hash_token",
    "new_token",
]


class TokenStore(Protocol):
    """The store as a session sees it; both calls fail with `StoreError`."""

    def find(self, token: str) -> Awaitable[ConsoleToken | None]:
        """The token's row with its grant, be it valid or not; None where there is none."""

    def ping(self) -> Awaitable[None]:
        """Fail unless the store answers."""
