"""What each side of a channel may announce: the words of a link, and what of them passes (spice/protocol.h, enums.h).

A side uses what it knows if its peer's words have the bit. So whoever stands between a viewer and a server decides by
the words it passes: the bits of migration never pass, because what they allow tells a viewer of internal hosts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rfbproxy.spice.constants import (
    ChannelType,
    CommonCap,
    DisplayCap,
    InputsCap,
    MainCap,
    PlaybackCap,
    RecordCap,
    SpicevmcCap,
)

Words = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The words of a link message or reply; bit n is bit n % 32 of word n // 32."""

    common: Words = ()
    channel: Words = ()

    def has_common(self, cap: CommonCap) -> bool:
        """Whether a common capability is announced."""
        return _has(self.common, cap)

    def has(self, cap: int) -> bool:
        """Whether a capability of the channel is announced."""
        return _has(self.channel, cap)

    def without_common(self, cap: CommonCap) -> "Capabilities":
        """The same but for one common capability, of the first 32."""
        return Capabilities(_and(self.common, (~word(cap), *[~0] * len(self.common))), self.channel)

    def __and__(self, other: "Capabilities") -> "Capabilities":
        return Capabilities(_and(self.common, other.common), _and(self.channel, other.channel))


def word(*caps: int) -> int:
    """One word with these bits; all are less than 32."""
    return sum(1 << cap for cap in set(caps))


def _has(words: Words, cap: int) -> bool:
    index, bit = divmod(cap, 32)
    return index < len(words) and bool(words[index] >> bit & 1)


def _and(words: Words, mask: Words) -> Words:
    return tuple(ours & theirs for ours, theirs in zip(words, mask, strict=False))


def _words(caps: Iterable[int]) -> Words:
    bits = word(*caps)
    return (bits,) if bits else ()


# What spice-server 0.15 announces, less what is never passed: told to a client before its target is known.
_ANNOUNCED: dict[int, Words] = {
    ChannelType.MAIN: _words((MainCap.NAME_AND_UUID, MainCap.AGENT_CONNECTED_TOKENS)),
    ChannelType.DISPLAY: _words(
        (
            DisplayCap.MONITORS_CONFIG,
            DisplayCap.STREAM_REPORT,
            DisplayCap.PREF_COMPRESSION,
            DisplayCap.PREF_VIDEO_CODEC_TYPE,
        )
    ),
    ChannelType.INPUTS: _words(InputsCap),
    ChannelType.PLAYBACK: _words((PlaybackCap.VOLUME, PlaybackCap.OPUS)),
    ChannelType.RECORD: _words((RecordCap.VOLUME, RecordCap.OPUS)),
    ChannelType.USBREDIR: _words(SpicevmcCap),
    ChannelType.PORT: _words(SpicevmcCap),
    ChannelType.WEBDAV: _words(SpicevmcCap),
}

# What passes either way, by channel type: what is known, less migration and what needs a UNIX socket (GL_SCANOUT).
_PASSED: dict[int, Words] = _ANNOUNCED | {
    ChannelType.DISPLAY: _words(set(DisplayCap) - {DisplayCap.GL_SCANOUT}),
    ChannelType.PLAYBACK: _words(PlaybackCap),
    ChannelType.RECORD: _words(RecordCap),
}

_TO_CLIENT = (word(CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER),)
_TO_TARGET = (word(CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.MINI_HEADER),)  # as every viewer has them


def announced(channel_type: int) -> Capabilities:
    """What a client is told before its target is known."""
    return Capabilities(_TO_CLIENT, _ANNOUNCED.get(channel_type, ()))


def for_client(channel_type: int, target: Capabilities) -> Capabilities:
    """What a client is told of what its target announces."""
    return Capabilities(_TO_CLIENT, _and(target.channel, _PASSED.get(channel_type, ())))


def for_target(channel_type: int, client: Capabilities) -> Capabilities:
    """What a target is told of what the client announces; how to log in is between it and this program."""
    return Capabilities(_TO_TARGET, _and(client.channel, _PASSED.get(channel_type, ())))
