"""What is told quickly is what Twisted's logger tells."""

import pytest
from twisted.logger import Logger, LogLevel, globalLogPublisher

from rfbproxy.quick_logger import QuickLogger


def told(kind, tell):
    events = []
    tell(kind(observer=events.append))
    [event] = events
    del event["log_time"], event["log_logger"]
    return event


@pytest.mark.parametrize(
    "tell",
    [
        lambda log: log.info("[{session}] relays", session="s"),
        lambda log: log.debug("{what}", what=1),
        lambda log: log.emit(LogLevel.debug),
        lambda log: log.emit(LogLevel.error, "{log_source}", log_source="another"),
    ],
)
def test_the_event_is_the_same(tell):
    assert told(QuickLogger, tell) == told(Logger, tell)


def test_a_failure_is_told_with_its_traceback():
    events, log = [], QuickLogger("here", observer=lambda event: events.append(event))
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        log.failure("no")
    [event] = events
    assert event["log_level"] is LogLevel.critical
    assert event["log_failure"].type is ZeroDivisionError


def test_it_is_named_after_its_module_and_tells_everybody():
    events, log = [], QuickLogger()
    globalLogPublisher.addObserver(events.append)
    try:
        log.info("hello")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert events[0]["log_namespace"] == __name__
    assert events[0]["log_logger"] is log
