"""A SPICE visit: one link, from what it asks for to its end. Main's carries its session, which the others belong to."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from twisted.logger import Logger

from rfbproxy.client.forwarded import network_of
from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken, Location, hash_token
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.authorise import check_origin
from rfbproxy.session.relay import Relay
from rfbproxy.session.spice_entrance import SpiceEntrance
from rfbproxy.session.spice_session import SpiceSession
from rfbproxy.session.spice_target import SECURITY, SpiceTarget
from rfbproxy.session.steps import unstoppable
from rfbproxy.session.visit import Surroundings, Visit
from rfbproxy.spice import (
    Capabilities,
    ChannelType,
    Destination,
    LinkMess,
    announced,
    channel_name,
    client_messages,
    for_client,
    for_target,
    target_messages,
)
from rfbproxy.stream import ClientStream, Stream
from rfbproxy.target.dial import address_text

TUNNEL_PORT = 5900  # that a viewer names in a CONNECT after its machine has moved; any will do

_log = Logger()


class SpiceVisit(Visit):
    """One link of a viewer to a SPICE console."""

    console_types = frozenset({"spice-html5", "spice-direct"})
    types_by_way_in: ClassVar = {"websocket": "spice-html5", "connect": "spice-direct", "spice": "spice-direct"}

    def __init__(self, session: str, request: ConsoleRequest, client: ClientStream, surroundings: Surroundings) -> None:
        super().__init__(session, request, client, surroundings)
        assert surroundings.spice is not None  # noqa: S101 - where links come in, there is
        self._spice = surroundings.spice
        timeout_s = self._rules.handshake_timeout_s
        self._entrance = SpiceEntrance(client, self._steps, self._spice.keys, timeout_s)
        self._target = SpiceTarget(surroundings.dialler, self._spice.target_tls, timeout_s, self._steps, self.record)
        self._token: ConsoleToken | None = None  # once it is judged
        self._session: SpiceSession | None = None
        self._is_main = False
        self._name: str | None = None  # of the channel, once it is linked
        self._over = False

    def relayed(self) -> tuple[int, int]:
        """Bytes so far, to the client and to the target."""
        return self._relayed()

    @property
    def _has_record(self) -> bool:
        return self._is_main or self._name is None

    @property
    def _network(self) -> str:
        return network_of(self._request.source)

    async def _story(self, admit: Callable[[], None]) -> CloseReason:
        self._client.on_end = lambda: self.end(self._client_left())
        admit()
        if not self._client.greets_at_once:  # it waits for HTTP's answer before it speaks SPICE
            self._check_encryption()
            await self._answer_in_http()
        asked = await self._entrance.link()
        self._is_main = asked.channel_type == ChannelType.MAIN
        self._check_encryption()
        if self._client.token_inside:
            token = await self._entrance.ticket(announced(asked.channel_type))
            self._request = replace(self._request, token=token)
        session = self._session = await (self._begin() if self._is_main else self._join(asked.connection_id))
        self._note_session(session)
        session.enter(self, asked)
        target, caps = await self._link_target(session, asked)
        if not self._client.token_inside:  # the token was the proof, so nobody looks into the ticket
            target.on_end = lambda: self.end(
                Refused(CloseReason.TARGET_UNREACHABLE, "target left during the handshake")
            )
            await self._entrance.ticket(for_client(asked.channel_type, caps))
            target.on_end = None
        self._entrance.accept()
        self.record.client_security = SECURITY
        return await self._relay_between(target, session, asked)

    def _check_encryption(self) -> None:
        must_be = self._rules.tls_only or (self._client.token_inside and self._spice.rules.native_tls)
        if must_be and not self._request.encrypted:
            raise Refused(CloseReason.TLS_REQUIRED, "client came unencrypted")

    async def _answer_in_http(self) -> None:
        """Answer a CONNECT, which is one for each link: with a token that is good, or has a session already."""
        if self._spice.sessions.has(hash_token(self._request.token or ""), self._network):
            self._let_in()
        else:
            await self._judged_token()
        self._client.accept()

    async def _judged_token(self, *, may_have_expired: bool = False) -> ConsoleToken:
        if self._token is None:
            self._token = self._returning() or await self._authorise(
                self._request, token_inside=self._client.token_inside, may_have_expired=may_have_expired
            )
        return self._token

    def _returning(self) -> ConsoleToken | None:
        """The token, where its machine has just moved and the viewer follows."""
        token = self._spice.sessions.returning(hash_token(self._request.token or ""))
        if token is not None:
            check_origin(self._request, token, self._rules.allowed_origins)
            self._note_token(token)
            self._let_in()
        return token

    async def _begin(self) -> SpiceSession:
        """Main begins a session."""
        self._world.limits.check(self._request.source)
        token = await self._judged_token()
        self._count_session()
        beginning = self._spice.sessions.begin(
            self.record.session,
            token,
            self._network,
            take_over=self._spice.rules.take_over,
            is_wanted=lambda: not self._over,
        )
        return await self._steps.take(
            unstoppable(beginning),
            self._rules.handshake_timeout_s,
            lambda: Refused(CloseReason.INTERNAL, "SPICE session table did not answer in time"),
        )

    async def _join(self, connection_id: int) -> SpiceSession:
        """Another channel joins its session, for as long as that lives, whatever the token's time."""
        sessions = self._spice.sessions
        session = sessions.find(hash_token(self._request.token or ""), connection_id, self._network)
        if session is not None:
            check_origin(self._request, session.token, self._rules.allowed_origins)
            self._note_token(session.token)
            self._let_in()
            return session
        token = await self._judged_token(may_have_expired=True)
        return await self._steps.take(sessions.join(token, connection_id, self._network))

    def _note_session(self, session: SpiceSession) -> None:
        where = session.location
        self.record.target = address_text(repr(where.host)[1:-1], where.port if where.port > 0 else where.tls_port or 0)

    async def _link_target(self, session: SpiceSession, asked: LinkMess) -> tuple[Stream, Capabilities]:
        grant, where = session.token.grant, session.location
        stream, caps, inside_tls = await self._target.link(
            replace(asked, caps=for_target(asked.channel_type, asked.caps)),
            where,
            grant.password,
            grant.tls_name or where.host,
            secured=session.secured or self._spice.rules.target_tls_only,
        )
        session.secured |= inside_tls
        return stream, caps

    async def _relay_between(self, target: Stream, session: SpiceSession, asked: LinkMess) -> CloseReason:
        self._name = session.linked(asked)
        self._spice.sessions.note(session, self.record.session, self._name, (0, 0))
        if self._is_main:
            self._set_deadlines(session.token, session.relayed)
        channel, policy = ChannelType(asked.channel_type), session.policy
        from_target = target_messages(
            channel,
            policy,
            session_begun=lambda connection_id: self._spice.sessions.told_id(session, connection_id),
            host_switched=lambda destination: self._follow(session, destination),
        )
        _log.info("[{session}] is channel {channel} of session {main}", session=self.record.session,
                  channel=channel_name(channel), main=session.id)  # fmt: skip
        return await self._relayed_to_its_end(
            Relay(self._client, target, client_messages(channel, policy), from_target)
        )

    def _target_left(self) -> None:
        self.end(Refused(CloseReason.TARGET_UNREACHABLE, "target left during the handshake"))

    def _follow(self, session: SpiceSession, destination: Destination) -> Destination | None:
        """The machine has moved: remember where it is, and let the viewer come again by this proxy."""
        _log.info("[{session}] target moves", session=self.record.session)
        location = Location(destination.host, destination.port, destination.tls_port or None, destination.subject)
        self._spice.sessions.moved(session, location)
        rules = self._spice.rules
        if self._client.token_inside:
            return rules.public
        if self._client.greets_at_once:  # a browser, which cannot follow
            return None
        ports = (0, TUNNEL_PORT) if self._client.inside_tls else (TUNNEL_PORT, 0)
        return Destination(self._request.token or "", *ports, rules.subject)

    async def _take_leave(self, refused: Refused) -> None:
        self._over = True
        self._client.on_end = None
        if self._relay is not None:
            self._relay.stop()
        self._target.close()
        if self._name is None:
            self._entrance.refuse(refused)
        else:
            self._client.close_because(refused)
        if self._session is not None:
            await self._leave(self._session, refused)

    async def _leave(self, session: SpiceSession, refused: Refused) -> None:
        session.leave(self)
        sessions = self._spice.sessions
        if not self._is_main:
            sessions.note(session, self.record.session, self._name, self.relayed())
            return
        self._deadlines.stop()
        elsewhere = await sessions.finish(session, refused)
        names = [*session.channels, *(row.name for row in elsewhere)]
        self.record.channels = list(dict.fromkeys(names)) or None
        to_client, to_target = session.relayed()
        self.record.bytes_to_client = to_client + sum(row.bytes_to_client for row in elsewhere)
        self.record.bytes_to_target = to_target + sum(row.bytes_to_target for row in elsewhere)
