"""RFB without I/O (RFC 6143 and the community's rfbproto): constants, handshakes and logins of both roles.

Nothing here knows Twisted, sockets, time or randomness: bytes, keys and the source of random bytes are arguments.
Imports only `rfbproxy.wire`, `rfbproxy.errors`, `rfbproxy.secret` and `cryptography`. A parser raises
`RemoteProtocolError` and nothing else, whatever bytes it is fed.
"""

from rfbproxy.rfb.client_handshake import ClientHandshake, LoggedIn, ReasonDue, ServerInit
from rfbproxy.rfb.constants import ClientMessage, Encoding, SecurityType, VeNCryptSubtype, XvpCode, security_name
from rfbproxy.rfb.credentials import Credentials
from rfbproxy.rfb.messages import ClientMessageFilter
from rfbproxy.rfb.preference import Preference
from rfbproxy.rfb.server_handshake import ClientInit, CredentialsGiven, Offer, ServerHandshake
from rfbproxy.rfb.vencrypt import Encryptable, TlsDue
from rfbproxy.rfb.version import Version, VersionAgreed

__all__ = [
    "ClientHandshake",
    "ClientInit",
    "ClientMessage",
    "ClientMessageFilter",
    "Credentials",
    "CredentialsGiven",
    "Encoding",
    "Encryptable",
    "LoggedIn",
    "Offer",
    "Preference",
    "ReasonDue",
    "SecurityType",
    "ServerHandshake",
    "ServerInit",
    "TlsDue",
    "VeNCryptSubtype",
    "Version",
    "VersionAgreed",
    "XvpCode",
    "security_name",
]
