"""The API described for programs (OpenAPI 3.1), made of the same routes and schemas that answer."""

import re
from typing import Any

from rfbproxy import __version__
from rfbproxy.api.faults import NAMES, OTHER
from rfbproxy.api.routes import ROUTES, Route
from rfbproxy.api.schemas import ID, INSTANCE, SCHEMAS
from rfbproxy.api.versions import HEADER, NEWEST, OLD_HEADER, OLDEST, text_of

OPEN_PATHS = {
    "/healthz": "Whether the process is alive",
    "/readyz": "Whether a console could be opened now",
    "/openapi.json": "This document",
}  # need no token

_ALWAYS = (400, 401, 404, 413, 415, 500, 503)  # statuses that every route may answer with
_JSON = "application/json"
_VERSION = r"2\.[1-9][0-9]?"
_PATH_SCHEMAS = {
    "/v1/consoles/{id}": {"type": "string", "pattern": ID},
}


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {path: {"get": _open(path, what)} for path, what in OPEN_PATHS.items()}
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


def _open(path: str, what: str) -> dict[str, Any]:
    kind = _JSON if path.endswith(".json") else "text/plain"
    schema = {"type": "object"} if kind == _JSON else {"type": "string"}
    answers = {"200": {"description": what, "content": {kind: {"schema": schema}}}}
    if path == "/readyz":
        answers["503"] = {"description": "It could not; a sentence says why", "content": {kind: {"schema": schema}}}
    return {"summary": what, "operationId": _name("get", path), "security": [], "responses": answers}


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
        operation["parameters"] += [
            _version(HEADER, f"^compute {_VERSION}$", f"compute {last}"),
            _version(OLD_HEADER, f"^{_VERSION}$", last),
        ]
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


def _version(name: str, pattern: str, example: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "schema": schema, "example": example}


def _name(method: str, path: str) -> str:
    return "_".join([method.lower(), *re.findall(r"\w+", path)])
