"""Who may use the API: whoever has the token that is the first line of a file."""

import hmac
from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger

from rfbproxy.errors import ConfigError

_LIMIT = 4096  # bytes

_log = Logger()


class TokenFile:
    """The token in a file, read again once that was changed.

    A file that cannot be read any more, or holds no token, lets nobody in; the log says so once.

    Raises:
        ConfigError: it is so from the beginning.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = _stamp(file)
        self._token: bytes | None = _read(file)

    def admits(self, offered: bytes | None) -> bool:
        """Whether this is the token; how long that takes tells nothing of how much of it is right."""
        seen = _stamp(self._file)
        if seen != self._seen:
            self._seen = seen
            self._read_again()
        return offered is not None and self._token is not None and hmac.compare_digest(offered, self._token)

    def _read_again(self) -> None:
        try:
            self._token = _read(self._file)
        except ConfigError as error:
            self._token = None
            _log.error("the API lets nobody in: {error}", error=error)
        else:
            _log.info("the API's token was changed")


def offered_token(authorization: Sequence[bytes], x_auth_token: Sequence[bytes]) -> bytes | None:
    """The token of a request: of `Authorization: Bearer` (RFC 6750 section 2.1), else of nova's `X-Auth-Token`."""
    for value in authorization:
        scheme, _, token = value.strip().partition(b" ")
        if scheme.lower() == b"bearer":
            return token.strip()
    return x_auth_token[0].strip() if x_auth_token else None


def _read(file: Path) -> bytes:
    option = "[consoleproxy] api_token_file"
    try:
        with file.open("rb") as opened:
            line = opened.readline(_LIMIT + 1).strip()
    except OSError as error:
        raise ConfigError(f"{option}: {file} cannot be read: {error.strerror}") from error
    if not 1 <= len(line) <= _LIMIT:
        raise ConfigError(f"{option}: the first line of {file} has {len(line)} bytes, allowed are 1 to {_LIMIT}")
    return line


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
