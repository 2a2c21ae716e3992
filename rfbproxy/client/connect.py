"""Clients that come by HTTP CONNECT and then speak raw RFB: the Java viewers.

Two viewers, told apart by what they ask for. nova's sends `CONNECT /console?token=T HTTP/1.0` and wants an answer that
starts `HTTP/1.1 200 `; TightVNC's sends `CONNECT host:port HTTP/1.0` and wants one that starts `HTTP/1.0 200 `: there
the host is the token. Neither names a target: that is what the token is for.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from twisted.internet.interfaces import IReactorTime

from rfbproxy.client.http_head import HttpError, RequestHead
from rfbproxy.client.raw import RawStream
from rfbproxy.reasons import CloseReason, Refused

WAY_IN = "connect"
PATH = "/console"  # of access URLs, which a GET has to name unless it brings a token
TOKEN_LIMIT = 255  # characters

_URL = re.compile(r"[/?]|https?://", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^][:/?#@]+):[0-9]{1,5}")
_NOVA_ACCEPTS = b"HTTP/1.1 200 OK\r\n\r\n"
_TIGHTVNC_ACCEPTS = b"HTTP/1.0 200 OK\r\n\r\n"

_STATUS = {
    CloseReason.TOKEN_UNKNOWN: 401,
    CloseReason.TOKEN_EXPIRED: 401,
    CloseReason.REVOKED: 401,
    CloseReason.ORIGIN_REFUSED: 403,
    CloseReason.TLS_REQUIRED: 403,
    CloseReason.POLICY: 403,
    CloseReason.TARGET_UNREACHABLE: 502,
    CloseReason.TARGET_AUTH_FAILED: 502,
    CloseReason.PROTOCOL_ERROR: 502,
    CloseReason.LIMIT: 503,
    CloseReason.SHUTDOWN: 503,
}


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """What a request head says of the console that it asks for."""

    token: str | None = field(repr=False)
    acceptance: bytes  # the answer that this client understands as success


def wants_connect(head: RequestHead, *, by_get: bool) -> bool:
    """Whether this is a CONNECT, or a GET that is meant as one."""
    if head.method == "GET" and by_get and not head.wants_websocket:
        path, _, query = head.target.partition("?")
        return path.endswith(PATH) or re.search("(^|&)token=", query) is not None
    return head.method == "CONNECT"


def read_connect(head: RequestHead) -> ConnectRequest:
    """Find the token of a request that `wants_connect`.

    Raises:
        HttpError: 400, what is wrong with it.
    """
    if head.has_body:
        raise HttpError(400, "A CONNECT has no body.")
    if _URL.match(head.target):
        return ConnectRequest(_token_of_query(head.target), _NOVA_ACCEPTS)
    if head.method == "CONNECT" and _AUTHORITY.fullmatch(head.target):
        given = head.get_one("proxy-authorization")
        token = head.target.rpartition(":")[0] if given is None else _password_of(given)
        return ConnectRequest(_judged(token), _TIGHTVNC_ACCEPTS)
    raise HttpError(400, "CONNECT wants the path and query of a console's URL, or its token as a host with a port.")


def _token_of_query(target: str) -> str | None:
    try:
        pairs = parse_qsl(urlsplit(target).query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise HttpError(400, "The URL that CONNECT names is malformed.") from None
    tokens = [value for name, value in pairs if name == "token"]
    if len(tokens) > 1:
        raise HttpError(400, f"The token came {len(tokens)} times; once is allowed.")
    return _judged(tokens[0]) if tokens and tokens[0] else None


def _password_of(authorization: str) -> str:
    """The password of a `Proxy-Authorization: Basic` (RFC 7617), whoever the user is."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        _user, colon, password = b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise HttpError(400, "Proxy-Authorization is not Basic with a user and a password.")
    return password


def _judged(token: str) -> str:
    if len(token) > TOKEN_LIMIT or not token.isprintable():
        raise HttpError(400, "The token is not one that could have been given out.")
    return token


class ConnectStream(RawStream):
    """A client that waits for its answer in HTTP until the target has accepted the proxy's login.

    Early bytes of RFB are kept, as every stream keeps them.
    """

    greets_at_once = False

    def __init__(self, request: ConnectRequest, clock: IReactorTime) -> None:
        super().__init__(clock)
        self._request = request
        self.is_accepted = False
        self.on_accept: Callable[[], None] | None = None  # told once the answer is out

    def accept(self) -> None:
        """See `ClientStream.accept`."""
        self.is_accepted = True
        self.send(self._request.acceptance)
        if self.on_accept is not None:
            self.on_accept()

    def close_because(self, refused: Refused) -> None:
        """Refuse in HTTP before `accept`; after it RFB has said all that can be said."""
        if not self.is_accepted and refused.reason is not CloseReason.CLIENT_CLOSED:
            self.send(HttpError(self._status(refused.reason), refused.sentence).answer())
        super().close_because(refused)

    def _status(self, reason: CloseReason) -> int:
        if reason is CloseReason.TOKEN_UNKNOWN and not self._request.token:
            return 400
        return _STATUS.get(reason, 500)
