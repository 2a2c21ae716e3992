"""The two halves wired back to back, as in the proxy, in every pair of versions, at one byte a segment."""

import itertools

import pytest

from rfbproxy.errors import SecurityFailure
from rfbproxy.rfb import ClientInit, Credentials, LoggedIn, Offer, SecurityType, ServerHandshake, ServerInit, Version
from rfbproxy.secret import Secret
from tests.rfb.test_client_handshake import client, no_random, server_init

NONE, VNC = SecurityType.NONE, SecurityType.VNC_AUTHENTICATION


def server(version, security_type, password="swordfish"):
    offer = Offer((security_type,), credentials=Credentials(None, Secret(password)), random=no_random)
    machine = ServerHandshake(offer, version=version)
    machine.offer()
    return machine


def carry(one, other, *, segment=1):
    """Exchange what both owe until nobody owes anything."""
    events = []
    while True:
        pair = [(one, other.data_to_send()), (other, one.data_to_send())]
        if not any(data for _, data in pair):
            return events
        for machine, data in pair:
            for at in range(0, len(data), segment):
                events += machine.receive_data(data[at : at + segment])


@pytest.mark.parametrize("security_type", [NONE, VNC])
@pytest.mark.parametrize("segment", [1, 1000])
@pytest.mark.parametrize("version", list(Version))
def test_wire_R07_one_leg(version, security_type, segment):
    target = server(version, security_type)
    proxy = client((VNC, NONE), Secret("swordfish"))
    events = carry(target, proxy, segment=segment)
    name = "None" if security_type is NONE else "VNC Authentication"
    assert LoggedIn(name) in events
    proxy.initialise(shared=True)
    assert ClientInit(True, name) in carry(target, proxy, segment=segment)
    assert proxy.receive_data(server_init())[-1] == ServerInit(1024, 768, "QEMU (vm)", server_init())
    assert target.finished
    assert proxy.finished
    assert proxy.version is target.version is version


@pytest.mark.parametrize(("to_client", "to_target"), list(itertools.product(Version, Version)))
def test_wire_R07_two_legs_with_versions_of_their_own(to_client, to_target):
    viewer, offered = client((NONE,)), ServerHandshake(version=to_client)
    proxy, target = client((VNC,), Secret("swordfish")), server(to_target, VNC)
    carry(viewer, offered)
    assert viewer.security is None, "promised before the target has accepted"
    carry(proxy, target)
    offered.offer()
    carry(viewer, offered)
    viewer.initialise(shared=False)
    assert carry(viewer, offered) == [ClientInit(False, "None")]
    proxy.initialise(shared=False)
    assert carry(proxy, target) == [ClientInit(False, "VNC Authentication")]
    assert viewer.receive_data(server_init()) == proxy.receive_data(server_init())
    assert (viewer.version, proxy.version) == (to_client, to_target)


@pytest.mark.parametrize("version", list(Version))
def test_a_refusal_is_understood_by_a_client(version):
    viewer, offered = client((NONE,)), ServerHandshake(version=version)
    offered.refuse("Target closed")
    with pytest.raises(SecurityFailure, match="'Target closed'"):
        carry(viewer, offered)


@pytest.mark.parametrize("version", list(Version))
def test_a_wrong_password_is_understood_by_both(version):
    target = server(version, VNC)
    proxy = client((VNC,), Secret("guess"))
    with pytest.raises(SecurityFailure, match="client gave a wrong password"):
        carry(target, proxy)
    with pytest.raises(SecurityFailure, match="SecurityResult 1"):
        proxy.receive_data(target.data_to_send())
