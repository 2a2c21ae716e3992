"""`/metrics`: for whom, and what kind of page."""

from prometheus_client.parser import text_string_to_metric_families

from rfbproxy.metrics import Figures
from tests.api.conftest import METRICS_TOKEN, TOKEN
from tests.api.test_nova_routes import is_fault


def test_it_is_a_page_for_prometheus(api):
    figures = Figures()
    figures.visit_ended("vnc", "idle", refused=False)
    api.snapshots += [figures.snapshot({}), figures.snapshot({})]
    answer = api.ask("GET", "/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    (idle,) = [
        sample.value
        for sample in families["consoleproxy_visits"].samples
        if sample.labels == {"protocol": "vnc", "close_reason": "idle"}
    ]
    assert idle == 2, "of all processes together"
    head = api.ask("HEAD", "/metrics")
    assert (head.body, head.headers["content-length"]) == (b"", str(len(answer.body)))


def test_it_has_a_token_of_its_own_that_opens_nothing_else(api):
    assert api.ask("GET", "/metrics", token=METRICS_TOKEN).status == 200
    assert api.ask("GET", "/metrics", token=TOKEN).status == 200
    for token in (None, "", "wrong"):
        assert api.ask("GET", "/metrics", token=token).status == 401
    for method, path in (("GET", "/v1/consoles"), ("POST", "/metrics"), ("GET", "/metrics/"), ("GET", "/v1/sessions")):
        assert api.ask(method, path, token=METRICS_TOKEN).status == 401
    assert is_fault(api.ask("POST", "/metrics"), 405)
