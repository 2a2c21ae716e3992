import pytest

from rfbproxy.spice import ChannelType, Policy
from rfbproxy.spice.agent import CLIPBOARD, FILE_TRANSFER


@pytest.mark.parametrize("channel_type", range(256))
def test_what_reaches_into_the_users_machine_is_off_by_default(channel_type):
    assert Policy().allows(channel_type) == (channel_type in (1, 2, 3, 4, 5))


def test_each_channel_can_be_switched_on_but_tunnel():
    for channel_type in ChannelType:
        allowed = Policy(Policy().channels | {channel_type})
        assert allowed.allows(channel_type) == (channel_type is not ChannelType.TUNNEL)


def test_what_is_kept_from_the_agent():
    assert Policy().denied_to_agent == frozenset()
    assert Policy(clipboard=False).denied_to_agent == CLIPBOARD
    assert Policy(file_transfer=False).denied_to_agent == FILE_TRANSFER
    assert Policy(clipboard=False, file_transfer=False).denied_to_agent == CLIPBOARD | FILE_TRANSFER
