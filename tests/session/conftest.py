import gc

import pytest
from twisted.logger import globalLogPublisher


@pytest.fixture(autouse=True)
def failures():
    """What was logged as a failure, unhandled errors of Deferreds included; none is left at a test's end."""
    seen = []

    def observe(event):
        if event.get("log_failure") is not None or event.get("isError"):  # which `log.err` says
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    gc.collect(1)
    globalLogPublisher.removeObserver(observe)
    assert seen == []
