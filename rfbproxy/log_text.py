"""The log's lines as twistd writes them, but quicker: most of them tell of the same second, and call nothing."""

from functools import lru_cache
from typing import IO

from twisted.logger import FileLogObserver, LogEvent, formatEventAsClassicLogText, formatTime


def text_observer(file: IO[str]) -> FileLogObserver:
    """In place of `twisted.logger.textFileLogObserver`: the same lines, each written at once."""
    return FileLogObserver(file, line)


def line(event: LogEvent) -> str | None:
    """The line of an event, with its end; None: there is nothing to tell."""
    return _plain_line(event) or formatEventAsClassicLogText(event, formatTime=_time)


def _plain_line(event: LogEvent) -> str | None:
    """The line of an event of which nothing but fields is to be told."""
    text = event.get("log_format")
    if not isinstance(text, str) or not text or "()" in text or "log_failure" in event or "log_flattened" in event:
        return None
    try:
        text = text.format_map(event)
        if (system := event.get("log_system")) is None:
            system = f"{event['log_namespace']}#{event['log_level'].name}"
    except Exception:
        return None
    return f"{_time(event.get('log_time'))} [{system}] {text}".replace("\n", "\n\t") + "\n" if text else None


def _time(seconds: float | None) -> str:
    return formatTime(None) if seconds is None else _time_of_second(int(seconds))


@lru_cache(maxsize=2)
def _time_of_second(seconds: int) -> str:
    return formatTime(seconds)
