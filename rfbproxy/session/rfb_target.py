"""The target's side of a VNC visit up to the relay: reach the machine that a token names, and log in to it."""

import os

from twisted.logger import Logger

from rfbproxy.consoleauth import ConsoleToken
from rfbproxy.errors import NothingInCommon, SecurityFailure
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import ClientHandshake, Credentials, LoggedIn, Preference, ServerInit, TlsDue
from rfbproxy.session.audit import VisitRecord
from rfbproxy.session.dialogue import Dialogue
from rfbproxy.session.steps import Steps
from rfbproxy.session.target_side import TargetSide
from rfbproxy.stream import Stream, TlsSide
from rfbproxy.target.dial import Dialler
from rfbproxy.target.preamble import ConnectPreamble, PreambleAccepted, PreambleRefused
from rfbproxy.target.tls import TargetTls

_log = Logger()


class RfbTarget(TargetSide):
    """One visit's way to its VNC server.

    Args:
        preference: security that the operator allows.
    """

    def __init__(
        self,
        dialler: Dialler,
        preference: Preference,
        tls: TargetTls,
        timeout_s: float,
        steps: Steps,
        record: VisitRecord,
    ) -> None:
        super().__init__(dialler, tls, timeout_s, steps, record)
        self._preference = preference
        self._talk: Dialogue | None = None
        self._handshake: ClientHandshake | None = None

    async def log_in(self, token: ConsoleToken) -> Stream:
        """Connect and log in; a target whose favourite security leads nowhere is dialled once more for its next one.

        A login that fails, and a certificate that is not to be believed, are no reason to try something weaker.

        Raises:
            Refused: target-unreachable, target-auth-failed, protocol-error, or internal.
        """
        required = token.grant.require_security
        try:
            preference = self._preference.only(required) if required else self._preference
            try:
                return await self._try(token, preference)
            except NothingInCommon as error:
                second_choice = self._handshake.second_choice if self._handshake is not None else None
                if second_choice is None:
                    raise
                _log.info("[{session}] dials again for another security: {why}", session=self._record.session,
                          why=str(error))  # fmt: skip
            return await self._try(token, second_choice)
        except SecurityFailure as error:
            raise Refused(CloseReason.TARGET_AUTH_FAILED, self._explained(error)) from error

    async def initialise(self, *, shared: bool) -> ServerInit:
        """Pass ClientInit on; the target's answer comes back judged."""
        talk, handshake = self._talk, self._handshake
        assert talk is not None and handshake is not None  # noqa: S101, PT018 - logged in

        async def initialise() -> ServerInit:
            handshake.initialise(shared=shared)
            return await talk.until(ServerInit)

        desktop = await self._step(initialise())
        talk.give_back()
        self._talk = self._handshake = None
        return desktop

    async def _try(self, token: ConsoleToken, preference: Preference) -> Stream:
        """Connect and log in, in place of what was tried before."""
        stream = await self._reach(token.host, token.port)
        if token.internal_access_path:
            await self._knock(stream, token.internal_access_path)
        credentials = Credentials(token.grant.username, token.grant.password)
        handshake = ClientHandshake(preference, credentials, os.urandom)
        talk = Dialogue(stream, handshake, self._steps.clock, lambda due: self._side(due, token))
        self._talk, self._handshake = talk, handshake
        try:
            login = await self._step(talk.until(LoggedIn))
        finally:
            self._record.target_version = str(handshake.version) if handshake.version else None
        self._record.target_security = login.security
        return stream

    async def _knock(self, stream: Stream, path: str) -> None:
        talk = Dialogue(stream, ConnectPreamble(path), self._steps.clock)
        try:
            await self._step(talk.until(PreambleAccepted))
        except PreambleRefused as error:
            raise Refused(CloseReason.TARGET_UNREACHABLE, str(error)) from error
        talk.give_back()

    def _side(self, due: TlsDue, token: ConsoleToken) -> TlsSide:
        return self._tls.anonymous_side() if due.anonymous else self._tls.side(token.grant.tls_name or token.host)

    def _explained(self, error: SecurityFailure) -> str:
        """What TLS knows of a connection that ended before a word came inside it goes with the error."""
        failure = self.stream.tls_failure if self.stream is not None else None
        if failure is None or not (self._talk and self._talk.silent_inside) or failure in str(error):
            return str(error)
        return f"{error}: {failure}"
