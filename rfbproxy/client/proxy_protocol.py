"""The PROXY protocol, versions 1 and 2, without I/O: a load balancer says first of all who its client is.

Source: haproxy's doc/proxy-protocol.txt, whose sections are named here. It is optional, and told from everything else
by its first bytes; where it is missing, every byte is handed on.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from rfbproxy.client.forwarded import address_text
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.wire import Conversation, Reading

V1_START = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_LIMIT = 107  # bytes of the line, with its end (section 2.1)
V2_LIMIT = 16384  # bytes after the fixed part; a client's certificate may be among them (section 2.2.6)


class Command(IntEnum):
    """Of version 2 (section 2.2)."""

    LOCAL = 0x0
    PROXY = 0x1


class Family(IntEnum):
    """Address family and transport of version 2 (section 2.2)."""

    UNSPEC = 0x00
    TCP4 = 0x11
    UDP4 = 0x12
    TCP6 = 0x21
    UDP6 = 0x22
    UNIX_STREAM = 0x31
    UNIX_DGRAM = 0x32


_ADDRESSES_SIZE = {  # bytes, where a family has any
    Family.UNSPEC: 0,
    Family.TCP4: 12,
    Family.UDP4: 12,
    Family.TCP6: 36,
    Family.UDP6: 36,
    Family.UNIX_STREAM: 216,
    Family.UNIX_DGRAM: 216,
}
_V1_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A load balancer has spoken.

    Attributes:
        source: the client's address; None where the balancer speaks for itself (LOCAL, its health check), or for
            somebody who has no IP address (UNKNOWN, a UNIX socket).
    """

    source: str | None


def may_begin_header(data: bytes) -> bool:
    """Whether the first bytes of a connection may be those of a PROXY header, as hardly any client's are."""
    return data[0] in (V1_START[0], V2_SIGNATURE[0])


class ProxyHeaderReader(Conversation):
    """Read a PROXY header if there is one, which is the only event; `unread` gives all bytes after it.

    Raises from `receive_data`:
        RemoteProtocolError: it begins as a PROXY header, and is none.
    """

    def _converse(self) -> Reading[None]:
        if (yield from self._reader.begins_with(V2_SIGNATURE)):
            self._event(ProxyHeader((yield from self._version_2())))
        elif (yield from self._reader.begins_with(V1_START)):
            self._event(ProxyHeader((yield from self._version_1())))

    def _version_1(self) -> Reading[str | None]:
        """`PROXY TCP4 192.0.2.7 192.0.2.1 4711 6080`, or `PROXY UNKNOWN` and anything (section 2.1)."""
        try:
            line = (yield from self._reader.take_until(b"\r\n", V1_LIMIT)).decode("ascii")
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("PROXY header is not ASCII") from error
        protocol, *words = line.removesuffix("\r\n").split(" ")[1:]
        if protocol == "UNKNOWN":
            return None
        kind = {"TCP4": IPv4Address, "TCP6": IPv6Address}.get(protocol)
        if kind is None or len(words) != 4 or not all(_V1_PORT.fullmatch(w) and int(w) < 65536 for w in words[2:]):
            raise RemoteProtocolError(f"PROXY header {line!r} is malformed")
        try:
            source, _ = (kind(word) for word in words[:2])
        except ValueError as error:
            raise RemoteProtocolError(f"PROXY header has a malformed address: {error}") from error
        return address_text(str(source))

    def _version_2(self) -> Reading[str | None]:
        yield from self._reader.take(len(V2_SIGNATURE))
        version, command = divmod((yield from self._reader.u8()), 16)
        family = yield from self._reader.u8()
        size = yield from self._reader.u16()
        if version != 2 or command not in list(Command):
            raise RemoteProtocolError(
                f"PROXY header has version {version}, command {command}; allowed are 2, and 0 or 1"
            )
        if size > V2_LIMIT:
            raise RemoteProtocolError(f"PROXY header has {size} bytes, allowed are {V2_LIMIT}")
        block = yield from self._reader.take(size)  # addresses, then TLVs that say nothing needed here
        if command == Command.LOCAL:
            return None  # section 2.2: the family must be discarded too
        if family not in list(Family) or size < _ADDRESSES_SIZE[Family(family)]:
            raise RemoteProtocolError(f"PROXY header has family {family:#04x} and {size} bytes")
        if family == Family.TCP4:
            return str(IPv4Address(block[:4]))
        if family == Family.TCP6:
            return address_text(str(IPv6Address(block[:16])))
        return None
