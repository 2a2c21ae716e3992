"""Stores, and what is done to them behind their backs. A place is an SQLite file, or the URL of a database."""

import contextlib
from datetime import UTC, datetime

import pytest
import sqlalchemy

from rfbproxy.consoleauth.grants import grant_row
from rfbproxy.consoleauth.rows import SessionRow
from rfbproxy.consoleauth.schema import GRANTS
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.token import Grant, hash_token, new_token
from rfbproxy.errors import StoreError
from tests.consoleauth.test_token import console_token

NOW = 1_700_000_000
KEPT = ("console_grants", "console_uses")  # beside tokens

# What the databases say of a table that is not there, or of a column
NO_TABLE = "no such table|does not exist|doesn't exist"


def url_of(place):
    return place if "://" in str(place) else f"sqlite:///{place}"


@contextlib.contextmanager
def opened(place, state=None):
    store = SqlStore(url_of(place), url_of(state) if state else None)
    store.open()
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def _connected(place):
    engine = sqlalchemy.create_engine(url_of(place), poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        yield connection


def run(place, script):
    with _connected(place) as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.exec_driver_sql(statement)


def rows(place, query):
    with _connected(place) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def create(store, token=None, **fields):
    token = token or new_token()
    console = console_token(**{"token_hash": hash_token(token), "expires": NOW + 10} | fields)
    store.create(token, console, NOW)
    return token, console


def keep_grant(place, token, now, **grant):
    """Put a grant beside a token that is somebody else's."""
    made = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    row = {"token_hash": hash_token(token), "created_at": made, **grant_row(token, Grant(**grant))}
    with _connected(place) as connection:
        connection.execute(GRANTS.insert(), row)


def refused(url, state_url=None):
    """The message of the StoreError that opening ends in."""
    with pytest.raises(StoreError) as caught:
        SqlStore(url, state_url).open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def use(store, token_hash, session, client, now):
    """Use a one-time token, as a session of a proxy that tells nothing more."""
    row = SessionRow(session, "novnc", "192.0.2.7", "node:5900", "", "2026-11-27T00:00:00.000Z", 0, 0, "p", token_hash)
    return store.sessions.use(row, client, now)
