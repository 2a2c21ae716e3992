"""The token store on SQL: nova's table, only read where it is nova's, and ours everywhere else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, insert, select
from sqlalchemy.exc import IntegrityError

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.grants import grant_row, read_grant
from rfbproxy.consoleauth.schema import GRANTS, OURS, REQUIRED, TOKENS
from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable
from rfbproxy.consoleauth.state import State
from rfbproxy.consoleauth.store import ConsoleTokens
from rfbproxy.consoleauth.token import ConsoleToken, Grant, hash_token
from rfbproxy.errors import ConfigError, StoreError, StoreReadOnly, TokenInUse

PURGED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Opened:
    """What `open` found.

    Attributes:
        columns: those of our `TOKENS` that the table really has.
        ours: whether the tokens are ours to write; their grants are then in the same database.
        state: where the grants of nova's tokens are, if anywhere.
        spice_sessions: beside the grants, so None where those are nowhere.
    """

    columns: tuple[ColumnElement[Any], ...]
    ours: bool
    state: State | None
    spice_sessions: SpiceSessionTable | None


class SqlStore:
    """Console tokens in a database; synchronous, and safe to use from any thread.

    Whose the tokens are is told by the tables: an empty database becomes ours, one with `console_auth_tokens` but no
    `console_grants` is nova's and only read. Everything raises `StoreError` when the database fails.

    Args:
        url: SQLAlchemy URL of the database with the tokens.
        state_url: that of the database with the grants and the SPICE sessions, where the tokens are nova's; None: such
            tokens have neither.
    """

    def __init__(self, url: str, state_url: str | None = None) -> None:
        self._database = Database(url)
        self._state = State(state_url) if state_url is not None else None
        self._found: _Opened | None = None

    @property
    def in_memory(self) -> bool:
        """Whether all of it is on the one connection of a memory database, so that more threads gain nothing."""
        return self._database.in_memory

    @property
    def spice_sessions(self) -> SpiceSessionTable:
        """Which SPICE sessions have tokens."""
        sessions = self._opened().spice_sessions
        if sessions is None:
            raise StoreError(f"token store {self._database.name} is nova's, and there is no state database beside it")
        return sessions

    def open(self) -> None:
        """Connect, and make or recognise the tables; no connection is kept, so the program may still fork."""
        try:
            self._found = self._recognise()
        except StoreError:
            self.close()
            raise
        self._database.release()

    def close(self) -> None:
        """Give all connections back; a memory database is forgotten."""
        self._found = None
        self._database.close()
        if self._state is not None:
            self._state.close()

    def ping(self) -> None:
        """Ask the database for next to nothing."""
        self._opened()
        with self._database.reading() as connection:
            connection.execute(select(TOKENS.c.token_hash).limit(1)).first()

    def create(self, token: str, console: ConsoleToken, now: int) -> None:
        """Store a token with its grant, in one transaction.

        Raises:
            TokenInUse: the token exists, be it valid or not.
            StoreReadOnly: the tokens are nova's.
        """
        if console.token_hash != hash_token(token):
            raise ValueError("the console token is not of this token")
        opened = self._writable()
        created_at = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
        values = {column.name: getattr(console, column.name, None) for column in TOKENS.c if column.name != "id"}
        values["created_at"] = created_at
        present = {column.key for column in opened.columns}
        row = {name: value for name, value in values.items() if name in present or value is not None}
        grant = {"token_hash": console.token_hash, "created_at": created_at, **grant_row(token, console.grant)}

        def add(connection: Connection) -> None:
            connection.execute(insert(TOKENS), row)
            connection.execute(insert(GRANTS), grant)

        try:
            self._database.transact(add)
        except IntegrityError:
            raise TokenInUse(f"console token {console.id} exists already") from None

    def find(self, token: str) -> ConsoleToken | None:
        """The token's row, however old, with its grant opened; whether `expires > now` is for the caller to judge."""
        opened = self._opened()
        this = TOKENS.c.token_hash == hash_token(token)
        query = select(*opened.columns).where(this)
        if opened.ours:
            grants = TOKENS.outerjoin(GRANTS, GRANTS.c.token_hash == TOKENS.c.token_hash)
            query = query.add_columns(GRANTS.c.policy, GRANTS.c.secrets).select_from(grants)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        return _console_token(row, self._grant(opened, token, row))

    def list(self, now: int) -> ConsoleTokens:
        """The tokens valid now, the first to expire first; their grants stay closed, so they look empty."""
        query = select(*self._opened().columns).where(TOKENS.c.expires > now).order_by(TOKENS.c.expires)
        with self._database.reading() as connection:
            return [_console_token(row, Grant()) for row in connection.execute(query).mappings()]

    def revoke(
        self,
        *,
        token_hash: str | None = None,
        instance_uuid: str | None = None,
        id: str | None = None,  # noqa: A002 - it is called so in lists, records and on the command line
    ) -> int:
        """Delete the tokens of exactly one selector, and return how many there were.

        Args:
            token_hash: the whole hash.
            instance_uuid: all tokens of this instance.
            id: the first 8 hex digits of the hash; all tokens that share them go.

        Raises:
            ConfigError: `id` is not 8 hex digits.
            StoreReadOnly: the tokens are nova's.
        """
        if sum(selector is not None for selector in (token_hash, instance_uuid, id)) != 1:
            raise TypeError("revoke takes exactly one of token_hash, instance_uuid and id")
        if id is not None:
            which: ColumnElement[bool] = _with_id(id)
        elif token_hash is not None:
            which = TOKENS.c.token_hash == token_hash
        else:
            which = TOKENS.c.instance_uuid == instance_uuid
        self._writable()
        return self._delete(which)

    def purge(self, now: int) -> int:
        """Delete the tokens that are no longer valid, and return how many; nova's are left to nova (0).

        What is dead of the SPICE sessions goes too, uncounted.
        """
        opened = self._opened()
        if opened.spice_sessions is not None:
            opened.spice_sessions.purge(now)
        return sum(self._purged(now)) if opened.ours else 0

    def _purged(self, now: int) -> Iterator[int]:
        """Delete the expired tokens in transactions of a bounded size, so that nobody else waits long."""
        expired = select(TOKENS.c.token_hash).where(TOKENS.c.expires <= now).limit(PURGED_AT_ONCE)
        while True:
            with self._database.reading() as connection:
                hashes = sorted(connection.execute(expired).scalars())
            if hashes:
                yield self._delete(TOKENS.c.token_hash.in_(hashes), GRANTS.c.token_hash.in_(hashes))
            if len(hashes) < PURGED_AT_ONCE:
                return

    def _delete(self, which: ColumnElement[bool], whose: ColumnElement[bool] | None = None) -> int:
        """Delete tokens and their grants.

        Args:
            whose: which grants, where that is known without a look at the tokens.
        """
        if whose is None:
            whose = GRANTS.c.token_hash.in_(select(TOKENS.c.token_hash).where(which))

        def remove(connection: Connection) -> int:
            connection.execute(delete(GRANTS).where(whose))
            return connection.execute(delete(TOKENS).where(which)).rowcount

        return self._database.transact(remove)

    def _grant(self, opened: _Opened, token: str, row: RowMapping) -> Grant:
        if opened.state is not None:
            return opened.state.grant(token)
        if not opened.ours or row["policy"] is None:
            return Grant()
        return read_grant(token, row["policy"], row["secrets"])

    def _opened(self) -> _Opened:
        if self._found is None:
            raise StoreError(f"token store {self._database.name} is not open")
        return self._found

    def _writable(self) -> _Opened:
        opened = self._opened()
        if not opened.ours:
            raise StoreReadOnly(f"token store {self._database.name} is nova's, which is only read")
        return opened

    def _recognise(self) -> _Opened:
        database = self._database
        database.make_file()
        tables = database.tables()
        novas = TOKENS.name in tables and GRANTS.name not in tables
        if not novas:
            if tables and GRANTS.name not in tables:
                raise StoreError(f"token store {database.name}: it has tables, but no {TOKENS.name} among them")
            # Grants first: a database left with tokens alone would look like nova's.
            database.make_tables(*OURS, TOKENS)
        present = database.columns(TOKENS)
        if missing := REQUIRED - present:
            raise StoreError(f"token store {database.name}: {TOKENS.name} lacks the columns {sorted(missing)}")
        columns = tuple(column for column in TOKENS.c if column.name in present)
        if not novas:
            return _Opened(columns, True, None, SpiceSessionTable(database))
        if self._state is None:
            return _Opened(columns, False, None, None)
        self._state.open()
        return _Opened(columns, False, self._state, self._state.spice_sessions)


def _with_id(id_: str) -> ColumnElement[bool]:
    """Hashes that begin with these 8 hex digits, as a range, which an index answers in every database."""
    if re.fullmatch(r"[0-9a-fA-F]{8}", id_) is None:
        raise ConfigError(f"a console token's id is the first 8 hex digits of its hash, not {id_!r}")
    first = id_.lower()
    return and_(TOKENS.c.token_hash >= first, TOKENS.c.token_hash < first + "g")


def _console_token(row: RowMapping, grant: Grant) -> ConsoleToken:
    return ConsoleToken(
        token_hash=row["token_hash"],
        console_type=row["console_type"],
        host=row["host"],
        port=row["port"],
        instance_uuid=row["instance_uuid"],
        expires=row["expires"],
        access_url_base=row.get("access_url_base"),
        tls_port=row.get("tls_port"),
        internal_access_path=row.get("internal_access_path"),
        grant=grant,
    )
