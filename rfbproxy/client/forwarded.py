"""Who a client behind HTTP proxies really is: `X-Forwarded-*`, or `Forwarded` (RFC 7239).

Only what a trusted proxy sends is believed. `Forwarded` counts where there is no `X-Forwarded-*` at all: a proxy that
writes the one passes on what the client wrote into the other. A malformed value says nothing, and harms nothing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from twisted.logger import Logger

from rfbproxy.client.http_head import RequestHead

_SCHEMES = ("http", "https", "ws", "wss")
_ENCRYPTED = ("https", "wss")
_HOST = re.compile(r"[A-Za-z0-9._~%-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.%A-Za-z0-9_-]{2,64}\](:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?")
_ADDRESS_AND_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](:\w+)?|(?P<v4>[0-9.]+):\w+")
_PAIR = re.compile(  # RFC 7239 section 4: token "=" (token / quoted-string), then what follows it
    r"""[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+|"(?:[^"\\]|\\.)*"))?[ \t]*([;,]|\Z)"""
)

_log = Logger()


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What is known of a client.

    Attributes:
        source: its address.
        proto: the scheme that it used towards the first proxy; None: unknown.
        host: the host that it asked for; None: the one of the Host header.
        prefix: what the proxies put before the paths of this service, without a slash at its end; `""`: nothing.
    """

    source: str
    proto: str | None = None
    host: str | None = None
    prefix: str = ""

    @property
    def encrypted(self) -> bool:
        """Whether the client's own connection, to the first proxy, is encrypted."""
        return self.proto in _ENCRYPTED


def who_asks(peer: str, head: RequestHead, is_trusted: Callable[[str], bool]) -> Forwarded:
    """The client behind the peer of a connection.

    Args:
        peer: address, as `address_text` writes it, or `unix`.
        is_trusted: whether an address may say who its client is.
    """
    if not is_trusted(peer):
        return Forwarded(peer)
    prefix = _first("x-forwarded-prefix", head, _PREFIX.fullmatch).rstrip("/")
    if any(head.get(f"x-forwarded-{what}") is not None for what in ("for", "proto", "host")):
        return Forwarded(
            _source(peer, (head.get("x-forwarded-for") or "").split(","), is_trusted),
            _first("x-forwarded-proto", head, _is_scheme).lower() or None,
            _first("x-forwarded-host", head, _HOST.fullmatch) or None,
            prefix,
        )
    hops = _parse_forwarded(head.get("forwarded") or "")
    first = hops[0] if hops else {}
    proto, host = first.get("proto", ""), first.get("host", "")
    return Forwarded(
        _source(peer, [hop.get("for", "") for hop in hops], is_trusted),
        proto.lower() if _is_scheme(proto) else None,
        host if _HOST.fullmatch(host) else None,
        prefix,
    )


def address_text(text: str) -> str | None:
    """An address as it is logged and matched: without brackets and port, IPv4 in IPv6 as IPv4; None: it is none."""
    text = text.strip()
    if match := _ADDRESS_AND_PORT.fullmatch(text):
        text = match["v6"] or match["v4"] or ""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@lru_cache(maxsize=4096)
def network_of(source: str) -> str:
    """What limits count as one client: an IPv4 address, or the /64 that one IPv6 client may have all to itself."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    return str(ip_network((int(address) >> 64 << 64, 64))) if isinstance(address, IPv6Address) else source


def _source(peer: str, hops: Sequence[str], is_trusted: Callable[[str], bool]) -> str:
    """The right-most address that is not trusted; each was written by the one to its right.

    Where one is unknown, obfuscated (RFC 7239 section 6) or malformed, nobody can vouch for those to its left.
    """
    source = peer
    for hop in reversed(hops):
        address = address_text(hop)
        if address is None:
            if hop.strip():
                _log.debug("{source} forwards for {hop!r}, which is no address", source=source, hop=hop[:100])
            break
        source = address
        if not is_trusted(source):
            break
    return source


def _first(name: str, head: RequestHead, is_valid: Callable[[str], object]) -> str:
    """The first value of a header, if it is valid; else `""`."""
    value = (head.get(name) or "").split(",")[0].strip()
    if value and not is_valid(value):
        _log.debug("{name} {value!r} is malformed", name=name, value=value[:100])
        return ""
    return value


def _is_scheme(value: str) -> bool:
    return value.lower() in _SCHEMES


def _parse_forwarded(header: str) -> list[dict[str, str]]:
    """The elements of `Forwarded`, each as its pairs; none at all if the header is malformed anywhere."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(header):
        match = _PAIR.match(header, at)
        if match is None:
            _log.debug("the header Forwarded is malformed at character {at}", at=at)
            return []
        name, value, end = match.groups()
        if name is not None:
            elements[-1].setdefault(name.lower(), _unquoted(value))
        if end == ",":
            elements.append({})
        at = match.end()
    return [element for element in elements if element]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
