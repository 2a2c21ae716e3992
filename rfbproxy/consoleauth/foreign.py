"""What the stores of somebody else's tokens share: they are only read, and what is kept of them is beside them."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NoReturn

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.sessions import SessionTable
from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable
from rfbproxy.consoleauth.state import State
from rfbproxy.consoleauth.store import ConsoleTokens
from rfbproxy.consoleauth.token import ConsoleToken
from rfbproxy.errors import StoreReadOnly


class ForeignStore(ABC):
    """Tokens that are somebody else's; see `Store` for what each call is for.

    Args:
        name: the store for messages, without secrets.
        state_url: SQLAlchemy URL of the database with the grants and the sessions.
    """

    in_memory = False
    find_at_once = None
    whose: str  # and where they are changed; the end of a sentence

    def __init__(self, name: str, state_url: str) -> None:
        self.name = name
        self._state = State(state_url, self._withdrawn)

    @property
    def sessions(self) -> SessionTable:
        """The live sessions of all proxies."""
        return self._state.sessions

    @property
    def spice_sessions(self) -> SpiceSessionTable:
        """Which SPICE sessions have tokens."""
        return self._state.spice_sessions

    @property
    def own_database(self) -> Database:
        """Where tables of ours may be."""
        return self._state.database

    def open(self) -> None:
        """Make the store ready, and the state database with it."""
        self._state.open()

    def close(self) -> None:
        """Give back what is held."""
        self._state.close()

    @abstractmethod
    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""

    @abstractmethod
    def find(self, token: str) -> ConsoleToken | None:
        """The token with its grant."""

    @abstractmethod
    def list(self, now: int) -> ConsoleTokens:
        """The tokens valid now."""

    def create(self, token: str, console: ConsoleToken, now: int) -> None:
        """Refuse.

        Raises:
            StoreReadOnly: always.
        """
        self._refuse()

    def revoke(
        self,
        *,
        token_hash: str | None = None,
        instance_uuid: str | None = None,
        id: str | None = None,  # noqa: A002 - as in `Store`
    ) -> int:
        """Refuse.

        Raises:
            StoreReadOnly: always.
        """
        self._refuse()

    def move(self, instance_uuid: str, host: str, port: int | None = None, tls_port: int | None = None) -> int:
        """Refuse.

        Raises:
            StoreReadOnly: always.
        """
        self._refuse()

    def purge(self, now: int) -> int:
        """Delete what is dead of the sessions, and what is kept of tokens that are gone; nothing of the owner's (0)."""
        self._state.purge(now, self._withdrawn)
        return 0

    def _withdrawn(self, token_hashes: Collection[str]) -> Collection[str]:
        """Which of these tokens there are no more; none, where their owner does not tell."""
        return ()

    def _refuse(self) -> NoReturn:
        raise StoreReadOnly(f"token store {self.name} is only read: {self.whose}")
