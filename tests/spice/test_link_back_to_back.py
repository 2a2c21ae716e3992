"""The two halves wired back to back, as in the proxy: a viewer, both faces of the proxy, and a server."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rfbproxy.secret import Secret
from rfbproxy.spice import (
    Capabilities,
    ChannelType,
    ClientLink,
    LinkAccepted,
    LinkError,
    LinkMess,
    LinkRefused,
    LinkRequested,
    ServerLink,
    TicketGiven,
    TicketKey,
    announced,
    for_client,
    for_target,
)
from rfbproxy.spice.constants import LINKABLE
from tests.spice.samples import KEY

TOKEN, PASSWORD = Secret("0f9c1c1e-6f0b-4b0e-9a5e-0123456789ab"), Secret("swordfish")
TARGET_KEY = TicketKey(rsa.generate_private_key(65537, 1024))
EVERYTHING = Capabilities((0xB,), (0xFFFFFFFF,))


def carry(one, other, *, segment):
    """Exchange what both owe until nobody owes anything."""
    events = []
    while True:
        pair = [(one, other.data_to_send()), (other, one.data_to_send())]
        if not any(data for _, data in pair):
            return events
        for machine, data in pair:
            for at in range(0, len(data), segment):
                events += machine.receive_data(data[at : at + segment])


@pytest.mark.parametrize("segment", [1, 7, 1000])
@pytest.mark.parametrize("channel_type", sorted(LINKABLE))
@pytest.mark.parametrize("common", [0x9, 0xD, 0x8])
def test_wire_S17_the_ticket_is_swapped(channel_type, common, segment):
    main = channel_type == ChannelType.MAIN
    asked = LinkMess(0 if main else 0x12345678, channel_type, 1, Capabilities((common,), (0xFFFFFFFF,)))
    viewer, front = ClientLink(asked, TOKEN), ServerLink()

    [requested] = carry(viewer, front, segment=segment)
    assert requested == LinkRequested(asked)
    front.offer(KEY.public_key, announced(channel_type))
    replied, given = carry(viewer, front, segment=segment)
    assert for_client(channel_type, replied.caps).channel == announced(channel_type).channel
    assert KEY.open(given.ticket) == TOKEN

    passed = LinkMess(asked.connection_id, channel_type, 1, for_target(channel_type, asked.caps))
    back, target = ClientLink(passed, PASSWORD), ServerLink()
    [seen] = carry(back, target, segment=segment)
    assert seen == LinkRequested(passed)
    target.offer(TARGET_KEY.public_key, EVERYTHING)
    _, sealed = carry(back, target, segment=segment)
    assert TARGET_KEY.open(sealed.ticket) == PASSWORD
    assert not viewer.finished, "promised before the target has accepted"
    target.accept()
    assert carry(back, target, segment=segment) == [LinkAccepted()]

    front.accept()
    assert carry(viewer, front, segment=segment) == [LinkAccepted()]
    assert viewer.finished
    assert front.finished


@pytest.mark.parametrize("segment", [1, 1000])
@pytest.mark.parametrize("early", [True, False])
def test_a_refusal_reaches_the_viewer(early, segment):
    viewer, front = ClientLink(LinkMess(0, 1, 0, Capabilities((9,))), TOKEN), ServerLink()
    carry(viewer, front, segment=segment)
    if not early:
        front.offer(KEY.public_key, announced(1))
        assert isinstance(carry(viewer, front, segment=segment)[-1], TicketGiven)
    front.refuse(LinkError.CHANNEL_NOT_AVAILABLE)
    with pytest.raises(LinkRefused) as raised:
        carry(viewer, front, segment=segment)
    assert raised.value.error == LinkError.CHANNEL_NOT_AVAILABLE
