import contextlib
import sqlite3
import threading

import pytest
import sqlalchemy

from rfbproxy.consoleauth import database, engine
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.errors import StoreError
from tests.consoleauth.stores import NOW, create, opened, refused, rows, run


class TestErrors:
    @pytest.mark.parametrize("url", ["", "tokens.sqlite", "mysql://h:x/y", "://"])
    def test_no_url(self, url):
        assert "not a database URL" in refused(url)

    def test_an_unknown_dialect(self):
        assert refused("oops://h/db") == "token store oops://h/db: SQLAlchemy knows no such kind of database or driver"

    def test_a_missing_driver(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
        assert "its driver is not installed" in refused("postgresql+psycopg://u:p@h/db")

    def test_a_missing_folder(self, tmp_path):
        message = refused(f"sqlite:///{tmp_path}/none/tokens.sqlite")
        assert "none/tokens.sqlite: the file cannot be made: No such file or directory" in message

    def test_a_folder_that_may_not_be_written(self, file, monkeypatch):
        def forbidden(*_args):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(database.os, "open", forbidden)
        assert "cannot be made: Permission denied" in refused(f"sqlite:///{file}")

    def test_a_folder_in_place_of_a_file(self, tmp_path):
        assert "unable to open database file" in refused(f"sqlite:///{tmp_path}")

    def test_a_file_that_is_no_database(self, file):
        file.write_bytes(b"not a database at all" * 100)
        assert "file is not a database" in refused(f"sqlite:///{file}")

    def test_a_database_of_something_else(self, file):
        run(file, "CREATE TABLE songs (id INTEGER)")
        assert "no console_auth_tokens among them" in refused(f"sqlite:///{file}")
        assert rows(file, "SELECT name FROM sqlite_master") == [("songs",)]

    def test_an_option_that_the_driver_refuses(self, file):
        assert "refuses" in refused(f"sqlite:///file:{file}?uri=true&timeout=soon")

    def test_a_locked_file(self, file, monkeypatch):
        monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
        with opened(file) as store, contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            token, _ = create(store)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="database is locked"):
                create(store)
            assert store.find(token) is not None

    def test_a_file_locked_while_it_would_become_ours(self, file, monkeypatch):
        monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "database is locked" in refused(f"sqlite:///{file}")

    @pytest.mark.parametrize("call", [lambda store: store.find("T"), lambda store: store.ping(), lambda s: s.list(0)])
    def test_a_store_that_is_not_open(self, file, call):
        store = SqlStore(f"sqlite:///{file}")
        with pytest.raises(StoreError, match="is not open"):
            call(store)
        store.open()
        call(store)
        store.close()
        with pytest.raises(StoreError, match="is not open"):
            call(store)

    def test_making_a_store_touches_no_file(self, file):
        SqlStore(f"sqlite:///{file}")
        assert not file.exists()

    def test_a_relative_file_stays_where_it_was_named(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = SqlStore("sqlite:///tokens.sqlite")
        monkeypatch.chdir("/")
        store.open()
        store.close()
        assert (tmp_path / "tokens.sqlite").exists()

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql+nodriver://nova:geheim@db/nova",
            "nosuchdialect://nova:geheim@db/nova",
            "mysql+pymysql://nova:geheim@db:x/nova",
            "mysql+nodriver://nova@db/nova?password=geheim",
        ],
    )
    def test_no_message_holds_the_password(self, url):
        with pytest.raises(StoreError) as caught:
            SqlStore(url).open()
        error = caught.value
        while error is not None:
            assert "geheim" not in str(error)
            error = error.__cause__


class TestSharing:
    """Several threads, several stores."""

    @staticmethod
    def together(*jobs):
        """Run all jobs at once; the first error of any is raised."""
        errors = []
        start = threading.Barrier(len(jobs))

        def run(job):
            try:
                start.wait(5)
                job()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        if errors:
            raise errors[0]

    @staticmethod
    def use(store):
        for _ in range(10):
            token, console = create(store)
            assert store.find(token) == console
            assert store.list(NOW)
            assert store.revoke(token_hash=console.token_hash) == 1
            store.purge(NOW)

    def test_two_stores_on_one_file(self, file):
        with opened(file) as first, opened(file) as second:
            self.together(*[lambda store=store: self.use(store) for store in (first, second, first, second)])
            token, console = create(first)
            assert second.find(token) == console

    def test_many_open_a_new_file_at_once(self, file):
        stores = [SqlStore(f"sqlite:///{file}") for _ in range(8)]
        self.together(*[store.open for store in stores])
        token, console = create(stores[0])
        assert [store.find(token) for store in stores] == [console] * 8
        for store in stores:
            store.close()

    def test_a_memory_store_serves_all_threads(self):
        store = SqlStore("sqlite://")
        assert store.in_memory
        store.open()
        self.together(*[lambda: self.use(store)] * 4)
        store.close()

    def test_who_comes_second_at_making_tables_takes_the_first_ones(self, file, monkeypatch):
        def create_late(_database, _tables):
            monkeypatch.undo()
            SqlStore(f"sqlite:///{file}").open()
            raise StoreError("table console_grants already exists")

        monkeypatch.setattr(database.Database, "_create", create_late)
        with opened(file) as store:
            token, console = create(store)
            assert store.find(token) == console


class TestWriteAhead:
    """A file that is not in WAL mode yet, and in use by another program while it is opened."""

    @pytest.fixture(params=["BEGIN", "BEGIN IMMEDIATE"])
    def other(self, file, request):
        with opened(file):
            pass
        with contextlib.closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
            other.execute("PRAGMA journal_mode = DELETE")
            other.execute(request.param)
            other.execute("SELECT count(*) FROM console_auth_tokens").fetchall()
            yield other

    def test_it_is_switched_when_the_other_lets_go(self, file, other):
        release = threading.Timer(0.1, other.rollback)
        release.start()
        with opened(file):
            assert rows(file, "PRAGMA journal_mode") == [("wal",)]
        release.join()

    def test_waiting_has_an_end(self, file, other, monkeypatch):
        monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
        assert "database is locked" in refused(f"sqlite:///{file}")


def test_an_error_that_is_not_the_drivers_is_one_line_too():
    memory = database.Database("sqlite://")
    with pytest.raises(StoreError, match="A value is required") as caught, memory.reading() as connection:
        connection.execute(sqlalchemy.text("SELECT :x"))
    assert "\n" not in str(caught.value)
    memory.close()
