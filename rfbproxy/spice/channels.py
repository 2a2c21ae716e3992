"""What passes on each channel: its rules, and how long a message may be (limits of receivers in spice-server)."""

from rfbproxy.spice.constants import ChannelType, Msg, Msgc, MsgDisplay, channel_name
from rfbproxy.spice.main_channel import HostSwitched, SessionBegun, main_rules_for_client, main_rules_for_target
from rfbproxy.spice.messages import SAYS_NOTHING, MessageFilter, Rule, dropped
from rfbproxy.spice.policy import Policy

PICTURE_LIMIT = 64 * 1024 * 1024  # bytes of a target's message where nothing less is known

_SOUND = 32 * 1024
_DEVICE = 1024 * 1024
_CLIENT_LIMITS: dict[int, int] = {
    ChannelType.MAIN: 4096 + 11 * 2048,
    ChannelType.DISPLAY: 1024,
    ChannelType.INPUTS: 2048,
    ChannelType.CURSOR: 1024,
    ChannelType.PLAYBACK: _SOUND,
    ChannelType.RECORD: _SOUND,
    ChannelType.SMARTCARD: 64 * 1024,
    ChannelType.USBREDIR: _DEVICE,
    ChannelType.PORT: _DEVICE,
    ChannelType.WEBDAV: _DEVICE,
}
_TARGET_LIMITS: dict[int, int] = {
    ChannelType.MAIN: 1024 * 1024,  # its PING carries 250 KiB, to measure the way
    ChannelType.INPUTS: 64 * 1024,
}


def client_messages(channel_type: ChannelType, policy: Policy) -> MessageFilter:
    """Follow what a client sends on a channel."""
    rules: dict[int, Rule] = {kind: Rule(dropped) for kind in (Msgc.MIGRATE_FLUSH_MARK, Msgc.MIGRATE_DATA)}
    if channel_type == ChannelType.MAIN:
        rules |= main_rules_for_client(policy)
    return MessageFilter(f"client on {channel_name(channel_type)}", _CLIENT_LIMITS[channel_type], rules)


def target_messages(
    channel_type: ChannelType,
    policy: Policy,
    *,
    session_begun: SessionBegun = lambda _: None,
    host_switched: HostSwitched = lambda _: None,
    picture_limit: int = PICTURE_LIMIT,
) -> MessageFilter:
    """Follow what a target sends on a channel; as many messages come out as went in.

    Args:
        channel_type: of the channel.
        policy: what of main goes on.
        session_begun: main: told once of the session id.
        host_switched: main: told where the machine has gone; gives what the client is told instead, None for nothing.
        picture_limit: bytes of the longest message, except on main and inputs, which send no pictures.
    """
    rules: dict[int, Rule] = {kind: Rule(dropped) for kind in (Msg.MIGRATE, Msg.MIGRATE_DATA)}
    if channel_type == ChannelType.MAIN:
        rules |= main_rules_for_target(policy, session_begun, host_switched)
    if channel_type == ChannelType.DISPLAY:
        rules |= {MsgDisplay.GL_SCANOUT_UNIX: Rule(dropped)}  # comes with a file descriptor
    limit = _TARGET_LIMITS.get(channel_type, picture_limit)
    return MessageFilter(f"target on {channel_name(channel_type)}", limit, rules, in_place_of_dropped=SAYS_NOTHING)
