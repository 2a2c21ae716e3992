"""What is counted, how it adds up over processes, and the page that it makes."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rfbproxy import __version__, metrics
from rfbproxy.consoleauth import CONSOLE_TYPES
from rfbproxy.exposition import BUILD, METRICS, PROCESS, exposition, process_snapshot, remains_of, summed
from rfbproxy.metrics import Figures, key
from rfbproxy.reasons import CloseReason

GAUGES = {metrics.key(metrics.READY.name): 1, metrics.key(metrics.STORE_UP.name): 1}


def parsed(*snapshots):
    """The page's samples by name and labels; every family has its help and its type."""
    families = list(text_string_to_metric_families(exposition(snapshots).decode()))
    assert all(family.documentation and family.type in ("counter", "gauge", "histogram") for family in families)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def counted():
    figures = Figures()
    figures.visit_ended("vnc", "client-closed", refused=False)
    figures.visit_ended("spice", "token-unknown", refused=True)
    figures.negotiated("vnc", 0.3)
    figures.negotiated("vnc", 1000.0)
    figures.relayed("vnc", 7, 5)
    figures.dial_failed()
    figures.store_called(0.25, failed=False)
    figures.store_called(0.002, failed=True)
    return figures


def test_what_is_counted_is_told():
    page = parsed(counted().snapshot(GAUGES))
    assert page["consoleproxy_visits_total", "client-closed", "vnc"] == 1
    assert page["consoleproxy_visits_total", "client-closed", "spice"] == 0
    assert page["consoleproxy_visits_refused_total", "client-closed", "vnc"] == 0
    assert page["consoleproxy_visits_refused_total", "token-unknown", "spice"] == 1
    assert page["consoleproxy_to_client_bytes_total", "vnc"] == 7
    assert page["consoleproxy_to_target_bytes_total", "vnc"] == 5
    assert page["consoleproxy_dial_failures_total",] == 1
    assert page["consoleproxy_token_store_errors_total",] == 1
    assert page["consoleproxy_token_store_up",] == page["consoleproxy_ready",] == 1
    assert page["consoleproxy_build_info", __version__] == 1


def test_buckets_are_cumulative_and_have_their_bounds_inside():
    page = parsed(counted().snapshot(GAUGES))
    name = "consoleproxy_handshake_duration_seconds"
    assert [page[f"{name}_bucket", bound, "vnc"] for bound in ("0.25", "0.5", "60.0", "+Inf")] == [0, 1, 1, 2]
    assert (page[f"{name}_count", "vnc"], page[f"{name}_sum", "vnc"]) == (2, 1000.3)
    name = "consoleproxy_token_store_duration_seconds"
    assert [page[f"{name}_bucket", bound] for bound in ("0.001", "0.0025", "0.1", "0.25")] == [0, 1, 1, 2]


def test_a_process_that_has_seen_nobody_tells_every_series():
    page = parsed(Figures().snapshot({}))
    reasons = {names[1] for names in page if names[0] == "consoleproxy_visits_total"}
    assert reasons == {reason.value for reason in CloseReason}
    types = {names[1] for names in page if names[0] == "consoleproxy_sessions"}
    assert types == set(CONSOLE_TYPES)
    assert len(page) == len(parsed(counted().snapshot(GAUGES))), "the page's length does not depend on who came"


def test_snapshots_add_up():
    one, other = counted().snapshot({**GAUGES, key("process_start_time_seconds"): 5}), counted().snapshot(
        {key(metrics.READY.name): 0, key(metrics.STORE_UP.name): 1, key("process_start_time_seconds"): 9}
    )  # fmt: skip
    page = parsed(one, other)
    assert page["consoleproxy_visits_total", "client-closed", "vnc"] == 2
    assert page["consoleproxy_handshake_duration_seconds_bucket", "0.5", "vnc"] == 2
    assert page["consoleproxy_ready",] == 0, "one process that is not ready is told"
    assert page["consoleproxy_token_store_up",] == 1
    assert page["process_start_time_seconds",] == 5
    assert page["consoleproxy_build_info", __version__] == 1


def test_a_snapshot_goes_through_json():
    snapshot = {**counted().snapshot(GAUGES), **process_snapshot()}
    assert parsed(json.loads(json.dumps(snapshot))) == parsed(snapshot)


def test_of_a_process_that_has_ended_the_counts_remain():
    snapshot = counted().snapshot({**GAUGES, key(metrics.SESSIONS.name, "vnc", "novnc"): 3, **process_snapshot()})
    remains = remains_of(snapshot)
    page, now = parsed(remains, Figures().snapshot({})), parsed(snapshot)
    assert page["consoleproxy_visits_total", "client-closed", "vnc"] == 1
    assert page["consoleproxy_handshake_duration_seconds_count", "vnc"] == 2
    assert page["process_cpu_seconds_total",] == now["process_cpu_seconds_total",]
    assert page["consoleproxy_sessions", "novnc", "vnc"] == 0
    assert ("process_open_fds",) not in page


def test_nothing_else_is_told():
    assert summed([{"consoleproxy_sessions|vnc|of a later version": 3, "x": 1}]) == {}


def test_what_the_system_says_of_a_process():
    found = process_snapshot()
    assert found.keys() == {metric.name for metric in PROCESS}
    assert all(value > 0 for value in found.values())


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_are_as_prometheus_wants_them(metric):
    ours, of_a_process = metric.name.startswith("consoleproxy_"), metric in PROCESS
    assert ours is not of_a_process
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert metric.what.endswith(".") or metric is BUILD
    assert all(len(values) == len(metric.labels) for values in metric.series)
    assert len(set(metric.keys())) == len(list(metric.keys()))
