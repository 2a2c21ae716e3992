"""Hypothesis measures no time: this machine may be busy with something else, and a test that is slow has a timeout."""

import pytest
from hypothesis import settings
from twisted.logger import globalLogPublisher

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def log():
    """What is logged while the test runs."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)
