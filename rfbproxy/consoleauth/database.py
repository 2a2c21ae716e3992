"""One database behind SQLAlchemy: its ways (SQLite's most of all), and its errors in one line without secrets."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, StaticPool, Table, create_engine, inspect, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from rfbproxy.errors import StoreError

BUSY_TIMEOUT_S = 5.0
_RETRY_S = 0.02
_MODE = 0o600


class Database:
    """A database that may be used from any thread; every failure is a `StoreError` that names it.

    Making one touches neither file nor network.

    Attributes:
        name: the URL for messages, without password and options.
        in_memory: whether it lives and dies with this object, on one connection.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            raise StoreError("the token store's address is not a database URL (dialect://…)") from None
        sqlite = parsed.get_backend_name() == "sqlite"
        self.in_memory = sqlite and parsed.database in (None, "", ":memory:")
        self._file: Path | None = None
        self._identity: tuple[int, int] | None = None
        if sqlite and not self.in_memory and "uri" not in parsed.query:
            self._file = Path(parsed.database or "").absolute()
            parsed = parsed.set(database=str(self._file))
        self.name = parsed.set(query={}).render_as_string(hide_password=True)
        # All threads share the one connection that a memory database has, so one transaction at a time.
        self._turn: AbstractContextManager[Any] = threading.RLock() if self.in_memory else nullcontext()
        with self._errors():
            self._engine = _engine(parsed, sqlite=sqlite, in_memory=self.in_memory)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries alone."""
        self._notice_a_new_file()
        with self._errors(), self._turn, self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block.

        Raises:
            IntegrityError: as it is; what it means is the caller's to say.
        """
        with self._errors(let=IntegrityError), self._turn, self._engine.begin() as connection:
            yield connection

    def make_file(self) -> None:
        """Make an SQLite file that is missing, readable by its owner alone."""
        if self._file is None:
            return
        try:
            os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
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
        try:
            if not wanted <= self.tables():
                self._create(tables)
        except (StoreError, IntegrityError):
            # MariaDB and PostgreSQL let two programs look and then both make; the second only needs the tables there.
            if not wanted <= self.tables():
                raise
        if self._file is not None:
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
        if self._file is None:
            return
        try:
            found = self._file.stat()
        except FileNotFoundError:
            raise self._failed("the file is gone") from None
        identity = (found.st_dev, found.st_ino)
        if identity != self._identity:
            self._identity = identity
            self._engine.dispose()

    def _create(self, tables: tuple[Table, ...]) -> None:
        with self.writing() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            for table in tables:
                table.create(connection, checkfirst=True)

    def _write_ahead(self) -> None:
        """Switch the file to WAL, for good, so that readers and a writer do not wait for each other."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
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
        except DBAPIError as error:
            raise self._failed(str(error.orig)) from error
        except SQLAlchemyError as error:
            raise self._failed(str(error)) from error
        except (TypeError, ValueError, OverflowError) as error:
            # Drivers raise these, unwrapped, for options and values that they cannot take; a value may be a secret.
            raise self._failed(f"the driver refuses an option or a value ({type(error).__name__})") from None

    def _failed(self, why: str) -> StoreError:
        first_line = next(iter(why.splitlines()), "") or "it failed without saying why"
        return StoreError(f"token store {self.name}: {first_line}")


def _engine(url: URL, *, sqlite: bool, in_memory: bool) -> Engine:
    if in_memory:
        return create_engine(url, hide_parameters=True, poolclass=StaticPool, connect_args={"check_same_thread": False})
    if sqlite:
        return create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})
    return create_engine(url, hide_parameters=True, pool_pre_ping=True)
