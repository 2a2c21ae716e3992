"""The client's side of a SPICE link up to the relay: what it asks for, its ticket, and the answer to that."""

from typing import TypeVar

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.dialogue import Dialogue
from rfbproxy.session.faults import client_fault
from rfbproxy.session.steps import Steps
from rfbproxy.session.ticket_keys import TicketKeys
from rfbproxy.spice import Capabilities, LinkError, LinkMess, LinkRequested, ServerLink, TicketGiven
from rfbproxy.stream import ClientStream

# What a client understands of a close reason; all others are an error without a name.
_ERRORS = {
    CloseReason.TOKEN_UNKNOWN: LinkError.PERMISSION_DENIED,
    CloseReason.TOKEN_EXPIRED: LinkError.PERMISSION_DENIED,
    CloseReason.ORIGIN_REFUSED: LinkError.PERMISSION_DENIED,
    CloseReason.TLS_REQUIRED: LinkError.NEED_SECURED,
}
# Once a client has the key for its ticket it takes every error for a wrong password, and asks for another. So it is
# told these alone, and of all others, which no password would change, nothing.
_TOLD_IN_RESULT = (LinkError.PERMISSION_DENIED, LinkError.BAD_CONNECTION_ID, LinkError.CHANNEL_NOT_AVAILABLE)
_MACHINES_FAULT = CloseReason.TARGET_AUTH_FAILED

E = TypeVar("E")


class LinkRefusal(Refused):
    """A link ends for a reason that SPICE has a word of its own for.

    Attributes:
        error: that word.
    """

    def __init__(self, reason: CloseReason, error: LinkError, detail: str, *, websocket_code: int | None = None):
        super().__init__(reason, detail, websocket_code=websocket_code)
        self.error = error


class SpiceEntrance:
    """One client at the door.

    Args:
        timeout_s: seconds for each step of the handshake.
    """

    def __init__(self, client: ClientStream, steps: Steps, keys: TicketKeys, timeout_s: float) -> None:
        self._client = client
        self._steps = steps
        self._keys = keys
        self._timeout_s = timeout_s
        self._link = ServerLink()
        self._talk = Dialogue(client, self._link, steps.clock)
        self._has_key = False

    async def link(self) -> LinkMess:
        """What the client asks for.

        Raises:
            Refused: the client broke the protocol or was too slow.
        """
        return (await self._hear(LinkRequested)).link

    async def ticket(self, caps: Capabilities) -> str:
        """Let the client give its ticket, and open it.

        Args:
            caps: what the client is told of its target.

        Returns:
            The password inside. In place of one that is wrong whatever it stands for, something that is no password:
            so that it is denied like any other, on the same way and in the same time.

        Raises:
            Refused: the client broke the protocol or was too slow.
        """
        key = self._keys.take()
        self._has_key = True
        try:
            self._link.offer(key.public_key, caps)
        except RemoteProtocolError as error:
            self._talk.flush()
            raise client_fault(error) from error
        ticket = (await self._hear(TicketGiven)).ticket
        password = key.open(ticket)
        return password.reveal() if password else ticket.hex()

    def accept(self) -> None:
        """Nothing stands in the way: messages of the channel follow."""
        self._link.accept()
        self._talk.flush()
        self._talk.give_back()

    def refuse(self, refused: Refused) -> None:
        """Tell the client in SPICE, where it has a word for it, and by its way in."""
        error = refused.error if isinstance(refused, LinkRefusal) else _ERRORS.get(refused.reason, LinkError.ERROR)
        is_told = not self._has_key or (error in _TOLD_IN_RESULT and refused.reason is not _MACHINES_FAULT)
        if not self._client.ended and self._link.link is not None and is_told:
            self._link.refuse(error)
            self._talk.flush()
        self._client.close_because(refused)

    async def _hear(self, kind: type[E]) -> E:
        try:
            return await self._steps.take(
                self._talk.until(kind), self._timeout_s, lambda: client_fault("client was too slow in the handshake")
            )
        except RemoteProtocolError as error:
            raise client_fault(error) from error
