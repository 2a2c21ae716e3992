"""One visit, told as the story it is: greet, authorise, log in to the target, let in, relay, and say why it ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken, TokenStore
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import Preference
from rfbproxy.session.audit import VisitRecord, utc
from rfbproxy.session.authorise import authorise
from rfbproxy.session.deadlines import Deadlines
from rfbproxy.session.entrance import Entrance, client_fault
from rfbproxy.session.limits import Limits
from rfbproxy.session.policy import ClientPolicy
from rfbproxy.session.relay import Relay
from rfbproxy.session.steps import Steps, unstoppable
from rfbproxy.session.target_login import TargetLogin
from rfbproxy.stream import ClientStream, Stream
from rfbproxy.target.dial import Dialler
from rfbproxy.target.tls import TargetTls

DENIAL_S = 1.0  # a token that came inside the handshake is denied no sooner, whatever is wrong with it
_DENIED = (CloseReason.TOKEN_UNKNOWN, CloseReason.TOKEN_EXPIRED)

_log = Logger()


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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a visit needs of the world."""

    rules: VisitRules
    store: TokenStore
    dialler: Dialler
    target_tls: TargetTls
    clock: IReactorTime
    wall_clock: Callable[[], float]  # Unix seconds
    limits: Limits = field(default_factory=Limits)


class Visit:
    """One client at one console.

    Attributes:
        record: the audit record, filled in as facts come about.
    """

    def __init__(self, session: str, request: ConsoleRequest, client: ClientStream, surroundings: Surroundings) -> None:
        self._request = request
        self._client = client
        self._world = surroundings
        self._rules = surroundings.rules
        self._relay: Relay | None = None
        self._policy: ClientPolicy | None = None
        self._is_session = False  # counted by the limits
        self.record = VisitRecord(
            session=session,
            started=utc(surroundings.wall_clock()),
            client=request.source,
            way_in=request.way_in,
        )
        self._steps = Steps(surroundings.clock)
        self._deadlines = Deadlines(surroundings.clock, self.end)
        self._entrance = Entrance(
            client,
            self._steps,
            self.record,
            self.end,
            timeout_s=self._rules.handshake_timeout_s,
            login_timeout_s=self._rules.login_timeout_s,
        )
        self._login = TargetLogin(
            surroundings.dialler,
            self._rules.security_preference,
            surroundings.target_tls,
            self._rules.handshake_timeout_s,
            self._steps,
            self.record,
        )

    async def run(self, admit: Callable[[], None]) -> VisitRecord:
        """Live the visit to its end; never raises.

        Args:
            admit: asked first; raises `Refused` where there is no room for this visit.
        """
        ended = await self._ended_by(self._story(admit))
        try:
            await self._take_leave(ended)
        except Exception:
            _log.failure("[{session}] took no leave", session=self.record.session)
        self._note_relayed()
        self._deadlines.stop()
        if self._is_session:
            self._world.limits.leave(self._request.source)
        self.record.ended = utc(self._world.wall_clock())
        self.record.close_reason = ended.reason.value
        _log.info("[{session}] ended: {reason}: {detail}", session=self.record.session, reason=ended.reason.value,
                  detail=ended.detail, visit=self.record)  # fmt: skip
        return self.record

    def end(self, refused: Refused) -> None:
        """End the visit for a reason from outside; the first reason counts."""
        self._steps.end(refused)

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

    async def _story(self, admit: Callable[[], None]) -> CloseReason:
        self._client.on_end = lambda: self.end(self._client_left())
        if self._client.greets_at_once:
            self._entrance.greet()
        if self._rules.tls_only and not self._request.encrypted:
            raise Refused(CloseReason.TLS_REQUIRED, "client came unencrypted")
        admit()
        request = await self._entrance.request(self._request)
        token = await self._authorise(request)
        target = await self._login.log_in(token)
        target.on_end = lambda: self.end(Refused(CloseReason.TARGET_UNREACHABLE, "target left during the handshake"))
        shared = await self._entrance.let_in()
        target.on_end = None
        desktop = await self._login.initialise(shared=shared)
        self._client.send(desktop.message)
        return await self._relay_between(target, token)

    def _client_left(self) -> Refused:
        if self._client.crowded_out:
            return Refused(CloseReason.LIMIT, "too many wait without a good token, this one the longest")
        if self._client.broken is not None:
            return client_fault(self._client.broken)
        return Refused(CloseReason.CLIENT_CLOSED, "client left during the handshake")

    async def _authorise(self, request: ConsoleRequest) -> ConsoleToken:
        """Judge the token; one that came inside the handshake is denied at the same time whatever is wrong with it."""
        await self._wait_for_guesses(request.source)
        begun = self._world.clock.seconds()
        try:
            token = await self._find(request)
        except Refused as refused:
            if self._entrance.takes_token_inside and refused.reason in _DENIED:
                wait = max(0.0, begun + DENIAL_S - self._world.clock.seconds())
                await self._steps.take(deferLater(self._world.clock, wait))
            raise
        self._world.limits.enter(request.source)
        self._is_session = True
        self._client.is_authorised = True
        if self._client.on_authorised is not None:
            self._client.on_authorised()
        if self._client.ended and not self._client.has_halves:
            raise self._client_left()
        record = self.record
        _log.info("[{session}] {client} opens {console_type} of {instance} at {target}", session=record.session,
                  client=record.client, console_type=record.console_type, instance=record.instance,
                  target=record.target)  # fmt: skip
        return token

    async def _wait_for_guesses(self, source: str) -> None:
        """Make whoever brought bad tokens wait, whatever this one is."""
        if delay_s := self._world.limits.bad_tokens.delay_s(source, self._world.wall_clock()):
            await self._steps.take(deferLater(self._world.clock, delay_s))

    def _note_token(self, token: ConsoleToken) -> None:
        record = self.record
        record.token, record.instance, record.console_type = token.id, token.instance_uuid, token.console_type
        record.target = token.target

    async def _find(self, request: ConsoleRequest) -> ConsoleToken:
        asking = authorise(
            request,
            self._world.store,
            self._world.limits.bad_tokens,
            self._note_token,
            allowed_origins=self._rules.allowed_origins,
            now=self._world.wall_clock(),
        )
        return await self._steps.take(
            unstoppable(asking),  # a bad token counts, though its client did not wait for the answer
            self._rules.handshake_timeout_s,
            lambda: Refused(CloseReason.INTERNAL, "token store did not answer in time"),
        )

    async def _relay_between(self, target: Stream, token: ConsoleToken) -> CloseReason:
        self._client.on_end = None
        self._policy = ClientPolicy(self.record.session, token.grant)
        self._relay = Relay(self._client, target, self._policy.message_filter())
        self._set_deadlines(token)
        _log.info("[{session}] relays", session=self.record.session)
        try:
            reason = await self._steps.take(self._relay.start())
        except RemoteProtocolError as error:
            raise client_fault(error) from error
        if reason is CloseReason.CLIENT_CLOSED and self._client.broken is not None:
            raise client_fault(self._client.broken)
        return reason

    async def _take_leave(self, refused: Refused) -> None:
        """Let the target go, and tell the client why."""
        self._client.on_end = None
        if self._relay is not None:
            self._relay.stop()
        self._login.close()
        if self._relay is None:
            await self._entrance.refuse(refused)
        else:
            self._client.close_because(refused)

    def _set_deadlines(self, token: ConsoleToken) -> None:
        rules, grant = self._rules, token.grant
        limits = [seconds for seconds in (rules.session_limit_s, grant.time_limit_s) if seconds]
        if rules.enforce_session_timeout:
            limits.append(max(0.0, token.expires - self._world.wall_clock()))
        if limits:
            self._deadlines.end_after(min(limits))
        idle = [seconds for seconds in (rules.idle_timeout_s, grant.idle_timeout_s) if seconds]
        if idle:
            self._deadlines.end_idle(min(idle), self._relayed)

    def _relayed(self) -> tuple[int, int]:
        relay = self._relay
        return (relay.to_client.relayed, relay.to_target.relayed) if relay is not None else (0, 0)

    def _note_relayed(self) -> None:
        self.record.bytes_to_client, self.record.bytes_to_target = self._relayed()
        if self._policy is not None:
            self.record.power = self._policy.power or None
