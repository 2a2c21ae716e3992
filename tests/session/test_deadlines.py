from twisted.internet.task import Clock

from rfbproxy.reasons import CloseReason
from rfbproxy.session.deadlines import Deadlines


def begun():
    clock, ended = Clock(), []
    return clock, ended, Deadlines(clock, lambda refused: ended.append((clock.seconds(), refused.reason)))


def test_the_longest_time():
    clock, ended, deadlines = begun()
    deadlines.end_after(60)
    clock.advance(59)
    assert ended == []
    clock.advance(1)
    assert ended == [(60, CloseReason.TIME_LIMIT)]
    deadlines.stop()
    assert clock.getDelayedCalls() == []


def test_the_longest_time_without_a_byte():
    clock, ended, deadlines = begun()
    relayed = []
    deadlines.end_idle(10, lambda: len(relayed))
    for _ in range(3):
        clock.pump([1.0] * 9)
        relayed.append(b"x")
    clock.pump([1.0] * 12)
    assert [reason for _, reason in ended] == [CloseReason.IDLE]
    assert 37 <= ended[0][0] <= 39
    assert clock.getDelayedCalls() == []


def test_they_stop_together():
    clock, ended, deadlines = begun()
    deadlines.end_after(60)
    deadlines.end_idle(10, lambda: 0)
    clock.advance(1)
    deadlines.stop()
    assert clock.getDelayedCalls() == []
    clock.advance(100)
    assert ended == []
