"""What every token store has, wherever its tokens are."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from rfbproxy.consoleauth.token import ConsoleToken

if TYPE_CHECKING:
    from rfbproxy.consoleauth.database import Database
    from rfbproxy.consoleauth.sessions import SessionTable
    from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable

ConsoleTokens = list[ConsoleToken]
Find = Callable[[str], ConsoleToken | None]


class Store(Protocol):
    """Console tokens; synchronous, and safe to use from any thread. Everything raises `StoreError` when it fails."""

    @property
    def in_memory(self) -> bool:
        """Whether more than one thread gains nothing."""

    @property
    def find_at_once(self) -> Find | None:
        """As `find`, for one thread alone, which waits for nobody; it raises `StoreBusy` where it would have to.

        None: this store has to wait.
        """

    @property
    def sessions(self) -> "SessionTable":
        """The live sessions; raises `StoreError` where they are not kept."""

    @property
    def spice_sessions(self) -> "SpiceSessionTable":
        """Which SPICE sessions have tokens; raises `StoreError` where that is not kept."""

    @property
    def own_database(self) -> "Database":
        """Where tables of ours may be; raises `StoreError` where nothing is kept."""

    def open(self) -> None:
        """Make it ready; no connection is kept, so the program may still fork."""

    def close(self) -> None:
        """Give back what is held."""

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""

    def find(self, token: str) -> ConsoleToken | None:
        """The token with its grant, be it valid or not; None where there is none."""

    def list(self, now: int) -> ConsoleTokens:
        """The tokens valid now, the first to expire first, with empty grants.

        Raises:
            StoreUnlisted: their owner does not tell.
        """

    def create(self, token: str, console: ConsoleToken, now: int) -> None:
        """Store a token with its grant.

        Raises:
            TokenInUse: the token exists, be it valid or not.
            StoreReadOnly: the tokens are somebody else's.
        """

    def revoke(
        self,
        *,
        token_hash: str | None = None,
        instance_uuid: str | None = None,
        id: str | None = None,  # noqa: A002 - it is called so in lists, records and on the command line
    ) -> int:
        """Delete the tokens of exactly one selector, end their sessions, and return how many tokens there were.

        Raises:
            ConfigError: `id` is not 8 hex digits.
            StoreReadOnly: the tokens are somebody else's.
        """

    def move(self, instance_uuid: str, host: str, port: int | None = None, tls_port: int | None = None) -> int:
        """Point the tokens of an instance at another host, and return how many there are; live sessions stay.

        Args:
            port: None: as it was, and so is the TLS port.

        Raises:
            StoreReadOnly: the tokens are somebody else's.
        """

    def purge(self, now: int) -> int:
        """Delete what is no longer valid and is ours to delete, and return how many tokens there were."""
