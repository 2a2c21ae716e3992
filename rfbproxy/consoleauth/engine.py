"""SQLAlchemy's engine for each kind of database: how many connections, and how long anything may take.

What a visit waits for must fail before the visit's own deadline (`handshake_timeout_s`, 10 s unless set): one that
finds the database dead waits for an answer of the old connection, then for a new one.
"""

from typing import Any

from sqlalchemy import URL, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError

CONNECTIONS = 4  # to one database; more threads than these wait for each other
BUSY_TIMEOUT_S = 5.0  # for another program's transaction on an SQLite file
CONNECT_TIMEOUT_S = 3  # for each address that the host's name has
LOCK_TIMEOUT_S = 2
STATEMENT_TIMEOUT_S = 2.5  # after which the server gives up a statement
ANSWER_TIMEOUT_S = 3  # after which a server that says nothing at all is given up
RECYCLE_S = 600  # the age at which a connection is replaced, before a firewall forgets it

# Deadlock and serialization failure (postgresql.org, "PostgreSQL Error Codes"); ER_LOCK_DEADLOCK and
# ER_LOCK_WAIT_TIMEOUT (mariadb.com, "MariaDB Error Codes").
_RETRY_SQLSTATES = frozenset({"40001", "40P01"})
_RETRY_NUMBERS = frozenset({1213, 1205})


def make_engine(url: URL, *, in_memory: bool) -> Engine:
    """The engine for a database; nothing is connected yet.

    Raises:
        ImportError, SQLAlchemyError: the driver is not installed, or there is no such.
    """
    backend = url.get_backend_name()
    if in_memory:
        return create_engine(url, hide_parameters=True, poolclass=StaticPool, connect_args={"check_same_thread": False})
    if backend == "sqlite":
        return create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})
    given = set(url.query)
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_S,
        connect_args={name: value for name, value in _bounds(backend).items() if name not in given},
    )
    if engine.driver == "psycopg":
        from rfbproxy.consoleauth.postgresql import BoundedConnection

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: object, _record: object, args: list[Any], options: dict[str, Any]) -> BoundedConnection:
            return BoundedConnection.connect(*args, **options)

    return engine


def asks_to_retry(error: DBAPIError) -> bool:
    """Whether the database undid a transaction for the sake of another one, and wants it tried again."""
    if getattr(error.orig, "sqlstate", None) in _RETRY_SQLSTATES:
        return True
    said = error.orig.args if error.orig is not None else ()
    return bool(said) and said[0] in _RETRY_NUMBERS


def _bounds(backend: str) -> dict[str, Any]:
    """What the driver is told; an option in the URL goes before the same one here."""
    if backend == "postgresql":
        milliseconds = {"statement_timeout": int(STATEMENT_TIMEOUT_S * 1000), "lock_timeout": LOCK_TIMEOUT_S * 1000}
        return {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": " ".join(f"-c {name}={value}" for name, value in milliseconds.items()),
        }
    if backend in ("mysql", "mariadb"):
        # What stands in /*M! */ is for MariaDB alone; MySQL has no timeout for statements that change something.
        return {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": ANSWER_TIMEOUT_S,
            "write_timeout": ANSWER_TIMEOUT_S,
            "init_command": f"SET SESSION innodb_lock_wait_timeout={LOCK_TIMEOUT_S} "
            f"/*M! , max_statement_time={STATEMENT_TIMEOUT_S} */",
        }
    return {}
