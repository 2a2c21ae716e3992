import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.spice import Capabilities, ChannelType, announced, for_client, for_target
from rfbproxy.spice.capabilities import word
from rfbproxy.spice.constants import CommonCap, DisplayCap, MainCap

ALL = Capabilities((0xFFFFFFFF,), (0xFFFFFFFF,))


def test_bits_are_counted_over_all_words():
    caps = Capabilities((0x8,), (0, 0x2))
    assert caps.has_common(CommonCap.MINI_HEADER)
    assert not caps.has_common(CommonCap.AUTH_SASL)
    assert caps.has(33)
    assert not caps.has(1)
    assert not caps.has(65)


def test_one_common_capability_can_be_taken_out():
    caps = Capabilities((0xB, 0xFFFFFFFF), (0xF,))
    assert caps.without_common(CommonCap.PROTOCOL_AUTH_SELECTION) == Capabilities((0xA, 0xFFFFFFFF), (0xF,))
    assert Capabilities().without_common(CommonCap.AUTH_SASL) == Capabilities()


def test_and_has_no_words_that_one_side_lacks():
    assert Capabilities((0xF, 1), (0x6,)) & Capabilities((0x9,), ()) == Capabilities((0x9,), ())


def test_a_word_of_bits():
    assert word(CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.MINI_HEADER) == 0x9
    assert word() == 0


SPICE_SERVER = {  # what spice-server 0.15 announces, less migration
    ChannelType.MAIN: (0xF & ~0x9,),
    ChannelType.DISPLAY: (0x1052,),
    ChannelType.INPUTS: (0x1,),
    ChannelType.CURSOR: (),
    ChannelType.PLAYBACK: (0xA,),
    ChannelType.RECORD: (0x6,),
    ChannelType.SMARTCARD: (),
    ChannelType.USBREDIR: (0x1,),
    ChannelType.PORT: (0x1,),
    ChannelType.WEBDAV: (0x1,),
}


@pytest.mark.parametrize("channel_type", SPICE_SERVER)
def test_what_is_announced_before_the_target_is_known(channel_type):
    assert announced(channel_type) == Capabilities((0xB,), SPICE_SERVER[channel_type])


@pytest.mark.parametrize("between", [for_client, for_target])
def test_migration_never_passes(between):
    assert between(ChannelType.MAIN, ALL).channel == (word(MainCap.NAME_AND_UUID, MainCap.AGENT_CONNECTED_TOKENS),)


@pytest.mark.parametrize("between", [for_client, for_target])
def test_what_needs_a_unix_socket_never_passes(between):
    passed = between(ChannelType.DISPLAY, ALL)
    assert passed.channel == (0x7FFF & ~(1 << DisplayCap.GL_SCANOUT),)


@pytest.mark.parametrize("channel_type", [ChannelType.CURSOR, ChannelType.SMARTCARD, 77])
def test_a_channel_without_capabilities_has_no_words(channel_type):
    assert announced(channel_type).channel == ()
    assert for_client(channel_type, ALL).channel == ()
    assert for_target(channel_type, ALL).channel == ()


def test_how_to_log_in_is_not_passed_on():
    assert for_client(ChannelType.INPUTS, Capabilities((0xFF,), (0,))) == Capabilities((0xB,), (0,))
    assert for_target(ChannelType.INPUTS, Capabilities((), (0,))) == Capabilities((0x9,), (0,))


WORDS = st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple)


@given(st.integers(0, 255), WORDS, WORDS)
def test_nothing_passes_that_its_sender_did_not_announce(channel_type, common, channel):
    caps = Capabilities(common, channel)
    for passed in (for_client(channel_type, caps), for_target(channel_type, caps)):
        assert passed.common[0] & (1 << CommonCap.AUTH_SASL) == 0
        assert passed.has_common(CommonCap.MINI_HEADER)
        assert all(bits & ~ours == 0 for bits, ours in zip(passed.channel, channel, strict=False))
        assert len(passed.channel) <= len(channel)
