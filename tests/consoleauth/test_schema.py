import stat

import pytest
import sqlalchemy

from rfbproxy.consoleauth.token import hash_token
from rfbproxy.errors import StoreError
from tests.consoleauth.stores import NOW, create, opened, rows, run


def test_the_table_is_novas(store, file):
    assert rows(file, 'SELECT name, type, "notnull", pk FROM pragma_table_info("console_auth_tokens")') == [
        ("created_at", "DATETIME", 0, 0),
        ("updated_at", "DATETIME", 0, 0),
        ("id", "INTEGER", 1, 1),
        ("token_hash", "VARCHAR(255)", 1, 0),
        ("console_type", "VARCHAR(255)", 1, 0),
        ("host", "VARCHAR(255)", 1, 0),
        ("port", "INTEGER", 1, 0),
        ("tls_port", "INTEGER", 0, 0),
        ("internal_access_path", "VARCHAR(255)", 0, 0),
        ("instance_uuid", "VARCHAR(36)", 1, 0),
        ("expires", "INTEGER", 1, 0),
        ("access_url_base", "VARCHAR(255)", 0, 0),
    ]


def test_the_indexes_are_novas(store, file):
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    inspector = sqlalchemy.inspect(engine)
    assert {index["name"]: index["column_names"] for index in inspector.get_indexes("console_auth_tokens")} == {
        "console_auth_tokens_instance_uuid_idx": ["instance_uuid"],
        "console_auth_tokens_host_expires_idx": ["host", "expires"],
        "console_auth_tokens_token_hash_instance_uuid_idx": ["token_hash", "instance_uuid"],
    }
    (unique,) = inspector.get_unique_constraints("console_auth_tokens")
    assert (unique["name"], unique["column_names"]) == ("uniq_console_auth_tokens0token_hash", ["token_hash"])
    engine.dispose()


def test_a_row_is_as_nova_writes_it(store, file):
    create(store, "123-456-789")
    assert rows(file, "SELECT created_at, updated_at, token_hash, port, expires FROM console_auth_tokens") == [
        ("2023-11-14 22:13:20.000000", None, hash_token("123-456-789"), 10000, NOW + 10)
    ]


def test_the_file_is_its_owners_alone_and_in_wal_mode(store, file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert rows(file, "PRAGMA journal_mode") == [("wal",)]


def test_tables_left_half_made_are_completed(store, file):
    run(file, "DROP TABLE console_auth_tokens")
    with opened(file) as again:
        token, console = create(again)
        assert again.find(token) == console


def test_ours_of_before_spice_sessions_gains_their_tables(store, file):
    token, console = create(store)
    run(file, "DROP TABLE console_spice_sessions; DROP TABLE console_spice_channels")
    with opened(file) as again:
        assert again.find(token) == console
        assert again.spice_sessions.living(["s"], NOW) == frozenset()
        assert again.spice_sessions.take_channels("s") == []


def test_ours_without_tls_port_takes_tokens_without_one(store, file):
    run(file, "ALTER TABLE console_auth_tokens DROP COLUMN tls_port")
    with opened(file) as again:
        token, console = create(again)
        assert again.find(token) == console
        with pytest.raises(StoreError, match="tls_port"):
            create(again, tls_port=5901)
