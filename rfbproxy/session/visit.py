"""One visit, whatever protocol it speaks: it lives its story, is ended for a reason, and leaves one audit record."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken, TokenStore
from rfbproxy.errors import StoreError
from rfbproxy.metrics import Protocol
from rfbproxy.quick_logger import QuickLogger
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import Preference
from rfbproxy.session.audit import VisitRecord, utc
from rfbproxy.session.authorise import authorise
from rfbproxy.session.deadlines import Deadlines
from rfbproxy.session.faults import client_fault
from rfbproxy.session.limits import Limits, SessionLimits
from rfbproxy.session.live_sessions import Live, LiveSessions
from rfbproxy.session.relay import Relay
from rfbproxy.session.spice_surroundings import SpiceSurroundings
from rfbproxy.session.steps import Steps, unstoppable
from rfbproxy.stream import ClientStream
from rfbproxy.target.dial import Dialler
from rfbproxy.target.tls import TargetTls

DENIAL_S = 1.0  # a token that came inside the handshake is denied no sooner, whatever is wrong with it
_DENIED = (CloseReason.TOKEN_UNKNOWN, CloseReason.TOKEN_EXPIRED)

_log = QuickLogger()


@dataclass(frozen=True, slots=True)
class VisitRules:
    """What every visit is held to. Times are seconds; None is no limit."""

    security_preference: Preference
    allowed_origins: tuple[str, ...] = ()
    handshake_timeout_s: float = 10.0
    login_timeout_s: float = 60.0
    idle_timeout_s: float | None = None
    session_limit_s: float | None = None
    enforce_session_timeout: bool = False
    tls_only: bool = False
    untold_bases: Mapping[str, str] = field(default_factory=dict)  # by console type, where a store does not tell


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a visit needs of the world.

    Attributes:
        target_check: whether a token's target is still its instance's; None: believe the store.
        spice: None where no SPICE is listened for.
        live: tells the store of sessions; None: nobody is told.
    """

    rules: VisitRules
    store: TokenStore
    dialler: Dialler
    target_tls: TargetTls
    clock: IReactorTime
    wall_clock: Callable[[], float]  # Unix seconds
    limits: SessionLimits = field(default_factory=Limits)
    target_check: Callable[[ConsoleToken], Awaitable[None]] | None = None
    spice: SpiceSurroundings | None = None
    live: LiveSessions | None = None


class Visit(ABC):
    """One client at one console.

    Attributes:
        record: the audit record, filled in as facts come about.
        is_session: whether it is counted by the limits.
        handshake_s: seconds until it began to relay; None: it has not.
    """

    protocol: ClassVar[Protocol]
    console_types: frozenset[str]  # that may be seen by this kind of visit
    types_by_way_in: ClassVar[Mapping[str, str]]  # of consoles whose type the store does not tell

    def __init__(self, session: str, request: ConsoleRequest, client: ClientStream, surroundings: Surroundings) -> None:
        self._request = request
        self._client = client
        self._world = surroundings
        self._rules = surroundings.rules
        self._relay: Relay | None = None
        self.is_session = False
        self.handshake_s: float | None = None
        self._begun = surroundings.clock.seconds()
        self._live: Live | None = None  # told of to the store
        self.record = VisitRecord(
            session=session,
            started=utc(surroundings.wall_clock()),
            client=request.source,
            way_in=request.way_in,
        )
        self._steps = Steps(surroundings.clock)
        self._deadlines = Deadlines(surroundings.clock, self.end)

    async def run(self, admit: Callable[[], None]) -> VisitRecord | None:
        """Live the visit to its end, and give its record; None where another visit's record tells of it; never raises.

        Args:
            admit: asked first; raises `Refused` where nobody is let in any more.
        """
        ended = await self._ended_by(self._story(admit))
        self.record.ended = utc(self._world.wall_clock())
        self.record.close_reason = ended.reason.value
        if self.is_session:
            self._world.limits.leave(self._request.source)
        try:
            await self._take_leave(ended)
        except Exception:
            _log.failure("[{session}] took no leave", session=self.record.session)
        self._deadlines.stop()
        self._steps.stop()
        if self._live is not None and self._world.live is not None:
            self._world.live.leave(self._live)
        _log.info("[{session}] ended: {reason}: {detail}", session=self.record.session, reason=ended.reason.value,
                  detail=ended.detail, visit=self.record)  # fmt: skip
        return self.record if self._has_record else None

    def end(self, refused: Refused) -> None:
        """End the visit for a reason from outside; the first reason counts."""
        self._steps.end(refused)

    @abstractmethod
    async def _story(self, admit: Callable[[], None]) -> CloseReason:
        """Live from the first byte to the last, and say how it ended; raises `Refused` where it ended early."""

    @abstractmethod
    async def _take_leave(self, refused: Refused) -> None:
        """Let the target go, tell the client why, and complete the record."""

    @property
    def _has_record(self) -> bool:
        return True

    async def _ended_by(self, story: Awaitable[CloseReason]) -> Refused:
        """Live the story; says how it ended."""
        try:
            reason = await story
        except Refused as refused:
            return refused
        except Exception as error:
            _log.failure("[{session}] failed", session=self.record.session)
            return Refused(CloseReason.INTERNAL, f"{type(error).__name__} in the proxy")
        return Refused(reason, reason.sentence)

    def _client_left(self) -> Refused:
        if self._client.crowded_out:
            return Refused(CloseReason.LIMIT, "too many wait without a good token, this one the longest")
        if self._client.broken is not None:
            return client_fault(self._client.broken)
        return Refused(CloseReason.CLIENT_CLOSED, "client left during the handshake")

    def _target_left(self) -> None:
        self.end(Refused(CloseReason.TARGET_UNREACHABLE, "target left during the handshake"))

    async def _authorise(
        self, request: ConsoleRequest, *, token_inside: bool, may_have_expired: bool = False
    ) -> ConsoleToken:
        """Judge the token.

        Args:
            token_inside: it came inside the handshake, and is denied at the same time whatever is wrong with it.
            may_have_expired: see `authorise`.
        """
        await self._wait_for_guesses(request.source)
        begun = self._world.clock.seconds()
        try:
            token = await self._find(request, may_have_expired)
        except Refused as refused:
            if token_inside and refused.reason in _DENIED:
                wait = max(0.0, begun + DENIAL_S - self._world.clock.seconds())
                await self._steps.take(deferLater(self._world.clock, wait))
            raise
        return token

    def _let_in(self) -> None:
        """The client has shown that it may be here, and what it has is counted from now on as what it is."""
        self._client.is_authorised = True
        if self._client.on_authorised is not None:
            self._client.on_authorised()
            self._client.on_authorised = None
        if self._client.ended and not self._client.has_halves:
            raise self._client_left()

    async def _begin_session(self, token: ConsoleToken) -> None:
        """Count this visit as a session, if there may be one more and the token lets it."""
        await self._steps.take(self._enter())
        if (live := self._world.live) is not None:
            self._live = Live(token, self.record, self.end, self.session_relayed)
            if self._live.must_ask:
                await self._steps.take(
                    unstoppable(live.enter(self._live)),
                    self._rules.handshake_timeout_s,
                    lambda: Refused(CloseReason.INTERNAL, "session table did not answer in time"),
                )
            else:
                live.begin(self._live)
        record = self.record
        _log.info("[{session}] {client} opens {console_type} of {instance} at {target}", session=record.session,
                  client=record.client, console_type=record.console_type, instance=record.instance,
                  target=record.target)  # fmt: skip

    async def _enter(self) -> None:
        await self._world.limits.enter(self._request.source)
        self.is_session = True  # from now on, though the visit may be ending already

    async def _wait_for_guesses(self, source: str) -> None:
        """Make whoever brought bad tokens wait, whatever this one is."""
        if delay_s := self._world.limits.bad_tokens.delay_s(source, self._world.wall_clock()):
            await self._steps.take(deferLater(self._world.clock, delay_s))

    def _note_token(self, token: ConsoleToken) -> None:
        record = self.record
        record.token, record.instance, record.console_type = token.id, token.instance_uuid, token.console_type
        record.target = token.target

    async def _find(self, request: ConsoleRequest, may_have_expired: bool) -> ConsoleToken:
        asking = authorise(
            request,
            self._world.store,
            self._world.limits.bad_tokens,
            self._note_token,
            console_types=self.console_types,
            allowed_origins=self._rules.allowed_origins,
            now=self._world.wall_clock(),
            may_have_expired=may_have_expired,
            untold_type=self.types_by_way_in.get(request.way_in),
            untold_bases=self._rules.untold_bases,
        )
        token = await self._steps.take(
            unstoppable(asking),  # a bad token counts, though its client did not wait for the answer
            self._rules.handshake_timeout_s,
            lambda: Refused(CloseReason.INTERNAL, "token store did not answer in time"),
        )
        if self._world.target_check is not None:
            await self._steps.take(
                _checked(self._world.target_check(token)),
                self._rules.handshake_timeout_s,
                lambda: Refused(CloseReason.INTERNAL, "target check did not answer in time"),
            )
        return token

    async def _relayed_to_its_end(self, relay: Relay) -> CloseReason:
        """Relay until one side ends; says which."""
        self._client.on_end = None
        self._relay = relay
        self.handshake_s = self._world.clock.seconds() - self._begun
        self._steps.stop()
        _log.info("[{session}] relays", session=self.record.session)
        reason = await self._steps.take(relay.start())
        if reason is CloseReason.CLIENT_CLOSED and self._client.broken is not None:
            raise client_fault(self._client.broken)
        return reason

    def _set_deadlines(self, token: ConsoleToken, relayed: Callable[[], object]) -> None:
        rules, grant = self._rules, token.grant
        limits = [seconds for seconds in (rules.session_limit_s, grant.time_limit_s) if seconds]
        if rules.enforce_session_timeout:
            limits.append(max(0.0, token.expires - self._world.wall_clock()))
        if limits:
            self._deadlines.end_after(min(limits))
        idle = [seconds for seconds in (rules.idle_timeout_s, grant.idle_timeout_s) if seconds]
        if idle:
            self._deadlines.end_idle(min(idle), relayed)

    def session_relayed(self) -> tuple[int, int]:
        """Bytes of the session that this visit carries, to the client and to the target."""
        return self.relayed()

    def relayed(self) -> tuple[int, int]:
        """Bytes of this visit's own connection, to the client and to the target."""
        relay = self._relay
        return (relay.to_client.relayed, relay.to_target.relayed) if relay is not None else (0, 0)


async def _checked(check: Awaitable[None]) -> None:
    try:
        await check
    except StoreError as error:  # its thread has no time for it
        raise Refused(CloseReason.INTERNAL, f"target check: {error}") from error
