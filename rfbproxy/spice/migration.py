"""Where a target says that its machine has gone: a host inside, which no client may hear of (spice.proto).

    SpiceMsgMainMigrationSwitchHost   u16 port | u16 TLS port | u32 size, u32 offset of the host
                                      | u32 size, u32 offset of the certificate's subject

Both texts end with a NUL; the offsets count from the beginning of the body, and 0 is no text.
"""

from dataclasses import dataclass
from struct import Struct

from rfbproxy.errors import RemoteProtocolError

SWITCH_LIMIT = 4096  # bytes of a body
HOST_LIMIT = 255  # characters

_FIXED = Struct("<HHIIII")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a client is to link next; a port of 0 is none."""

    host: str
    port: int
    tls_port: int
    subject: str | None = None  # of the certificate; None: the host's name is verified instead

    def pack(self) -> bytes:
        """The body of a SWITCH_HOST."""
        host = self.host.encode("ascii") + b"\0"
        subject = b"" if self.subject is None else self.subject.encode("utf-8") + b"\0"
        subject_offset = _FIXED.size + len(host) if subject else 0
        fixed = _FIXED.pack(self.port, self.tls_port, len(host), _FIXED.size, len(subject), subject_offset)
        return fixed + host + subject

    @classmethod
    def parse(cls, body: bytes) -> "Destination":
        """Read the body of a SWITCH_HOST.

        Raises:
            RemoteProtocolError: there is no host or no port, or the texts are not where they can be.
        """
        if len(body) < _FIXED.size:
            raise RemoteProtocolError(f"target switches hosts in {len(body)} bytes, due are at least {_FIXED.size}")
        port, tls_port, host_size, host_offset, subject_size, subject_offset = _FIXED.unpack_from(body)
        host = _text(body, host_offset, host_size, "host")
        if not (host and host.isascii() and host.isprintable() and len(host) <= HOST_LIMIT):
            raise RemoteProtocolError("target switches to a host without a name, or with one that cannot be")
        if not port and not tls_port:
            raise RemoteProtocolError("target switches to a host without a port")
        if not subject_offset:
            return cls(host, port, tls_port)
        if subject_offset < host_offset + host_size and host_offset < subject_offset + subject_size:
            raise RemoteProtocolError("target switches to a host whose name and subject overlap")
        return cls(host, port, tls_port, _text(body, subject_offset, subject_size, "subject") or None)


def _text(body: bytes, offset: int, size: int, what: str) -> str:
    """A text that ends at its only NUL, which is the last of its bytes."""
    if not _FIXED.size <= offset <= len(body) - size:
        raise RemoteProtocolError(
            f"target switches to a {what} of {size} bytes at {offset} of {len(body)} (spice.proto)"
        )
    text, nul, rest = body[offset : offset + size].partition(b"\0")
    if not nul or rest:
        raise RemoteProtocolError(f"target switches to a {what} that does not end with its one NUL (spice.proto)")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError(f"target switches to a {what} that is no UTF-8") from None
