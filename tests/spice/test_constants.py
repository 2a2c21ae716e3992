import pytest

from rfbproxy.spice.constants import LINKABLE, ChannelType, channel_name, link_error_name


@pytest.mark.parametrize(("channel_type", "name"), [(1, "main"), (9, "usbredir"), (77, "77")])
def test_the_name_of_a_channel(channel_type, name):
    assert channel_name(channel_type) == name


@pytest.mark.parametrize(("error", "name"), [(5, "NEED_SECURED (5)"), (0, "OK (0)"), (77, "77")])
def test_the_name_of_an_error(error, name):
    assert link_error_name(error) == name


def test_tunnel_is_never_linked():
    assert LINKABLE == {1, 2, 3, 4, 5, 6, 8, 9, 10, 11} == set(ChannelType) - {7}
