import pytest

from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session import limits as module
from rfbproxy.session.limits import DELAY_LIMIT_S, DENIAL_TTL_S, BadTokens, Limits

NOW = 1_700_000_000.0
HERE, THERE = "192.0.2.7", "203.0.113.1"


def guess(bad_tokens, count, source=HERE, now=NOW):
    for number in range(count):
        bad_tokens.deny(source, f"{source} {now} {number}", CloseReason.TOKEN_UNKNOWN, now)


def test_no_limit():
    limits = Limits()
    for _ in range(5000):
        limits.count(HERE)


def test_the_limit_of_all():
    limits = Limits(2)
    limits.count(HERE)
    limits.count(THERE)
    with pytest.raises(Refused) as refused:
        limits.count("203.0.113.2")
    assert refused.value.reason is CloseReason.LIMIT
    limits.leave(HERE)
    limits.count("203.0.113.2")


def test_the_limit_of_one_source():
    limits = Limits(0, 1)
    limits.count(HERE)
    with pytest.raises(Refused):
        limits.check(HERE)
    limits.check(THERE)
    limits.leave(HERE)
    limits.count(HERE)


def test_one_client_of_ipv6_has_64_bits():
    limits = Limits(0, 1)
    limits.count("2001:db8::1")
    with pytest.raises(Refused):
        limits.count("2001:db8::2")
    limits.count("2001:db8:0:1::1")
    limits.leave("2001:db8::3")
    limits.count("2001:db8::4")


def test_limits_change_for_those_to_come():
    limits = Limits()
    limits.count(HERE)
    limits.count(HERE)
    limits.allow(1, 0)
    with pytest.raises(Refused):
        limits.count(THERE)


@pytest.mark.parametrize("reason", list(DENIAL_TTL_S))
def test_trap_13_a_denied_token_is_denied_again_for_a_while(reason):
    bad_tokens, ttl = BadTokens(), DENIAL_TTL_S[reason]
    bad_tokens.check("dead", NOW)
    bad_tokens.deny(HERE, "dead", reason, NOW)
    with pytest.raises(Refused) as refused:
        bad_tokens.check("dead", NOW + ttl - 0.1)
    assert refused.value.reason is reason
    assert "dead" not in refused.value.detail
    bad_tokens.check("another", NOW)
    bad_tokens.check("dead", NOW + ttl)
    bad_tokens.check("dead", NOW - 1)  # the clock was set back


def test_the_delay_grows_with_new_bad_tokens_alone():
    bad_tokens, delays = BadTokens(), []
    for number in range(80):
        delays.append(bad_tokens.delay_s(HERE, NOW))
        bad_tokens.deny(HERE, str(number), CloseReason.TOKEN_UNKNOWN, NOW)
    assert delays[:3] == pytest.approx([0, 0.1, 0.2])
    assert delays == sorted(delays)
    assert delays[-1] == DELAY_LIMIT_S
    assert bad_tokens.delay_s(THERE, NOW) == 0


def test_a_dead_token_is_one_bad_token_however_often_it_comes():
    bad_tokens = BadTokens()
    for minute in range(100):
        bad_tokens.deny(HERE, "dead", CloseReason.TOKEN_UNKNOWN, NOW + minute / 1000)
    assert bad_tokens.delay_s(HERE, NOW + 0.1) <= 0.1


def test_an_expired_token_is_no_guess():
    bad_tokens = BadTokens()
    bad_tokens.deny(HERE, "was good", CloseReason.TOKEN_EXPIRED, NOW)
    assert bad_tokens.delay_s(HERE, NOW) == 0


def test_it_is_forgotten():
    bad_tokens = BadTokens()
    guess(bad_tokens, 1000)
    assert bad_tokens.delay_s(HERE, NOW) == DELAY_LIMIT_S
    assert 0 < bad_tokens.delay_s(HERE, NOW + 10) < DELAY_LIMIT_S
    assert bad_tokens.delay_s(HERE, NOW + 26) == 0
    assert bad_tokens.delay_s(HERE, NOW - 60) == DELAY_LIMIT_S, "the clock was set back"


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MEMORY", 100)
    bad_tokens = BadTokens()
    for number in range(1000):
        guess(bad_tokens, 2, source=f"10.0.{number // 256}.{number % 256}")
    assert len(bad_tokens._denials) == len(bad_tokens._guesses) == 100
    assert bad_tokens.delay_s("10.0.3.231", NOW) > 0, "the last ones are remembered"
