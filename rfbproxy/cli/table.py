"""What a command says, for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime


def table(result: object) -> str:
    """A result for people: rows of a list under their names, or one name and value a line."""
    if not isinstance(result, Mapping):
        return str(result)
    values = list(result.values())
    if len(values) == 1 and isinstance(values[0], Sequence) and not isinstance(values[0], str):
        return _rows(values[0])
    width = max(map(len, result))
    return "\n".join(f"{name:<{width}}  {_text(name, value)}" for name, value in result.items())


def _rows(items: Sequence[Mapping[str, object]]) -> str:
    if not items:
        return "none"
    rows = [list(items[0]), *([_text(name, value) for name, value in item.items()] for item in items)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _text(name: str, value: object) -> str:
    if name == "expires" and isinstance(value, int):
        return datetime.fromtimestamp(value).astimezone().isoformat(sep=" ")
    return "-" if value is None else str(value)
