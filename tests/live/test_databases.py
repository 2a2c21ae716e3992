"""The token store on PostgreSQL and MariaDB: what it does on SQLite, and what only a server can do to it."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy

from rfbproxy.consoleauth import engine
from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.schema import OURS, TOKENS
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.token import hash_token
from rfbproxy.consoleauth.vmware_ports import VMWARE_PORTS, VmwarePorts
from rfbproxy.errors import StoreError
from tests.consoleauth import test_database, test_sessions, test_spice_sessions, test_sql, test_vmware_ports
from tests.consoleauth.stores import NOW, create, opened, refused, rows, run
from tests.consoleauth.test_sql import novas  # noqa: F401 - a fixture
from tests.live.databases import PASSWORD, DatabaseServer, Mariadb, Postgresql
from tests.ports import black_hole

FAILS_WITHIN_S = 9.0  # a visit's deadline is 10 s


@pytest.fixture(scope="module", params=[Postgresql, Mariadb], ids=lambda kind: kind.name)
def server(request, tmp_path_factory):
    made = request.param(tmp_path_factory.mktemp(request.param.name))
    yield made
    made.remove()


@pytest.fixture
def file(server: DatabaseServer):
    """An empty database, which the tests of the store know as a file."""
    for table in (*OURS, TOKENS, VMWARE_PORTS):
        run(server.url, f"DROP TABLE IF EXISTS {table.name}")
    return server.url


@pytest.fixture
def store(file):
    with opened(file) as store:
        yield store


@pytest.fixture(scope="module")
def memory(server):
    with opened(server.url) as store:
        yield store


@pytest.fixture
def tables(file):
    with opened(file) as first, opened(file) as second:
        yield [first.spice_sessions, second.spice_sessions]


@pytest.fixture
def one(tables):
    return tables[0]


@pytest.fixture
def other(tables):
    return tables[1]


class TestOurs(test_sql.TestOurs):
    pass


class TestRevoke(test_sql.TestRevoke):
    pass


class TestClaim(test_spice_sessions.TestClaim):
    pass


class TestFind(test_spice_sessions.TestFind):
    pass


class TestMove(test_spice_sessions.TestMove):
    pass


class TestChannels(test_spice_sessions.TestChannels):
    pass


class TestPurge(test_spice_sessions.TestPurge):
    pass


class TestRaces(test_spice_sessions.TestRaces):
    pass


class OfSessions:
    """What two proxies see of one database."""

    @pytest.fixture
    def stores(self, file):
        with opened(file) as first, opened(file) as second:
            yield [first, second]

    @pytest.fixture
    def one(self, stores):
        return stores[0]

    @pytest.fixture
    def other(self, stores):
        return stores[1]

    @pytest.fixture
    def token(self, one):
        return create(one)[1]


class TestTell(OfSessions, test_sessions.TestTell):
    pass


class TestEnd(OfSessions, test_sessions.TestEnd):
    pass


class TestAlone(OfSessions, test_sessions.TestAlone):
    pass


class TestOneTime(OfSessions, test_sessions.TestOneTime):
    pass


class TestMoveOfTokens(OfSessions, test_sessions.TestMove):
    pass


class TestAloneBesideNovas(OfSessions):
    """Where the tokens are nova's, and the sessions on the server."""

    @pytest.fixture
    def stores(self, novas, file):  # noqa: F811
        with opened(novas, file) as first, opened(novas, file) as second:
            yield [first, second]

    @pytest.fixture
    def token(self, one, file):
        token = one.find("N")
        run(file, f"INSERT INTO console_grants VALUES ('{token.token_hash}', '2026-11-27 00:00:00', '{{}}', NULL)")
        return token

    test_of_many_that_come_at_once_one_gets_in = test_sessions.TestAlone.test_of_many_that_come_at_once_one_gets_in


class TestVmwarePorts:
    @pytest.fixture
    def ports(self, store):
        return VmwarePorts(store.own_database)

    test_lowest = staticmethod(test_vmware_ports.test_the_lowest_free_port_of_the_host)
    test_keeps = staticmethod(test_vmware_ports.test_an_instance_keeps_its_port_whatever_the_range_is_now)
    test_moves = staticmethod(test_vmware_ports.test_an_instance_that_moves_gives_back_its_port)
    test_races = staticmethod(test_vmware_ports.test_of_two_programs_that_choose_alike_one_chooses_again)
    test_lost_race = staticmethod(test_vmware_ports.test_a_choice_that_another_program_made_first_is_made_again)


class TestSharing:
    """Several stores, which open and use the same database at once."""

    together = staticmethod(test_database.TestSharing.together)
    use = staticmethod(test_database.TestSharing.use)

    def test_two_stores(self, file):
        with opened(file) as first, opened(file) as second:
            self.together(*[lambda store=store: self.use(store) for store in (first, second, first, second)])

    def test_many_make_the_tables_at_once(self, file):
        stores = [SqlStore(file) for _ in range(8)]
        self.together(*[store.open for store in stores])
        token, console = create(stores[0])
        assert [store.find(token) for store in stores] == [console] * 8
        for store in stores:
            store.close()


class TestNovas:
    def test_it_is_only_read_and_grants_are_beside_it(self, store, file, tmp_path):
        token, console = create(store)
        for table in OURS:
            run(file, f"DROP TABLE {table.name}")
        with opened(file, tmp_path / "state.sqlite") as beside:
            assert beside.find(token) == console
            assert beside.purge(NOW + 100) == 0
            assert beside.spice_sessions.living(["a"], NOW) == frozenset()
        assert rows(file, "SELECT count(*) FROM console_auth_tokens") == [(1,)]


def failing(call):
    """The message of the StoreError that a call ends in, soon enough."""
    begun = time.monotonic()
    with pytest.raises(StoreError) as caught:
        call()
    assert time.monotonic() - begun < FAILS_WITHIN_S
    assert "\n" not in str(caught.value)
    error = caught.value
    while error is not None:
        assert PASSWORD not in str(error)
        error = error.__cause__
    return str(caught.value)


def all_at_once(count, call):
    """What calls give that begin together."""
    meeting = threading.Barrier(count)
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, [meeting] * count))


def hold_a_connection(store, meeting):
    with store._database.reading():
        meeting.wait(10)


class TestFailure:
    def test_a_stopped_server_and_its_return(self, server, store):
        token, console = create(store)
        server.stop()
        try:
            message = failing(lambda: store.find(token))
            assert str(server.port) in message
            failing(store.ping)
        finally:
            server.start()
        assert store.find(token) == console

    def test_a_server_that_was_restarted_unseen(self, server, store):
        token, console = create(store)
        server.stop()
        server.start()
        assert store.find(token) == console

    def test_a_restart_costs_no_call_however_many_connections_it_broke(self, server, store):
        token, console = create(store)
        pool = store._database._engine.pool
        all_at_once(engine.CONNECTIONS, lambda meeting: hold_a_connection(store, meeting))
        assert pool.checkedin() == engine.CONNECTIONS
        server.stop()
        server.start()

        def use(meeting):
            meeting.wait(10)
            return store.find(token), store.move(console.instance_uuid, console.host)

        assert all_at_once(engine.CONNECTIONS, use) == [(console, 1)] * engine.CONNECTIONS

    def test_a_frozen_server_and_its_return(self, server, store):
        token, console = create(store)
        server.freeze()
        try:
            failing(lambda: store.find(token))
        finally:
            server.thaw()
        assert store.find(token) == console

    def test_a_black_hole(self, server):
        with black_hole() as port:
            failing(SqlStore(server.url.replace(f":{server.port}/", f":{port}/")).open)

    def test_a_server_that_accepts_and_says_nothing(self, server):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = server.url.replace(f":{server.port}/", f":{silent.getsockname()[1]}/")
            failing(SqlStore(url).open)

    def test_a_wrong_password(self, server):
        message = refused(server.url.replace(PASSWORD, "verkehrt"))
        assert "verkehrt" not in message
        assert "denied" in message or "authentication failed" in message

    def test_a_locked_row(self, file, store):
        token, _ = create(store)
        with locked(file, f"UPDATE console_auth_tokens SET port = 1 WHERE token_hash = '{hash_token(token)}'"):
            failing(lambda: store.revoke(token_hash=hash_token(token)))
            assert store.find(token) is not None
        assert store.revoke(token_hash=hash_token(token)) == 1


@contextlib.contextmanager
def locked(url, statement):
    """A transaction of somebody else's, undone at the end."""
    other = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with other.connect() as connection:
        connection.exec_driver_sql(statement)
        yield
        connection.rollback()


class TestDeadlock:
    """Two transactions that want each other's row; the server undoes one, which is done again."""

    def test_both_are_done(self, file, store):
        for name in "ab":
            create(store, name, host="0")
        meeting = threading.Barrier(2)
        attempts, errors = [], []

        def change(first, second):
            database = Database(file)

            def work(connection):
                attempts.append(first)
                for number, name in enumerate((first, second)):
                    if number == 1 and len(attempts) <= 2:
                        meeting.wait(10)
                    connection.exec_driver_sql(
                        f"UPDATE console_auth_tokens SET port = port + 1 WHERE token_hash = '{hash_token(name)}'"
                    )

            try:
                database.transact(work)
            except Exception as error:
                errors.append(error)
            database.close()

        threads = [threading.Thread(target=change, args=names) for names in ("ab", "ba")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        assert len(attempts) == 3
        assert rows(file, "SELECT port FROM console_auth_tokens") == [(10002,), (10002,)]


def test_connections_are_bounded(file, store, server):
    seen = []
    begin = threading.Barrier(8)

    def find():
        begin.wait(5)
        for _ in range(5):
            store.find("T")
            seen.append(store._database._engine.pool.checkedin())

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 40
    assert max(seen) <= engine.CONNECTIONS
