"""What is kept here of tokens that are somebody else's: their grants, and which sessions have them."""

from sqlalchemy import select

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.grants import read_grant
from rfbproxy.consoleauth.schema import GRANTS, OURS, TOKENS
from rfbproxy.consoleauth.sessions import SessionTable, Withdrawn
from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable
from rfbproxy.consoleauth.token import Grant, hash_token
from rfbproxy.errors import StoreReadOnly


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
        self.sessions = SessionTable(self.database, withdrawn, told_of_withdrawals=False)
        self.spice_sessions = SpiceSessionTable(self.database)

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
        query = select(GRANTS.c.policy, GRANTS.c.secrets).where(GRANTS.c.token_hash == hash_token(token))
        with self.database.reading() as connection:
            found = connection.execute(query).mappings().first()
        return read_grant(token, found["policy"], found["secrets"]) if found is not None else Grant()
