"""The bodies of the API as JSON Schema (2020-12): what `/openapi.json` shows is what requests are held to.

Nova's own parts are nova's (nova/api/openstack/compute/schemas/remote_consoles.py); `target` is ours.
"""

from dataclasses import Field, fields
from typing import Any

from rfbproxy.consoleauth import CONSOLE_TYPES, Grant
from rfbproxy.consoleauth.token import SHARE_WORDS
from rfbproxy.issue import ALLOWABLE_CHANNELS, EXPIRES_LIMIT, SECURITY_WORDS

Schema = dict[str, Any]

PROTOCOLS = ("vnc", "spice", "serial", "rdp", "mks")
TYPES = ("novnc", "xvpvnc", "spice-html5", "spice-direct", "serial", "rdp-html5", "webmks")
ACTIONS = {
    "os-getVNCConsole": ("novnc", "xvpvnc"),
    "os-getSPICEConsole": ("spice-html5",),
    "os-getSerialConsole": ("serial",),
    "os-getRDPConsole": ("rdp-html5",),
}
BESIDE_POLICY = ("tls_name", "host_subject")  # of the grant's policy, what `target` has beside `policy` too
ID = "^[0-9a-fA-F]{8}$"
INSTANCE = {"type": "string", "minLength": 1, "maxLength": 36}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}

_TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
_SECRET = {"type": "string", "maxLength": 4096}
_COUNT = {"type": "integer", "minimum": 0}
_URL = {"type": "string"}
_KINDS: dict[type, Schema] = {
    str: _TEXT,
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0, "maximum": EXPIRES_LIMIT},
    tuple: {"type": "array", "items": _TEXT, "maxItems": 64},
}
_WORDS: dict[str, Schema] = {
    "share": {"type": "string", "enum": list(SHARE_WORDS)},
    "require_security": {"type": "string", "enum": list(SECURITY_WORDS)},
    "allow_channels": {"type": "array", "items": {"type": "string", "enum": list(ALLOWABLE_CHANNELS)}, "maxItems": 64},
}


def _object(properties: Schema, required: tuple[str, ...] | None = None) -> Schema:
    """An object without further properties; all are required unless it is said which."""
    needed = list(properties if required is None else required)
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _policy(each: Field[Any]) -> Schema:
    return _WORDS.get(each.name) or _KINDS[each.metadata["kind"]]


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


POLICY = {each.name: _policy(each) for each in fields(Grant) if not each.metadata["sealed"]}
_TARGET = {
    "host": {"type": "string", "minLength": 1, "maxLength": 255, "description": "name, IPv4 or IPv6"},
    "port": {**PORT, "minimum": 0, "description": "0: of a SPICE console that has a tls_port alone"},
    "tls_port": PORT,
    "username": _SECRET,
    "password": {**_SECRET, "format": "password"},
    **{name: POLICY[name] for name in BESIDE_POLICY},
    "internal_access_path": _TEXT,
    "ttl": {**_KINDS[int], "description": "seconds; [consoleauth] token_ttl unless given"},
    "policy": _ref("Policy"),
}
_LISTED = {
    "id": {"type": "string", "pattern": ID},
    "type": _or_null({"type": "string"}),  # where the tokens' owner does not tell it
    "host": {"type": "string"},
    "port": {"type": "integer"},
    "instance": _or_null({"type": "string"}),
    "expires": {"type": "integer"},
}
_SESSION = {
    **{name: {"type": "string"} for name in ("id", "type", "client", "target", "instance", "started")},
    "bytes_to_client": _COUNT,
    "bytes_to_target": _COUNT,
    "proxy": {"type": "string"},
}
_SHOWN = {
    "instance_uuid": _or_null({"type": "string"}),
    "host": {"type": "string"},
    "port": {"type": "integer"},
    "internal_access_path": _or_null({"type": "string"}),
    "tls_port": _or_null({"type": "integer"}),
}
_LINKS = {"type": "array", "items": {"type": "object", "required": ["rel", "href"]}}
_VERSION = {
    **{name: {"type": "string"} for name in ("id", "status", "version", "min_version", "updated")},
    "links": _LINKS,
}
_REMOTE = {"protocol": {"type": "string", "enum": list(PROTOCOLS)}, "type": {"type": "string", "enum": list(TYPES)}}

SCHEMAS: dict[str, Schema] = {
    "Policy": _object(POLICY, ()),
    "Target": _object(_TARGET, ("host", "port")),
    "CreateRemoteConsole": _object({"remote_console": _object(_REMOTE), "target": _ref("Target")}),
    "ServerAction": {
        **_object(
            {
                **{name: _object({"type": {"type": "string", "enum": list(types)}}) for name, types in ACTIONS.items()},
                "target": _ref("Target"),
            },
            ("target",),
        ),
        "minProperties": 2,
        "maxProperties": 2,
    },
    "CreateConsole": _object(
        {"type": {"type": "string", "enum": list(CONSOLE_TYPES)}, "instance": INSTANCE, "target": _ref("Target")},
        ("type", "target"),
    ),
    "Revoke": {
        **_object({"token": _SECRET, "instance": {"type": "string"}, "id": {"type": "string", "pattern": ID}}, ()),
        "minProperties": 1,
        "maxProperties": 1,
    },
    "Move": {
        **_object(
            {"instance": INSTANCE, "host": _TARGET["host"], "port": PORT, "tls_port": PORT}, ("instance", "host")
        ),
        "dependentRequired": {"tls_port": ["port"]},
    },
    "Versions": _object({"versions": {"type": "array", "items": _object(_VERSION)}}),
    "Version": _object({"version": _object({**_VERSION, "media-types": {"type": "array"}})}),
    "RemoteConsole": _object({"remote_console": _object({**_REMOTE, "url": _URL})}),
    "ActionConsole": _object({"console": _object({"type": {"type": "string"}, "url": _URL})}),
    "ShownToken": _object({"console": _object(_SHOWN, tuple(name for name in _SHOWN if name != "tls_port"))}),
    "Created": _object(
        {
            "token": {"type": "string"},
            "url": _URL,
            "type": {"type": "string"},
            "expires": {"type": "integer"},
            "instance": {"type": "string"},
            "vv": {"type": "string", "description": "of spice-direct: the text of a file that opens it in virt-viewer"},
        },
        ("token", "url", "type", "expires", "instance"),
    ),
    "Consoles": _object({"consoles": {"type": "array", "items": _object(_LISTED)}}),
    "Sessions": _object({"sessions": {"type": "array", "items": _object(_SESSION)}}),
    "Revoked": _object({"revoked": _COUNT}),
    "Moved": _object({"moved": _COUNT}),
    "Ended": _object({"ended": _COUNT}),
    "Error": {
        "type": "object",
        "description": "one key, which names the kind of error: badRequest, unauthorized, itemNotFound, …",
        "additionalProperties": _object({"code": {"type": "integer"}, "message": {"type": "string"}}),
        "minProperties": 1,
        "maxProperties": 1,
    },
}
