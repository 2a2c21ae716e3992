"""Messages between a client and the agent in the guest, which main carries in chunks (spice vd_agent.h).

    VDAgentMessage   u32 protocol = 1 | u32 type | u64 opaque | u32 size | data

A chunk is the body of one AGENT_DATA. A message begins with a chunk, whose head is all in there, and fills as many
chunks as it takes; what is left over of a chunk breaks the protocol (spice-server agent-msg-filter.c).

Every chunk costs its sender a token, so none is taken out. What may not pass is made into something else of its length:
a message of a type that no agent knows and that says nothing, which agents pass over.
"""

from collections.abc import Collection
from struct import Struct

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice.capabilities import word
from rfbproxy.spice.constants import AGENT_CHUNK_LIMIT, AgentCap, AgentMessage

CLIPBOARD = frozenset(
    {
        AgentMessage.CLIPBOARD,
        AgentMessage.CLIPBOARD_GRAB,
        AgentMessage.CLIPBOARD_REQUEST,
        AgentMessage.CLIPBOARD_RELEASE,
    }
)
FILE_TRANSFER = frozenset({AgentMessage.FILE_XFER_START, AgentMessage.FILE_XFER_STATUS, AgentMessage.FILE_XFER_DATA})
NO_MESSAGE = 0x7FFF0000  # a type that no agent knows

_PROTOCOL = 1
_HEAD = Struct("<IIQI")
_ANNOUNCED = _HEAD.size + 4  # where the words of ANNOUNCE_CAPABILITIES begin; before them is u32 request
_CLIPBOARD_CAPS = word(
    AgentCap.CLIPBOARD,
    AgentCap.CLIPBOARD_BY_DEMAND,
    AgentCap.CLIPBOARD_SELECTION,
    AgentCap.MAX_CLIPBOARD,
    AgentCap.CLIPBOARD_NO_RELEASE_ON_REGRAB,
    AgentCap.CLIPBOARD_GRAB_SERIAL,
)
_NO_FILE_TRANSFER = word(AgentCap.FILE_XFER_DISABLED)


class AgentStream:
    """Follow the chunks that go one way, and blank the messages that may not pass.

    Args:
        who: sends them, for what is raised.
        denied: types of messages that do not pass.
        from_agent: whether the agent sends them, whose word it is that it takes no files.
    """

    def __init__(self, who: str, denied: Collection[int] = (), *, from_agent: bool = False) -> None:
        self._who = who
        self._denied = denied
        self._removed = _CLIPBOARD_CAPS if set(denied) >= CLIPBOARD else 0
        self._added = _NO_FILE_TRANSFER if from_agent and set(denied) >= FILE_TRANSFER else 0
        self._left = 0  # bytes of a message that are still to come
        self._passes = True

    def reset(self) -> None:
        """The agent came, went, or is begun with anew: what was begun to be said is not gone on with."""
        self._left = 0

    def pass_chunk(self, chunk: bytes) -> bytes:
        """What goes on in place of a chunk, of the same length.

        Raises:
            RemoteProtocolError: it cannot be a chunk here.
        """
        if not 0 < len(chunk) <= AGENT_CHUNK_LIMIT:
            raise RemoteProtocolError(
                f"{self._who} sends {len(chunk)} bytes for the agent at once, allowed are 1 to {AGENT_CHUNK_LIMIT}"
            )
        if not self._left:
            return self._begin(chunk)
        self._take(len(chunk))
        return chunk if self._passes else bytes(len(chunk))

    def _begin(self, chunk: bytes) -> bytes:
        if len(chunk) < _HEAD.size:
            raise RemoteProtocolError(
                f"{self._who} begins a message for the agent with {len(chunk)} bytes, its head has {_HEAD.size}"
            )
        protocol, kind, _, size = _HEAD.unpack_from(chunk)
        if protocol != _PROTOCOL:
            raise RemoteProtocolError(f"{self._who} speaks protocol {protocol} to the agent, spoken is {_PROTOCOL}")
        self._left = size
        self._take(len(chunk) - _HEAD.size)
        self._passes = kind not in self._denied
        if kind == AgentMessage.ANNOUNCE_CAPABILITIES and (self._removed or self._added):
            # Caps that begin in one chunk and end in another could not be changed, and no one sends them so.
            self._passes = not self._left
            return self._announce(chunk) if self._passes else self._blank(chunk)
        return chunk if self._passes else self._blank(chunk)

    def _take(self, size: int) -> None:
        if size > self._left:
            raise RemoteProtocolError(
                f"{self._who} sends {size} bytes where a message for the agent has {self._left} left (vd_agent.h)"
            )
        self._left -= size

    def _blank(self, chunk: bytes) -> bytes:
        size = _HEAD.unpack_from(chunk)[3]
        return _HEAD.pack(_PROTOCOL, NO_MESSAGE, 0, size) + bytes(len(chunk) - _HEAD.size)

    def _announce(self, chunk: bytes) -> bytes:
        """Take out of what a side says it can what it may not; all of it is in the first word."""
        end = _ANNOUNCED + 4
        first = int.from_bytes(chunk[_ANNOUNCED:end], "little") & ~self._removed | self._added
        return chunk[:_ANNOUNCED] + first.to_bytes(4, "little") + chunk[end:] if len(chunk) >= end else chunk
