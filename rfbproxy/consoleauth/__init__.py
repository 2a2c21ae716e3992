"""Console tokens: what they are, the URLs that carry them, and the store that keeps them.

`token`, `rows`, `access_url`, `addresses`, `sealing` and `grants` are plain values and functions. `store` says what a
store is, and `stores` knows them all by their addresses: `sql` (with `schema`, `database`, `engine`, `postgresql`,
`leftovers`, `finding`, `sqlite_reader`, `sessions`, `spice_sessions`), `compute_api` and `token_file` (both `foreign`,
with their `state` in a database). They are synchronous, as the command line uses them, which has `vmware_ports` too;
`threaded` puts one behind `threads` for the service, and these two alone know Twisted. What knows SQLAlchemy or Twisted
takes long to import, and has to be imported by its own name. `session`, `service` and `cli` may import from here;
`client` and `target` do not. Imports only `rfbproxy.errors` and `rfbproxy.secret`.
"""

from collections.abc import Awaitable, Collection, Mapping
from typing import Protocol

from rfbproxy.consoleauth.access_url import access_url
from rfbproxy.consoleauth.rows import LIVE_S, ChannelRow, Location, SessionRow, SpiceClaim, worker_of
from rfbproxy.consoleauth.store import Store
from rfbproxy.consoleauth.token import CONSOLE_TYPES, ConsoleToken, Grant, hash_token, new_token

__all__ = [
    "CONSOLE_TYPES",
    "LIVE_S",
    "ChannelRow",
    "ConsoleToken",
    "Grant",
    "Location",
    "SessionRow",
    "SessionStore",
    "SpiceClaim",
    "SpiceSessionStore",
    "Store",
    "TokenStore",
    "access_url",
    "hash_token",
    "new_token",
    "worker_of",
]


class TokenStore(Protocol):
    """The store as a session sees it; both calls fail with `StoreError`."""

    def find(self, token: str) -> Awaitable[ConsoleToken | None]:
        """The token's row with its grant, be it valid or not; None where there is none."""

    def ping(self) -> Awaitable[None]:
        """Fail unless the store answers."""


class SessionStore(Protocol):
    """The live sessions of all proxies, as a session sees them; all calls fail with `StoreError`.

    What each is for is told by `rfbproxy.consoleauth.sessions.SessionTable`.
    """

    def tell(self, proxy: str, sessions: Mapping[str, SessionRow], now: int) -> Awaitable[dict[str, str]]:
        """Say which sessions a proxy has; gives those that are to end, and why."""

    def enter(self, row: SessionRow, now: int, *, alone: str) -> Awaitable[bool]:
        """Let a session in that is to be the only one of its instance."""

    def settle(self, row: SessionRow, now: int, *, alone: str) -> Awaitable[None]:
        """Let such a session be alone among those that began before it, too, though they were told of later."""

    def use(self, row: SessionRow, client: str, now: int) -> Awaitable[bool]:
        """Use a session's one-time token."""

    def leave(self, token_hash: str, session: str, now: int) -> Awaitable[None]:
        """The session of a one-time token has ended."""


class SpiceSessionStore(Protocol):
    """Which SPICE sessions have tokens, as a session sees it; all calls fail with `StoreError`.

    What each is for is told by `rfbproxy.consoleauth.spice_sessions.SpiceSessionTable`.
    """

    def claim(
        self, token_hash: str, session: str, client: str, now: int, *, take_over: bool
    ) -> Awaitable[SpiceClaim | None]:
        """Make `session` the one that has this token; None where another has it."""

    def begin(self, token_hash: str, session: str, connection_id: int, now: int) -> Awaitable[None]:
        """Say which SPICE session id the target has told."""

    def find(self, token_hash: str, connection_id: int, now: int) -> Awaitable[SpiceClaim | None]:
        """The live session of this token and this SPICE session id."""

    def keep(self, sessions: Mapping[str, str], now: int) -> Awaitable[None]:
        """Let the claims of these sessions (token hashes by session) live on."""

    def living(self, sessions: Collection[str], now: int) -> Awaitable[frozenset[str]]:
        """Those of these sessions that still have their token."""

    def move(self, token_hash: str, session: str, location: Location, until: int) -> Awaitable[None]:
        """Say that the machine has moved, and let go of the claim."""

    def end(self, token_hash: str, session: str) -> Awaitable[None]:
        """Let go of the claim."""

    def note_channel(
        self, session: str, link: str, name: str, to_client: int, to_target: int, now: int
    ) -> Awaitable[None]:
        """Say what a channel on another proxy than main's has relayed."""

    def channels(self, sessions: Collection[str]) -> Awaitable[dict[str, list[ChannelRow]]]:
        """What the channels of these sessions have relayed so far."""

    def take_channels(self, session: str) -> Awaitable[list[ChannelRow]]:
        """What those channels have relayed, for once."""
