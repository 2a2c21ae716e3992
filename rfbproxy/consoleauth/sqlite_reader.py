"""Reads an SQLite file on the reactor's own thread, where a row costs a tenth of the way to another thread and back.

It waits for nobody: in WAL mode readers do not wait for writers, and whatever else would have to be waited for makes it
give up. WAL works on no network's file system, so the file is on this machine, and a row by its index is a few pages
of it, which are in memory but for the first time.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from rfbproxy.errors import StoreBusy


class SqliteReader:
    """One query, asked again and again; to be used by one thread at a time.

    The file is opened at the first question, and anew where another one has taken its place.

    Args:
        query: gives columns of plain numbers, texts and bytes.
    """

    def __init__(self, file: Path, query: Select[Any]) -> None:
        self._file = file
        self._query = str(query.compile(dialect=sqlite.dialect()))
        self._columns = query.selected_columns.keys()
        self._connection: sqlite3.Connection | None = None  # None: there is no WAL
        self._identity: tuple[int, int] | None = None

    def row(self, *values: object) -> Mapping[str, Any] | None:
        """The row for the query's parameters, by the names of its columns.

        Raises:
            StoreBusy: whatever keeps it from answering now, be it that somebody must be waited for.
        """
        try:
            rows = self._connected().execute(self._query, values).fetchall()  # all, so that the read transaction ends
        except (OSError, sqlite3.Error) as error:
            raise StoreBusy(f"token store sqlite:///{self._file}: {error}") from error
        return dict(zip(self._columns, rows[0], strict=True)) if rows else None

    def close(self) -> None:
        """Let the file go."""
        self._identity = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        found = self._file.stat()
        identity = found.st_dev, found.st_ino
        if identity != self._identity:
            self.close()
            self._connection = self._connect()
            self._identity = identity
        if self._connection is None:
            raise StoreBusy(f"token store sqlite:///{self._file}: readers wait for writers, for it is not in WAL mode")
        return self._connection

    def _connect(self) -> sqlite3.Connection | None:
        where = f"{self._file.as_uri()}?mode=rw"
        connection = sqlite3.connect(where, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        if mode == "wal":
            return connection
        connection.close()
        return None
