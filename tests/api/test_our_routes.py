"""Routes under /v1: the command's JSON."""

import uuid
from dataclasses import fields

import pytest

from rfbproxy.api.bodies import read_console, target_of
from rfbproxy.consoleauth import Grant, SessionRow
from rfbproxy.issue import Console
from rfbproxy.secret import Secret
from tests.api.conftest import NOW
from tests.api.test_nova_routes import is_fault

BODY = {"type": "novnc", "target": {"host": "192.0.2.7", "port": 5900}}
POLICY = {
    "idle_timeout_s": 60,
    "time_limit_s": 3600,
    "tls_name": "node1",
    "require_security": "x509plain",
    "allow_power": True,
    "share": "exclusive",
    "one_time": True,
}
SPICE_POLICY = {"host_subject": "CN=node1", "allow_channels": ["usbredir", "webdav"]}


def create(api, **more):
    answer = api.ask("POST", "/v1/consoles", {**BODY, **more})
    assert answer.status == 200, answer
    return answer.json


def session(number, instance="i"):
    return SessionRow(f"s{number}", "novnc", "198.51.100.1", "h:1", instance, "2026-01-01T00:00:00Z", 5, 6, "proxy:1",
                      "0" * 64, NOW + 60)  # fmt: skip


def test_create_answers_as_the_command(api):
    created = create(api, instance="an-instance")
    assert list(created) == ["token", "url", "type", "expires", "instance"]
    assert str(uuid.UUID(created["token"])) == created["token"]
    assert (created["type"], created["expires"], created["instance"]) == ("novnc", NOW + 600, "an-instance")
    assert uuid.UUID(create(api)["instance"])


def test_spice_direct_brings_its_viewer_file(api):
    created = create(api, type="spice-direct")
    assert list(created)[-1] == "vv"
    assert created["vv"].startswith("[virt-viewer]\n")


def test_vnc_direct_may_be_created_too(api):
    assert create(api, type="vnc-direct")["url"] == "vnc://127.0.0.1:5900"


@pytest.mark.parametrize(("console_type", "policy"), [("novnc", POLICY), ("spice-html5", SPICE_POLICY)])
def test_a_target_becomes_the_grant(api, console_type, policy):
    target = {**BODY["target"], "tls_port": 5901, "password": "geheim", "ttl": 7, "policy": policy}
    created = create(api, type=console_type, target=target)
    console = api.store.find(created["token"])
    assert (console.port, console.tls_port, console.expires) == (5900, 5901, NOW + 7)
    assert console.grant.password == Secret("geheim")
    for name, value in policy.items():
        assert getattr(console.grant, name) == (tuple(value) if isinstance(value, list) else value)


def test_every_field_of_a_grants_policy_can_be_asked_for():
    known = {each.name for each in fields(Grant) if not each.metadata["sealed"]}
    assert known == POLICY.keys() | SPICE_POLICY.keys()


@pytest.mark.parametrize(
    ("name", "value", "console_type"), [("tls_name", "n", "novnc"), ("host_subject", "CN=n", "spice-html5")]
)
def test_what_stands_beside_the_policy(api, name, value, console_type):
    target = {**BODY["target"], name: value}
    assert getattr(api.store.find(create(api, type=console_type, target=target)["token"]).grant, name) == value
    twice = {**BODY, "type": console_type, "target": {**target, "policy": {name: value}}}
    assert is_fault(api.ask("POST", "/v1/consoles", twice), 400, "twice")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"host": "a b"}, "neither a name nor an address"),
        ({"port": 0}, "port 0 stands for a SPICE console with a TLS port alone"),
        ({"port": 70000}, "target.port: maximum must be 65535"),
        ({"port": "5900"}, "target.port: a value of type integer is expected"),
        ({"port": True}, "target.port"),
        ({"port": 1.5}, "target.port"),
        ({"password": 1}, "target.password: a value of type string"),
        ({"password": ["hunter2"]}, "target.password"),
        ({"ttl": -1}, "target.ttl"),
        ({"ttl": 10**400}, "target.ttl"),
        ({"internal_access_path": "a b"}, "without spaces"),
        ({"policy": {"one_time": 1}}, "target.policy.one_time"),
        ({"policy": {"share": "alone"}}, "target.policy.share: the value is not one of"),
        ({"policy": {"require_security": "ssl"}}, "target.policy.require_security"),
        ({"policy": {"record": True}}, "target.policy: additional properties are not allowed"),
        ({"policy": {"host_subject": "CN=n"}}, "host_subject does not go with console type 'novnc'"),
        ({"policy": {"allow_channels": ["usbredir"]}}, "allow_channels does not go with"),
    ],
)
def test_what_a_target_cannot_be(api, target, words):
    answer = api.ask("POST", "/v1/consoles", {**BODY, "target": {**BODY["target"], **target}})
    assert is_fault(answer, 400, words)
    assert b"hunter2" not in answer.body
    assert api.store.list(0) == []


def test_numbers_may_be_written_with_a_fraction_that_is_none(api):
    answer = api.ask("POST", "/v1/consoles", b'{"type": "novnc", "target": {"host": "h", "port": 59.0e2}}')
    assert api.store.find(answer.json["token"]).port == 5900


def test_list_and_delete(api):
    created = create(api, instance="i")
    (listed,) = api.ask("GET", "/v1/consoles").json["consoles"]
    assert listed.pop("id") == api.store.find(created["token"]).id
    assert listed == {"type": "novnc", "host": "192.0.2.7", "port": 5900, "instance": "i", "expires": NOW + 600}
    id_ = api.store.find(created["token"]).id
    assert api.ask("DELETE", f"/v1/consoles/{id_}").json == {"revoked": 1}
    assert api.ask("DELETE", f"/v1/consoles/{id_}").json == {"revoked": 0}
    assert is_fault(api.ask("DELETE", "/v1/consoles/nonsense"), 400, "first 8 hex digits")


@pytest.mark.parametrize("how", ["token", "instance", "id"])
def test_revoke(api, how):
    created = create(api)
    create(api)
    which = {**created, "id": api.store.find(created["token"]).id}[how]
    assert api.ask("POST", "/v1/consoles/revoke", {how: which}).json == {"revoked": 1}
    assert len(api.store.list(NOW)) == 1


@pytest.mark.parametrize("body", [{}, {"token": "a", "id": "01234567"}, {"id": "x"}, {"token": None}, {"all": True}])
def test_revoke_takes_exactly_one_selector(api, body):
    assert is_fault(api.ask("POST", "/v1/consoles/revoke", body), 400)


def test_move(api):
    created = create(api, instance="i", target={**BODY["target"], "tls_port": 5901})
    assert api.ask("POST", "/v1/consoles/move", {"instance": "i", "host": "[2001:db8::1]"}).json == {"moved": 1}
    console = api.store.find(created["token"])
    assert (console.host, console.port, console.tls_port) == ("2001:db8::1", 5900, 5901)
    body = {"instance": "i", "host": "h", "port": 1, "tls_port": 2}
    assert api.ask("POST", "/v1/consoles/move", body).json == {"moved": 1}
    console = api.store.find(created["token"])
    assert (console.host, console.port, console.tls_port) == ("h", 1, 2)
    assert is_fault(
        api.ask("POST", "/v1/consoles/move", {"instance": "i", "host": "h", "tls_port": 2}), 400, "tls_port"
    )
    assert is_fault(api.ask("POST", "/v1/consoles/move", {"instance": "i", "host": "a b"}), 400, "'a b'")


def test_sessions(api):
    assert api.ask("GET", "/v1/sessions").json == {"sessions": []}
    api.store.sessions.tell("proxy:1", {"s1": session(1)}, NOW)
    assert api.ask("GET", "/v1/sessions").json == {
        "sessions": [
            {"id": "s1", "type": "novnc", "client": "198.51.100.1", "target": "h:1", "instance": "i",
             "started": "2026-01-01T00:00:00Z", "bytes_to_client": 5, "bytes_to_target": 6, "proxy": "proxy:1"}
        ]
    }  # fmt: skip
    assert api.ask("DELETE", "/v1/sessions/s1").json == {"ended": 1}
    assert api.ask("DELETE", "/v1/sessions/unknown").json == {"ended": 0}
    assert api.store.sessions.tell("proxy:1", {"s1": session(1)}, NOW) == {"s1": "revoked"}


def test_what_a_client_writes_is_what_the_server_reads():
    grant = Grant("u", Secret("p"), **{**POLICY, "allow_channels": ("usbredir",), "host_subject": "CN=a"})
    console = Console("novnc", "h", 1, tls_port=2, instance="i", internal_access_path="/p", grant=grant)
    assert read_console("novnc", "i", target_of(console, 60)) == (console, 60)
    bare = Console("novnc", "h", 1)
    assert target_of(bare, None) == {"host": "h", "port": 1}
