"""A logger for what is told of every visit."""

from time import time
from typing import Any

from twisted.logger import Logger, LogLevel


class QuickLogger(Logger):
    """Twisted's, which looks through all the levels that there are at each event, and here does not."""

    def emit(self, level: LogLevel, format: str | None = None, **kwargs: Any) -> None:  # noqa: A002 - Twisted's name
        """See `Logger.emit`; who observes is not traced."""
        kwargs.update(
            log_logger=self,
            log_level=level,
            log_namespace=self.namespace,
            log_source=self.source,
            log_format=format,
            log_time=time(),
        )
        self.observer(kwargs)
