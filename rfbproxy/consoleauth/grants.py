"""A grant as a row of `console_grants`: its policy as JSON, its secrets sealed under the token.

Reading is strict: a grant that is only half understood would allow more than it was meant to.
"""

import json
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from rfbproxy.consoleauth.sealing import seal, unseal
from rfbproxy.consoleauth.token import Grant
from rfbproxy.errors import StoreError
from rfbproxy.secret import Secret

_FIELDS = {
    sealed: {field.name: field for field in fields(Grant) if field.metadata["sealed"] is sealed}
    for sealed in (False, True)
}

_NOTHING = Grant()


def grant_row(token: str, grant: Grant) -> dict[str, str | bytes | None]:
    """The columns `policy` and `secrets` of a grant; without secrets the latter is null."""
    policy, secrets = _said(grant, sealed=False), _said(grant, sealed=True)
    return {
        "policy": json.dumps(policy),
        "secrets": seal(token, json.dumps(secrets).encode("ascii")) if secrets else None,
    }


def read_grant(token: str, policy: str, secrets: bytes | None) -> Grant:
    """The grant of a row.

    Raises:
        StoreError: the row is damaged, of another token, or says something that is unknown here.
    """
    if policy == "{}" and secrets is None:
        return _NOTHING
    opened = _values(unseal(token, bytes(secrets)), sealed=True) if secrets is not None else {}
    return Grant(**_values(policy, sealed=False), **opened)


def _said(grant: Grant, *, sealed: bool) -> dict[str, object]:
    """The fields of one kind that are not None, as JSON has them."""
    values = {name: getattr(grant, name) for name in _FIELDS[sealed]}
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in values.items()
        if value is not None
    }


def _values(text: str | bytes, *, sealed: bool) -> dict[str, Any]:
    part = "secrets" if sealed else "policy"
    try:
        said = json.loads(text)
    except ValueError:
        raise StoreError(f"the {part} of a console token's grant is not JSON") from None
    if not isinstance(said, Mapping):
        raise StoreError(f"the {part} of a console token's grant is not a JSON object")
    known = _FIELDS[sealed]
    if unknown := said.keys() - known.keys():
        raise StoreError(f"the {part} of a console token's grant says {sorted(unknown)}, which is unknown here")
    return {name: _value(known[name], value) for name, value in said.items()}


def _value(field: Field[Any], value: object) -> object:
    kind, sealed = field.metadata["kind"], field.metadata["sealed"]
    if kind is tuple:
        right = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        right = type(value) is (str if sealed else kind)
    if not right:
        raise StoreError(f"{field.name} of a console token's grant is of the wrong type")
    return kind(value)
