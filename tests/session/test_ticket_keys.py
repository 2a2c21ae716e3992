"""Keys for tickets: how long each is used, that none is made where a client waits, and what happens if none can be."""

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rfbproxy.errors import ConfigError
from rfbproxy.secret import Secret
from rfbproxy.session import ticket_keys
from rfbproxy.session.ticket_keys import KEY_LIFE_S, KEY_USES, KEYS_AHEAD, OVERDUE, TicketKeys
from rfbproxy.spice import TicketKey
from rfbproxy.spice.ticket import seal


class Thread:
    """Runs what it was given when the test says so."""

    def __init__(self):
        self.waiting = []

    def __call__(self, function):
        self.waiting.append((Deferred(), function))
        return self.waiting[-1][0]

    def run(self):
        ((done, function),) = self.waiting
        self.waiting.clear()
        done.callback(function())

    def fail(self, error):
        ((done, _),) = self.waiting
        self.waiting.clear()
        done.errback(error)


@pytest.fixture
def made(monkeypatch):
    """Every key that is made, in that order; they are names here."""
    keys = []

    def make_key():
        keys.append(f"key {len(keys)}")
        return keys[-1]

    monkeypatch.setattr(ticket_keys, "make_key", make_key)
    return keys


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def thread():
    return Thread()


@pytest.fixture
def keys(made, clock, thread):
    return TicketKeys(clock, thread)


def test_a_key_opens_what_was_sealed_with_its_public_half(clock, thread):
    key = TicketKeys(clock, thread).take()
    assert isinstance(key, TicketKey)
    assert key.open(seal(Secret("swordfish"), key.public_key)).reveal() == "swordfish"


def test_the_first_key_is_there_before_anybody_asks(keys, made, thread):
    assert made == ["key 0"]
    assert thread.waiting == [], "and no other is made for nobody"


def test_one_key_serves_many_links(keys, thread):
    assert {keys.take() for _ in range(KEY_USES)} == {"key 0"}


def test_then_the_next_one_is_used_which_was_made_meanwhile(keys, made, thread):
    keys.take()
    thread.run()
    assert {keys.take() for _ in range(KEY_USES - 1)} == {"key 0"}
    assert {keys.take() for _ in range(KEY_USES)} == {"key 1"}


def test_a_key_that_is_old_is_replaced_however_seldom_it_was_used(keys, clock, thread):
    keys.take()
    thread.run()
    clock.advance(KEY_LIFE_S - 0.1)
    assert keys.take() == "key 0"
    clock.advance(0.1)
    assert keys.take() == "key 1"
    clock.advance(KEY_LIFE_S - 0.1)
    assert keys.take() == "key 1", "which has a life of its own"


def test_uses_are_counted_anew_for_each_key(keys, clock, thread):
    for _ in range(KEY_USES - 1):
        keys.take()
    thread.run()
    clock.advance(KEY_LIFE_S)
    assert {keys.take() for _ in range(KEY_USES)} == {"key 1"}


@pytest.mark.parametrize("takes", [KEY_USES + 1, OVERDUE * KEY_USES])
def test_nobody_waits_for_a_successor_that_is_not_there_yet(keys, made, clock, thread, takes):
    clock.advance((OVERDUE - 1) * KEY_LIFE_S)
    assert {keys.take() for _ in range(takes)} == {"key 0"}
    assert made == ["key 0"], "none is made on the reactor's thread, whatever strangers ask for"
    assert len(thread.waiting) == 1, "and one at a time beside it"
    thread.run()
    assert keys.take() == "key 1"


def test_unless_it_is_overdue(keys, made, clock, thread):
    for _ in range(OVERDUE * KEY_USES):
        keys.take()
    assert made == ["key 0"]
    assert {keys.take() for _ in range(OVERDUE * KEY_USES)} == {"key 1"}
    clock.advance(OVERDUE * KEY_LIFE_S)
    assert keys.take() == "key 2"
    assert len(thread.waiting) == 1


def test_one_that_is_overdue_is_replaced_by_what_is_there(keys, made, clock, thread):
    keys.take()
    thread.run()
    clock.advance(OVERDUE * KEY_LIFE_S)
    assert keys.take() == "key 1"
    assert made == ["key 0", "key 1"]


def test_a_few_are_kept_ahead_and_no_more(keys, made, thread):
    for _ in range(3 * KEYS_AHEAD):
        keys.take()
        if thread.waiting:
            thread.run()
    assert len(made) == 1 + KEYS_AHEAD
    assert thread.waiting == []


def test_what_was_used_up_is_made_anew(keys, made, clock, thread):
    for _ in range(KEYS_AHEAD):
        keys.take()
        thread.run()
    clock.advance(KEY_LIFE_S)
    keys.take()
    thread.run()
    assert len(made) == 2 + KEYS_AHEAD


def test_a_key_that_could_not_be_made_is_tried_for_again(keys, made, clock, thread, failures):
    keys.take()
    thread.fail(UnsupportedAlgorithm("the policy has changed"))
    assert failures.pop()["log_failure"].check(UnsupportedAlgorithm)
    clock.advance(KEY_LIFE_S)
    assert keys.take() == "key 0", "the old one goes on"
    thread.run()
    assert keys.take() == "key 1"


@pytest.mark.parametrize(
    "error", [UnsupportedAlgorithm("RSA-1024 is not allowed"), ValueError("key_size is too small")]
)
def test_a_system_that_makes_no_such_keys_is_found_out_at_the_start(monkeypatch, clock, thread, error):
    def generate(*_):
        raise error

    monkeypatch.setattr(ticket_keys, "generate_private_key", generate)
    with pytest.raises(ConfigError, match=rf"^\[spice\] enabled: no RSA-1024 key can be made here: {error}$"):
        TicketKeys(clock, thread)


def test_keys_are_of_the_size_and_exponent_that_spice_knows(monkeypatch):
    asked = []

    def generate(*args):
        asked.append(args)
        return generate_private_key(*args)

    monkeypatch.setattr(ticket_keys, "generate_private_key", generate)
    ticket_keys.make_key()
    assert asked == [(65537, 1024)]
