"""The token store on SQL: nova's table, only read where it is nova's, and ours everywhere else."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.finding import Row, console_token, finding
from rfbproxy.consoleauth.grants import grant_row, read_grant
from rfbproxy.consoleauth.leftovers import PURGED_AT_ONCE, forget, forget_gone
from rfbproxy.consoleauth.schema import GRANTS, OURS, REQUIRED, SESSIONS, TOKENS
from rfbproxy.consoleauth.sessions import SessionTable, end_sessions
from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable
from rfbproxy.consoleauth.sqlite_reader import SqliteReader
from rfbproxy.consoleauth.state import State
from rfbproxy.consoleauth.store import ConsoleTokens, Find
from rfbproxy.consoleauth.token import ConsoleToken, Grant, hash_token
from rfbproxy.errors import ConfigError, StoreError, StoreReadOnly, TokenInUse

CLOCKS_S = 10  # how long an expired token is kept, so that a proxy whose clock is late does not take it for withdrawn

_KNOWN = select(TOKENS.c.token_hash).where(TOKENS.c.token_hash.in_(bindparam("these", expanding=True)))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Opened:
    """What `open` found.

    Attributes:
        columns: those of our `TOKENS` that the table really has.
        finding: the query for the token whose hash is `this`, with its grant where that is in the same database.
        ours: whether the tokens are ours to write; their grants are then in the same database.
        state: where the grants of nova's tokens are, if anywhere.
        sessions: the live ones, beside the grants, so None where those are nowhere.
        spice_sessions: as these.
        reader: answers `finding` at once, where tokens and grants are in an SQLite file.
    """

    columns: tuple[ColumnElement[Any], ...]
    finding: Select[Any]
    ours: bool
    state: State | None
    sessions: SessionTable | None
    spice_sessions: SpiceSessionTable | None
    reader: SqliteReader | None = None


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
        self._state = State(state_url, self._withdrawn) if state_url is not None else None
        self._found: _Opened | None = None

    @property
    def in_memory(self) -> bool:
        """Whether all of it is on the one connection of a memory database, so that more threads gain nothing."""
        return self._database.in_memory

    @property
    def find_at_once(self) -> Find | None:
        """See `Store.find_at_once`: a read of an SQLite file waits for nobody."""
        opened = self._found
        return partial(self._read, opened.reader) if opened is not None and opened.reader is not None else None

    @property
    def sessions(self) -> SessionTable:
        """The live sessions of all proxies."""
        return self._beside_grants(self._opened().sessions)

    @property
    def spice_sessions(self) -> SpiceSessionTable:
        """Which SPICE sessions have tokens."""
        return self._beside_grants(self._opened().spice_sessions)

    def _beside_grants(self, table: T | None) -> T:
        if table is None:
            raise StoreError(f"token store {self._database.name} is nova's, and there is no state database beside it")
        return table

    @property
    def own_database(self) -> Database:
        """Where tables of ours may be: with the tokens, or beside nova's."""
        opened = self._opened()
        return self._database if opened.ours else self._beside_grants(opened.state).database

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
        if self._found is not None and self._found.reader is not None:
            self._found.reader.close()
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
        with self._database.reading() as connection:
            row = connection.execute(opened.finding, {"this": hash_token(token)}).mappings().first()
        return console_token(row, self._grant(opened, token, row)) if row is not None else None

    def list(self, now: int) -> ConsoleTokens:
        """The tokens valid now, the first to expire first; their grants stay closed, so they look empty."""
        query = select(*self._opened().columns).where(TOKENS.c.expires > now).order_by(TOKENS.c.expires)
        with self._database.reading() as connection:
            return [console_token(row, Grant()) for row in connection.execute(query).mappings()]

    def revoke(
        self,
        *,
        token_hash: str | None = None,
        instance_uuid: str | None = None,
        id: str | None = None,  # noqa: A002 - it is called so in lists, records and on the command line
    ) -> int:
        """Delete the tokens of exactly one selector, end their sessions, and return how many tokens there were.

        The sessions of a token that has expired meanwhile end too.

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
        self._writable()

        def which(table: Table) -> ColumnElement[bool]:
            if id is not None:
                return _with_id(table, id)
            if token_hash is not None:
                return table.c.token_hash == token_hash
            return table.c.instance_uuid == instance_uuid

        def withdraw(connection: Connection) -> int:
            end_sessions(connection, which(SESSIONS))
            return _delete(connection, which(TOKENS))

        return self._database.transact(withdraw)

    def move(self, instance_uuid: str, host: str, port: int | None = None, tls_port: int | None = None) -> int:
        """Point the tokens of an instance at another host, and return how many there are; live sessions stay.

        Args:
            port: None: as it was, and so is the TLS port.

        Raises:
            StoreReadOnly: the tokens are nova's.
        """
        self._writable()
        ports = {"port": port, "tls_port": tls_port} if port is not None else {}
        moving = update(TOKENS).where(TOKENS.c.instance_uuid == instance_uuid).values(host=host, **ports)
        return self._database.transact(lambda connection: connection.execute(moving).rowcount)

    def purge(self, now: int) -> int:
        """Delete the tokens that expired `CLOCKS_S` ago, and return how many; nova's are left to nova (0).

        What is dead of the sessions goes too, and what is kept of tokens that nova has deleted; uncounted.
        """
        opened = self._opened()
        if opened.state is not None:
            opened.state.purge(now, self._withdrawn)
        if not opened.ours:
            return 0
        self.sessions.purge(now)
        self.spice_sessions.purge(now)
        forget_gone(self._database, self._withdrawn)
        return sum(self._purged(now - CLOCKS_S))

    def _purged(self, now: int) -> Iterator[int]:
        """Delete the expired tokens in transactions of a bounded size, so that nobody else waits long."""
        expired = select(TOKENS.c.token_hash).where(TOKENS.c.expires <= now).limit(PURGED_AT_ONCE)
        while True:
            with self._database.reading() as connection:
                hashes = sorted(connection.execute(expired).scalars())
            if hashes:
                yield self._database.transact(partial(_delete, which=TOKENS.c.token_hash.in_(hashes), known=hashes))
            if len(hashes) < PURGED_AT_ONCE:
                return

    def _read(self, reader: SqliteReader, token: str) -> ConsoleToken | None:
        row = reader.row(hash_token(token))
        return console_token(row, self._grant(self._opened(), token, row)) if row is not None else None

    def _grant(self, opened: _Opened, token: str, row: Row) -> Grant:
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
        query = finding(present, with_grant=not novas)
        if not novas:
            sessions = SessionTable(database, self._withdrawn, beside_tokens=True)
            reader = SqliteReader(database.file, query) if database.file is not None else None
            return _Opened(columns, query, True, None, sessions, SpiceSessionTable(database), reader)
        if self._state is None:
            return _Opened(columns, query, False, None, None, None)
        self._state.open()
        return _Opened(columns, query, False, self._state, self._state.sessions, self._state.spice_sessions)

    def _withdrawn(self, token_hashes: Collection[str]) -> Collection[str]:
        with self._database.reading() as connection:
            return set(token_hashes) - set(connection.execute(_KNOWN, {"these": list(token_hashes)}).scalars())


def _delete(connection: Connection, which: ColumnElement[bool], known: Collection[str] | None = None) -> int:
    """Delete tokens, with what is kept of them.

    Args:
        known: their hashes, where they are known without a look at the tokens.
    """
    forget(connection, known if known is not None else select(TOKENS.c.token_hash).where(which))
    return connection.execute(delete(TOKENS).where(which)).rowcount


def _with_id(table: Table, id_: str) -> ColumnElement[bool]:
    """Hashes that begin with these 8 hex digits, as a range, which an index answers in every database."""
    if re.fullmatch(r"[0-9a-fA-F]{8}", id_) is None:
        raise ConfigError(f"a console token's id is the first 8 hex digits of its hash, not {id_!r}")
    first = id_.lower()
    return and_(table.c.token_hash >= first, table.c.token_hash < first + "g")
