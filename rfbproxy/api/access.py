"""Who may use the API: whoever has the token that is the first line of a file. Guessing at it gets slower."""

import hmac
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_IROTH
from typing import Protocol

from twisted.logger import Logger

from rfbproxy.errors import ConfigError
from rfbproxy.file_stamp import stamp
from rfbproxy.reasons import CloseReason

_LIMIT = 4096  # bytes
_LEAST = 16  # bytes of a token that is not easily guessed

_log = Logger()


class BadTokens(Protocol):
    """Remembers who brought tokens that are none; `rfbproxy.session.limits` has it."""

    def delay_s(self, source: str, now: float) -> float:
        """How long this source must wait before its next token is looked at."""

    def deny(self, source: str, token: str, reason: CloseReason, now: float) -> None:
        """A token was none."""


class TokenFile:
    """The token in a file, read again once that was changed.

    A file that cannot be read any more, or holds no token, lets nobody in; the log says so once.

    Args:
        option: that names the file.

    Raises:
        ConfigError: it is so from the beginning.
    """

    def __init__(self, file: Path, option: str) -> None:
        self._file = file
        self._option = option
        self._seen = stamp(file)
        self._token: bytes | None = _read(file, option)

    def admits(self, offered: bytes | None) -> bool:
        """Whether this is the token; how long that takes tells nothing of how much of it is right."""
        seen = stamp(self._file)
        if seen != self._seen:
            self._seen = seen
            self._read_again()
        return offered is not None and self._token is not None and hmac.compare_digest(offered, self._token)

    def _read_again(self) -> None:
        try:
            self._token = _read(self._file, self._option)
        except ConfigError as error:
            self._token = None
            _log.error("the API lets nobody in by this: {error}", error=error)
        else:
            _log.info("the token in {option} was changed", option=self._option)


class Access:
    """Who may ask for what.

    Args:
        for_all: the token that opens everything.
        bad_tokens: remembers who guesses.
        for_metrics: one that opens the metrics and nothing else.
    """

    def __init__(self, for_all: TokenFile, bad_tokens: BadTokens, for_metrics: TokenFile | None = None) -> None:
        self._for_all = for_all
        self._for_metrics = for_metrics
        self._bad_tokens = bad_tokens

    def delay_s(self, source: str, now: float) -> float:
        """How long a source must wait before its next token is looked at, whatever that is."""
        return self._bad_tokens.delay_s(source, now)

    def admits(self, offered: bytes | None, source: str, now: float, *, for_metrics: bool) -> bool:
        """Whether a token of a source opens what it asks for."""
        files = (self._for_all, self._for_metrics) if for_metrics else (self._for_all,)
        if any(file.admits(offered) for file in files if file is not None):
            return True
        if offered:
            _log.info("API: {source} brought a token that is none", source=source)
            self._bad_tokens.deny(source, offered.decode("latin-1"), CloseReason.TOKEN_UNKNOWN, now)
        return False


def weaknesses(file: Path) -> Iterator[str]:
    """What is weak about a file that can be used; nothing where it has just gone, which whoever uses it finds out."""
    try:
        mode, token = file.stat().st_mode, file.read_bytes().partition(b"\n")[0].strip()
    except OSError:
        return
    if mode & S_IROTH:
        yield f"every user of this machine can read the token in {file}: chmod o= it"
    if len(token) < _LEAST:
        yield f"the token in {file} has less than {_LEAST} bytes: it can be guessed"


def offered_token(authorization: Sequence[bytes], x_auth_token: Sequence[bytes]) -> bytes | None:
    """The token of a request: of `Authorization: Bearer` (RFC 6750 section 2.1), else of nova's `X-Auth-Token`."""
    for value in authorization:
        scheme, _, token = value.strip().partition(b" ")
        if scheme.lower() == b"bearer":
            return token.strip()
    return x_auth_token[0].strip() if x_auth_token else None


def _read(file: Path, option: str) -> bytes:
    try:
        with file.open("rb") as opened:
            line = opened.readline(_LIMIT + 1).strip()
    except OSError as error:
        raise ConfigError(f"{option}: {file} cannot be read: {error.strerror}") from error
    if not 1 <= len(line) <= _LIMIT:
        raise ConfigError(f"{option}: the first line of {file} has {len(line)} bytes, allowed are 1 to {_LIMIT}")
    return line
