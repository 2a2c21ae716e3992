"""Where the log goes: that of the process that was started, and those of the workers that it starts."""

import fcntl
import os
import sys
from collections.abc import Mapping
from typing import IO, Any, cast

from twisted.logger import (
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    globalLogBeginner,
)
from twisted.python.logfile import LogFile
from twisted.python.reflect import fullyQualifiedName, namedAny
from zope.interface import provider

from rfbproxy.log_text import text_observer


class _Appending(LogFile):
    """A file that several processes write to, each from its end."""

    def _openFile(self) -> None:
        super()._openFile()
        descriptor = self._file.fileno()
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)


class MovableLog:
    """The one log of this process; its file is opened anew on demand, for logrotate moves it away under it.

    Attributes:
        path: of the file, to be set before the log begins; empty: the log goes to stdout.
    """

    def __init__(self) -> None:
        self.path = ""
        self._file: LogFile | None = None

    def observer(self) -> ILogObserver:
        """Begin: the file is made if need be, readable by its owner alone."""
        if not self.path:
            return text_observer(sys.stdout)
        self._file = _Appending.fromFullPath(self.path, rotateLength=None, defaultMode=0o600)
        return text_observer(cast(IO[str], self._file))

    def reopen(self) -> None:
        """Go on under the file's own name, if it is not there any more."""
        if self._file is not None:
            self._file.reopen()


movable_log = MovableLog()
MOVABLE_LOG = f"{__name__}.movable_log.observer"  # twistd imports it by its name


def log_as_told(twistd: Mapping[str, Any]) -> dict[str, str | None]:
    """Where twistd's log goes, by its options; as JSON has it."""
    observer = twistd.get("logger")  # by now what it named
    return {
        "file": movable_log.path,
        "observer": MOVABLE_LOG if observer == movable_log.observer else observer and fullyQualifiedName(observer),
        "syslog": twistd.get("prefix") if twistd.get("syslog") else None,
    }


def begin_log(told: Mapping[str, str | None], worker: int, stdout: IO[str]) -> None:
    """Let a worker's log go where `log_as_told` says that its supervisor's goes.

    Args:
        worker: its number, which stands before its lines' system.
    """
    movable_log.path = told["file"] or ""
    if told["observer"]:
        observer: Any = namedAny(told["observer"])()
    elif told["syslog"] is not None:
        from twisted.python import syslog

        observer = LegacyLogObserverWrapper(syslog.SyslogObserver(told["syslog"]).emit)  # type: ignore[arg-type]
    else:
        observer = text_observer(stdout)

    @provider(ILogObserver)
    def numbered(event: LogEvent) -> None:
        level = event["log_level"].name if "log_level" in event else "info"
        system = event.get("log_system") or f"{event.get('log_namespace', '-')}#{level}"
        observer({**event, "log_system": f"worker {worker}: {system}"})

    globalLogBeginner.beginLoggingTo([numbered])
