"""Workers that answer, that hang, and that go meanwhile."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rfbproxy.workers.link import LinkError
from rfbproxy.workers.watch import LOOK_S, PATIENCE, Watch


class Worker:
    """One that answers when a test lets it."""

    number, pid = 1, 4001

    def __init__(self):
        self.link = self
        self.asked = []
        self.done = []

    def ask(self, what):
        assert what == "alive"
        self.asked.append(Deferred())
        return self.asked[-1]

    def answer(self):
        self.asked.pop().callback(None)

    def abort(self):
        self.done.append("abort")

    def kill(self):
        self.done.append("kill")


@pytest.fixture
def bench():
    workers, clock = [Worker(), Worker()], Clock()
    watch = Watch(lambda: workers, clock)
    watch.start()
    yield workers, clock
    watch.stop()
    assert not clock.getDelayedCalls()


def test_workers_that_answer_are_asked_again_and_left_alone(bench):
    workers, clock = bench
    for _ in range(3 * PATIENCE):
        clock.advance(LOOK_S)
        for worker in workers:
            worker.answer()
    assert [worker.done for worker in workers] == [[], []]


def test_one_that_hangs_is_asked_once_then_aborted_then_killed(bench):
    (stuck, good), clock = bench
    for look in range(1 + PATIENCE):
        assert stuck.done == []
        assert len(stuck.asked) == min(look, 1)
        clock.advance(LOOK_S)
        good.answer()
    assert stuck.done == ["abort"]
    clock.advance(LOOK_S)
    assert stuck.done == ["abort", "kill"]
    assert good.done == []


def test_a_late_answer_counts(bench):
    (late, other), clock = bench
    for _ in range(PATIENCE):
        clock.advance(LOOK_S)
    late.answer()
    clock.advance(LOOK_S)
    assert (late.done, other.done) == ([], ["abort"])
    assert len(late.asked) == 1, "it is asked again"


def test_a_clock_that_jumps_is_one_look(bench):
    workers, clock = bench
    clock.advance(LOOK_S)
    clock.advance(100 * LOOK_S)
    assert [worker.done for worker in workers] == [[], []]


def test_one_that_has_gone_is_forgotten(bench):
    workers, clock = bench
    gone = workers[0]
    clock.advance(LOOK_S)
    gone.asked.pop().errback(LinkError("the link is lost"))
    del workers[0]
    for _ in range(2 * PATIENCE):
        clock.advance(LOOK_S)
        workers[0].answer() if workers[0].asked else None
    assert gone.done == []
