"""Tokens out of an SQLite file on the spot: found as a thread would find them, and nobody is waited for."""

import contextlib
import sqlite3
from pathlib import Path
from time import monotonic

import pytest

from rfbproxy.consoleauth.token import Grant
from rfbproxy.errors import StoreBusy, StoreError
from rfbproxy.secret import Secret
from tests.consoleauth.stores import create, opened, run
from tests.consoleauth.test_sql import novas  # noqa: F401 - a fixture


@contextlib.contextmanager
def other_program(file):
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def refused(store):
    """Says no, and says so at once."""
    begun = monotonic()
    with pytest.raises(StoreBusy, match=str(store.own_database.file)):
        store.find_at_once("T")
    return monotonic() - begun < 1


def holders(file):
    """How often this process has the file open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += descriptor.readlink() == file
    return found


@pytest.mark.parametrize(
    "grant",
    [
        Grant(),
        Grant(share="refuse", time_limit_s=5),
        Grant(username="kim", password=Secret("geheim"), allow_channels=("usbredir",)),
    ],
)
def test_it_finds_what_another_thread_would(file, grant):
    with opened(file) as store:
        token, console = create(store, tls_port=5901, internal_access_path="/a?b=c", grant=grant)
        assert store.find_at_once(token) == store.find(token) == console
        assert store.find_at_once("unknown") is None
        assert store.find_at_once("\ud800") is None


def test_a_token_without_a_row_in_the_grants(file):
    with opened(file) as store:
        token, console = create(store)
        run(file, "DELETE FROM console_grants")
        assert store.find_at_once(token) == console


def test_it_sees_at_once_what_another_program_has_written(file):
    with opened(file) as store, opened(file) as other:
        assert store.find_at_once("T") is None
        _, console = create(other, "T")
        assert store.find_at_once("T") == console
        other.revoke(token_hash=console.token_hash)
        assert store.find_at_once("T") is None


def test_it_does_not_wait_for_a_writer(file):
    with opened(file) as store, other_program(file) as other:
        token, console = create(store)
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM console_auth_tokens")
        assert store.find_at_once(token) == console


def test_it_keeps_nobody_from_emptying_the_log_of_writes(file):
    with opened(file) as store, other_program(file) as other:
        token, _ = create(store)
        store.find_at_once(token)
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def test_where_it_would_wait_it_says_so(file):
    with opened(file) as store:
        token, console = create(store)
        store.own_database.release()
        with other_program(file) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            other.execute("DELETE FROM console_auth_tokens")
            assert refused(store)
        assert store.find_at_once(token) == console


def test_without_write_ahead_it_would_wait(file):
    with opened(file) as store:
        token, console = create(store)
        store.own_database.release()
        run(file, "PRAGMA journal_mode = DELETE")
        assert refused(store)
        assert refused(store)
        assert store.find(token) == console
    assert holders(file) == 0


def test_a_file_that_is_gone_and_one_in_its_place(file, tmp_path):
    with opened(tmp_path / "new") as other:
        token, console = create(other)
    with opened(file) as store:
        assert store.find_at_once(token) is None
        file.unlink()
        assert refused(store)
        assert not file.exists()
        (tmp_path / "new").rename(file)
        assert store.find_at_once(token) == console


def test_a_file_that_is_no_database_any_more(file, tmp_path):
    with opened(file) as store:
        (tmp_path / "songs").write_bytes(b"not a database at all" * 100)
        (tmp_path / "songs").rename(file)
        assert refused(store)
        with pytest.raises(StoreError, match="file is not a database"):
            store.find("T")


def test_the_file_is_open_from_the_first_question_to_the_end(file):
    with opened(file) as store:
        assert holders(file) == 0
        store.find_at_once("T")
        assert holders(file) == 1
    assert holders(file) == 0
    assert store.find_at_once is None


def test_a_file_with_any_name(tmp_path):
    with opened(tmp_path / "a b#c%20d") as store:
        token, console = create(store)
        assert store.find_at_once(token) == console


def test_other_stores_have_to_wait(novas, tmp_path):  # noqa: F811
    for store in (opened("sqlite://"), opened(novas), opened(novas, tmp_path / "state.sqlite")):
        with store as waiting:
            assert waiting.find_at_once is None
