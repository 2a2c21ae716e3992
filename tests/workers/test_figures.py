from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rfbproxy.exposition import summed
from rfbproxy.metrics import DIAL_FAILURES, SESSIONS, key
from rfbproxy.workers.figures import ANSWER_S, WorkersFigures

FAILURES = key(DIAL_FAILURES.name)
SESSION = key(SESSIONS.name, "vnc", "novnc")


class Worker:
    """One that answers when a test lets it."""

    def __init__(self, figures):
        self.link = self
        self.figures = figures
        self.asked = []
        self.hears = figures.hears(self)

    def ask(self, what):
        assert what == "figures"
        self.asked.append(Deferred())
        return self.asked[-1]

    def says(self, failures, sessions):
        return {FAILURES: failures, SESSION: sessions}


def gathered(worker):
    """What is told to one that asks for all, summed, once it is there."""
    answer = []
    worker.hears["all_figures"]().addCallback(answer.append)
    return lambda: [summed(snapshots) for snapshots in answer]


def test_all_are_summed_once_each_has_answered():
    figures = WorkersFigures(Clock())
    first, second = Worker(figures), Worker(figures)
    answer = gathered(first)
    first.asked[-1].callback(first.says(3, 1))
    assert not answer()
    second.asked[-1].callback(second.says(4, 2))
    (together,) = answer()
    assert together[FAILURES] == 7
    assert together[SESSION] == 3


def test_one_that_says_nothing_counts_as_it_did_last():
    clock = Clock()
    figures = WorkersFigures(clock)
    first, second = Worker(figures), Worker(figures)
    gathered(first)
    first.asked[-1].callback(first.says(3, 1))
    second.asked[-1].callback(second.says(4, 2))
    answer = gathered(first)
    first.asked[-1].callback(first.says(5, 1))
    clock.advance(ANSWER_S)
    (together,) = answer()
    assert together[FAILURES] == 9
    second.asked[-1].callback(second.says(6, 0))  # too late
    assert not clock.getDelayedCalls()


def test_what_one_counted_that_has_gone_stays_counted_and_what_it_had_does_not():
    figures = WorkersFigures(Clock())
    first, second = Worker(figures), Worker(figures)
    second.hears["last_figures"](figures=second.says(4, 2))
    figures.forget(second)
    answer = gathered(first)
    first.asked[-1].callback(first.says(3, 1))
    (together,) = answer()
    assert together[FAILURES] == 7
    assert together[SESSION] == 1
