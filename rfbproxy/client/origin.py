"""Whether a browser's page may open a console here (nova/console/websocketproxy.py, CVE-2015-0259).

The host of the Origin is judged before the token is looked up, its scheme after, against the token's `access_url_base`.
Ports are not compared. A request without Origin is no browser's and passes.
"""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

from rfbproxy.reasons import CloseReason, Refused

NOT_VALID = "Origin header not valid."
OTHER_HOST = "Origin header does not match this host."
OTHER_SCHEME = "Origin header protocol does not match this host."

_WEBSOCKET_SCHEMES = {"ws": "http", "wss": "https"}


def check_origin_host(origin: str | None, host: str | None, allowed: Collection[str]) -> None:
    """Let the Origin pass if its host is the request's own or one of the operator's.

    Args:
        origin: the Origin header, None if there is none.
        host: the Host header.
        allowed: bare host names, `[console] allowed_origins`.

    Raises:
        Refused: origin-refused, with nova's words.
    """
    if origin is None:
        return
    split = _split(origin)
    if split is None or not split.scheme:
        raise _refused("Origin is not a URL", NOT_VALID)
    names = {_canonical(name.strip().strip("[]").lower()) for name in allowed}
    if host is not None and (own := host_name(host)):
        names.add(own)
    if not split.hostname or _canonical(split.hostname) not in names:  # it is in lower case and without brackets
        raise _refused(f"Origin's host {str(split.hostname)[:200]!r} is not among {sorted(names)}", OTHER_HOST)


def check_origin_scheme(origin: str | None, forwarded_proto: str | None, access_url_base: str | None) -> None:
    """Let the Origin pass if its scheme is the one under which the console was given out.

    Args:
        origin: the Origin header, None if there is none.
        forwarded_proto: X-Forwarded-Proto of a trusted proxy, which knows better; of a list the first counts.
        access_url_base: of the token. Everywhere `ws` stands for `http` too, `wss` for `https`.

    Raises:
        Refused: origin-refused, with nova's words.
    """
    if origin is None:
        return
    split = _split(origin)
    scheme = (forwarded_proto or "").split(",")[0].strip().lower() or (split.scheme if split else "")
    scheme = _WEBSOCKET_SCHEMES.get(scheme, scheme)
    split_base = _split(access_url_base or "")
    base = split_base.scheme if split_base else ""
    if not base or scheme != _WEBSOCKET_SCHEMES.get(base, base):
        raise _refused(f"Origin {origin[:200]!r} has scheme {scheme!r}, the token's base has {base!r}", OTHER_SCHEME)


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case, without port, brackets and zone; None where there is no name in it.

    An IPv6 literal without brackets, which people write, has no port.
    """
    if host.count(":") > 1 and not host.startswith("["):
        return _canonical(host.lower())
    split = _split("//" + host)
    return _canonical(split.hostname) if split and split.hostname else None


def _canonical(name: str) -> str:
    """A name, or the one spelling of an IPv6 address; its zone means something on the client's machine alone."""
    try:
        return str(IPv6Address(name.partition("%")[0])) if ":" in name else name
    except ValueError:
        return name


@lru_cache(maxsize=64)
def _split(url: str) -> SplitResult | None:
    try:
        split = urlsplit(url.strip())
        split.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return None
    return split


def _refused(detail: str, sentence: str) -> Refused:
    return Refused(CloseReason.ORIGIN_REFUSED, detail, sentence=sentence)
