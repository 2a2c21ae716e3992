"""A VNC visit, told as the story it is: greet, authorise, log in to the target, let in, relay, say why it ended."""

from collections.abc import Callable
from typing import ClassVar

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.entrance import Entrance
from rfbproxy.session.policy import ClientPolicy
from rfbproxy.session.relay import Relay
from rfbproxy.session.rfb_target import RfbTarget
from rfbproxy.session.visit import Surroundings, Visit
from rfbproxy.stream import ClientStream, Stream


class RfbVisit(Visit):
    """One client at one VNC console."""

    protocol = "vnc"
    console_types = frozenset({"novnc", "xvpvnc", "vnc-direct"})
    types_by_way_in: ClassVar = {"websocket": "novnc", "connect": "xvpvnc", "rfb": "vnc-direct"}

    def __init__(self, session: str, request: ConsoleRequest, client: ClientStream, surroundings: Surroundings) -> None:
        super().__init__(session, request, client, surroundings)
        self._policy: ClientPolicy | None = None
        self._entrance = Entrance(
            client,
            self._steps,
            self.record,
            self.end,
            timeout_s=self._rules.handshake_timeout_s,
            login_timeout_s=self._rules.login_timeout_s,
        )
        self._target = RfbTarget(
            surroundings.dialler,
            self._rules.security_preference,
            surroundings.target_tls,
            self._rules.handshake_timeout_s,
            self._steps,
            self.record,
        )

    async def _story(self, admit: Callable[[], None]) -> CloseReason:
        self._client.on_end = lambda: self.end(self._client_left())
        if self._client.greets_at_once:
            self._entrance.greet()
        if self._rules.tls_only and not self._request.encrypted:
            raise Refused(CloseReason.TLS_REQUIRED, "client came unencrypted")
        admit()
        self._world.limits.check(self._request.source)
        request = await self._entrance.request(self._request)
        token = await self._authorise(request, token_inside=self._client.token_inside)
        self._let_in()
        await self._begin_session(token)
        target = await self._target.log_in(token)
        target.on_end = self._target_left
        shared = await self._entrance.let_in()
        target.on_end = None
        self._client.send((await self._target.initialise(shared=shared)).message)
        return await self._relay_between(target, token)

    async def _relay_between(self, target: Stream, token: ConsoleToken) -> CloseReason:
        self._policy = ClientPolicy(self.record.session, token.grant)
        self._set_deadlines(token, self.relayed)
        return await self._relayed_to_its_end(Relay(self._client, target, self._policy.message_filter()))

    async def _take_leave(self, refused: Refused) -> None:
        self._client.on_end = None
        if self._relay is not None:
            self._relay.stop()
        self._target.close()
        if self._relay is None:
            await self._entrance.refuse(refused)
        else:
            self._client.close_because(refused)
        self.record.bytes_to_client, self.record.bytes_to_target = self.relayed()
        if self._policy is not None:
            self.record.power = self._policy.power or None
