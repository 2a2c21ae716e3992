"""Lines of the log, beside those that twistd would write."""

import io
from time import time

import pytest
from twisted.logger import Logger, LogLevel, formatEventAsClassicLogText, textFileLogObserver
from twisted.python.failure import Failure

from rfbproxy.log_text import line, text_observer


class Thing:
    name = "thing"

    def __str__(self):
        return "a thing"

    def __repr__(self):
        raise ValueError("this has no name")

    def told(self):
        return "told"


def failure():
    try:
        raise ValueError("wrong")
    except ValueError:
        return Failure()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("plain", {}),
        ("", {}),
        (None, {}),
        (b"bytes", {}),
        ("{a} and {b!r}", {"a": 1, "b": "two"}),
        ("{a:>5}|{b:.2f}", {"a": "x", "b": 2.0}),
        ("{{}} {a}", {"a": "{b}"}),
        ("{thing} {thing.name} {thing.told()}", {"thing": Thing()}),
        ("{thing!r}", {"thing": Thing()}),
        ("{missing}", {}),
        ("{malformed", {}),
        ("{0}", {}),
        ("{a}", {"a": "two\nlines"}),
        ("{a}", {"a": ""}),
        ("it {what}", {"what": "failed", "log_failure": failure()}),
        (None, {"log_failure": failure()}),
        ("system", {"log_system": "worker 1: x"}),
        ("system", {"log_system": "two\nlines"}),
        ("system", {"log_system": ""}),
        ("no level", {"log_level": None}),
        ("no time", {"log_time": None}),
    ],
)
def test_the_same_line(text, fields):
    event = {
        "log_format": text,
        "log_namespace": "a.module",
        "log_level": LogLevel.info,
        "log_time": time(),
        "log_system": None,
        **fields,
    }
    assert line(event) == formatEventAsClassicLogText(event)


@pytest.mark.parametrize("second", [0, 1_700_000_000, 1_710_000_000.999, 1_729_990_799.5, 1_729_990_800])
def test_the_same_time_in_every_season(second):
    event = {"log_format": "now", "log_namespace": "a", "log_level": LogLevel.info, "log_time": second}
    assert line(event) == formatEventAsClassicLogText(event)


def test_an_event_that_lacks_everything():
    assert line({}) is None
    assert line({"log_format": "x"}) == formatEventAsClassicLogText({"log_format": "x"})


def test_the_same_file():
    ours, theirs = io.StringIO(), io.StringIO()
    mine, twisted = text_observer(ours), textFileLogObserver(theirs)

    def both(event):
        mine(event)
        twisted(event)

    log = Logger(observer=both)
    log.info("[{session}] relays", session="abc")
    log.debug("")
    log.error("{what}\nfailed", what="it")
    assert ours.getvalue() == theirs.getvalue() != ""
