"""How many sessions there may be, and what guessing at tokens costs. Memory is bounded, times are Unix seconds."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rfbproxy.client.forwarded import network_of
from rfbproxy.consoleauth import hash_token
from rfbproxy.reasons import CloseReason, Refused

DELAY_STEP_S = 0.1  # for each bad token of a source that is not forgiven yet
DELAY_LIMIT_S = 5.0
FORGIVEN_PER_S = 2.0  # bad tokens
DENIAL_TTL_S = {  # a denied token is not looked up again for so long; an unknown one may become known
    CloseReason.TOKEN_UNKNOWN: 2.0,
    CloseReason.TOKEN_EXPIRED: 10.0,
}
MEMORY = 10_000  # sources, and tokens, that are remembered

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentlyUsed(OrderedDict[K, V], Generic[K, V]):
    """A dictionary that forgets what was set longest ago."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > MEMORY:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Denial:
    reason: CloseReason
    at: float


Denied = Callable[[str, str, CloseReason, float], None]  # source, hash of the token, why, when


class BadTokens:
    """Remembers tokens that the store denied, and who brought them.

    A token that was denied a moment ago is denied again without asking the store: a viewer that reconnects for ever
    with a dead token costs nothing. Each *new* bad token of a source makes its next visits wait longer, whatever token
    they bring: nobody learns from the wait whether a token is good.

    Args:
        on_denied: told of each denial here, so that others may `note` it.
    """

    def __init__(self, on_denied: Denied = lambda *_: None) -> None:
        self._on_denied = on_denied
        self._denials: RecentlyUsed[str, _Denial] = RecentlyUsed()
        self._guesses: RecentlyUsed[str, tuple[float, float]] = RecentlyUsed()  # how many, at that time

    def check(self, token: str, now: float) -> None:
        """Refuse a token that the store has denied just now.

        Raises:
            Refused: token-unknown or token-expired, as then.
        """
        denial = self._denials.get(hash_token(token))
        if denial is not None and 0 <= now - denial.at < DENIAL_TTL_S[denial.reason]:
            raise Refused(denial.reason, f"the token was denied {now - denial.at:.1f} s ago already")

    def delay_s(self, source: str, now: float) -> float:
        """How long a visit of this source must wait before its token is looked up."""
        return min(DELAY_LIMIT_S, DELAY_STEP_S * self._not_forgiven(source, now))

    def deny(self, source: str, token: str, reason: CloseReason, now: float) -> None:
        """The store has denied a token; one that had been good is no guess."""
        token_hash = hash_token(token)
        self.note(source, token_hash, reason, now)
        self._on_denied(source, token_hash, reason, now)

    def note(self, source: str, token_hash: str, reason: CloseReason, now: float) -> None:
        """A token was denied, here or by somebody else."""
        if reason is CloseReason.TOKEN_UNKNOWN and token_hash not in self._denials:
            self._guesses[network_of(source)] = (self._not_forgiven(source, now) + 1, now)
        self._denials[token_hash] = _Denial(reason, now)

    def _not_forgiven(self, source: str, now: float) -> float:
        count, at = self._guesses.get(network_of(source), (0.0, now))
        return max(0.0, min(count, DELAY_LIMIT_S / DELAY_STEP_S) - max(0.0, now - at) * FORGIVEN_PER_S)


class SessionLimits(Protocol):
    """How many sessions there may be, as visits ask it: of this process, or of all that serve together.

    Attributes:
        bad_tokens: what guessing costs.
    """

    bad_tokens: BadTokens

    def check(self, source: str) -> None:
        """Refuse a visit for which there is no room, before it costs anything.

        Raises:
            Refused: limit.
        """

    async def enter(self, source: str) -> None:
        """Count a session; `leave` must follow, unless this was cancelled.

        Raises:
            Refused: limit; internal, nobody can say.
        """

    def leave(self, source: str) -> None:
        """A session has ended."""


class Limits:
    """How many sessions there may be: visits whose token was good, until they end; see `SessionLimits`.

    Args:
        sessions: in total; 0 is no limit.
        sessions_per_source: of one client address; IPv6 counts by /64.
    """

    def __init__(self, sessions: int = 0, sessions_per_source: int = 0) -> None:
        self.allow(sessions, sessions_per_source)
        self._live: Counter[str] = Counter()  # by network
        self._count = 0
        self.bad_tokens = BadTokens()

    def allow(self, sessions: int, sessions_per_source: int) -> None:
        """Change the limits, for visits to come."""
        self._sessions = sessions
        self._sessions_per_source = sessions_per_source

    @property
    def networks(self) -> Iterable[str]:
        """Those that have sessions."""
        return self._live.keys()

    def full(self) -> str | None:
        """Why nobody may have one session more, whoever it is."""
        if 0 < self._sessions <= self._count:
            return f"{self._count} sessions live, allowed are {self._sessions}"
        return None

    def full_for(self, network: str) -> str | None:
        """Why a network may not have one session more."""
        if 0 < self._sessions_per_source <= self._live[network]:
            return f"{self._live[network]} sessions live from {network}, allowed are {self._sessions_per_source}"
        return None

    def tight(self, room: int) -> bool:
        """Whether so many sessions more would be too many, or more than half of all that may be there are."""
        return _tight(self._count, self._sessions, room)

    def tight_for(self, network: str, room: int) -> bool:
        """The same for one network."""
        return _tight(self._live[network], self._sessions_per_source, room)

    def check(self, source: str) -> None:
        """See `SessionLimits`."""
        if (why := self.full() or self.full_for(network_of(source))) is not None:
            raise Refused(CloseReason.LIMIT, why)

    async def enter(self, source: str) -> None:
        """See `SessionLimits`."""
        self.count(source)

    def count(self, source: str) -> None:
        """Count a session; `leave` must follow.

        Raises:
            Refused: limit.
        """
        self.check(source)
        self._live[network_of(source)] += 1
        self._count += 1

    def leave(self, source: str) -> None:
        """See `SessionLimits`."""
        network = network_of(source)
        self._live[network] -= 1
        self._count -= 1
        if not self._live[network]:
            del self._live[network]


def _tight(count: int, limit: int, room: int) -> bool:
    return limit > 0 and limit - count < max(room, limit / 2)
