"""What a session may use."""

from dataclasses import dataclass

from rfbproxy.spice.agent import CLIPBOARD, FILE_TRANSFER
from rfbproxy.spice.constants import LINKABLE, ChannelType

USUAL_CHANNELS = frozenset(
    {ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR, ChannelType.PLAYBACK}
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a session may use beyond picture, keys and sound; by default nothing that reaches into the user's machine.

    Attributes:
        channels: types of channels that may be linked and are heard of.
        clipboard: whether client and agent may speak of it.
        file_transfer: whether they may speak of files.
        name: whether the client hears the machine's name and UUID.
    """

    channels: frozenset[ChannelType] = USUAL_CHANNELS
    clipboard: bool = True
    file_transfer: bool = True
    name: bool = True

    def allows(self, channel_type: int) -> bool:
        """Whether a channel of this type may be linked."""
        return channel_type in self.channels & LINKABLE

    @property
    def denied_to_agent(self) -> frozenset[int]:
        """Types of agent messages that do not pass."""
        return (frozenset() if self.clipboard else CLIPBOARD) | (frozenset() if self.file_transfer else FILE_TRANSFER)
