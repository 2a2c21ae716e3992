"""Four proxies on one database with two hundred live sessions: whatever ends a session ends it wherever it is.

The tests of a database share its cluster, and each leaves it as it was but for the sessions that it ends.
"""

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rfbproxy.consoleauth import hash_token
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.reasons import CloseReason
from tests.consoleauth import stores
from tests.live.cluster import PROXIES, Cluster, Issued, Session, patient_echo
from tests.live.databases import Mariadb, Postgresql
from tests.live.processes import until
from tests.peers import refusal, target
from tests.ports import free_port
from tests.proxy_process import run

INSTANCES = 25
TOKENS = 2  # of each instance; each opens a session on every proxy
SESSIONS = INSTANCES * TOKENS * PROXIES
REVOKED_WITHIN_S = 2.0
DEAD_WITHIN_S = 30.0
DEADLINE_S = 10.0  # a visit's, unless `handshake_timeout_s` says otherwise

ALL = range(PROXIES)


@pytest.fixture(scope="module", params=[Postgresql, Mariadb], ids=lambda kind: kind.name)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    server = request.param(tmp_path_factory.mktemp(request.param.name))
    try:
        with target(patient_echo) as machine:
            made = Cluster(tmp_path_factory.mktemp("cluster"), server, machine)
            try:
                consoles = [made.issue(f"instance-{number}") for number in range(INSTANCES) for _ in range(TOKENS)]
                with ThreadPoolExecutor(PROXIES) as threads:
                    list(threads.map(lambda number: [made.open(number, console) for console in consoles], ALL))
                assert len(made.live) == SESSIONS
                yield made
            finally:
                made.stop()
    finally:
        server.remove()


def everybody_lists_all(cluster: Cluster) -> bool:
    expected = sorted(session.source for session in cluster.live)
    return all(sorted(row["client"] for row in cluster.listed(number)) == expected for number in ALL)


def of_instance(cluster: Cluster, instance: str) -> list[Session]:
    return [session for session in cluster.live if session.console.instance == instance]


def consoles_of(cluster: Cluster, instance: str) -> list[Issued]:
    return sorted({session.console for session in of_instance(cluster, instance)}, key=lambda each: each.token)


def command(cluster: Cluster, number: int, *arguments: str, stdin: str = "") -> dict[str, Any]:
    """What the command prints that is run beside a proxy."""
    done = run("consoleproxy", "--json", "--config-file", cluster.proxies[number].config, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def refused_on(cluster: Cluster, number: int, console: Issued, reason: CloseReason) -> None:
    """A new visit ends in time with the reason's sentence."""
    begun = time.monotonic()
    client, source = cluster.connect(number, console)
    with client:
        assert refusal(client) == reason.sentence
    assert time.monotonic() - begun < DEADLINE_S
    cluster.expected[number, source, reason.value] += 1


def sources_on(cluster: Cluster, number: int) -> set[str]:
    return {session.source for session in cluster.live if session.proxy == number}


def test_every_proxy_lists_all_sessions(cluster: Cluster) -> None:
    until(lambda: everybody_lists_all(cluster), "all sessions in every list")
    listed = command(cluster, 2, "session", "list")["sessions"]
    assert sorted(row["client"] for row in listed) == sorted(session.source for session in cluster.live)
    assert len({row["id"] for row in listed}) == len(listed)
    by_proxy = {row["client"]: row["proxy"] for row in listed}
    names = [{by_proxy[session.source] for session in cluster.live if session.proxy == number} for number in ALL]
    assert all(len(name) == 1 for name in names)
    assert len(set.union(*names)) == PROXIES
    cluster.check_relaying()


def test_a_session_is_ended_from_any_proxy(cluster: Cluster) -> None:
    until(lambda: everybody_lists_all(cluster), "all sessions in every list")
    for number in ALL:
        session = next(each for each in cluster.live if each.proxy == (number + 1) % PROXIES)
        id_ = cluster.id_of(session)
        with cluster.ending([session], REVOKED_WITHIN_S):
            assert cluster.proxies[number].ask("DELETE", f"/v1/sessions/{id_}") == (200, {"ended": 1})
    session = cluster.live[-1]
    id_ = cluster.id_of(session)
    with cluster.ending([session], REVOKED_WITHIN_S):
        assert command(cluster, 0, "session", "end", id_) == {"ended": 1}
    until(lambda: everybody_lists_all(cluster), "the others in every list")


def test_a_revoked_token_ends_its_sessions_on_every_proxy(cluster: Cluster) -> None:
    console = consoles_of(cluster, "instance-3")[0]
    sessions = [session for session in cluster.live if session.console == console]
    assert {session.proxy for session in sessions} == set(ALL)
    with cluster.ending(sessions, REVOKED_WITHIN_S):
        assert command(cluster, 1, "console", "revoke", "--token-file", "-", stdin=console.token) == {"revoked": 1}
    for number in ALL:
        refused_on(cluster, number, console, CloseReason.TOKEN_UNKNOWN)


def test_a_revoked_instance_ends_its_sessions_on_every_proxy(cluster: Cluster) -> None:
    for number in ALL:
        instance = f"instance-{4 + number}"
        sessions = of_instance(cluster, instance)
        assert len(sessions) == TOKENS * PROXIES
        with cluster.ending(sessions, REVOKED_WITHIN_S):
            answer = cluster.proxies[number].ask("POST", "/v1/consoles/revoke", {"instance": instance})
            assert answer == (200, {"revoked": TOKENS})
    sessions = of_instance(cluster, "instance-8")
    with cluster.ending(sessions, REVOKED_WITHIN_S):
        assert command(cluster, 3, "console", "revoke", "--instance", "instance-8") == {"revoked": TOKENS}


def test_no_session_that_begins_outlives_the_revocation_of_its_token(cluster: Cluster) -> None:
    """Of many that come while the token is revoked, each is refused, or let in and then ended."""
    for attempt in range(6):
        console = cluster.issue("instance-of-a-race")
        with ThreadPoolExecutor(2 * PROXIES) as threads:
            visits = [threads.submit(seen_to_its_end, cluster, number, console) for number in [*ALL, *ALL]]
            time.sleep(0.02 * attempt)
            assert cluster.store.revoke(token_hash=hash_token(console.token)) == 1
            revoked = time.monotonic()
            for visit in visits:
                number, source, reason = visit.result()
                assert reason in (CloseReason.REVOKED.value, CloseReason.TOKEN_UNKNOWN.value)
                cluster.expected[number, source, reason] += 1
        assert time.monotonic() - revoked < REVOKED_WITHIN_S


def seen_to_its_end(cluster: Cluster, number: int, console: Issued) -> tuple[int, str, str]:
    """The proxy, address and close reason of a viewer that is sent away, be it at once or later."""
    client, source = cluster.connect(number, console)
    with client:
        assert client.receive(12) == b"RFB 003.008\n"
        client.send(b"RFB 003.008\n")
        assert client.receive(1) in (b"\0", b"\1")
        client.send(b"\1\1")
        client.until_close()
    (reason,) = [reason.value for reason in CloseReason if reason.sentence == client.close_reason]
    return number, source, reason


def test_sessions_of_tokens_that_nova_deletes_end(cluster: Cluster) -> None:
    """Nova's own code deletes rows of `console_auth_tokens` where they are ours, too, and knows of no other table."""
    sessions = of_instance(cluster, "instance-9")
    hashes = {hash_token(session.console.token) for session in sessions}
    with cluster.ending(sessions, REVOKED_WITHIN_S):
        stores.run(cluster.server.url, "DELETE FROM console_auth_tokens WHERE instance_uuid = 'instance-9'")
    cluster.store.purge(int(time.time()))
    assert not hashes & {row[0] for row in stores.rows(cluster.server.url, "SELECT token_hash FROM console_grants")}


def test_a_proxy_that_dies_takes_its_sessions_with_it_and_no_others(cluster: Cluster) -> None:
    until(lambda: everybody_lists_all(cluster), "all sessions in every list")
    number = 3
    proxy = cluster.proxies[number]
    name = next(row["proxy"] for row in cluster.listed(0) if row["client"] in sources_on(cluster, number))
    dead = [session for session in cluster.live if session.proxy == number]
    proxy.stop(signal.SIGKILL)
    begun = time.monotonic()
    for session in dead:
        session.client.until_close()
        assert session.client.close_code is None
        cluster.gone(session, None)
    expected = sorted(session.source for session in cluster.live)

    def only_the_others() -> bool:
        listed = sorted(row["client"] for row in cluster.listed(1))
        assert set(listed) >= set(expected), "a living proxy's session vanished"
        return listed == expected

    until(only_the_others, "the dead proxy's sessions to vanish", DEAD_WITHIN_S)
    query = f"SELECT count(*) FROM console_sessions WHERE proxy = '{name}'"
    left = DEAD_WITHIN_S - (time.monotonic() - begun)
    until(lambda: stores.rows(cluster.server.url, query) == [(0,)], "its rows to be deleted", left)
    cluster.check_relaying()

    proxy.start()
    for session in dead[:20]:
        cluster.open(number, session.console)
    until(lambda: everybody_lists_all(cluster), "the new sessions in every list")


def test_the_database_stops_and_returns(cluster: Cluster) -> None:
    until(lambda: everybody_lists_all(cluster), "all sessions in every list")
    spare = consoles_of(cluster, "instance-10")[0]
    at_once, meanwhile = of_instance(cluster, "instance-11"), of_instance(cluster, "instance-12")
    single = of_instance(cluster, "instance-13")[0]
    ended = cluster.id_of(single)

    # So short before that hardly a proxy has heard of it
    assert cluster.store.sessions.end(ended, int(time.time())) == 1
    cluster.store.revoke(instance_uuid="instance-11")
    cluster.server.stop()
    cluster.store.close()

    revoked = [*at_once, single]
    survivors = [session for session in cluster.live if session not in revoked]
    assert all(session.relays() for session in survivors)
    for number in ALL:
        refused_on(cluster, number, spare, CloseReason.INTERNAL)
        proxy = cluster.proxies[number]
        until(lambda proxy=proxy: proxy.ready() == (503, "The token store fails."), "/readyz to say so")
        assert f"token store {cluster.store._database.name}" in proxy.log
        status, answer = proxy.ask("GET", "/v1/sessions")
        assert (status, answer["serviceUnavailable"]["message"]) == (503, "The token store fails.")
        assert proxy.ask("POST", "/v1/consoles/revoke", {"instance": "instance-12"})[0] == 503
    done = run("consoleproxy", "--config-file", cluster.proxies[0].config, "session", "list")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "token store" in done.stderr
    assert all(session.relays() for session in survivors)

    # It is back, where no proxy sees it yet
    port, cluster.server.port = cluster.server.port, free_port()
    cluster.server.start()
    aside = SqlStore(cluster.server.url)
    aside.open()
    assert aside.revoke(instance_uuid="instance-12") == TOKENS
    aside.close()
    cluster.server.stop()
    assert all(session.relays() for session in survivors)

    cluster.server.port = port
    with cluster.ending([*revoked, *meanwhile], REVOKED_WITHIN_S):
        cluster.server.start()
    cluster.store.open()

    with ThreadPoolExecutor(8) as threads:  # more at once than a proxy has connections, all of which were lost
        list(threads.map(lambda number: cluster.open(number % PROXIES, spare), range(8 * PROXIES)))
    until(lambda: everybody_lists_all(cluster), "all sessions in every list")
    for proxy in cluster.proxies:
        until(lambda proxy=proxy: proxy.ready() == (200, "ready"), "/readyz to say so")
    cluster.check_relaying()


def test_the_database_falls_silent_and_speaks_again(cluster: Cluster) -> None:
    spare = consoles_of(cluster, "instance-14")[0]
    revoked = of_instance(cluster, "instance-15")
    cluster.server.freeze()
    try:
        with ThreadPoolExecutor(PROXIES) as threads:
            visits = [threads.submit(refused_on, cluster, number, spare, CloseReason.INTERNAL) for number in ALL]
            cluster.check_relaying()
            for visit in visits:
                visit.result()
    finally:
        cluster.server.thaw()
    with cluster.ending(revoked, REVOKED_WITHIN_S):
        assert cluster.store.revoke(instance_uuid="instance-15") == TOKENS
    for number in ALL:
        cluster.open(number, spare)


def test_every_visit_is_recorded_once(cluster: Cluster) -> None:
    for session in list(cluster.live):
        session.client.close()
        session.client.until_close()
        cluster.gone(session, CloseReason.CLIENT_CLOSED)
    until(lambda: cluster.records.total() >= cluster.expected.total(), "all records")
    until(lambda: cluster.listed(0) == [], "the sessions to vanish from the list")
    for proxy in cluster.proxies:
        assert proxy.stop() == 0
    assert cluster.records == cluster.expected
    assert set(cluster.records.values()) == {1}
    ids = [record["session"] for proxy in cluster.proxies for record in proxy.records]
    assert len(ids) == len(set(ids))
