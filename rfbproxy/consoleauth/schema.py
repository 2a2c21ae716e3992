"""The tables of a token store: nova's `console_auth_tokens`, column for column, and ours.

`console_grants` marks a database as ours; the other tables of ours are made where they are missing.
"""

from sqlalchemy import (
    BigInteger,
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

SPICE_SESSIONS = Table(
    "console_spice_sessions",
    _METADATA,
    Column("token_hash", String(255), primary_key=True),
    Column("session", String(32)),  # null: nobody has the token
    Column("client", String(64)),
    Column("connection_id", BigInteger),  # u32; null: the target has not told it yet
    Column("kept_until", Integer, nullable=False),  # of the session; unix seconds
    Column("host", String(255)),
    Column("port", Integer),
    Column("tls_port", Integer),
    Column("host_subject", Text),
    Column("moved_until", Integer),  # of the four above; unix seconds; null: the machine is where the token says
    Index("console_spice_sessions_session_idx", "session"),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

SPICE_CHANNELS = Table(
    "console_spice_channels",
    _METADATA,
    Column("session", String(32), primary_key=True),
    Column("link", String(32), primary_key=True),
    Column("name", String(32), nullable=False),
    Column("bytes_to_client", BigInteger, nullable=False),
    Column("bytes_to_target", BigInteger, nullable=False),
    Column("touched", Integer, nullable=False),  # unix seconds
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

SESSIONS = Table(
    "console_sessions",
    _METADATA,
    Column("session", String(32), primary_key=True),
    Column("proxy", String(255), nullable=False),
    Column("token_hash", String(255), nullable=False),
    Column("instance_uuid", String(36), nullable=False),
    Column("console_type", String(255), nullable=False),
    Column("client", String(64), nullable=False),
    Column("target", String(300), nullable=False),
    Column("started", String(32), nullable=False),  # ISO 8601, in UTC
    Column("bytes_to_client", BigInteger, nullable=False),
    Column("bytes_to_target", BigInteger, nullable=False),
    Column("ending", String(32)),  # why its proxy is to end it; null: it is not
    Index("console_sessions_proxy_idx", "proxy"),
    Index("console_sessions_token_hash_idx", "token_hash"),
    Index("console_sessions_instance_uuid_idx", "instance_uuid"),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

PROXIES = Table(
    "console_proxies",
    _METADATA,
    Column("proxy", String(255), primary_key=True),
    Column("seen", Integer, nullable=False),  # unix seconds
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

USES = Table(  # of one-time tokens
    "console_uses",
    _METADATA,
    Column("token_hash", String(255), primary_key=True),
    Column("session", String(32), nullable=False),
    Column("client", String(64), nullable=False),  # network
    Column("usable_until", Integer),  # by this client; unix seconds; null: its session has not ended
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

# What is kept beside the grants, wherever those are. Grants first: they tell whose a database is.
OURS = (GRANTS, SPICE_SESSIONS, SPICE_CHANNELS, SESSIONS, PROXIES, USES)

# What a token cannot be read without: nova added the other columns over the years.
REQUIRED = frozenset({"token_hash", "console_type", "host", "port", "instance_uuid", "expires"})
