"""What a client may tell its target: the grant's policy, applied to every message of the client."""

from twisted.logger import Logger

from rfbproxy.consoleauth import Grant
from rfbproxy.rfb import ClientMessage, ClientMessageFilter, Encoding, XvpCode

POWER_LIMIT = 20  # requests of one session that are passed on and noted; further ones are denied

_XVP_VERSION = 1

_log = Logger()


class ClientPolicy:
    """The policy of one session.

    Attributes:
        power: the power requests in the audit record's words: `reset`, or `reset denied` where it was not passed on.
    """

    def __init__(self, session: str, grant: Grant) -> None:
        self._session = session
        self._allows_power = bool(grant.allow_power)
        self.power: list[str] = []

    def message_filter(self) -> ClientMessageFilter:
        """A filter that holds back what the grant does not allow, and lets the target not offer it."""
        return ClientMessageFilter(
            {ClientMessage.XVP: self._judge_power},
            () if self._allows_power else (Encoding.XVP,),
            self._lost_sight,
        )

    def _lost_sight(self, kind: int) -> None:
        _log.info("[{session}] client message type {kind} is unknown: its messages are passed on unseen",
                  session=self._session, kind=kind)  # fmt: skip

    def _judge_power(self, message: bytes) -> bool:
        """Whether an xvp client message goes on (rfbproto "xvp Client Message")."""
        if len(self.power) == POWER_LIMIT:
            return False
        version, code = message[2], message[3]
        known = version == _XVP_VERSION and code in list(XvpCode)
        word = XvpCode(code).name.lower() if known else "unknown"
        allowed = known and self._allows_power
        self.power.append(word if allowed else f"{word} denied")
        _log.info("[{session}] power request: {what}", session=self._session, what=self.power[-1])
        return allowed
