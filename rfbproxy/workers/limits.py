"""One count of sessions and one memory of bad tokens for all workers: who is asked, who is told, and by whom.

To enter is one question to the supervisor. What must cost nothing needs none: the supervisor tells all workers who has
no room left, and whatever token any of them was denied.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from rfbproxy.client.forwarded import network_of
from rfbproxy.deferreds import following
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.limits import BadTokens, Limits
from rfbproxy.workers.link import LinkError

ANSWER_S = 5.0  # for the supervisor to say whether there is room
CONSOLES, API = "consoles", "api"  # whose tokens were denied
EVERYBODY = ""  # in place of a network: there is no room for anybody

_REASONS = {reason.value: reason for reason in CloseReason}

Full = dict[str, str]  # why there is no room, by network


class Teller(Protocol):
    """A `Link`, as it is used here."""

    def tell(self, what: str, **facts: object) -> None:
        """See `Link.tell`."""

    def ask(self, what: str, **facts: object) -> Deferred[Any]:
        """See `Link.ask`."""


class SharedLimits:
    """The supervisor's side.

    Args:
        limits: those of all workers together.
        others: gives the links to all workers but one; None: to all.
    """

    def __init__(self, limits: Limits, others: Callable[[Hashable], Collection[Teller]]) -> None:
        self._limits = limits
        self._others = others
        self._live: dict[Hashable, Counter[str]] = {}  # sources of the sessions, by worker
        self.full: Full = {}

    def allow(self, sessions: int, sessions_per_source: int) -> None:
        """Change the limits, for visits to come."""
        self._limits.allow(sessions, sessions_per_source)
        self.full = {}
        for network in self._limits.networks:
            self._look(network)
        self._tell_full()

    def hears(self, worker: Hashable) -> dict[str, Callable[..., Any]]:
        """What a worker says of this; see `Link`."""
        return {
            "enter": lambda source: self._enter(worker, source),
            "leave": lambda source: self._leave(worker, source),
            "denied": lambda **denial: self._denied(worker, denial),
        }

    def forget(self, worker: Hashable) -> None:
        """A worker has gone, and so have its sessions."""
        for source in self._live.pop(worker, Counter()).elements():
            self._limits.leave(source)
            self._note(source)

    def _enter(self, worker: Hashable, source: str) -> str | None:
        """Count a session; gives why there is no room for it."""
        try:
            self._limits.count(source)
        except Refused as refused:
            return refused.detail
        self._live.setdefault(worker, Counter())[source] += 1
        self._note(source)
        return None

    def _leave(self, worker: Hashable, source: str) -> None:
        self._live[worker][source] -= 1
        self._limits.leave(source)
        self._note(source)

    def _denied(self, worker: Hashable, denial: dict[str, Any]) -> None:
        for other in self._others(worker):
            other.tell("denied", **denial)

    def _note(self, source: str) -> None:
        """Tell all workers, if that changes who has no room."""
        before = self.full.copy()
        self._look(network_of(source))
        if self.full != before:
            self._tell_full()

    def _look(self, network: str) -> None:
        for who, why in ((EVERYBODY, self._limits.full()), (network, self._limits.full_for(network))):
            self.full.pop(who, None)
            if why is not None:
                self.full[who] = why

    def _tell_full(self) -> None:
        for worker in self._others(None):
            worker.tell("full", networks=self.full)


class WorkersLimits:
    """A worker's side; see `SessionLimits`."""

    def __init__(self, supervisor: Teller, clock: IReactorTime) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._full: Full = {}
        self.bad_tokens = BadTokens(partial(self._tell_denied, CONSOLES))
        self.bad_api_tokens = BadTokens(partial(self._tell_denied, API))

    def hears(self) -> dict[str, Callable[..., Any]]:
        """What the supervisor says of this; see `Link`."""
        return {"full": self.note_full, "denied": self._note_denied}

    def check(self, source: str) -> None:
        """See `SessionLimits`; what the supervisor has not told yet comes out by `enter`."""
        why = self._full.get(EVERYBODY) or self._full.get(network_of(source))
        if why is not None:
            raise Refused(CloseReason.LIMIT, why)

    async def enter(self, source: str) -> None:
        """See `SessionLimits`."""
        asking = self._supervisor.ask("enter", source=source)
        try:
            refusal = await following(asking).addTimeout(ANSWER_S, self._clock)
        except LinkError as error:
            raise Refused(CloseReason.INTERNAL, f"limits: {error}") from error
        except (CancelledError, DeferredTimeout) as error:
            asking.addCallbacks(lambda refusal: self.leave(source) if refusal is None else None, lambda _: None)
            if isinstance(error, CancelledError):
                raise
            raise Refused(CloseReason.INTERNAL, "the supervisor does not say whether there is room") from error
        if refusal is not None:
            raise Refused(CloseReason.LIMIT, refusal)

    def leave(self, source: str) -> None:
        """See `SessionLimits`."""
        self._supervisor.tell("leave", source=source)

    def note_full(self, networks: Full) -> None:
        """There is no room left for these."""
        self._full = networks

    def _tell_denied(self, of: str, source: str, token_hash: str, reason: CloseReason, now: float) -> None:
        self._supervisor.tell("denied", of=of, source=source, token_hash=token_hash, reason=reason.value, now=now)

    def _note_denied(self, of: str, source: str, token_hash: str, reason: str, now: float) -> None:
        bad_tokens = self.bad_tokens if of == CONSOLES else self.bad_api_tokens
        bad_tokens.note(source, token_hash, _REASONS[reason], now)
