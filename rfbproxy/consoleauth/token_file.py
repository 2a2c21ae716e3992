"""Tokens in files, as websockify's plugins TokenFile and ReadOnlyTokenFile have them (websockify/token_plugins.py).

A line is `token: host:port`; the space after the colon is needed, for a token may hold colons. Empty lines and those
that begin with `#` are nothing. Of several lines with one token the last one counts. An IPv6 address may stand in
brackets.
"""

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from threading import RLock
from urllib.parse import unquote, urlsplit

from rfbproxy.consoleauth.foreign import ForeignStore
from rfbproxy.consoleauth.store import ConsoleTokens
from rfbproxy.consoleauth.token import ConsoleToken, Grant, hash_token
from rfbproxy.errors import ConfigError, StoreError

SIZE_LIMIT = 64 * 2**20  # bytes of all files together
NEVER = 2**31 - 1  # when tokens of a file expire

_SETTLED_NS = 100_000_000
_HOST = re.compile(r"[\w.-]{1,253}")

Target = tuple[str, int]
Signature = tuple[tuple[object, ...], ...]


class _Malformed(Exception):
    """What is wrong with a line, without the token."""


class TokenFile(ForeignStore):
    """The tokens of a file, or of all files in a folder; they are read again when one of them has changed.

    They never expire, and name neither an instance nor a console type. Only their hashes are kept in memory.

    Args:
        url: `file:///PATH`.
        state_url: see `ForeignStore`.
        report: told of each malformed line once, with the file and the number of the line.

    Raises:
        ConfigError: the URL is not of this form.
    """

    whose = "its tokens are lines of files, so change those"

    def __init__(self, url: str, state_url: str, report: Callable[[str], None]) -> None:
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or path in ("", "/") or "\0" in path:
            raise ConfigError("the token store's address is not file:///PATH, with the path of a file or folder")
        super().__init__(f"file://{path}", state_url)
        self._path = Path(path)
        self._report = report
        self._turn = RLock()
        self._signature: Signature | None = None
        self._targets: dict[str, Target] = {}  # by hash
        self._reported: frozenset[tuple[Path, int, str]] = frozenset()

    def open(self) -> None:
        """Read the files.

        Raises:
            StoreError: one cannot be read.
        """
        self._read()
        super().open()

    def ping(self) -> None:
        """Look whether the files can still be read."""
        self._read()

    def find(self, token: str) -> ConsoleToken | None:
        """The line of the token, with its grant."""
        token_hash = hash_token(token)
        target = self._read().get(token_hash)
        return _console_token(token_hash, target, self._state.grant(token)) if target is not None else None

    def list(self, now: int) -> ConsoleTokens:
        """All tokens, in the order of the files and lines."""
        return [_console_token(token_hash, target, Grant()) for token_hash, target in self._read().items()]

    def _withdrawn(self, token_hashes: Collection[str]) -> Collection[str]:
        """See `ForeignStore`; none while somebody may still be writing the file."""
        with self._turn:
            targets, is_settled = self._read(), self._signature is not None
        return set(token_hashes) - targets.keys() if is_settled else ()

    def _read(self) -> dict[str, Target]:
        """The targets by hash, as the files are now."""
        with self._turn:
            try:
                files = self._files()
                # Inode and ctime too, for an editor may replace a file, or put its old time of change on it.
                signature = tuple((file, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for file, s in files)
                if signature != self._signature:
                    if sum(status.st_size for _, status in files) > SIZE_LIMIT:
                        raise StoreError(f"token store {self.name}: it has more than {SIZE_LIMIT} bytes")
                    # A change so soon after another one could have the same time.
                    settled = all(status.st_ctime_ns < time.time_ns() - _SETTLED_NS for _, status in files)
                    self._targets = self._parsed(file for file, _ in files)
                    self._signature = signature if settled else None
            except OSError as error:
                raise StoreError(f"token store {self.name}: {error.filename}: {error.strerror}") from error
            return self._targets

    def _files(self) -> tuple[tuple[Path, os.stat_result], ...]:
        if not self._path.is_dir():
            return ((self._path, self._path.stat()),)
        return tuple((path, path.stat()) for path in sorted(self._path.iterdir()) if path.is_file())

    def _parsed(self, files: Iterable[Path]) -> dict[str, Target]:
        targets: dict[str, Target] = {}
        malformed: set[tuple[Path, int, str]] = set()
        for file in files:
            for number, line in _lines(file):
                try:
                    token, target = _parse(line)
                except _Malformed as error:
                    malformed.add((file, number, str(error)))
                else:
                    targets[hash_token(token)] = target
        for file, number, why in sorted(malformed - self._reported):
            self._report(f"token store {self.name}: line {number} of {file} is ignored: {why}")
        self._reported = frozenset(malformed)
        return targets


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8", errors="surrogateescape", newline=None) as lines:
        for number, line in enumerate(lines, 1):
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                yield number, stripped


def _parse(line: str) -> tuple[str, Target]:
    token, *targets = re.split(r":\s", line)
    if not token or len(targets) != 1:
        raise _Malformed("it is not `token: host:port`, with a space after the first colon")
    host, colon, port = targets[0].strip().rpartition(":")
    if host == "unix_socket" or targets[0].lstrip().startswith("unix_socket:"):
        raise _Malformed("UNIX sockets (unix_socket:PATH) cannot be targets here, only host:port")
    if not colon or not port.isascii() or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535:
        raise _Malformed("its target does not end with a port, 1 to 65535")
    return token, (_bare(host), int(port))


def _bare(host: str) -> str:
    """The host without the brackets of an IPv6 address."""
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if bracketed or ":" in bare:
        try:
            IPv6Address(bare)
        except ValueError:
            raise _Malformed("its target's host is not an IPv6 address") from None
    elif not _HOST.fullmatch(bare):
        raise _Malformed("its target's host is neither a name nor an address")
    return bare


def _console_token(token_hash: str, target: Target, grant: Grant) -> ConsoleToken:
    return ConsoleToken(
        token_hash=token_hash,
        console_type=None,
        host=target[0],
        port=target[1],
        instance_uuid=None,
        expires=NEVER,
        access_url_base=None,
        grant=grant,
    )
