"""Where to listen, or where a target is: as people write it, and as it is used."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

from rfbproxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: `host` and `port`, or a UNIX socket's `path`."""

    host: str = ""
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, what: str) -> Address:
    """Read `host:port`, `[v6]:port` or `unix:PATH`.

    Raises:
        ConfigError: anything else; `what` says which option or argument it was.
    """
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(path=text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535 or (":" in host and not bracketed):
        raise ConfigError(f"{what}: {text!r} is not an address; host:port, [IPv6]:port or unix:PATH is")
    return Address(host[1:-1] if bracketed else host, int(port))


def parse_host(text: str, what: str) -> str:
    """Read a host that stands without its port: a name, IPv4, or IPv6 with or without brackets and zone.

    Raises:
        ConfigError: a port stands with it, or may do so: `2001:db8::1:6080` has two meanings.
    """
    bracketed = text.startswith("[") and text.endswith("]")
    host = text[1:-1] if bracketed else text
    if ":" not in host and not bracketed:
        return host
    rest, _, last = host.rpartition(":")
    if not bracketed and re.fullmatch("[0-9]{4}", last) and _is_ipv6(rest):
        raise ConfigError(
            f"{what}: {text!r} may be an address, or {rest} with the port {last}; "
            f"[{host}] is the one, [{rest}] the other, whose port has an option of its own"
        )
    if not _is_ipv6(host):
        raise ConfigError(f"{what}: {text!r} is not a host; a name, IPv4 or IPv6 is, and its port has its own option")
    return host


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
