"""Nova and the proxy on one token table: what nova gives out and withdraws here, and what of ours nova can read."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import create_engine, inspect

from rfbproxy.consoleauth import hash_token
from rfbproxy.consoleauth.schema import TOKENS
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.reasons import CloseReason
from tests.live.nova_cell import Nova
from tests.live.processes import until
from tests.live.proxy import Proxy
from tests.peers import SERVER_INIT, Target, WebSocket, cut_text, echo, enter, refusal, target
from tests.proxy_process import run

WITHDRAWAL_S = 2.0  # from nova's deletion to the end of the session
SLACK_S = 2.0  # for a busy machine
NEWER = {"tls_port"}  # of nova 31; Debian 12 has 26
BASE = "http://console.example/vnc_auto.html"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nova")


@pytest.fixture(scope="module")
def nova(folder: Path) -> Iterator[Nova]:
    started = Nova(folder / "nova", folder / "cell.sqlite")
    try:
        started.ask("sync")
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def proxy(folder: Path, nova: Nova) -> Iterator[Proxy]:
    options = (
        f"state_connection = sqlite:///{folder}/state.sqlite\n[consoleauth]\nconnection = sqlite:///{nova.database}"
    )
    started = Proxy("on-nova", folder, ["twistd", "-n", "consoleproxy"], options=options)
    try:
        yield started
    finally:
        assert started.process.stop() == 0


@pytest.fixture(scope="module")
def echoing() -> Iterator[Target]:
    with target(echo) as server:
        yield server


@pytest.fixture(scope="module")
def config(folder: Path) -> Path:
    config = folder / "ours.conf"
    config.write_text(f"[DEFAULT]\nstate_path = {folder}\n[consoleauth]\nconnection = sqlite:///{folder}/ours.sqlite\n")
    with_tables = SqlStore(f"sqlite:///{folder}/ours.sqlite")
    with_tables.open()
    with_tables.close()
    return config


@pytest.fixture(scope="module")
def reader(folder: Path, config: Path) -> Iterator[Nova]:
    started = Nova(folder / "reader", folder / "ours.sqlite")
    try:
        yield started
    finally:
        started.stop()


def visit(proxy: Proxy, made: dict[str, str]) -> WebSocket:
    """Come as noVNC does that nova's URL has told where to."""
    proxy.secrets.add(made["token"])
    (path,) = parse_qs(urlsplit(made["url"]).query)["path"]
    return WebSocket(proxy.port, f"/{path}")


def check_echo(client: WebSocket, text: bytes) -> None:
    client.send(cut_text(text))
    assert client.receive(len(cut_text(text))) == cut_text(text)


def token_id(made: dict[str, str]) -> str:
    return hash_token(made["token"])[:8]


def test_novas_table_is_as_ours_says(nova: Nova, tmp_path: Path) -> None:
    described = []
    ours = create_engine(f"sqlite:///{tmp_path}/ours.sqlite")
    TOKENS.create(ours)
    for engine in (ours, create_engine(f"sqlite:///{nova.database}")):
        found = inspect(engine)
        columns = {
            column["name"]: (str(column["type"]), column["nullable"], column["primary_key"], column["default"])
            for column in found.get_columns(TOKENS.name)
        }
        unique = {(key["name"], *key["column_names"]) for key in found.get_unique_constraints(TOKENS.name)}
        indexes = {(index["name"], *index["column_names"]) for index in found.get_indexes(TOKENS.name)}
        described.append((columns, unique, indexes))
        engine.dispose()
    (our_columns, our_unique, our_indexes), (columns, unique, indexes) = described
    newer = NEWER - columns.keys()
    assert {name: column for name, column in our_columns.items() if name not in newer} == columns
    assert all(our_columns[name][1] for name in newer), "what an older nova does not write must be nullable"
    assert our_unique == unique == {("uniq_console_auth_tokens0token_hash", "token_hash")}
    assert our_indexes <= indexes


def test_a_console_that_nova_gives_out(nova: Nova, proxy: Proxy, echoing: Target) -> None:
    made = nova.authorize(echoing.port, base=BASE)
    before, known = nova.dump(), len(proxy.records())
    with visit(proxy, made) as client:
        assert enter(client) == SERVER_INIT
        check_echo(client, b"a word")
        client.close()
        client.until_close()
    record = proxy.next_record(known, token_id(made))
    assert record["close_reason"] == CloseReason.CLIENT_CLOSED.value
    assert (record["instance"], record["console_type"]) == (made["instance"], "novnc")
    assert record["target"] == f"127.0.0.1:{echoing.port}"
    assert nova.dump() == before
    proxy.check_secrets_kept()


def test_nova_withdraws_the_consoles_of_a_machine(nova: Nova, proxy: Proxy, echoing: Target) -> None:
    made, other = nova.authorize(echoing.port, base=BASE), nova.authorize(echoing.port, base=BASE)
    known = len(proxy.records())
    with visit(proxy, made) as client, visit(proxy, other) as bystander:
        enter(client)
        enter(bystander)
        time.sleep(1.5)  # while the proxy looks at both tokens at least once
        check_echo(client, b"still there")
        nova.ask("clean_instance", made["instance"])
        withdrawn, after = time.monotonic(), nova.dump()
        client.until_close()
        assert time.monotonic() - withdrawn < WITHDRAWAL_S + SLACK_S
        assert client.close_reason == CloseReason.REVOKED.sentence
        assert proxy.next_record(known, token_id(made))["close_reason"] == CloseReason.REVOKED.value
        with visit(proxy, made) as late:
            assert refusal(late) == CloseReason.TOKEN_UNKNOWN.sentence
        check_echo(bystander, b"not meant")
    assert proxy.next_record(known, token_id(other))["close_reason"] != CloseReason.REVOKED.value
    assert nova.dump() == after


@pytest.mark.parametrize(
    ("ttl", "console_type", "reason"),
    [
        (0, "novnc", CloseReason.TOKEN_EXPIRED),
        (-60, "novnc", CloseReason.TOKEN_EXPIRED),
        (600, "serial", CloseReason.TOKEN_UNKNOWN),
    ],
)
def test_a_token_that_is_no_good(
    nova: Nova, proxy: Proxy, echoing: Target, ttl: int, console_type: str, reason: CloseReason
) -> None:
    made = nova.authorize(echoing.port, ttl=ttl, console_type=console_type, base=BASE)
    assert (nova.ask("validate", made["token"]) is None) == (ttl <= 0)
    before, known, connections = nova.dump(), len(proxy.records()), echoing.connections
    proxy.secrets.add(made["token"])
    with WebSocket(proxy.port, f"/?token={made['token']}") as client:
        assert refusal(client) == reason.sentence
    (record,) = until(lambda: proxy.records()[known:], "the audit record")
    assert record["close_reason"] == reason.value
    assert echoing.connections == connections
    assert nova.dump() == before


def test_a_session_outlives_its_token(nova: Nova, proxy: Proxy, echoing: Target) -> None:
    made = nova.authorize(echoing.port, ttl=3, base=BASE)
    with visit(proxy, made) as client:
        enter(client)
        until(lambda: nova.ask("validate", made["token"]) is None, "the token to expire")
        with visit(proxy, made) as late:
            assert refusal(late) == CloseReason.TOKEN_EXPIRED.sentence
        nova.ask("clean_expired")
        after = nova.dump()
        assert hash_token(made["token"]) not in "".join(after)
        time.sleep(WITHDRAWAL_S)
        check_echo(client, b"still there")
    assert nova.dump() == after


def test_commands_leave_novas_table_alone(nova: Nova, proxy: Proxy) -> None:
    made = nova.authorize(5900, base=BASE)
    before = nova.dump()
    command = ["consoleproxy", "--json", "--config-file", proxy.folder / "nova.conf", "console"]
    listed = run(*command, "list")
    consoles = json.loads(listed.stdout)["consoles"]
    assert [row["instance"] for row in consoles if row["id"] == token_id(made)] == [made["instance"]]
    for write in (
        ["create", "--type", "novnc", "--host", "h", "--port", "1"],
        ["revoke", "--instance", made["instance"]],
    ):
        refused = run(*command, *write)
        assert refused.returncode != 0
        assert "nova's, which is only read" in refused.stderr
    assert nova.dump() == before


@pytest.mark.parametrize(
    ("console_type", "more", "path"),
    [
        ("novnc", ["--username", "u"], None),
        ("novnc", ["--internal-access-path", "/console?session_id=OpaqueRef:1"], "/console?session_id=OpaqueRef:1"),
        ("xvpvnc", [], None),
        ("spice-html5", [], None),
        ("spice-direct", ["--tls-port", "5901"], None),
    ],
)
def test_nova_reads_what_we_give_out(
    reader: Nova, config: Path, console_type: str, more: list[str], path: str | None
) -> None:
    options = ["--type", console_type, "--host", "2001:db8::7", "--port", 5900, *more]
    created = run("consoleproxy", "--json", "--config-file", config, "console", "create", *options)
    assert created.returncode == 0, created.stderr
    made = json.loads(created.stdout)
    seen = reader.ask("validate", made["token"])
    assert seen == {
        "console_type": console_type,
        "host": "2001:db8::7",
        "port": 5900,
        "internal_access_path": path,
        "instance_uuid": made["instance"],
        "access_url_base": seen["access_url_base"],
        "access_url": made["url"],
    }


def test_nova_withdraws_what_we_give_out(reader: Nova, config: Path) -> None:
    command = ["consoleproxy", "--json", "--config-file", config, "console"]
    made = json.loads(run(*command, "create", "--type", "novnc", "--host", "h", "--port", 1).stdout)
    reader.ask("clean_instance", made["instance"])
    assert reader.ask("validate", made["token"]) is None
    listed = json.loads(run(*command, "list").stdout)["consoles"]
    assert made["instance"] not in [row["instance"] for row in listed]


def test_nova_ends_the_sessions_of_what_we_give_out(reader: Nova, folder: Path, echoing: Target) -> None:
    """Nova deletes rows of the table that it knows; what we keep beside them goes with the next purge."""
    url = f"sqlite:///{folder}/ours.sqlite"
    proxy = Proxy("on-ours", folder, ["twistd", "-n", "consoleproxy"], options=f"[consoleauth]\nconnection = {url}")
    try:
        made, other = proxy.create(echoing.port, None, "--one-time"), proxy.create(echoing.port, None, "--one-time")
        clients = [WebSocket(proxy.port, f"/?token={console.token}") for console in (made, other)]
        with clients[0] as client, clients[1] as bystander:
            enter(client)
            enter(bystander)
            time.sleep(1.5)  # while the proxy looks at both tokens at least once
            known = len(proxy.records())
            reader.ask("clean_instance", made.instance)
            withdrawn = time.monotonic()
            client.until_close()
            assert time.monotonic() - withdrawn < WITHDRAWAL_S
            assert client.close_reason == CloseReason.REVOKED.sentence
            assert proxy.next_record(known, made.token_id)["close_reason"] == CloseReason.REVOKED.value
            check_echo(bystander, b"not meant")
        store = SqlStore(url)
        store.open()
        store.purge(int(time.time()))
        store.close()
        for table in ("console_grants", "console_uses"):
            with create_engine(url).connect() as connection:
                kept = set(connection.exec_driver_sql(f"SELECT token_hash FROM {table}").scalars())
            assert hash_token(made.token) not in kept
            assert hash_token(other.token) in kept
        proxy.check_secrets_kept()
    finally:
        assert proxy.process.stop() == 0
