"""What every token store has, wherever its tokens are."""

from typing import Protocol

from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable
from rfbproxy.consoleauth.token import ConsoleToken

ConsoleTokens = list[ConsoleToken]


class Store(Protocol):
    """Console tokens; synchronous, and safe to use from any thread. Everything raises `StoreError` when it fails."""

    @property
    def in_memory(self) -> bool:
        """Whether more than one thread gains nothing."""

    @property
    def spice_sessions(self) -> SpiceSessionTable:
        """Which SPICE sessions have tokens; raises `StoreError` where that is not kept."""

    def open(self) -> None:
        """Make it ready; no connection is kept, so the program may still fork."""

    def close(self) -> None:
        """Give back what is held."""

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""

    def find(self, token: str) -> ConsoleToken | None:
        """The token with its grant, be it valid or not; None where there is none."""

    def list(self, now: int) -> ConsoleTokens:
        """The tokens valid now, the first to expire first, with empty grants."""

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
        """Delete the tokens of exactly one selector, and return how many there were.

        Raises:
            ConfigError: `id` is not 8 hex digits.
            StoreReadOnly: the tokens are somebody else's.
        """

    def purge(self, now: int) -> int:
        """Delete what is no longer valid and is ours to delete, and return how many tokens there were."""
