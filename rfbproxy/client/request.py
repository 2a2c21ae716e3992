"""What a client asked for when it opened a console: the one form that every way in gives to the session."""

from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from rfbproxy.client.http_head import RequestHead


@dataclass(frozen=True, slots=True)
class ConsoleRequest:
    """A client's wish to see a console. Headers are as the client sent them; the session judges them."""

    way_in: str  # as the audit record names it: websocket, ...
    source: str  # the client's address, without a port
    token: str | None = field(repr=False)
    origin: str | None = None
    host: str | None = None
    forwarded_proto: str | None = None  # only from a trusted proxy; None from anybody else
    encrypted: bool = False  # whether the client came to this proxy with TLS


def token_of(head: RequestHead) -> str | None:
    """The console token of a request: query, else the query inside a `path` parameter, else the `token` cookie.

    The last of several wins, and blank ones do not count (nova/console/websocketproxy.py). noVNC 1.0 and later put the
    token into `path`, which its page turns into the WebSocket's own query; a page may also be asked with it unturned.
    """
    return token_of_url(head.target) or _cookie_token("; ".join(head.get_all("cookie")))


def token_of_url(url: str) -> str | None:
    """The console token of a request's target alone."""
    query = _query_of(url)
    if token := _last(query, "token"):
        return token
    for path in reversed(query.get("path", [])):
        if token := _last(_query_of(path), "token"):
            return token
    return None


def _query_of(target: str) -> dict[str, list[str]]:
    try:
        return parse_qs(urlsplit(target).query)
    except ValueError:
        return {}


def _last(query: dict[str, list[str]], name: str) -> str | None:
    values = query.get(name)
    return values[-1] if values else None


def _cookie_token(header: str) -> str | None:
    """The `token` cookie; each part is read by itself, so that a malformed neighbour does no harm."""
    token = None
    for part in header.split(";"):
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(part.strip())
        except CookieError:
            continue
        if "token" in cookie and cookie["token"].value:
            token = cookie["token"].value
    return token
