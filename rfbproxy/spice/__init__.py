"""SPICE without I/O (spice-protocol, spice-common's spice.proto): links of both roles, tickets, and messages.

Nothing here knows Twisted, sockets, time or randomness: bytes and keys are arguments. Imports only `rfbproxy.wire`,
`rfbproxy.errors`, `rfbproxy.secret` and `cryptography`. A parser raises `RemoteProtocolError` and nothing else,
whatever bytes it is fed.
"""

from rfbproxy.spice.capabilities import Capabilities, announced, for_client, for_target
from rfbproxy.spice.channels import PICTURE_LIMIT, client_messages, target_messages
from rfbproxy.spice.constants import ChannelType, LinkError, channel_name
from rfbproxy.spice.link import (
    ClientLink,
    LinkAccepted,
    LinkRefused,
    LinkReplied,
    LinkRequested,
    NeedSecured,
    ServerLink,
    TicketGiven,
)
from rfbproxy.spice.link_messages import LinkMess
from rfbproxy.spice.messages import MessageEnds, MessageFilter
from rfbproxy.spice.migration import Destination
from rfbproxy.spice.policy import USUAL_CHANNELS, Policy
from rfbproxy.spice.ticket import PASSWORD_LIMIT, TICKET_KEY_BITS, TicketKey, password_bytes

__all__ = [
    "PASSWORD_LIMIT",
    "PICTURE_LIMIT",
    "TICKET_KEY_BITS",
    "USUAL_CHANNELS",
    "Capabilities",
    "ChannelType",
    "ClientLink",
    "Destination",
    "LinkAccepted",
    "LinkError",
    "LinkMess",
    "LinkRefused",
    "LinkReplied",
    "LinkRequested",
    "MessageEnds",
    "MessageFilter",
    "NeedSecured",
    "Policy",
    "ServerLink",
    "TicketGiven",
    "TicketKey",
    "announced",
    "channel_name",
    "client_messages",
    "for_client",
    "for_target",
    "password_bytes",
    "target_messages",
]
