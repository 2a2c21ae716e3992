"""What is kept beside console tokens and goes with them: their grants, and the uses of one-time tokens."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, Select, delete, select

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.schema import GRANTS, USES

PURGED_AT_ONCE = 500

Hashes = Collection[str]


def forget(connection: Connection, which: Hashes | Select[tuple[str]]) -> None:
    """Delete what is kept of these tokens.

    Args:
        which: their hashes.
    """
    for table in (GRANTS, USES):
        connection.execute(delete(table).where(table.c.token_hash.in_(which)))


def forget_gone(database: Database, gone: Callable[[Hashes], Hashes], made_before: datetime | None = None) -> None:
    """Delete what is kept of tokens that are gone, in transactions of a bounded size.

    Args:
        gone: which of these tokens there are no more.
        made_before: grants that are younger are left alone; UTC, without a zone.

    Raises:
        StoreError: the database fails, or `gone` does.
    """
    for hashes in _kept(database, made_before):
        if orphans := sorted(gone(hashes)):
            database.transact(partial(forget, which=orphans))


def _kept(database: Database, made_before: datetime | None) -> Iterator[Sequence[str]]:
    """The hashes of all tokens of which something is kept, some at a time; each use has a grant beside it."""
    query = select(GRANTS.c.token_hash).order_by(GRANTS.c.token_hash).limit(PURGED_AT_ONCE)
    if made_before is not None:
        query = query.where(GRANTS.c.created_at <= made_before)
    last = ""
    while True:
        with database.reading() as connection:
            hashes = connection.execute(query.where(GRANTS.c.token_hash > last)).scalars().all()
        yield hashes
        if len(hashes) < PURGED_AT_ONCE:
            return
        last = hashes[-1]
