"""One console token as the tables have it: the query for it, and what its row means."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping, Select, bindparam, select

from rfbproxy.consoleauth.schema import GRANTS, TOKENS
from rfbproxy.consoleauth.token import ConsoleToken, Grant

Row = Mapping[str, Any] | RowMapping  # by the names of the columns

_FACTS = tuple(column for column in TOKENS.c if column.name in {fact.name for fact in fields(ConsoleToken)})


def finding(present: Collection[str], *, with_grant: bool) -> Select[Any]:
    """The query for the token whose hash is `this`: to build it costs several times what it takes to answer it.

    Args:
        present: the columns that the table of tokens really has.
        with_grant: whether the grants are in the same database.
    """
    facts = (column for column in _FACTS if column.name in present)
    query = select(*facts).where(TOKENS.c.token_hash == bindparam("this"))
    if not with_grant:
        return query
    grants = TOKENS.outerjoin(GRANTS, GRANTS.c.token_hash == TOKENS.c.token_hash)
    return query.add_columns(GRANTS.c.policy, GRANTS.c.secrets).select_from(grants)


def console_token(row: Row, grant: Grant) -> ConsoleToken:
    """The token of a row."""
    return ConsoleToken(
        token_hash=row["token_hash"],
        console_type=row["console_type"],
        host=row["host"],
        port=row["port"],
        instance_uuid=row["instance_uuid"],
        expires=row["expires"],
        access_url_base=row.get("access_url_base"),
        tls_port=row.get("tls_port"),
        internal_access_path=row.get("internal_access_path"),
        grant=grant,
    )
