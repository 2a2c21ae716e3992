"""The target's side of a SPICE link up to the relay: reach the server, inside TLS where it or the operator wants it."""

from twisted.logger import Logger

from rfbproxy.consoleauth import Location
from rfbproxy.errors import SecurityFailure
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.secret import Secret
from rfbproxy.session.dialogue import Dialogue
from rfbproxy.session.spice_entrance import LinkRefusal
from rfbproxy.session.target_side import TargetSide
from rfbproxy.spice import (
    Capabilities,
    ClientLink,
    LinkAccepted,
    LinkError,
    LinkMess,
    LinkRefused,
    LinkReplied,
    NeedSecured,
)
from rfbproxy.stream import Stream

SECURITY = "SPICE ticket"  # as audit records name it

_log = Logger()


class SpiceTarget(TargetSide):
    """One link's way to its SPICE server."""

    async def link(
        self, link: LinkMess, where: Location, password: Secret | None, name: str, *, secured: bool
    ) -> tuple[Stream, Capabilities, bool]:
        """Connect and log in: in clear where `secured` is False, and inside TLS where the server asks for that.

        Args:
            name: what the server's certificate must be for, unless `where` names its subject.

        Returns:
            The connection, what the server announces, and whether it is inside TLS.

        Raises:
            Refused: target-unreachable, target-auth-failed, or protocol-error.
        """
        try:
            try:
                if not secured and where.port > 0:
                    return await self._try(link, where, password, None)
            except NeedSecured:
                if not where.tls_port:
                    raise
                _log.info("[{session}] target wants TLS: dials again", session=self._record.session)
            return await self._try(link, where, password, name)
        except LinkRefused as error:
            if error.error == LinkError.PERMISSION_DENIED:
                _log.warn("[{session}] target refuses the password of the token's grant", session=self._record.session)
            why = ", and the token names no TLS port" if isinstance(error, NeedSecured) else ""
            raise LinkRefusal(CloseReason.TARGET_AUTH_FAILED, error.told_client, f"{error}{why}") from error
        except SecurityFailure as error:
            raise Refused(CloseReason.TARGET_AUTH_FAILED, str(error)) from error

    async def _try(
        self, link: LinkMess, where: Location, password: Secret | None, name: str | None
    ) -> tuple[Stream, Capabilities, bool]:
        """Connect and log in, inside TLS where there is a `name` to verify."""
        if name is None:
            stream = await self._reach(where.host, where.port)
        else:
            if not where.tls_port:
                raise SecurityFailure("the link must be inside TLS, and the token names no TLS port")
            stream = await self._reach(where.host, where.tls_port)
            await self._step(self._secure(stream, name, where.host_subject))
        talk = Dialogue(stream, ClientLink(link, password), self._steps.clock)
        replied = await self._step(talk.until(LinkReplied))
        await self._step(talk.until(LinkAccepted))
        talk.give_back()
        self._record.target_security = SECURITY
        return stream, replied.caps, name is not None

    async def _secure(self, stream: Stream, name: str, subject: str | None) -> None:
        await stream.start_tls(self._tls.side(name, subject))
