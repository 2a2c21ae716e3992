"""The link that begins every channel, in both roles (spice/protocol.h; order and limits as in spice-server's reds.cpp).

client  link message: which channel of which session, and what the client knows
server  link reply: a public key and what the server knows, or an error
client  u32 auth mechanism, if both know of the choice
client  ticket
server  u32 result, 0 being success
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.secret import Secret
from rfbproxy.spice.capabilities import Capabilities
from rfbproxy.spice.constants import (
    LINKABLE,
    MAGIC,
    TICKET_SIZE,
    AuthMechanism,
    ChannelType,
    CommonCap,
    LinkError,
    channel_name,
    link_error_name,
)
from rfbproxy.spice.link_messages import (
    MESS_SIZE,
    REPLY_SIZE,
    BadLink,
    LinkMess,
    LinkReply,
    pack_u32,
    read_link,
    read_link_after_magic,
    read_u32,
)
from rfbproxy.spice.ticket import seal
from rfbproxy.wire import Conversation, EndOfStream, Reading

EARLY_LIMIT = 4096  # bytes that a client may send before it is answered

_SELECTION = CommonCap.PROTOCOL_AUTH_SELECTION
# What spice-server gives as the result of a ticket; every other error belongs into a link reply.
_RESULTS = (LinkError.PERMISSION_DENIED, LinkError.BAD_CONNECTION_ID, LinkError.CHANNEL_NOT_AVAILABLE)
_TOLD_CLIENT: dict[int, LinkError] = {
    LinkError.PERMISSION_DENIED: LinkError.CHANNEL_NOT_AVAILABLE,
    LinkError.BAD_CONNECTION_ID: LinkError.BAD_CONNECTION_ID,
    LinkError.CHANNEL_NOT_AVAILABLE: LinkError.CHANNEL_NOT_AVAILABLE,
}


@dataclass(frozen=True, slots=True)
class LinkRequested:
    """A client asks for a channel; `offer` it the key for its ticket, or `refuse` it."""

    link: LinkMess


@dataclass(frozen=True, slots=True)
class TicketGiven:
    """The client has sent its ticket; `accept` or `refuse` it."""

    ticket: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkReplied:
    """The target lets us log in, and tells what it knows."""

    caps: Capabilities


@dataclass(frozen=True, slots=True)
class LinkAccepted:
    """The target accepted the ticket; messages of the channel follow."""


class LinkRefused(SecurityFailure):
    """The target answered a link or a ticket with an error.

    Attributes:
        error: the target's, as it came.
        told_client: what the client is told. It never hears that a password is wrong: that one is not its own, and it
            would ask its user for another.
    """

    def __init__(self, what: str, error: int) -> None:
        super().__init__(f"target refuses the {what} with error {link_error_name(error)}")
        self.error = error
        self.told_client = _TOLD_CLIENT.get(error, LinkError.ERROR)


class NeedSecured(LinkRefused):
    """The target wants this channel inside TLS: link again, at its TLS port."""


class ServerLink(Conversation):
    """Speak SPICE to a client up to the result of its ticket.

    Nothing is answered before `offer`, and success is not told before `accept`: so every refusal comes first, and where
    a viewer understands it. What breaks the protocol is answered with the error that spice-server gives, and raised.

    Events, in order: `LinkRequested`, `TicketGiven`.

    Attributes:
        link: what the client asks for, once it has.
    """

    def __init__(self) -> None:
        self.link: LinkMess | None = None
        self._reply: LinkReply | None = None
        self._ticket_given = False
        self._accepted = False
        self._refusal: LinkError | None = None
        super().__init__()

    def offer(self, public_key: bytes, caps: Capabilities) -> None:
        """Let the client seal its ticket.

        Args:
            public_key: of RSA-1024, as `TicketKey.public_key`.
            caps: what the client is told of the target; a client without a choice of login is not told of one.

        Raises:
            LocalProtocolError: no link is requested yet, or it is answered already.
            RemoteProtocolError: what came with the client's link message already breaks the protocol.
        """
        if self.link is None or self._reply is not None or self.finished:
            raise LocalProtocolError("a link reply is due once, after LinkRequested")
        if not self.link.caps.has_common(_SELECTION):
            caps = caps.without_common(_SELECTION)
        self._reply = LinkReply(LinkError.OK, public_key, caps)
        self._advance()

    def accept(self) -> None:
        """The ticket is right, and nothing else stands in the way: tell the client, and be done.

        Raises:
            LocalProtocolError: no ticket was given yet, or it was refused.
        """
        if not self._ticket_given or self.finished:
            raise LocalProtocolError("a ticket is accepted once, after TicketGiven")
        self._accepted = True
        self._advance()

    def refuse(self, error: LinkError) -> None:
        """Refuse with `error` as soon as SPICE has a word for it, and be done.

        That is in place of the link reply, and else the result of the ticket. There a client takes any error for a
        wrong password and asks its user for another: where nobody could know a better one, close without this.
        """
        if self._accepted or self.finished or self._refusal is not None:
            return
        self._refusal = error
        self._advance()

    def _converse(self) -> Reading[None]:
        try:
            self.link = yield from self._read_link()
        except BadLink as error:
            if error.answer is not None:
                self._send(LinkReply(error.answer).pack())
            raise
        self._event(LinkRequested(self.link))
        yield from self._wait_with_limit(self._is_answered)
        if self._reply is None:
            self._send(LinkReply(self._refusal or LinkError.ERROR).pack())
            return
        self._send(self._reply.pack())
        yield from self._check_mechanism(self.link)
        ticket = yield from self._reader.take(TICKET_SIZE)
        if self._refusal is None:
            self._ticket_given = True
            self._event(TicketGiven(ticket))
            yield from self._wait_with_limit(lambda: self._accepted or self._refusal is not None)
        self._send(pack_u32(_result(self._refusal)))

    def _is_answered(self) -> bool:
        return self._reply is not None or self._refusal is not None

    def _read_link(self) -> Reading[LinkMess]:
        link = LinkMess.parse((yield from read_link(self._reader, MESS_SIZE)))
        if link.channel_type not in LINKABLE:
            raise BadLink(
                f"client asks for a channel of type {channel_name(link.channel_type)}, allowed are "
                f"[{', '.join(map(channel_name, sorted(LINKABLE)))}]",
                LinkError.CHANNEL_NOT_AVAILABLE,
            )
        if link.channel_type == ChannelType.MAIN and link.connection_id:
            # The mark of a migration's target: spice-server would believe it, and may abort with its whole machine.
            raise BadLink("client asks for main inside a session, which main begins", LinkError.BAD_CONNECTION_ID)
        if not link.caps.has_common(CommonCap.MINI_HEADER):
            raise BadLink("client does not know mini headers", LinkError.VERSION_MISMATCH)
        return link

    def _check_mechanism(self, link: LinkMess) -> Reading[None]:
        if not link.caps.has_common(_SELECTION):
            return
        mechanism = yield from read_u32(self._reader)
        if mechanism != AuthMechanism.SPICE:
            self._send(LinkReply(LinkError.INVALID_DATA).pack())  # a second reply, as spice-server sends it
            raise RemoteProtocolError(f"client chose auth mechanism {mechanism}, offered was 1, the ticket")

    def _wait_with_limit(self, is_over: Callable[[], bool]) -> Reading[None]:
        while not is_over():
            if len(self._reader) > EARLY_LIMIT:
                raise RemoteProtocolError(f"client sent {len(self._reader)} bytes ahead, allowed are {EARLY_LIMIT}")
            yield


class ClientLink(Conversation):
    """Speak SPICE to a target up to its acceptance of the ticket.

    Events, in order: `LinkReplied`, `LinkAccepted`.

    Args:
        link: what the target is asked for; its words as `capabilities.for_target` gives them.
        password: the grant's, for the target; None: the empty one, which a target without ticketing takes.

    Raises, from `receive_data` and `receive_eof`:
        NeedSecured: link again, inside TLS.
        LinkRefused: with any other error.
        SecurityFailure: the target wants another login than a ticket, or closed instead of answering it.
        EndOfStream: the target closed before; spice-server does so where it has no such channel.
    """

    def __init__(self, link: LinkMess, password: Secret | None = None) -> None:
        self._link = link
        self._password = password
        super().__init__()

    def _converse(self) -> Reading[None]:
        self._send(self._link.pack())
        reply = LinkReply.parse((yield from read_link(self._reader, REPLY_SIZE)))
        if reply.error:
            raise _refused("link", reply.error)
        self._judge(reply.caps)
        ticket = seal(self._password, reply.public_key)
        self._event(LinkReplied(reply.caps))
        if reply.caps.has_common(_SELECTION) and self._link.caps.has_common(_SELECTION):
            self._send(pack_u32(AuthMechanism.SPICE))
        self._send(ticket)
        try:
            yield from self._read_result()
        except EndOfStream as error:
            raise SecurityFailure("target closed instead of answering the ticket") from error
        self._event(LinkAccepted())

    def _judge(self, caps: Capabilities) -> None:
        if caps.has_common(CommonCap.AUTH_SASL) and not caps.has_common(CommonCap.AUTH_SPICE):
            raise SecurityFailure("target wants a login by SASL, spoken is the ticket alone")
        if not caps.has_common(CommonCap.MINI_HEADER):
            raise RemoteProtocolError("target does not know mini headers")

    def _read_result(self) -> Reading[None]:
        result = yield from self._reader.take(len(MAGIC))
        if result == MAGIC:  # spice-server answers what it cannot use with a second reply
            reply = LinkReply.parse((yield from read_link_after_magic(self._reader, REPLY_SIZE)))
            raise _refused("ticket", reply.error)
        if error := int.from_bytes(result, "little"):
            raise _refused("ticket", error)


def _result(refusal: LinkError | None) -> LinkError:
    if refusal is None:
        return LinkError.OK
    return refusal if refusal in _RESULTS else LinkError.ERROR


def _refused(what: str, error: int) -> LinkRefused:
    return (NeedSecured if error == LinkError.NEED_SECURED else LinkRefused)(what, error)
