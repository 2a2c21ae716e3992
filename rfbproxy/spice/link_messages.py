"""The two messages of a link, with the header that both begin with (spice/protocol.h).

    SpiceLinkHeader   "REDQ" | u32 major | u32 minor | u32 size of what follows
    SpiceLinkMess     u32 connection_id | u8 channel_type | u8 channel_id | u32 common, u32 channel words, u32 offset
    SpiceLinkReply    u32 error | u8 public key[162] | u32 common, u32 channel words, u32 offset

The words lie at the offset, which counts from the beginning of the message, the common ones first.
"""

from dataclasses import dataclass, field
from struct import Struct

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice.capabilities import Capabilities
from rfbproxy.spice.constants import (
    CAPS_LIMIT,
    LINK_LIMIT,
    MAGIC,
    PUBLIC_KEY_SIZE,
    VERSION_MAJOR,
    VERSION_MINOR,
    LinkError,
)
from rfbproxy.wire import Reader, Reading

_VERSION = Struct("<III")  # of the header, after the magic: major, minor, size
_MESS = Struct("<IBBIII")
_REPLY = Struct(f"<I{PUBLIC_KEY_SIZE}sIII")
_U32 = Struct("<I")

MESS_SIZE, REPLY_SIZE = _MESS.size, _REPLY.size  # bytes without words


class BadLink(RemoteProtocolError):
    """A link message or reply that cannot be.

    Attributes:
        answer: the error that says so to the peer; None: it is not answered.
    """

    def __init__(self, message: str, answer: LinkError | None = LinkError.INVALID_DATA) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class LinkMess:
    """What a client asks for: one channel."""

    connection_id: int  # 0, or the session id that main was told
    channel_type: int
    channel_id: int
    caps: Capabilities = field(default_factory=Capabilities)

    def pack(self) -> bytes:
        """The message as it is sent, with its header."""
        common, channel = self.caps.common, self.caps.channel
        fixed = _MESS.pack(self.connection_id, self.channel_type, self.channel_id, len(common), len(channel), MESS_SIZE)
        return _with_header(fixed, self.caps)

    @classmethod
    def parse(cls, message: bytes) -> "LinkMess":
        """Read what follows the header; bytes that belong to nothing are allowed, and not kept.

        Raises:
            BadLink: the words are not inside the message, or too many.
        """
        connection_id, channel_type, channel_id, *caps = _MESS.unpack_from(message)
        return cls(connection_id, channel_type, channel_id, _read_caps(message, MESS_SIZE, *caps))


@dataclass(frozen=True, slots=True)
class LinkReply:
    """What a server answers: an error, or the key that the ticket is sealed with."""

    error: int
    public_key: bytes = field(default=bytes(PUBLIC_KEY_SIZE), repr=False)
    caps: Capabilities = field(default_factory=Capabilities)

    def pack(self) -> bytes:
        """The reply as it is sent, with its header; that of an error is zeros but for the error (spice-server)."""
        common, channel = self.caps.common, self.caps.channel
        offset = 0 if self.error else REPLY_SIZE
        return _with_header(_REPLY.pack(self.error, self.public_key, len(common), len(channel), offset), self.caps)

    @classmethod
    def parse(cls, message: bytes) -> "LinkReply":
        """Read what follows the header; beside an error nothing else is looked at.

        Raises:
            BadLink: the words are not inside the message, or too many.
        """
        error, public_key, *caps = _REPLY.unpack_from(message)
        if error:
            return cls(error)
        return cls(error, public_key, _read_caps(message, REPLY_SIZE, *caps))


def read_link(reader: Reader, least: int) -> Reading[bytes]:
    """A header and what follows it, which is returned: `least` to 4096 bytes.

    Raises:
        BadLink: this is no SPICE, another version of it, or the size cannot be.
    """
    magic = yield from reader.take(len(MAGIC))
    if magic != MAGIC:
        raise BadLink(f"a link begins with {magic!r}, due is {MAGIC!r} (spice/protocol.h)", LinkError.INVALID_MAGIC)
    return (yield from read_link_after_magic(reader, least))


def read_link_after_magic(reader: Reader, least: int) -> Reading[bytes]:
    """As `read_link`, where the magic was read already."""
    major, _, size = _VERSION.unpack((yield from reader.take(_VERSION.size)))
    if major != VERSION_MAJOR:
        # spice-server closes on a zero, and tells any other version. It never looks at the minor version.
        answer = LinkError.VERSION_MISMATCH if major else None
        raise BadLink(f"the peer speaks SPICE {major}, spoken is {VERSION_MAJOR} (spice/protocol.h)", answer)
    if not least <= size <= LINK_LIMIT:
        raise BadLink(f"a link of {size} bytes, allowed are {least} to {LINK_LIMIT} (spice-server reds.cpp)")
    return (yield from reader.take(size))


def read_u32(reader: Reader) -> Reading[int]:
    """A number as SPICE writes it, which is not how the reader would."""
    return int(_U32.unpack((yield from reader.take(_U32.size)))[0])


def pack_u32(number: int) -> bytes:
    """A number as SPICE writes it."""
    return _U32.pack(number)


def _with_header(fixed: bytes, caps: Capabilities) -> bytes:
    words = b"".join(map(_U32.pack, caps.common + caps.channel))
    size = len(fixed) + len(words)
    return MAGIC + _VERSION.pack(VERSION_MAJOR, VERSION_MINOR, size) + fixed + words


def _read_caps(message: bytes, fixed: int, common: int, channel: int, offset: int) -> Capabilities:
    if max(common, channel) > CAPS_LIMIT:
        raise BadLink(f"{common} and {channel} words of capabilities, allowed are {CAPS_LIMIT} each (reds.cpp)")
    count = common + channel
    if not count:
        return Capabilities()  # the offset then means nothing, and is not judged (reds.cpp)
    if not fixed <= offset <= len(message) - 4 * count:
        raise BadLink(f"{count} words of capabilities at {offset} of a link of {len(message)} bytes (reds.cpp)")
    words = Struct(f"<{count}I").unpack_from(message, offset)
    return Capabilities(words[:common], words[common:])
