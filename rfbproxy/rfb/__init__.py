"""RFB without I/O (RFC 6143 and the community's rfbproto): constants, handshakes of both roles, VNC Authentication.

Nothing here knows Twisted, sockets, time or randomness: bytes, keys and challenges are arguments. Imports only
`rfbproxy.wire`, `rfbproxy.errors`, `rfbproxy.secret` and `cryptography`. A parser raises `RemoteProtocolError` and
nothing else, whatever bytes it is fed.
"""

from rfbproxy.rfb.client_handshake import ClientHandshake, LoggedIn, ReasonDue, ServerInit
from rfbproxy.rfb.constants import ClientMessage, Encoding, SecurityType, XvpCode, security_name
from rfbproxy.rfb.messages import ClientMessageFilter
from rfbproxy.rfb.server_handshake import ClientInit, ServerHandshake
from rfbproxy.rfb.version import Version, VersionAgreed

__all__ = [
    "ClientHandshake",
    "ClientInit",
    "ClientMessage",
    "ClientMessageFilter",
    "Encoding",
    "LoggedIn",
    "ReasonDue",
    "SecurityType",
    "ServerHandshake",
    "ServerInit",
    "Version",
    "VersionAgreed",
    "XvpCode",
    "security_name",
]
