"""ProtocolVersion: twelve bytes that each side sends, server first (RFC 6143 section 7.1.1)."""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.wire import EndOfStream, Reader, Reading

VERSION_SIZE = 12
_FORM = b"RFB 000.000\n"  # each zero is a digit
_DIGITS_AS_ZERO = bytes.maketrans(b"0123456789", b"0000000000")
_PATTERN = re.compile(rb"RFB ([0-9]{3})\.([0-9]{3})\n")


class Version(Enum):
    """The three handshakes that exist; every other number is spoken as one of them."""

    V3_3 = (3, 3)
    V3_7 = (3, 7)
    V3_8 = (3, 8)

    message: bytes  # the ProtocolVersion message of this version

    def __init__(self, major: int, minor: int) -> None:
        self.message = b"RFB %03d.%03d\n" % (major, minor)
        self._text = f"{major}.{minor}"

    def __str__(self) -> str:
        return self._text

    @classmethod
    @lru_cache(maxsize=16)  # nearly all peers say the same few
    def parse(cls, message: bytes) -> "Version":
        """The handshake to speak with a peer that sent `message`.

        3.4 to 3.6 (UltraVNC) are 3.3; 3.889 (Apple), 4.0 (Intel AMT), 4.1 and 5.0 (RealVNC) are 3.8.

        Raises:
            RemoteProtocolError: not a ProtocolVersion, 000.000 (an UltraVNC repeater), or older than 3.3.
        """
        match = _PATTERN.fullmatch(message)
        if match is None:
            raise RemoteProtocolError(
                f"not RFB: {message!r} came where 'RFB xxx.yyy\\n' is due (RFC 6143 section 7.1.1)"
            )
        number = (int(match[1]), int(match[2]))
        if number == (0, 0):
            raise RemoteProtocolError("RFB 000.000 is an UltraVNC repeater, not an RFB server")
        if number < cls.V3_3.value:
            raise RemoteProtocolError(f"RFB version {number[0]}.{number[1]} is older than 3.3 (RFC 6143 section 7.1.1)")
        return max((version for version in cls if version.value <= number), key=lambda version: version.value)


@dataclass(frozen=True, slots=True)
class VersionAgreed:
    """The peer and this side speak `version` from here on."""

    version: Version


def read_version(reader: Reader) -> Reading[Version]:
    """The peer's ProtocolVersion; what cannot become one fails at once, without waiting for twelve bytes.

    Raises:
        EndOfStream: the peer closed without a byte.
        RemoteProtocolError: as `Version.parse`.
    """
    message = b""
    while len(message) < VERSION_SIZE:
        try:
            message += yield from reader.take_some(VERSION_SIZE - len(message))
        except EndOfStream:
            if message:
                Version.parse(message)  # raises: it is too short
            raise
        if not _FORM.startswith(message.translate(_DIGITS_AS_ZERO)):
            Version.parse(message)  # raises, and shows what there is
    return Version.parse(message)
