import contextlib
import sqlite3
import threading
from types import SimpleNamespace

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


class Asks(Exception):
    """As a driver's error that asks for the transaction again."""

    def __init__(self, *args, sqlstate=None):
        super().__init__(*args)
        if sqlstate is not None:
            self.sqlstate = sqlstate


class TestRetry:
    @pytest.fixture
    def memory(self):
        memory = database.Database("sqlite://")
        memory.transact(lambda connection: connection.exec_driver_sql("CREATE TABLE t (x INTEGER)"))
        yield memory
        memory.close()

    @staticmethod
    def work(errors):
        """Adds a row, and then fails with the next of the errors."""

        def add(connection):
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            if errors:
                raise sqlalchemy.exc.OperationalError("INSERT", {}, errors.pop(0))
            return connection.exec_driver_sql("SELECT count(*) FROM t").scalar()

        return add

    @pytest.mark.parametrize(
        "asks",
        [
            Asks("serialization failure", sqlstate="40001"),
            Asks("deadlock detected", sqlstate="40P01"),
            Asks(1213, "Deadlock found when trying to get lock"),
            Asks(1205, "Lock wait timeout exceeded"),
        ],
        ids=str,
    )
    def test_what_the_database_asks_for_again_is_done_once_more(self, memory, asks):
        assert memory.transact(self.work([asks])) == 1
        with pytest.raises(StoreError):
            memory.transact(self.work([asks, asks]))

    @pytest.mark.parametrize(
        "error", [Asks("canceling statement", sqlstate="57014"), Asks(2013, "Lost connection"), Asks()], ids=repr
    )
    def test_any_other_error_is_final(self, memory, error):
        with pytest.raises(StoreError):
            memory.transact(self.work([error]))
        assert memory.transact(self.work([])) == 1

    def test_pymysqls_errors_are_told_without_their_number(self, memory):
        with pytest.raises(StoreError, match=r"token store sqlite://: Lost connection$"):
            memory.transact(self.work([Asks(2013, "Lost connection")]))


class TestEngine:
    def test_a_visit_outlasts_a_dead_server(self):
        """An answer of an old connection is waited for, then a new one."""
        assert engine.ANSWER_TIMEOUT_S + max(engine.CONNECT_TIMEOUT_S, 2 * engine.ANSWER_TIMEOUT_S) < 10
        assert engine.LOCK_TIMEOUT_S < engine.STATEMENT_TIMEOUT_S < engine.ANSWER_TIMEOUT_S

    @pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
    def test_it_has_a_connection_for_each_thread_of_the_store(self, scheme):
        made = engine.make_engine(sqlalchemy.make_url(f"{scheme}://h/db"), in_memory=False)
        assert made.pool.size() == engine.CONNECTIONS

    def test_options_of_the_url_go_before_ours(self, monkeypatch):
        seen = {}
        monkeypatch.setattr(
            engine, "create_engine", lambda url, **options: seen.update(options) or SimpleNamespace(driver="")
        )
        engine.make_engine(sqlalchemy.make_url("postgresql+psycopg://h/db?connect_timeout=9"), in_memory=False)
        assert seen["connect_args"] == {"options": "-c statement_timeout=2500 -c lock_timeout=2000"}
        engine.make_engine(sqlalchemy.make_url("mysql+pymysql://h/db?read_timeout=9"), in_memory=False)
        assert seen["connect_args"].keys() == {"connect_timeout", "write_timeout", "init_command"}
