"""Restarts and replacements of one worker, on a clock, without processes."""

import pytest
from twisted.internet.task import Clock

from rfbproxy.workers.slot import FIRST_DELAY_S, LONG_LIFE_S, LONGEST_DELAY_S, START_S, Slot
from tests.workers.fakes import FakeWorker


class Bench:
    def __init__(self):
        self.clock = Clock()
        self.options = 1
        self.started = []
        self.up = 0
        self.slot = Slot(1, self._start, self.clock, self._is_up)
        self.slot.begin()

    def _start(self, slot):
        self.started.append(FakeWorker())
        self.last.begin(self.options, [], {"number": 1}, {}, slot.serves, slot.gone)
        return self.started[-1]

    def _is_up(self):
        self.up += 1

    @property
    def last(self):
        return self.started[-1]


def test_a_worker_that_dies_is_followed_by_another():
    bench = Bench()
    first = bench.last
    assert bench.slot.serving is None
    first.serve()
    assert bench.slot.serving is first
    assert bench.up == 1
    first.go("by SIGKILL")
    assert bench.slot.serving is None
    bench.clock.advance(FIRST_DELAY_S)
    assert len(bench.started) == 2
    bench.last.serve()
    assert bench.slot.serving is bench.last


def test_the_wait_doubles_up_to_its_limit_and_is_short_again_after_a_long_life():
    bench = Bench()
    waits = []
    for _ in range(12):
        before = len(bench.started)
        bench.last.go("with status 1")
        begun = bench.clock.seconds()
        while len(bench.started) == before:
            bench.clock.advance(FIRST_DELAY_S)
        waits.append(bench.clock.seconds() - begun)
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.11)
    assert waits[-1] == pytest.approx(LONGEST_DELAY_S, abs=0.11)
    bench.last.serve()
    bench.clock.advance(LONG_LIFE_S)
    bench.last.go("by SIGSEGV")
    before = len(bench.started)
    bench.clock.advance(FIRST_DELAY_S)
    assert len(bench.started) == before + 1


def test_a_worker_that_never_serves_is_killed():
    bench = Bench()
    bench.clock.advance(START_S)
    assert bench.last.done == ["kill"]
    bench.last.go("by SIGKILL")
    bench.clock.advance(FIRST_DELAY_S)
    assert len(bench.started) == 2


def test_the_old_one_serves_until_the_new_one_does():
    bench = Bench()
    old = bench.last
    old.serve()
    bench.options = 2
    assert bench.slot.has_others_than(2)
    replaced = bench.slot.replace()
    new = bench.last
    assert new is not old
    assert bench.slot.serving is old
    assert old.done == []
    new.serve()
    assert replaced.called
    assert bench.slot.serving is new
    assert not bench.slot.has_others_than(2)
    assert old.done == ["retire"]
    old.go()
    bench.clock.advance(LONGEST_DELAY_S)
    assert len(bench.started) == 2, "one that retired has no successor but its own"


def test_a_new_one_that_dies_leaves_the_old_one_serving_and_is_tried_again():
    bench = Bench()
    old = bench.last
    old.serve()
    replaced = bench.slot.replace()
    bench.last.go("with status 1")
    assert bench.slot.serving is old
    assert old.done == []
    bench.clock.advance(FIRST_DELAY_S)
    assert len(bench.started) == 3
    bench.last.serve()
    assert replaced.called
    assert old.done == ["retire"]


def test_an_old_one_that_dies_meanwhile_has_one_successor():
    bench = Bench()
    old = bench.last
    old.serve()
    replaced = bench.slot.replace()
    old.go("by SIGKILL")
    bench.clock.advance(LONGEST_DELAY_S)
    assert len(bench.started) == 2
    bench.last.serve()
    assert replaced.called


def test_a_replacement_waits_for_one_that_is_on_its_way():
    bench = Bench()
    replaced = bench.slot.replace()
    assert len(bench.started) == 1
    bench.last.go("with status 1")
    assert bench.slot.replace() is not replaced
    bench.clock.advance(FIRST_DELAY_S)
    assert len(bench.started) == 2
    bench.last.serve()
    assert replaced.called


def test_a_slot_that_was_stopped_starts_nothing():
    bench = Bench()
    bench.last.serve()
    bench.slot.stop()
    bench.last.go("by SIGKILL")
    assert not bench.clock.getDelayedCalls()
    assert len(bench.started) == 1
