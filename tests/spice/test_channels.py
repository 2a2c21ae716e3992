import pytest

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice import PICTURE_LIMIT, ChannelType, Destination, Policy, client_messages, target_messages
from rfbproxy.spice.constants import LINKABLE, Msg, Msgc
from rfbproxy.spice.messages import HELD_LIMIT, SAYS_NOTHING, message
from tests.spice.test_main_channel import channels_list, init
from tests.spice.test_messages import header
from tests.spice.test_migration import switch

CLIENT_LIMITS = {
    ChannelType.MAIN: 4096 + 11 * 2048,
    ChannelType.DISPLAY: 1024,
    ChannelType.INPUTS: 2048,
    ChannelType.CURSOR: 1024,
    ChannelType.PLAYBACK: 32768,
    ChannelType.RECORD: 32768,
    ChannelType.SMARTCARD: 65536,
    ChannelType.USBREDIR: 1 << 20,
    ChannelType.PORT: 1 << 20,
    ChannelType.WEBDAV: 1 << 20,
}


@pytest.mark.parametrize("channel_type", CLIENT_LIMITS)
def test_wire_S28_a_clients_messages_have_a_limit(channel_type):
    limit = CLIENT_LIMITS[channel_type]
    assert client_messages(channel_type, Policy()).receive_data(header(120, limit)) == header(120, limit)
    with pytest.raises(
        RemoteProtocolError, match=f"client on {channel_type.name.lower()} sends .* allowed are {limit}$"
    ):
        client_messages(channel_type, Policy()).receive_data(header(120, limit + 1))


@pytest.mark.parametrize("channel_type", sorted(LINKABLE))
def test_a_targets_messages_have_a_limit(channel_type):
    limit = {ChannelType.MAIN: 1 << 20, ChannelType.INPUTS: 1 << 16}.get(channel_type, PICTURE_LIMIT)
    assert target_messages(channel_type, Policy()).receive_data(header(120, limit)) == header(120, limit)
    with pytest.raises(RemoteProtocolError, match=f"target on {channel_type.name.lower()} sends"):
        target_messages(channel_type, Policy()).receive_data(header(120, limit + 1))


def test_the_limit_of_pictures_can_be_set():
    screen = target_messages(ChannelType.DISPLAY, Policy(), picture_limit=1 << 27)
    assert screen.receive_data(header(304, 1 << 27)) == header(304, 1 << 27)


@pytest.mark.parametrize("channel_type", sorted(LINKABLE))
@pytest.mark.parametrize("follow", [client_messages, target_messages])
def test_wire_S30_no_channel_has_lists_of_messages(channel_type, follow):
    with pytest.raises(RemoteProtocolError, match="a list of messages"):
        follow(channel_type, Policy()).receive_data(message(8, bytes(12)))


@pytest.mark.parametrize("channel_type", sorted(LINKABLE))
def test_no_channel_is_migrated(channel_type):
    ping, pong = message(Msg.PING, bytes(12)), message(Msgc.PONG, bytes(12))
    migration = message(Msg.MIGRATE, bytes(4)) + message(Msg.MIGRATE_DATA, bytes(100))
    from_target = target_messages(channel_type, Policy()).receive_data(ping + migration + ping)
    assert from_target == ping + SAYS_NOTHING * 2 + ping
    migration = message(Msgc.MIGRATE_FLUSH_MARK) + message(Msgc.MIGRATE_DATA, bytes(100))
    assert client_messages(channel_type, Policy()).receive_data(pong + migration + pong) == pong * 2


def test_what_comes_with_a_file_descriptor_does_not_pass():
    ack = message(Msg.SET_ACK, b"\x01\0\0\0\x14\0\0\0")
    display = target_messages(ChannelType.DISPLAY, Policy())
    assert display.receive_data(ack + message(316, bytes(20)) + message(304, bytes(9))) == (
        ack + SAYS_NOTHING + message(304, bytes(9))
    )


def test_main_tells_what_it_says():
    begun, switched = [], []
    main = target_messages(
        ChannelType.MAIN, Policy(), session_begun=begun.append, host_switched=lambda to: switched.append(to)
    )
    stream = init() + channels_list((2, 0), (9, 0)) + message(111, switch())
    assert main.receive_data(stream) == init() + channels_list((2, 0)) + SAYS_NOTHING
    assert begun == [0x12345678]
    assert switched == [Destination("compute2.internal", 5901, 5902)]


def test_nobody_need_be_told():
    stream = init() + message(111, switch())
    assert target_messages(ChannelType.MAIN, Policy()).receive_data(stream) == init() + SAYS_NOTHING


@pytest.mark.parametrize("channel_type", sorted(LINKABLE))
@pytest.mark.parametrize("follow", [client_messages, target_messages])
def test_P4_no_rule_holds_more_than_it_may(channel_type, follow):
    assert all(rule.held <= HELD_LIMIT for rule in follow(channel_type, Policy())._rules.values())


def test_a_ping_that_measures_the_way_passes():
    ping = message(Msg.PING, bytes(12 + 250 * 1024))
    assert target_messages(ChannelType.MAIN, Policy()).receive_data(ping) is ping
