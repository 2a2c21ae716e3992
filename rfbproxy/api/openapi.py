"""The API described for programs (OpenAPI 3.1), made of the same routes and schemas that answer."""

import re
from typing import Any

from rfbproxy import __version__
from rfbproxy.api.faults import NAMES, OTHER
from rfbproxy.api.routes import ROUTES, Route
from rfbproxy.api.schemas import ID, INSTANCE, SCHEMAS
from rfbproxy.api.versions import HEADER, NEWEST, OLD_HEADER, OLDEST, text_of

HEALTH_PATHS = {
    "/healthz": "Whether the process is alive",
    "/readyz": "Whether a console could be opened now",
}
DISCOVERY_PATHS = {
    "/": "Versions",
    "/v2.1": "Version",
    "/v2.1/": "Version",
}  # and the schemas of their answers
OPEN_PATHS = (*HEALTH_PATHS, *DISCOVERY_PATHS, "/openapi.json")  # need no token
METRICS_PATH = "/metrics"

_ALWAYS = (400, 401, 404, 413, 415, 500, 503)  # statuses that every route may answer with
_JSON = "application/json"
_PATH_SCHEMAS = {
    "/v1/consoles/{id}": {"type": "string", "pattern": ID},
}


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {path: {"get": _health(path, what)} for path, what in HEALTH_PATHS.items()}
    paths |= {path: {"get": _discovery(path, schema)} for path, schema in DISCOVERY_PATHS.items()}
    paths["/openapi.json"] = {"get": _about_this()}
    paths[METRICS_PATH] = {"get": _metrics()}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "consoleproxy",
            "version": __version__,
            "description": f"Consoles of virtual machines: nova's routes (microversions {text_of(OLDEST)} to "
            f"{text_of(NEWEST)}), with `target` beside nova's own key, and ours under /v1.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "security": [{"bearer": []}, {"x_auth_token": []}],
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x_auth_token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            },
        },
    }


def _health(path: str, what: str) -> dict[str, Any]:
    answers = {"200": _text(what)}
    if path == "/readyz":
        answers["503"] = _text("It could not; a sentence says why")
    return {"summary": what, "operationId": _name("get", path), "security": [], "responses": answers}


def _discovery(path: str, schema: str) -> dict[str, Any]:
    what = "Which versions of nova's API there are" if path == "/" else "Nova's API, and its microversions"
    operation: dict[str, Any] = {
        "summary": what,
        "operationId": {"/": "get_versions", "/v2.1": "get_v2_1"}.get(path, "get_v2_1_"),
        "security": [],
        "responses": {"200": {"description": what, "content": _content(schema)}, "403": _fault(403)},
    }
    if path != "/":
        operation["parameters"] = _version_headers(text_of(NEWEST))
        operation["responses"] |= {str(status): _fault(status) for status in (400, 406)}
    return operation


def _about_this() -> dict[str, Any]:
    what = "This document"
    answers = {"200": {"description": what, "content": {_JSON: {"schema": {"type": "object"}}}}, "403": _fault(403)}
    return {"summary": what, "operationId": "get_openapi_json", "security": [], "responses": answers}


def _metrics() -> dict[str, Any]:
    what = "What this service counts, in Prometheus' text format; the token of metrics alone will do"
    faults = {str(status): _fault(status) for status in (401, 403, 500)}
    return {"summary": what, "operationId": "get_metrics", "responses": {"200": _text(what), **faults}}


def _text(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.what,
        "operationId": _name(route.method, route.path),
        "parameters": [_in_path(route.path, name) for name in re.findall(r"{(\w+)}", route.path)],
        "responses": {
            "200": {"description": route.what, "content": _content(route.gives)},
            **{str(status): _fault(status) for status in sorted({*_ALWAYS, *route.faults})},
        },
    }
    if route.versions is not None:
        first, last = map(text_of, route.versions)
        operation["description"] = f"Microversions {first} to {last}; where none is named, {last}."
        operation["parameters"] += _version_headers(last)
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    return operation


def _content(schema: str) -> dict[str, Any]:
    return {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _fault(status: int) -> dict[str, Any]:
    return {"description": NAMES.get(status, OTHER), "content": _content("Error")}


def _in_path(path: str, name: str) -> dict[str, Any]:
    any_text = {"type": "string", "minLength": 1}
    schema = _PATH_SCHEMAS.get(path) or (INSTANCE if "/servers/" in path and name == "id" else any_text)
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _version_headers(example: str) -> list[dict[str, Any]]:
    return [
        _in_header(HEADER, f"compute {example}", "`compute 2.N`; what it says of other services does not count"),
        _in_header(OLD_HEADER, example, f"`2.N`; does not count beside `{HEADER}`"),
    ]


def _in_header(name: str, example: str, what: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "example": example,
            "description": what}  # fmt: skip


def _name(method: str, path: str) -> str:
    return "_".join([method.lower(), *re.findall(r"\w+", path)])
