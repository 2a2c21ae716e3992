"""The two tables of a token store: nova's `console_auth_tokens`, column for column, and `console_grants`."""

from sqlalchemy import (
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

_METADATA = MetaData()

TOKENS = Table(
    "console_auth_tokens",
    _METADATA,
    Column("created_at", DateTime),
    Column("updated_at", DateTime),
    Column("id", Integer, primary_key=True, nullable=False),
    Column("token_hash", String(255), nullable=False),
    Column("console_type", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    Column("port", Integer, nullable=False),
    Column("tls_port", Integer),
    Column("internal_access_path", String(255)),
    Column("instance_uuid", String(36), nullable=False),
    Column("expires", Integer, nullable=False),
    Column("access_url_base", String(255)),
    UniqueConstraint("token_hash", name="uniq_console_auth_tokens0token_hash"),
    Index("console_auth_tokens_instance_uuid_idx", "instance_uuid"),
    Index("console_auth_tokens_host_expires_idx", "host", "expires"),
    Index("console_auth_tokens_token_hash_instance_uuid_idx", "token_hash", "instance_uuid"),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

GRANTS = Table(
    "console_grants",
    _METADATA,
    Column("token_hash", String(255), primary_key=True),
    Column("created_at", DateTime, nullable=False),
    Column("policy", Text, nullable=False),
    Column("secrets", LargeBinary),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

# What a token cannot be read without: nova added the other columns over the years.
REQUIRED = frozenset({"token_hash", "console_type", "host", "port", "instance_uuid", "expires"})
