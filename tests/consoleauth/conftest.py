import pytest
import sqlalchemy

from rfbproxy.consoleauth.sql import SqlStore
from tests.consoleauth.stores import opened


@pytest.fixture(autouse=True, scope="package")
def _no_fsync():
    """Nothing here survives a power failure, nor need it; the tests take a third of the time."""

    def connected(connection, _record):
        connection.execute("PRAGMA synchronous = OFF").close()

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", connected)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", connected)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.sqlite"


@pytest.fixture
def store(file):
    with opened(file) as store:
        yield store


@pytest.fixture(scope="session")
def memory():
    store = SqlStore("sqlite://")
    store.open()
    yield store
    store.close()
