"""What commands share: secrets from files, arguments hidden from the process list, and tables for people."""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rfbproxy.errors import ConfigError
from rfbproxy.secret import Secret

SECRET_LIMIT = 4096  # bytes


def read_secret(file: str) -> Secret:
    """The first line of a file, or of standard input for `-`.

    Raises:
        ConfigError: it cannot be read, is too long, empty, or not text.
    """
    try:
        if file == "-":
            content = sys.stdin.buffer.readline(SECRET_LIMIT + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.readline(SECRET_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    line = content.rstrip(b"\r\n")
    if not line or len(line) > SECRET_LIMIT:
        raise ConfigError(f"the first line of {file} has {len(line)} bytes, allowed are 1 to {SECRET_LIMIT}")
    try:
        return Secret(line.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text") from error


def hide_argument(secret: str) -> None:
    """Overwrite an argument of this process where the process list reads it; does nothing where that is impossible."""
    try:
        # Fields 48 and 49 of proc(5)'s stat, counted after the command's name, which may hold spaces.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        arguments = ctypes.string_at(start, end - start)
    except (OSError, ValueError, IndexError):
        return
    wanted = secret.encode()
    found = arguments.find(wanted)
    while wanted and found >= 0:
        ctypes.memset(start + found, ord("*"), len(wanted))
        found = arguments.find(wanted, found + len(wanted))


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
