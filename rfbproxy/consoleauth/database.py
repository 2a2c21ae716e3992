"""One database behind SQLAlchemy: its ways (SQLite's most of all), and its errors in one line without secrets."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, inspect, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from rfbproxy.consoleauth import engine
from rfbproxy.consoleauth.engine import asks_to_retry, make_engine
from rfbproxy.errors import StoreError

_RETRY_S = 0.02
_RETRY_AFTER_S = 0.1  # at once would take the locks again before the transaction that waited for them wakes up
_MODE = 0o600

T = TypeVar("T")


class Database:
    """A database that may be used from any thread; every failure is a `StoreError` that names it.

    Making one touches neither file nor network. One that is down fails every call within the times of
    `rfbproxy.consoleauth.engine`, and is used again as soon as it is back.

    Attributes:
        name: the URL for messages, without password and options.
        in_memory: whether it lives and dies with this object, on one connection.
        file: of SQLite, if it has one.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            raise StoreError("the token store's address is not a database URL (dialect://…)") from None
        sqlite = parsed.get_backend_name() == "sqlite"
        self.in_memory = sqlite and parsed.database in (None, "", ":memory:")
        self.file: Path | None = None
        self._identity: tuple[int, int] | None = None
        if sqlite and not self.in_memory and "uri" not in parsed.query:
            self.file = Path(parsed.database or "").absolute()
            parsed = parsed.set(database=str(self.file))
        self.name = parsed.set(query={}).render_as_string(hide_password=True)
        # All threads share the one connection that a memory database has, so one transaction at a time.
        self._turn: AbstractContextManager[Any] = threading.RLock() if self.in_memory else nullcontext()
        with self._errors():
            self._engine = make_engine(parsed, in_memory=self.in_memory)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries alone."""
        self._notice_a_new_file()
        with self._errors(), self._turn, self._engine.connect() as connection:
            yield connection

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Do the work in one transaction, once more where the database asks for that (a deadlock), and commit it.

        Raises:
            IntegrityError: as it is; what it means is the caller's to say.
        """
        with self._errors(let=IntegrityError), self._turn:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DatabaseError as error:
                if not asks_to_retry(error):
                    raise
            time.sleep(_RETRY_AFTER_S)
            with self._engine.begin() as connection:
                return work(connection)

    def make_file(self) -> None:
        """Make an SQLite file that is missing, readable by its owner alone."""
        if self.file is None:
            return
        try:
            os.close(os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
        except FileExistsError:
            pass
        except OSError as error:
            raise self._failed(f"the file cannot be made: {error.strerror}") from error

    def tables(self) -> frozenset[str]:
        """The names of all tables."""
        with self.reading() as connection:
            return frozenset(inspect(connection).get_table_names())

    def columns(self, table: Table) -> frozenset[str]:
        """The names of the columns that a table really has."""
        with self.reading() as connection:
            return frozenset(column["name"] for column in inspect(connection).get_columns(table.name))

    def make_tables(self, *tables: Table) -> None:
        """Make the tables that are missing, in this order; several programs may do so at once."""
        wanted = {table.name for table in tables}
        while missing := wanted - self.tables():
            try:
                self._create(tables)
            except (StoreError, IntegrityError):
                # MariaDB and PostgreSQL let two programs look and then both make. The second one only needs the tables
                # there, and MariaDB has them one by one.
                if missing == wanted - self.tables():
                    raise
        if self.file is not None:
            self._write_ahead()

    def release(self) -> None:
        """Give all connections back; new ones are made when they are needed. A memory database keeps its only one."""
        if not self.in_memory:
            self._engine.dispose()

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _notice_a_new_file(self) -> None:
        """Leave a file that was removed or replaced: SQLite would go on reading it for ever."""
        if self.file is None:
            return
        try:
            found = self.file.stat()
        except FileNotFoundError:
            raise self._failed("the file is gone") from None
        identity = (found.st_dev, found.st_ino)
        if identity != self._identity:
            self._identity = identity
            self._engine.dispose()

    def _create(self, tables: tuple[Table, ...]) -> None:
        def create(connection: Connection) -> None:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            for table in tables:
                table.create(connection, checkfirst=True)

        self.transact(create)

    def _write_ahead(self) -> None:
        """Switch the file to WAL, for good, so that readers and a writer do not wait for each other."""
        deadline = time.monotonic() + engine.BUSY_TIMEOUT_S
        with self.reading() as connection:
            while True:
                try:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                    return
                except OperationalError as error:
                    # Where another program writes, SQLite fails this statement at once, whatever the busy timeout.
                    if "locked" not in str(error.orig) or time.monotonic() > deadline:
                        raise
                time.sleep(_RETRY_S)

    @contextmanager
    def _errors(self, let: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        try:
            yield
        except let:
            raise
        except ImportError as error:
            raise self._failed(f"its driver is not installed: {error}") from error
        except NoSuchModuleError as error:
            raise self._failed("SQLAlchemy knows no such kind of database or driver") from error
        except DataError as error:
            # MariaDB's text holds the value, which may be a secret.
            raise self._failed(f"the database refuses a value ({type(error.orig).__name__})") from None
        except DBAPIError as error:
            raise self._failed(_text(error)) from error
        except SQLAlchemyError as error:
            raise self._failed(str(error)) from error
        except (TypeError, ValueError, OverflowError) as error:
            # Drivers raise these, unwrapped, for options and values that they cannot take; a value may be a secret.
            raise self._failed(f"the driver refuses an option or a value ({type(error).__name__})") from None

    def _failed(self, why: str) -> StoreError:
        first_line = next(iter(why.splitlines()), "") or "it failed without saying why"
        return StoreError(f"token store {self.name}: {first_line}")


def _text(error: DBAPIError) -> str:
    """What the driver says; PyMySQL's errors are a number and a text."""
    said = error.orig.args if error.orig is not None else ()
    return str(said[1]) if len(said) == 2 and isinstance(said[0], int) else str(error.orig)
