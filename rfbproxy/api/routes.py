"""The routes of the API, each a small function over `Consoles`; they run on a thread, and know no HTTP.

Nova's are as in nova/api/openstack/compute/remote_consoles.py and console_auth_tokens.py.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from rfbproxy.api.bodies import read_console
from rfbproxy.api.faults import NOT_FOUND, Fault
from rfbproxy.api.schemas import ACTIONS
from rfbproxy.api.versions import NEWEST, OLDEST, Version
from rfbproxy.consoles import Consoles, Json

NOVA_PREFIXES = ("", "/v2.1", "/v2.1/{project_id}")
TYPES_OF = {"vnc": ("novnc", "xvpvnc"), "spice": ("spice-html5", "spice-direct"), "serial": ("serial",),
            "rdp": ("rdp-html5",), "mks": ("webmks",)}  # fmt: skip
SINCE: dict[str, Version] = {"mks": (2, 8), "webmks": (2, 8), "spice-direct": (2, 99)}
TLS_PORT_SINCE = STRICT_QUERY_SINCE = (2, 99)
TOKENS_SINCE = (2, 31)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        path: what stands in the path for the names of its template.
        body: as the route's schema says; None where it has none.
        version: nova's microversion; of our own routes the newest.
        enabled: protocols whose consoles can be opened here, `vnc` or `spice`.
        has_query: whether the URL has one.
    """

    consoles: Consoles
    path: Mapping[str, str]
    body: Any
    version: Version = NEWEST
    enabled: Collection[str] = ()
    has_query: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        path: template; `{name}` is one segment.
        body: schema of the request's body; None: it has none.
        gives: schema of the answer.
        versions: nova's first and last microversion that have it; None: it is ours.
        faults: statuses that this route answers with beyond those of every route.
    """

    method: str
    path: str
    what: str
    answer: Callable[[Asked], Json]
    gives: str
    body: str | None = None
    versions: tuple[Version, Version] | None = None
    faults: tuple[int, ...] = ()


def create_remote_console(asked: Asked) -> Json:
    """Nova's `POST /servers/{id}/remote-consoles`."""
    console = asked.body["remote_console"]
    for name in ("protocol", "type"):
        if SINCE.get(console[name], OLDEST) > asked.version:
            raise Fault(400, f"Invalid input for field/attribute {name}: the value is of a later microversion.")
    url = _create(asked, console["protocol"], console["type"])
    return {"remote_console": {"protocol": console["protocol"], "type": console["type"], "url": url}}


def act_on_server(asked: Asked) -> Json:
    """Nova's `POST /servers/{id}/action`, for consoles."""
    action = next(name for name in ACTIONS if name in asked.body)
    console_type = asked.body[action]["type"]
    protocol = next(protocol for protocol, types in TYPES_OF.items() if console_type in types)
    return {"console": {"type": console_type, "url": _create(asked, protocol, console_type)}}


def _create(asked: Asked, protocol: str, console_type: str) -> str:
    if console_type not in TYPES_OF[protocol]:
        raise Fault(400, f"Invalid console type {console_type}")
    if protocol not in asked.enabled:
        raise Fault(400, f"Unavailable console type {console_type}.")
    console, ttl = read_console(console_type, asked.path["id"], asked.body["target"])
    url: str = asked.consoles.create(console, ttl)["url"]
    return url


def show_token(asked: Asked) -> Json:
    """Nova's `GET /os-console-auth-tokens/{token}`."""
    if asked.version < TOKENS_SINCE:
        raise Fault(400, "The requested console type details are not accessible")
    if asked.version >= STRICT_QUERY_SINCE and asked.has_query:
        raise Fault(400, "Invalid input for query parameters: additional properties are not allowed.")
    console = asked.consoles.find(asked.path["token"])
    if console is None:
        raise Fault(404, "Token not found")
    shown: Json = {
        "instance_uuid": console.instance_uuid,
        "host": console.host,
        "port": console.port,
        "internal_access_path": console.internal_access_path,
    }
    if asked.version >= TLS_PORT_SINCE and console.console_type == "spice-direct":
        shown["tls_port"] = console.tls_port
    return {"console": shown}


def create_console(asked: Asked) -> Json:
    """`console create`."""
    return asked.consoles.create(*read_console(asked.body["type"], asked.body.get("instance"), asked.body["target"]))


def list_consoles(asked: Asked) -> Json:
    """`console list`."""
    return asked.consoles.list()


def delete_console(asked: Asked) -> Json:
    """`console revoke --id`."""
    return asked.consoles.revoke(id=asked.path["id"])


def revoke(asked: Asked) -> Json:
    """`console revoke`."""
    return asked.consoles.revoke(**asked.body)


def move(asked: Asked) -> Json:
    """`console move`."""
    return asked.consoles.move(**asked.body)


def list_sessions(asked: Asked) -> Json:
    """`session list`."""
    return asked.consoles.sessions()


def end_session(asked: Asked) -> Json:
    """`session end`."""
    return asked.consoles.end_session(asked.path["id"])


_NOVA = (
    Route("POST", "/servers/{id}/remote-consoles", "Create a console", create_remote_console, "RemoteConsole",
          "CreateRemoteConsole", ((2, 6), NEWEST), (403, 406)),
    Route("POST", "/servers/{id}/action", "Create a console, as before microversion 2.6", act_on_server,
          "ActionConsole", "ServerAction", (OLDEST, (2, 5)), (403, 406)),
    Route("GET", "/os-console-auth-tokens/{token}", "Show what a token opens", show_token, "ShownToken", None,
          (OLDEST, NEWEST), (406,)),
)  # fmt: skip
_OURS = (
    Route("POST", "/v1/consoles", "Create a console", create_console, "Created", "CreateConsole", None, (403,)),
    Route("GET", "/v1/consoles", "List the consoles that can be opened now", list_consoles, "Consoles", None,
          None, (501,)),
    Route("DELETE", "/v1/consoles/{id}", "Withdraw a console", delete_console, "Revoked", None, None, (403,)),
    Route("POST", "/v1/consoles/revoke", "Withdraw consoles by token, instance or id", revoke, "Revoked", "Revoke",
          None, (403,)),
    Route("POST", "/v1/consoles/move", "Point the consoles of an instance at another host", move, "Moved", "Move",
          None, (403,)),
    Route("GET", "/v1/sessions", "List the sessions that live now", list_sessions, "Sessions"),
    Route("DELETE", "/v1/sessions/{id}", "End a session", end_session, "Ended"),
)  # fmt: skip
ROUTES = tuple(replace(route, path=prefix + route.path) for route in _NOVA for prefix in NOVA_PREFIXES) + _OURS


def find_route(method: str, path: bytes) -> tuple[Route, dict[str, str]]:
    """The route of a request, and what stands in its path.

    Args:
        method: HEAD is GET.
        path: as it came, without the query.

    Raises:
        Fault: 404, there is none; 405, there are other methods.
    """
    method = "GET" if method == "HEAD" else method
    matching = [(route, found) for route in ROUTES if (found := _match(route.path, path)) is not None]
    if any(not found for _, found in matching):  # a path without names is not one with them
        matching = [(route, found) for route, found in matching if not found]
    for route, found in matching:
        if route.method == method:
            return route, found
    if matching:
        allowed = ", ".join(route.method for route, _ in matching)
        raise Fault(405, "The method is not allowed for this resource.", {"Allow": allowed})
    raise Fault(404, NOT_FOUND)


def _match(template: str, path: bytes) -> dict[str, str] | None:
    names, segments = template.split("/"), path.split(b"/")
    if len(names) != len(segments):
        return None
    found = {}
    for name, segment in zip(names, segments, strict=True):
        try:
            text = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            return None
        if name.startswith("{") and text:
            found[name[1:-1]] = text
        elif name != text:
            return None
    return found
