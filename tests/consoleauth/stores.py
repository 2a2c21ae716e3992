"""Stores on SQLite files, and what is done to them behind their backs."""

import contextlib
import sqlite3

import pytest

from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.token import hash_token, new_token
from rfbproxy.errors import StoreError
from tests.consoleauth.test_token import console_token

NOW = 1_700_000_000


@contextlib.contextmanager
def opened(file, state=None):
    store = SqlStore(f"sqlite:///{file}", f"sqlite:///{state}" if state else None)
    store.open()
    try:
        yield store
    finally:
        store.close()


def run(file, script):
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(script)


def rows(file, query):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def create(store, token=None, **fields):
    token = token or new_token()
    console = console_token(**{"token_hash": hash_token(token), "expires": NOW + 10} | fields)
    store.create(token, console, NOW)
    return token, console


def refused(url, state_url=None):
    """The message of the StoreError that opening ends in."""
    with pytest.raises(StoreError) as caught:
        SqlStore(url, state_url).open()
    assert "\n" not in str(caught.value)
    return str(caught.value)
