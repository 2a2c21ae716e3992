"""Secrets on the command line: read from files that it names, and hidden where they stand in it themselves."""

import sys
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
    import ctypes  # takes a while, and few commands have a secret to hide

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
