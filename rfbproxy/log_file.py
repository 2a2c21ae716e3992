"""The log file of a process in the background: opened anew on demand, for logrotate moves it away under it."""

from typing import IO, cast

from twisted.logger import ILogObserver, textFileLogObserver
from twisted.python.logfile import LogFile


class MovableLog:
    """The one log file of this process.

    Attributes:
        path: to be set before the log begins.
    """

    def __init__(self) -> None:
        self.path = ""
        self._file: LogFile | None = None

    def observer(self) -> ILogObserver:
        """Begin: the file is made if need be, readable by its owner alone."""
        self._file = LogFile.fromFullPath(self.path, rotateLength=None, defaultMode=0o600)
        return textFileLogObserver(cast(IO[str], self._file))

    def reopen(self) -> None:
        """Go on under the file's own name, if it is not there any more."""
        if self._file is not None:
            self._file.reopen()


movable_log = MovableLog()
