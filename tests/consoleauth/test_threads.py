import gc
import threading
import weakref

import pytest
from twisted.python.failure import Failure

from rfbproxy.consoleauth.threads import Threads


class DirectReactor:
    """Tells on the very thread that asks."""

    def callFromThread(self, function, *args):
        function(*args)


def living(name):
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


@pytest.fixture
def one():
    threads = Threads(DirectReactor(), 1, "one")
    yield threads
    threads.stop()


def test_threads_are_started_as_calls_come():
    threads = Threads(DirectReactor(), 2, "few")
    for expected in (0, 1, 2, 2):
        assert len(living("few")) == expected
        threads.call(lambda: None, lambda _: None)
    threads.stop()
    assert not living("few")


def test_one_thread_does_everything_in_turn_and_what_came_before_the_stop():
    threads, told = Threads(DirectReactor(), 1, "turn"), []
    for number in range(100):
        threads.call(lambda number=number: number, told.append)
    threads.stop()
    assert told == list(range(100))
    assert not living("turn")


def test_as_many_run_at_once_as_asked_for():
    threads, meeting = Threads(DirectReactor(), 3, "three"), threading.Barrier(3)
    told = []
    for _ in range(3):
        threads.call(lambda: meeting.wait(5), told.append)
    threads.stop()
    assert sorted(told) == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt])
def test_what_a_function_raises_is_told_and_ends_no_thread(one, error):
    told, again = [], threading.Event()

    def fail():
        raise error("x")

    one.call(fail, told.append)
    one.call(lambda: None, lambda _: again.set())
    assert again.wait(5)
    [failure] = told
    assert isinstance(failure, Failure)
    assert failure.check(error)


def test_a_waiting_thread_keeps_nothing_alive(one):
    class Outcome:
        pass

    kept, done = [], threading.Event()
    one.call(Outcome, lambda outcome: kept.append(weakref.ref(outcome)))
    one.call(lambda: None, lambda _: done.set())
    assert done.wait(5)
    gc.collect()
    assert kept[0]() is None
