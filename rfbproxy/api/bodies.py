"""Bodies of requests: judged by their schemas, and read as the consoles that they ask for."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from rfbproxy.api.faults import Fault
from rfbproxy.api.json_body import read_json
from rfbproxy.api.schemas import BESIDE_POLICY, SCHEMAS
from rfbproxy.consoleauth import Grant
from rfbproxy.issue import Console
from rfbproxy.secret import Secret


def read_body(body: bytes, schema: str) -> dict[str, Any]:
    """A body that is as its schema says.

    Raises:
        Fault: 400, it is not; the message names the place and what is wrong, without the value, which may be a secret.
    """
    value = read_json(body)
    try:
        error = next(iter(_validator(schema).iter_errors(value)), None)
    except RecursionError:
        raise Fault(400, "Malformed request body: it is nested too deeply.") from None
    if error is not None:
        raise Fault(400, _explain(error))
    result: dict[str, Any] = value
    return result


def read_console(console_type: str, instance: str | None, target: Mapping[str, Any]) -> tuple[Console, int | None]:
    """The console that a `target` asks for, and how many seconds its token lives, if that is said.

    Raises:
        Fault: 400, something is said twice.
    """
    policy = dict(target.get("policy", {}))
    for name in BESIDE_POLICY:
        if name in target:
            if name in policy:
                raise Fault(400, f"Invalid input for field/attribute target: {name} is there twice.")
            policy[name] = target[name]
    grant: dict[str, Any] = {each.name: each.metadata["kind"](policy[each.name]) for each in fields(Grant)
                             if each.name in policy}  # fmt: skip
    password = target.get("password")
    console = Console(
        console_type,
        target["host"],
        target["port"],
        tls_port=target.get("tls_port"),
        instance=instance,
        internal_access_path=target.get("internal_access_path"),
        grant=Grant(
            username=target.get("username"), password=Secret(password) if password is not None else None, **grant
        ),
    )
    return console, target.get("ttl")


def target_of(console: Console, ttl: int | None) -> dict[str, Any]:
    """The `target` that asks for a console: what `read_console` reads."""
    grant = console.grant
    policy = {each.name: getattr(grant, each.name) for each in fields(Grant) if not each.metadata["sealed"]}
    said = {
        "host": console.host,
        "port": console.port,
        "tls_port": console.tls_port,
        "username": grant.username,
        "password": grant.password.reveal() if grant.password is not None else None,
        "internal_access_path": console.internal_access_path,
        "ttl": ttl,
    }
    target = {name: value for name, value in said.items() if value is not None}
    if policy := {name: value for name, value in policy.items() if value is not None}:
        target["policy"] = policy
    return target


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": {"schemas": SCHEMAS}})


def _explain(error: ValidationError) -> str:
    """What is wrong, in words of the schema's; jsonschema's own message would repeat the value."""
    place = ".".join(str(step) for step in error.absolute_path) or "body"
    known, limit = error.schema, error.validator_value
    words = {
        "type": f"a value of type {limit} is expected",
        "enum": f"the value is not one of {limit}",
        "required": f"there must be {limit}",
        "additionalProperties": f"additional properties are not allowed beside {sorted(_properties(known))}",
        "minProperties": f"at least {limit} properties are expected",
        "maxProperties": f"at most {limit} properties are expected",
        "dependentRequired": "a tls_port is given together with the port",
    }
    what = words.get(str(error.validator)) or f"{error.validator} must be {limit}"
    return f"Invalid input for field/attribute {place}: {what}."


def _properties(schema: Any) -> list[str]:
    return list(schema.get("properties", ())) if isinstance(schema, Mapping) else []
