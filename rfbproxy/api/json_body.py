"""JSON that means one thing only (RFC 8259, I-JSON of RFC 7493): no duplicate keys, no NaN, no lone surrogates."""

import json
from typing import Any

from rfbproxy.api.faults import Fault

BODY_LIMIT = 64 * 1024  # bytes


def read_json(body: bytes) -> Any:
    """The value of a body; numbers without a fraction are int, however they are written.

    Raises:
        Fault: 400, it is not such JSON. The message tells why, and nothing of what was sent.
    """
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_float=_number, parse_constant=_no_constant
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails for lone surrogates
    except UnicodeError:
        raise _malformed("it is not UTF-8") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at character {error.pos}") from None
    except ValueError:
        raise _malformed("a number has too many digits") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _malformed("a key occurs twice in one object")
    return result


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_constant(name: str) -> None:
    raise _malformed(f"{name} is no JSON")


def _malformed(why: str) -> Fault:
    return Fault(400, f"Malformed request body: {why}.")
