"""`/openapi.json` tells of every route, and what is answered is as it says."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from rfbproxy.api.openapi import document
from rfbproxy.api.routes import ROUTES
from tests.api.conftest import NOW
from tests.api.test_our_routes import session

TARGET = {"host": "h", "port": 1}
ASKED = [
    (
        "POST",
        "/servers/{id}/remote-consoles",
        {"remote_console": {"protocol": "vnc", "type": "novnc"}, "target": TARGET},
    ),
    ("POST", "/servers/{id}/action", {"os-getVNCConsole": {"type": "novnc"}, "target": TARGET}),
    ("GET", "/os-console-auth-tokens/{token}", None),
    ("POST", "/v1/consoles", {"type": "spice-direct", "target": TARGET}),
    ("GET", "/v1/consoles", None),
    ("DELETE", "/v1/consoles/{id}", None),
    ("POST", "/v1/consoles/revoke", {"id": "01234567"}),
    ("POST", "/v1/consoles/move", {"instance": "i", "host": "h"}),
    ("GET", "/v1/sessions", None),
    ("DELETE", "/v1/sessions/{id}", None),
]


def is_valid(value, schema):
    Draft202012Validator({**schema, "components": document()["components"]}).validate(value)


def test_it_is_a_document_whose_schemas_are_schemas():
    found = document()
    assert found["openapi"] == "3.1.0"
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(found)):
        assert name in found["components"]["schemas"]
    assert found["security"] == [{"bearer": []}, {"x_auth_token": []}]
    assert found["components"]["securitySchemes"].keys() == {"bearer", "x_auth_token"}


def test_every_route_is_in_it():
    paths = document()["paths"]
    for route in ROUTES:
        operation = paths[route.path][route.method.lower()]
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", route.path))
        assert ("requestBody" in operation) is (route.body is not None)
        assert {"200", "400", "401", "404", "503"} <= operation["responses"].keys()
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(names) == len(set(names))
    others = {"/", "/v2.1", "/v2.1/", "/healthz", "/readyz", "/openapi.json", "/metrics"}
    assert set(paths) == {route.path for route in ROUTES} | others


@pytest.mark.parametrize("path", ["/", "/v2.1", "/v2.1/", "/healthz", "/readyz", "/openapi.json", "/metrics"])
def test_what_is_no_route_is_answered_as_it_says(api, path):
    operation = document()["paths"][path]["get"]
    ((kind, content),) = operation["responses"]["200"]["content"].items()
    answer = api.ask("GET", path)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    is_valid(answer.json if kind == "application/json" else answer.body.decode(), content["schema"])
    assert (api.ask("GET", path, token=None).status == 200) is (operation.get("security") == [])


def test_every_route_is_asked_below():
    ours = {(route.method, route.path) for route in ROUTES if not route.path.startswith("/v2.1")}
    assert ours == {(method, path) for method, path, _ in ASKED}


@pytest.mark.parametrize(("method", "path", "body"), ASKED)
def test_real_answers_are_as_it_says(api, method, path, body):
    created = api.ask("POST", "/v1/consoles", {"type": "spice-direct", "instance": "i", "target": TARGET}).json
    api.store.sessions.tell("proxy:1", {"s1": session(1)}, NOW)
    operation = api.ask("GET", "/openapi.json").json["paths"][path][method.lower()]
    there = path.replace("{token}", created["token"]).replace("{id}", "01234567")
    answer = api.ask(method, there, body)
    assert answer.status == 200, answer
    is_valid(answer.json, operation["responses"]["200"]["content"]["application/json"]["schema"])
    if body is not None:
        is_valid(body, operation["requestBody"]["content"]["application/json"]["schema"])
        refused = api.ask(method, there, {})
        is_valid(refused.json, operation["responses"]["400"]["content"]["application/json"]["schema"])
    denied = api.ask(method, there, body, token="wrong")
    is_valid(denied.json, operation["responses"]["401"]["content"]["application/json"]["schema"])
