"""One visit, told as the story it is: greet, authorise, dial, log in, let in, relay, and say why it ended."""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken, TokenStore
from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import ClientHandshake, ClientInit, LoggedIn, ServerHandshake, ServerInit, VersionAgreed
from rfbproxy.session.audit import VisitRecord, utc
from rfbproxy.session.authorise import authorise
from rfbproxy.session.deadlines import Deadlines
from rfbproxy.session.dialogue import Dialogue
from rfbproxy.session.limits import Limits
from rfbproxy.session.policy import ClientPolicy
from rfbproxy.session.relay import Relay
from rfbproxy.stream import ClientStream, Stream
from rfbproxy.target.dial import Dialler
from rfbproxy.target.preamble import ConnectPreamble, PreambleRefused
from rfbproxy.wire import Conversation, EndOfStream

SHUTDOWN_PATIENCE_S = 1.0  # for a client to say its version, so that it can be told in RFB

T = TypeVar("T")

_log = Logger()


@dataclass(frozen=True, slots=True)
class VisitRules:
    """What every visit is held to. Times are seconds; None is no limit."""

    security_preference: tuple[int, ...]
    allowed_origins: tuple[str, ...] = ()
    handshake_timeout_s: float = 10.0
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
        self._target: Stream | None = None
        self._world = surroundings
        self._rules = surroundings.rules
        self._handshake = ServerHandshake()
        self._client_talk = self._talk(client, self._handshake)
        self._greeted: Deferred[None] | None = None  # of a client that was greeted; fires once it has answered
        self._relay: Relay | None = None
        self._policy: ClientPolicy | None = None
        self._pending: Deferred[Any] | None = None
        self._ending: Refused | None = None
        self._deadlines = Deadlines(surroundings.clock, self.end)
        self._is_session = False  # counted by the limits
        self.record = VisitRecord(
            session=session,
            started=utc(surroundings.wall_clock()),
            client=request.source,
            way_in=request.way_in,
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
        if self._ending is None:
            self._ending = refused
            if self._pending is not None:
                self._pending.cancel()

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
        greeted = self._greet() if self._client.greets_at_once else None
        if self._rules.tls_only and not self._request.encrypted:
            raise Refused(CloseReason.TLS_REQUIRED, "client came unencrypted")
        admit()
        token = await self._authorise()
        target = await self._dial(token)
        login = await self._log_in(token, target)
        if greeted is None:
            self._client.accept()
            greeted = self._greet()
        shared = await self._let_in(target, greeted)
        await self._initialise(target, login, shared=shared)
        return await self._relay_between(target, token)

    def _greet(self) -> Deferred[None]:
        """Send the greeting, and hear the client's version meanwhile."""
        greeted: Deferred[None] = Deferred()
        self._greeted = greeted
        greeting = Deferred.fromCoroutine(self._client_talk.until(VersionAgreed))
        greeting.addTimeout(self._rules.handshake_timeout_s, self._world.clock)
        greeting.addCallbacks(self._note_version, self._not_greeted).addCallback(greeted.callback)
        return greeted

    def _client_left(self) -> Refused:
        if self._client.crowded_out:
            return Refused(CloseReason.LIMIT, "too many wait without a good token, this one the longest")
        if self._client.broken is not None:
            return _client_fault(self._client.broken)
        return Refused(CloseReason.CLIENT_CLOSED, "client left during the handshake")

    def _note_version(self, agreed: VersionAgreed) -> None:
        self.record.client_version = str(agreed.version)

    def _not_greeted(self, failure: Failure) -> None:
        slow = failure.check(DeferredTimeout) is not None
        self.end(_client_fault("client did not send its version in time" if slow else failure.value))

    async def _authorise(self) -> ConsoleToken:
        limits, source = self._world.limits, self._request.source
        if delay_s := limits.bad_tokens.delay_s(source, self._world.wall_clock()):
            await self._step(deferLater(self._world.clock, delay_s), None)
        token = await self._step(
            authorise(
                self._request,
                self._world.store,
                limits.bad_tokens,
                allowed_origins=self._rules.allowed_origins,
                now=self._world.wall_clock(),
            ),
            self._rules.handshake_timeout_s,
            lambda: Refused(CloseReason.INTERNAL, "token store did not answer in time"),
        )
        limits.enter(source)
        self._is_session = True
        if self._client.on_authorised is not None:
            self._client.on_authorised()
        record = self.record
        record.token, record.instance, record.console_type = token.id, token.instance_uuid, token.console_type
        record.target = token.target
        _log.info("[{session}] {client} opens {console_type} of {instance} at {target}", session=record.session,
                  client=record.client, console_type=record.console_type, instance=record.instance,
                  target=record.target)  # fmt: skip
        return token

    async def _dial(self, token: ConsoleToken) -> Stream:
        target = await self._step(self._reach(token), None)
        if token.internal_access_path:
            try:
                preamble = ConnectPreamble(token.internal_access_path)
                await self._handshake_step(self._talk(target, preamble).finish())
            except PreambleRefused as error:
                raise Refused(CloseReason.TARGET_UNREACHABLE, str(error)) from error
        return target

    async def _reach(self, token: ConsoleToken) -> Stream:
        self._target = await self._world.dialler.dial(token.host, token.port)
        return self._target

    async def _log_in(self, token: ConsoleToken, target: Stream) -> ClientHandshake:
        handshake = ClientHandshake(self._rules.security_preference, token.grant.password)
        try:
            login = await self._handshake_step(self._talk(target, handshake).until(LoggedIn))
        except SecurityFailure as error:
            raise Refused(CloseReason.TARGET_AUTH_FAILED, str(error)) from error
        finally:
            self.record.target_version = str(handshake.version) if handshake.version else None
        self.record.target_security = login.security
        return handshake

    async def _let_in(self, target: Stream, answered: Deferred[None]) -> bool:
        """The target has accepted us, so the client may come in; says whether it shares the desktop."""
        target.on_end = lambda: self.end(Refused(CloseReason.TARGET_UNREACHABLE, "target left during the handshake"))
        await self._step(_following(answered), None)
        try:
            self._handshake.offer()
            entered = await self._step(
                self._client_talk.until(ClientInit),
                self._rules.handshake_timeout_s,
                lambda: _client_fault("client was too slow in the handshake"),
            )
        except RemoteProtocolError as error:
            raise _client_fault(error) from error
        target.on_end = None
        self._client_talk.give_back()
        self.record.client_security = entered.security
        return entered.shared

    async def _initialise(self, target: Stream, handshake: ClientHandshake, *, shared: bool) -> None:
        """Pass ClientInit on and ServerInit back, judged."""
        talk = self._talk(target, handshake)

        async def initialise() -> ServerInit:
            handshake.initialise(shared=shared)
            return await talk.until(ServerInit)

        desktop = await self._handshake_step(initialise())
        talk.give_back()
        self._client.send(desktop.message)

    async def _relay_between(self, target: Stream, token: ConsoleToken) -> CloseReason:
        self._client.on_end = None
        self._policy = ClientPolicy(self.record.session, token.grant)
        self._relay = Relay(self._client, target, self._policy.message_filter())
        self._set_deadlines(token)
        _log.info("[{session}] relays", session=self.record.session)
        try:
            reason = await self._step(self._relay.start(), None)
        except RemoteProtocolError as error:
            raise _client_fault(error) from error
        if reason is CloseReason.CLIENT_CLOSED and self._client.broken is not None:
            raise _client_fault(self._client.broken)
        return reason

    async def _take_leave(self, refused: Refused) -> None:
        """Let the target go, and tell the client why: in RFB between greeting and relay, and by its way in."""
        self._client.on_end = None
        if self._relay is not None:
            self._relay.stop()
        if self._target is not None:
            self._target.on_end = None
            self._target.close()
        if self._relay is None and self._greeted is not None and not self._client.ended:
            self._handshake.refuse(refused.sentence)
            self._client_talk.flush()
            if self._handshake.version is None:
                # It comes within its deadline; then the refusal has been sent, or cannot be.
                greeted = _following(self._greeted)
                if refused.reason is CloseReason.SHUTDOWN:
                    greeted.addTimeout(SHUTDOWN_PATIENCE_S, self._world.clock)
                with suppress(DeferredTimeout):
                    await greeted
        self._client.close_because(refused)

    async def _handshake_step(self, step: Coroutine[Any, Any, T]) -> T:
        """Take a step of the target's handshake, within its deadline."""
        try:
            return await self._step(
                step,
                self._rules.handshake_timeout_s,
                lambda: Refused(CloseReason.TARGET_UNREACHABLE, "target was silent in the handshake"),
            )
        except (SecurityFailure, PreambleRefused):
            raise
        except EndOfStream as error:
            raise Refused(CloseReason.TARGET_UNREACHABLE, f"target {error} of its handshake") from error
        except RemoteProtocolError as error:
            raise Refused(CloseReason.PROTOCOL_ERROR, str(error)) from error

    async def _step(
        self,
        step: Coroutine[Any, Any, T] | Deferred[T],
        timeout_s: float | None,
        too_late: Callable[[], Refused] | None = None,
    ) -> T:
        """Await one step of the story; the visit's end from outside cancels it."""
        if self._ending is not None:
            if not isinstance(step, Deferred):
                step.close()
            raise self._ending
        pending = step if isinstance(step, Deferred) else Deferred.fromCoroutine(step)
        if timeout_s is not None:
            pending.addTimeout(timeout_s, self._world.clock)
        self._pending = pending
        if self._ending is not None:  # it came while the step began
            pending.cancel()
        try:
            result = await pending
        except Exception as error:
            if self._ending is not None:  # a cancelled step fails in its own words
                raise self._ending from None
            if isinstance(error, DeferredTimeout) and too_late is not None:
                raise too_late() from None
            raise
        finally:
            self._pending = None
        if self._ending is not None:  # it came while the step's last callbacks ran
            raise self._ending
        return result

    def _talk(self, stream: Stream, machine: Conversation) -> Dialogue:
        return Dialogue(stream, machine, self._world.clock)

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


def _client_fault(what: object) -> Refused:
    if isinstance(what, EndOfStream):
        return Refused(CloseReason.CLIENT_CLOSED, f"client {what} of the handshake")
    return Refused(CloseReason.PROTOCOL_ERROR, str(what), websocket_code=1002)


def _following(answered: Deferred[None]) -> Deferred[None]:
    """Fires with `answered`; may be cancelled, while the greeting itself goes on for a refusal's sake."""
    following: Deferred[None] = Deferred()
    answered.addCallback(following.callback)
    return following
