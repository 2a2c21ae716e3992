"""What is kept here of tokens that are somebody else's: their grants, and which sessions have them."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import bindparam, select

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.grants import read_grant
from rfbproxy.consoleauth.leftovers import Hashes, forget_gone
from rfbproxy.consoleauth.schema import GRANTS, OURS, TOKENS
from rfbproxy.consoleauth.sessions import SessionTable, Withdrawn
from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable
from rfbproxy.consoleauth.token import Grant, hash_token
from rfbproxy.errors import StoreReadOnly

GRANT_KEPT_S = 86400  # at least; a grant may be here before its token is there

_GRANT = select(GRANTS.c.policy, GRANTS.c.secrets).where(GRANTS.c.token_hash == bindparam("this"))


class State:
    """The database `[consoleproxy] state_connection`; synchronous, and safe to use from any thread.

    Everything raises `StoreError` when the database fails.

    Args:
        url: SQLAlchemy URL.
        withdrawn: see `SessionTable`.

    Attributes:
        database: for tables of ours.
        sessions: the live ones.
        spice_sessions: which SPICE sessions have tokens.
    """

    def __init__(self, url: str, withdrawn: Withdrawn) -> None:
        self.database = Database(url)
        self.sessions = SessionTable(self.database, withdrawn, beside_tokens=False)
        self.spice_sessions = SpiceSessionTable(self.database)
        self._missed: frozenset[str] = frozenset()  # tokens that were gone at the last purge

    def open(self) -> None:
        """Connect, and make the tables; no connection is kept.

        Raises:
            StoreReadOnly: the database is nova's.
        """
        database = self.database
        database.make_file()
        tables = database.tables()
        if TOKENS.name in tables and GRANTS.name not in tables:
            raise StoreReadOnly(f"token store {database.name} is nova's: grants cannot be kept there")
        database.make_tables(*OURS)
        database.release()

    def close(self) -> None:
        """Give all connections back."""
        self.database.close()

    def grant(self, token: str) -> Grant:
        """The token's grant; an empty one where none was kept."""
        with self.database.reading() as connection:
            found = connection.execute(_GRANT, {"this": hash_token(token)}).mappings().first()
        return read_grant(token, found["policy"], found["secrets"]) if found is not None else Grant()

    def purge(self, now: int, gone: Callable[[Hashes], Hashes], kept_s: int = GRANT_KEPT_S) -> None:
        """Delete what is dead of the sessions, and what is kept of tokens that are gone.

        A grant goes when its token was gone at two purges in a row, for a token that comes back would open without it.

        Args:
            gone: which of these tokens there are no more.
            kept_s: how old a grant must be.
        """
        self.sessions.purge(now)
        self.spice_sessions.purge(now)
        missing: set[str] = set()

        def gone_for_good(hashes: Hashes) -> Hashes:
            found = set(gone(hashes))
            missing.update(found)
            return found & self._missed

        forget_gone(self.database, gone_for_good, datetime.fromtimestamp(now - kept_s, UTC).replace(tzinfo=None))
        self._missed = frozenset(missing)
