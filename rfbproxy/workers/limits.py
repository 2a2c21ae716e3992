"""One count of sessions and one memory of bad tokens for all workers: who is asked, who is told, and by whom.

To enter is one question to the supervisor. What must cost nothing needs none: the supervisor tells all workers who has
no room left, and whatever token any of them was denied. Where there is plenty of room, a worker *keeps* the place of a
session that has ended, for the next one of the same source, which then asks nobody: the supervisor goes on counting it,
so that there are never too many, and has it back within `KEPT_S`, or as soon as room gets tight.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rfbproxy.client.forwarded import network_of
from rfbproxy.deferreds import following
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.limits import BadTokens, Limits
from rfbproxy.workers.link import LinkError

ANSWER_S = 5.0  # for the supervisor to say whether there is room
CONSOLES, API = "consoles", "api"  # whose tokens were denied
EVERYBODY = ""  # in place of a network: there is no room for anybody
KEPT_S = 1.0
KEPT = 16  # places of one worker that no session has
TIGHT = 64  # sessions; where there is room for less, or for less than half of all, no place is kept

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
        self._tell_tight([EVERYBODY])  # what is kept may be too much now

    def hears(self, worker: Hashable) -> dict[str, Callable[..., Any]]:
        """What a worker says of this; see `Link`."""
        return {
            "enter": lambda source: self._enter(worker, source),
            "leave": lambda sources: self._leave(worker, sources),
            "denied": lambda **denial: self._denied(worker, denial),
        }

    def forget(self, worker: Hashable) -> None:
        """A worker has gone, and so have its sessions."""
        for source in self._live.pop(worker, Counter()).elements():
            self._limits.leave(source)
            self._note(source)

    def _enter(self, worker: Hashable, source: str) -> tuple[str | None, bool]:
        """Count a session; gives why there is no room for it, and whether its place may be kept."""
        before = self._tight(source)
        try:
            self._limits.count(source)
        except Refused as refused:
            return refused.detail, False
        self._live.setdefault(worker, Counter())[source] += 1
        self._note(source)
        tight = self._tight(source)
        if tight != before:
            self._tell_tight(tight)
        return None, not tight

    def _leave(self, worker: Hashable, sources: dict[str, int]) -> None:
        live = self._live[worker]
        for source, count in sources.items():
            live[source] -= count
            if not live[source]:
                del live[source]
            for _ in range(count):
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

    def _tight(self, source: str) -> list[str]:
        """Who has little room left, of everybody and a source's network: no place of theirs may be kept."""
        network = network_of(source)
        everybody = [EVERYBODY] if self._limits.tight(TIGHT) else []
        return [*everybody, network] if self._limits.tight_for(network, TIGHT) else everybody

    def _tell_tight(self, networks: Collection[str]) -> None:
        for worker in self._others(None):
            worker.tell("tight", networks=networks)


class WorkersLimits:
    """A worker's side; see `SessionLimits`."""

    def __init__(self, supervisor: Teller, clock: IReactorTime) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._full: Full = {}
        self._kept: Counter[str] = Counter()  # places that no session has, by source
        self._may_keep: set[str] = set()  # sources
        self._giving_back: IDelayedCall | None = None
        self.bad_tokens = BadTokens(partial(self._tell_denied, CONSOLES))
        self.bad_api_tokens = BadTokens(partial(self._tell_denied, API))

    def hears(self) -> dict[str, Callable[..., Any]]:
        """What the supervisor says of this; see `Link`."""
        return {"full": self.note_full, "tight": self._note_tight, "denied": self._note_denied}

    def check(self, source: str) -> None:
        """See `SessionLimits`; what the supervisor has not told yet comes out by `enter`."""
        why = self._full.get(EVERYBODY) or self._full.get(network_of(source))
        if why is not None:
            raise Refused(CloseReason.LIMIT, why)

    async def enter(self, source: str) -> None:
        """See `SessionLimits`."""
        if self._kept[source]:
            self._kept[source] -= 1
            return
        asking = self._supervisor.ask("enter", source=source)
        try:
            refusal, may_keep = await following(asking).addTimeout(ANSWER_S, self._clock)
        except LinkError as error:
            raise Refused(CloseReason.INTERNAL, f"limits: {error}") from error
        except (CancelledError, DeferredTimeout) as error:
            asking.addCallbacks(lambda answer: self.leave(source) if answer[0] is None else None, lambda _: None)
            if isinstance(error, CancelledError):
                raise
            raise Refused(CloseReason.INTERNAL, "the supervisor does not say whether there is room") from error
        if refusal is not None:
            raise Refused(CloseReason.LIMIT, refusal)
        if may_keep:
            self._may_keep.add(source)

    def leave(self, source: str) -> None:
        """See `SessionLimits`."""
        if source not in self._may_keep or self._kept.total() >= KEPT:
            self._supervisor.tell("leave", sources={source: 1})
            return
        self._kept[source] += 1
        if self._giving_back is None:
            self._giving_back = self._clock.callLater(KEPT_S, self._give_back)

    def note_full(self, networks: Full) -> None:
        """There is no room left for these."""
        self._full = networks

    def _note_tight(self, networks: Collection[str]) -> None:
        """Of these no place may be kept."""
        self._keep_no_more([each for each in self._may_keep if EVERYBODY in networks or network_of(each) in networks])

    def _give_back(self) -> None:
        self._giving_back = None
        self._keep_no_more(list(self._may_keep))

    def _keep_no_more(self, sources: Collection[str]) -> None:
        self._may_keep.difference_update(sources)
        if back := {source: count for source in sources if (count := self._kept.pop(source, 0))}:
            self._supervisor.tell("leave", sources=back)

    def _tell_denied(self, of: str, source: str, token_hash: str, reason: CloseReason, now: float) -> None:
        self._supervisor.tell("denied", of=of, source=source, token_hash=token_hash, reason=reason.value, now=now)

    def _note_denied(self, of: str, source: str, token_hash: str, reason: str, now: float) -> None:
        bad_tokens = self.bad_tokens if of == CONSOLES else self.bad_api_tokens
        bad_tokens.note(source, token_hash, _REASONS[reason], now)
