"""How much a session moves in its turn."""

import pytest

from rfbproxy.session import attention
from rfbproxy.session.attention import ALONE_SIZE, CALM_S, SHARED_SIZE, Attention
from rfbproxy.session.pipes import SIZE as PIPE_SIZE


@pytest.fixture
def time(monkeypatch):
    """What the clock says: one number, to be changed."""
    now = [1000.0]
    monkeypatch.setattr(attention, "monotonic", lambda: now[0])
    return now


def test_nobody_waits_at_first(time):
    assert Attention().bulk_size(1) == ALONE_SIZE


def test_a_little_turn_of_another_session_makes_turns_short_for_a_while(time):
    paid = Attention()
    paid.little_turn(2)
    assert paid.bulk_size(1) == SHARED_SIZE
    time[0] += CALM_S + 0.01
    assert paid.bulk_size(1) == ALONE_SIZE


def test_ones_own_little_turns_do_not(time):
    paid = Attention()
    paid.little_turn(1)
    assert paid.bulk_size(1) == ALONE_SIZE


def test_ones_own_little_turns_do_not_hide_those_of_another(time):
    paid = Attention()
    paid.little_turn(2)
    for _ in range(3):
        paid.little_turn(1)
        assert paid.bulk_size(1) == SHARED_SIZE
    time[0] += CALM_S + 0.01
    paid.little_turn(1)
    assert paid.bulk_size(1) == ALONE_SIZE
    assert paid.bulk_size(2) == SHARED_SIZE


def test_a_long_turn_is_whole_pipes():
    assert ALONE_SIZE % PIPE_SIZE == 0
    assert SHARED_SIZE < PIPE_SIZE
