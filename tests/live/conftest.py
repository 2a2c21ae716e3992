"""One laboratory and one Chromium for all live tests; a failure shows the logs of what was running."""

import random
import string
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.live.browser import launch, window
from tests.live.laboratory import Laboratory
from tests.live.processes import started
from tests.live.screen import Screen
from tests.live.security_cases import Table


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    laboratory = Laboratory(tmp_path_factory.mktemp("live"))
    try:
        yield laboratory
    finally:
        statuses = laboratory.stop()
    assert not any(statuses.values()), f"proxies ended with {statuses}"


@pytest.fixture(scope="package")
def table() -> Table:
    """What the run has proved."""
    return Table()


@pytest.fixture(scope="package")  # not longer: while Playwright runs, this thread has an event loop
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with window(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    screen = Screen(tmp_path_factory.mktemp("screen"))
    yield screen
    screen.stop()


@pytest.fixture
def new_text() -> Callable[[], str]:
    """Makes texts to type that nothing else contains; lower case, for a driven Chromium presses no Shift."""
    return lambda: "".join(random.choices(string.ascii_lowercase, k=8)) + f" {random.randrange(1000)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:
        report.sections.extend((f"log of {process.name}", process.log) for process in started)
    return report
