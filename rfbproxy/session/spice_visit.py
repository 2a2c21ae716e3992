"""A SPICE visit: one link, from what it asks for to its end. Main's carries its session, which the others belong to."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from twisted.logger import Logger

from rfbproxy.client.forwarded import network_of
from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken, Location, hash_token
from rfbproxy.errors import ConfigError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.authorise import check_origin
from rfbproxy.session.relay import Relay
from rfbproxy.session.spice_entrance import SpiceEntrance
from rfbproxy.session.spice_session import SpiceSession
from rfbproxy.session.spice_sessions import PATIENCE_S
from rfbproxy.session.spice_target import SECURITY, SpiceTarget
from rfbproxy.session.steps import unstoppable
from rfbproxy.session.visit import Surroundings, Visit
from rfbproxy.spice import (
    Capabilities,
    ChannelType,
    Destination,
    LinkMess,
    MessageEnds,
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

    protocol = "spice"
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
        self._noted = (0, 0)  # bytes that main's process knows of
        self._over = False

    def session_relayed(self) -> tuple[int, int]:
        """See `Visit.session_relayed`."""
        return self._session.relayed() if self._session is not None else (0, 0)

    def note(self) -> None:
        """Let main's process know of them, if they have changed."""
        if self._session is not None and self.relayed() != self._noted:
            self._noted = self.relayed()
            self._spice.sessions.note(self._session, self.record.session, self._name, self._noted)

    @property
    def _has_record(self) -> bool:
        """Whether this visit has one of its own: main has that of all links, and a refused link has one."""
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
        self._let_in()
        target, caps = await self._link_target(session, asked)
        if not self._client.token_inside:  # the token was the proof, so nobody looks into the ticket
            target.on_end = self._target_left
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
        hash_, sessions = self._token_hash, self._spice.sessions
        if not sessions.has(hash_, self._network) and sessions.returning(hash_, self._network) is None:
            await self._judged_token()
        self._client.accept()

    @property
    def _token_hash(self) -> str:
        return hash_token(self._request.token or "")

    async def _judged_token(self, *, may_have_expired: bool = False) -> ConsoleToken:
        if self._token is None:
            self._token = await self._authorise(
                self._request, token_inside=self._client.token_inside, may_have_expired=may_have_expired
            )
        return self._token

    async def _mains_token(self) -> ConsoleToken:
        """The token that begins a session; of a viewer that follows its machine it may have expired meanwhile."""
        following = self._spice.sessions.returning(self._token_hash, self._network)
        if following is None or following.token.expires > self._world.wall_clock():
            return await self._judged_token(may_have_expired=following is not None)
        check_origin(self._request, following.token, self._rules.allowed_origins)
        self._note_token(following.token)
        return following.token  # the store may have forgotten it

    async def _begin(self) -> SpiceSession:
        """Main begins a session."""
        self._world.limits.check(self._request.source)
        token = await self._mains_token()
        await self._begin_session(token)
        beginning = self._spice.sessions.begin(
            self.record.session,
            token,
            self._network,
            take_over=self._spice.rules.take_over,
            is_wanted=lambda: not self._over,
        )
        return await self._steps.take(
            unstoppable(beginning),
            PATIENCE_S + self._rules.handshake_timeout_s,
            _no_table,
        )

    async def _join(self, connection_id: int) -> SpiceSession:
        """Another channel joins its session, for as long as that lives, whatever the token's time."""
        sessions = self._spice.sessions
        session = sessions.find(self._token_hash, connection_id, self._network)
        if session is not None:
            check_origin(self._request, session.token, self._rules.allowed_origins)
            self._note_token(session.token)
            return session
        token = await self._judged_token(may_have_expired=True)
        return await self._steps.take(
            sessions.join(token, connection_id, self._network), PATIENCE_S + self._rules.handshake_timeout_s, _no_table
        )

    def _note_session(self, session: SpiceSession) -> None:
        where = session.location
        self._note_target(where.host, where.port if where.port > 0 else where.tls_port or 0)

    def _note_target(self, host: str, port: int) -> None:
        self.record.target = address_text(repr(host)[1:-1], port)

    async def _link_target(self, session: SpiceSession, asked: LinkMess) -> tuple[Stream, Capabilities]:
        grant, where = session.token.grant, session.location
        stream, caps, inside_tls = await self._target.link(
            replace(asked, caps=for_target(asked.channel_type, asked.caps)),
            where,
            grant.password,
            session.certificate_name,
            secured=session.must_be_secured or self._spice.rules.target_tls_only,
        )
        session.secured |= inside_tls
        if inside_tls:
            self._note_target(where.host, where.tls_port or 0)
        return stream, caps

    async def _relay_between(self, target: Stream, session: SpiceSession, asked: LinkMess) -> CloseReason:
        self._name = session.linked(asked)
        self._spice.sessions.note(session, self.record.session, self._name, (0, 0))
        if self._is_main:
            self._set_deadlines(session.token, session.relayed_everywhere)
        channel, policy = ChannelType(asked.channel_type), session.policy
        from_target = target_messages(
            channel,
            policy,
            session_begun=lambda connection_id: self._spice.sessions.told_id(session, connection_id),
            host_switched=lambda destination: self._follow(session, destination),
        )
        _log.info("[{session}] is channel {channel} of session {main}", session=self.record.session,
                  channel=channel_name(channel), main=session.id)  # fmt: skip
        is_native = self._client.token_inside or not self._client.greets_at_once
        is_encrypted = self._request.encrypted or self._client.inside_tls
        ends = MessageEnds() if is_native and is_encrypted else None  # spice-gtk does not look into its TLS for more
        return await self._relayed_to_its_end(
            Relay(self._client, target, client_messages(channel, policy), from_target, ends)
        )

    def _follow(self, session: SpiceSession, destination: Destination) -> Destination | None:
        """The machine has moved: remember where it is, and let the viewer come again by this proxy."""
        _log.info("[{session}] target moves", session=self.record.session)
        # What was inside TLS does not leave it, and a machine without a port in clear gets none by moving.
        in_clear = 0 if session.must_be_secured or session.location.port <= 0 else destination.port
        location = Location(destination.host, in_clear, destination.tls_port or None, destination.subject)
        self._spice.sessions.moved(session, location)
        try:
            return self._way_back()
        except ConfigError as error:  # a certificate that is being replaced
            _log.error("[{session}] viewer cannot follow: {error}", session=self.record.session, error=error)
            return None

    def _way_back(self) -> Destination | None:
        """Where the viewer finds this proxy again; None: it cannot follow."""
        rules, token = self._spice.rules, self._request.token or ""
        if self._client.token_inside:
            return rules.public()
        if self._client.greets_at_once or not token.isascii():  # a browser; a token that no host can be
            return None
        ports = (0, TUNNEL_PORT) if self._client.inside_tls else (TUNNEL_PORT, 0)
        return Destination(token, *ports, rules.subject())

    async def _take_leave(self, refused: Refused) -> None:
        self._over = True
        self._client.on_end = None
        try:
            if self._relay is not None:
                self._relay.stop()
            self._target.close()
            if self._name is None:
                self._entrance.refuse(refused)
            else:
                self._client.close_because(refused)
        finally:
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


def _no_table() -> Refused:
    return Refused(CloseReason.INTERNAL, "SPICE session table did not answer in time")
