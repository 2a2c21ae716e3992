"""`/metrics` of the real service, before, during and after visits."""

import http.client

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.peers import SERVER_INIT, WebSocket, cut_text, echo, enter, refusal, target
from tests.ports import free_port
from tests.proxy_process import TIMEOUT_S, running, until
from tests.spice_process import SpiceProxy

TOKEN, METRICS_TOKEN = "the-token-of-the-api", "the-token-of-the-metrics"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "token").write_text(TOKEN)
    (folder / "metrics-token").write_text(METRICS_TOKEN)
    port = free_port()
    options = f"api_listen = {port}\napi_token_file = token\nmetrics_token_file = metrics-token\nconnect_timeout_s = 2"
    with running(folder, f"{options}\n[spice]\nenabled = True", kind=SpiceProxy) as started:
        started.api_port = port
        until(lambda: "listening for the API on" in started.log, "the API")
        yield started


@pytest.fixture(scope="module")
def echoing():
    with target(echo) as server:
        yield server


def page(proxy):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.api_port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    assert response.status == 200, text
    return text


def told(proxy):
    """The page's numbers by name and sorted label values."""
    return {
        (sample.name.removeprefix("consoleproxy_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page(proxy))
        for sample in family.samples
    }


def test_a_visit_from_beginning_to_end(proxy, echoing):
    before = told(proxy)
    created = proxy.create(echoing.port)
    with WebSocket(proxy.port, f"/?token={created['token']}") as client:
        assert enter(client) == SERVER_INIT
        client.send(cut_text(b"x" * 1000))
        sent = len(cut_text(b"x" * 1000))
        client.receive(sent)
        during = told(proxy)
        assert during["sessions", "novnc", "vnc"] == before["sessions", "novnc", "vnc"] + 1
        for name in ("to_client_bytes_total", "to_target_bytes_total"):
            assert during[name, "vnc"] >= before[name, "vnc"] + sent, "what lives is counted too"
        assert during["visits_total", "client-closed", "vnc"] == before["visits_total", "client-closed", "vnc"]
        count = len(proxy.records)
    record = proxy.next_record(count)
    after = told(proxy)
    assert after["sessions", "novnc", "vnc"] == before["sessions", "novnc", "vnc"]
    assert after["visits_total", "client-closed", "vnc"] == before["visits_total", "client-closed", "vnc"] + 1
    assert (
        after["visits_refused_total", "client-closed", "vnc"] == before["visits_refused_total", "client-closed", "vnc"]
    )
    name = "handshake_duration_seconds_count"
    assert after[name, "vnc"] == before[name, "vnc"] + 1
    for way in ("to_client", "to_target"):
        told_now = after[f"{way}_bytes_total", "vnc"] - before[f"{way}_bytes_total", "vnc"]
        assert told_now == record[f"bytes_{way}"]
    name = "token_store_duration_seconds_count"
    assert after[name,] > before[name,]


def test_those_that_are_refused(proxy):
    before, count = told(proxy), proxy.settled()
    with WebSocket(proxy.port, "/?token=nonsense") as client:
        refusal(client)
    proxy.next_record(count)
    created = proxy.create(free_port())
    with WebSocket(proxy.port, f"/?token={created['token']}") as client:
        refusal(client)
    proxy.next_record(count + 1)
    after = told(proxy)
    for reason in ("token-unknown", "target-unreachable"):
        for name in ("visits_total", "visits_refused_total"):
            assert after[name, reason, "vnc"] == before[name, reason, "vnc"] + 1
    assert after["dial_failures_total",] == before["dial_failures_total",] + 1
    name = "handshake_duration_seconds_count"
    assert after[name, "vnc"] == before[name, "vnc"]


def test_what_is_there_and_what_is_not(proxy, echoing):
    created = proxy.create(echoing.port, instance="6d5030df-b86e-429f-a57b-0a6fff7ee087")
    with WebSocket(proxy.port, f"/?token={created['token']}") as client:
        assert enter(client) == SERVER_INIT
        text = page(proxy)
    numbers = told(proxy)
    assert (numbers["ready",], numbers["token_store_up",]) == (1, 1)
    assert numbers["token_store_errors_total",] == 0
    assert numbers["unauthenticated_connections",] == 0, "whoever asks has shown a good token"
    assert numbers["process_resident_memory_bytes",] > 1e6
    for secret in (created["token"], "6d5030df", "127.0.0.1", str(echoing.port), TOKEN, METRICS_TOKEN):
        assert secret not in text


def test_a_store_that_fails_is_told(proxy):
    (store,) = (proxy.folder / "state").glob("*.sqlite")
    hidden = store.with_suffix(".hidden")
    before = told(proxy)
    store.rename(hidden)
    store.mkdir()
    try:
        found = until(lambda: (now := told(proxy))["ready",] == 0 and now, "the failure to be told")
        assert found["token_store_up",] == 0
        assert found["token_store_errors_total",] > before["token_store_errors_total",]
    finally:
        store.rmdir()
        hidden.rename(store)
    until(lambda: told(proxy)["token_store_up",] == 1, "the store to be back")
