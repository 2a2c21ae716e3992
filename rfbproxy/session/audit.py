"""One record a visit: a JSON line that holds who saw what, for how long, and why it ended, and no secret."""

import json
import os
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from errno import ENOSPC
from functools import lru_cache
from pathlib import Path

from twisted.logger import Logger

from rfbproxy.errors import ConfigError

_log = Logger()


@dataclass(slots=True)
class VisitRecord:
    """The audit record of one visit; facts that never came about are None. Times are ISO 8601 in UTC."""

    session: str
    started: str
    ended: str | None = None
    client: str | None = None  # address, without port
    token: str | None = None  # first 8 hex digits of the token's hash
    instance: str | None = None
    console_type: str | None = None
    target: str | None = None  # host:port
    way_in: str | None = None
    client_version: str | None = None
    target_version: str | None = None
    client_security: str | None = None
    target_security: str | None = None
    bytes_to_client: int = 0  # desktop protocol after negotiation, without framing
    bytes_to_target: int = 0
    close_reason: str | None = None
    channels: list[str] | None = None  # of a SPICE session, `name` or `name:id`
    power: list[str] | None = None  # requests of the xvp extension, as `policy.ClientPolicy` words them


_FACTS = [fact.name for fact in fields(VisitRecord)]


def utc(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond."""
    second, milliseconds = divmod(round(seconds * 1_000_000) // 1000, 1000)
    return f"{_to_the_second(second)}.{milliseconds:03}Z"


@lru_cache(maxsize=2)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


class AuditLog:
    """Appends records to a file of JSON lines, opened anew for each, so that it may be rotated at any time.

    Args:
        file: None: records are not kept.

    Raises:
        ConfigError: the file cannot be appended to.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._torn = False  # whether the last line may lack its end
        if file is not None:
            try:
                self._append(b"")
            except OSError as error:
                raise ConfigError(f"[consoleproxy] audit_log: {file} cannot be written: {error.strerror}") from error

    def write(self, record: VisitRecord) -> None:
        """Append one record; a failure is logged with the record, which then is in the log at least."""
        line = json.dumps({name: getattr(record, name) for name in _FACTS})
        try:
            self._append((b"\n" if self._torn else b"") + line.encode() + b"\n")
            self._torn = False
        except OSError as error:
            self._torn = True
            _log.error("audit record not written to {file}: {error}: {line}", file=self._file, error=error, line=line)

    def _append(self, line: bytes) -> None:
        if self._file is None:
            return
        # Opening a pipe that nobody reads fails instead of waiting.
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._file, how, 0o600)
        try:
            if os.write(descriptor, line) < len(line):  # at once, for other processes append too
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        finally:
            os.close(descriptor)
