"""How much a session moves in its turn."""

import pytest

from rfbproxy.session import attention
from rfbproxy.session.attention import ALONE_SIZE, CALM_S, SHARED_SIZE, Attention


@pytest.fixture
def time(monkeypatch):
    """What the clock says: one number, to be changed."""
    now = [1000.0]
    monkeypatch.setattr(attention, "monotonic", lambda: now[0])
    return now


def test_a_session_is_alone_once_no_other_has_had_a_turn_for_a_while(time):
    paid = Attention()
    paid.turn_to(1)
    assert paid.turn_size() == SHARED_SIZE
    time[0] += CALM_S + 0.01
    paid.turn_to(1)
    assert paid.turn_size() == ALONE_SIZE


def test_a_turn_of_another_session_ends_that_for_both(time):
    paid = Attention()
    paid.turn_to(1)
    time[0] += 10
    paid.turn_to(2)
    assert paid.turn_size() == SHARED_SIZE
    paid.turn_to(1)
    assert paid.turn_size() == SHARED_SIZE


def test_a_long_turn_is_whole_pipes():
    from rfbproxy.session.pipes import SIZE

    assert ALONE_SIZE % SIZE == 0
    assert SHARED_SIZE < SIZE
