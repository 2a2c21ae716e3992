import random

import pytest

from rfbproxy.client.waiting_room import Place, WaitingRoom


class Guest:
    def __init__(self, room, source=None):
        self.dropped = False
        self.place = Place(room, self.drop)
        self.place.take(source)

    def drop(self):
        self.dropped = True


def test_no_limit():
    room = WaitingRoom()
    guests = [Guest(room, "192.0.2.7") for _ in range(5000)]
    assert not any(guest.dropped for guest in guests)
    assert len(room) == 5000


def test_the_one_who_waited_longest_goes():
    room = WaitingRoom(2)
    guests = [Guest(room, f"192.0.2.{number}") for number in range(4)]
    assert [guest.dropped for guest in guests] == [True, True, False, False]
    assert len(room) == 2


def test_a_step_on_counts_as_coming_anew():
    room = WaitingRoom(2)
    first, second = Guest(room), Guest(room)
    first.place.take("192.0.2.7")
    third = Guest(room)
    assert [guest.dropped for guest in (first, second, third)] == [False, True, False]


def test_a_source_pushes_out_its_own():
    room = WaitingRoom(100, 2)
    other = Guest(room, "203.0.113.1")
    guests = [Guest(room, "192.0.2.7") for _ in range(5)]
    assert [guest.dropped for guest in guests] == [True, True, True, False, False]
    assert not other.dropped


def test_one_client_of_ipv6_has_64_bits():
    room = WaitingRoom(0, 1)
    first, second = Guest(room, "2001:db8::1"), Guest(room, "2001:db8::2")
    assert (first.dropped, second.dropped) == (True, False)


def test_a_proxys_address_stands_for_many():
    room = WaitingRoom(0, 1)
    guests = [Guest(room) for _ in range(5)]
    assert not any(guest.dropped for guest in guests)
    for guest in guests:
        guest.place.take("192.0.2.7")
    assert [guest.dropped for guest in guests] == [True] * 4 + [False]


def test_who_left_does_not_count():
    room = WaitingRoom(1, 1)
    first = Guest(room, "192.0.2.7")
    first.place.leave()
    first.place.leave()
    second = Guest(room, "192.0.2.7")
    assert (first.dropped, second.dropped) == (False, False)


def test_limits_change_for_those_to_come():
    room = WaitingRoom()
    guests = [Guest(room, "192.0.2.7") for _ in range(3)]
    room.allow(3, 0)
    Guest(room, "192.0.2.7")
    assert [guest.dropped for guest in guests] == [True, False, False]


@pytest.mark.parametrize("seed", range(20))
def test_any_coming_and_going_keeps_the_limits_and_forgets_all(seed):
    rng = random.Random(seed)
    room = WaitingRoom(8, 3)
    guests = []
    for _ in range(300):
        kind = rng.randrange(3)
        if kind == 0 or not guests:
            guests.append(Guest(room, rng.choice([None, "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"])))
        elif kind == 1:
            guest = rng.choice(guests)
            if not guest.dropped:
                guest.place.take("192.0.2.9")
        else:
            guests.pop(rng.randrange(len(guests))).place.leave()
        assert len(room) <= 8
        waiting = [guest for guest in guests if not guest.dropped]
        assert len(waiting) == len(room)
        assert sum(guest.place.source == "192.0.2.9" for guest in waiting) <= 3
    for guest in guests:
        guest.place.leave()
    assert len(room) == 0
    assert not room._queues
