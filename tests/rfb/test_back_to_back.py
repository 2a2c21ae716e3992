"""The two halves wired back to back, as in the proxy, in every pair of versions, at one byte a segment."""

import itertools
import os

import pytest

from rfbproxy.errors import NothingInCommon, SecurityFailure
from rfbproxy.rfb import (
    ClientHandshake,
    ClientInit,
    Credentials,
    CredentialsGiven,
    LoggedIn,
    Offer,
    Preference,
    SecurityType,
    ServerHandshake,
    ServerInit,
    TlsDue,
    VeNCryptSubtype,
    Version,
)
from rfbproxy.rfb.sasl import MECHANISMS
from rfbproxy.secret import Secret
from tests.rfb.test_client_handshake import client, no_random, server_init

NONE, VNC = SecurityType.NONE, SecurityType.VNC_AUTHENTICATION


def server(version, security_type, password="swordfish"):
    offer = Offer((security_type,), credentials=Credentials(None, Secret(password)), random=no_random)
    machine = ServerHandshake(offer, version=version)
    machine.offer()
    return machine


def carry(one, other, *, segment=1):
    """Exchange what both owe until nobody owes anything; TLS begins where one says so, in a segment of its own."""
    events, due = [], []
    while True:
        pair = [(one, other.data_to_send()), (other, one.data_to_send())]
        if not due and not any(data for _, data in pair):
            return events
        for machine in due:
            machine.tls_started()
        due = []
        for machine, data in pair:
            heard = []
            for at in range(0, len(data), segment):
                heard += machine.receive_data(data[at : at + segment])
            heard += machine.events()
            due += [machine] * sum(isinstance(event, TlsDue) for event in heard)
            events += heard


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


# Every other login

USER = Credentials("Ada", Secret("größer"))
LOGINS = [
    ((SecurityType.APPLE_DH,), (), MECHANISMS, "Diffie-Hellman Authentication"),
    ((SecurityType.MSLOGON2,), (), MECHANISMS, "MSLogonII"),
    *[((SecurityType.SASL,), (), (mechanism,), f"SASL {mechanism}") for mechanism in MECHANISMS[:-1]],
    *[
        ((SecurityType.VENCRYPT,), (subtype,), (mechanism,), f"VeNCrypt {subtype} {mechanism}")
        for subtype in (VeNCryptSubtype.X509_SASL, VeNCryptSubtype.TLS_SASL)
        for mechanism in MECHANISMS
    ],
    *[
        ((SecurityType.VENCRYPT,), (subtype,), MECHANISMS, f"VeNCrypt {subtype}")
        for subtype in VeNCryptSubtype
        if subtype.inner is not SecurityType.SASL
    ],
]


def demanding(types, subtypes, mechanisms=MECHANISMS, *, version=Version.V3_8, credentials=USER):
    machine = ServerHandshake(Offer(types, subtypes, mechanisms, credentials, os.urandom), version=version)
    machine.offer()
    return machine


def judge(target, events, credentials=USER):
    """Judge what was given, if anything was."""
    given = [event.credentials for event in events if isinstance(event, CredentialsGiven)]
    if given == [credentials]:
        target.accept()
    elif given:
        target.refuse("Authentication failed")


@pytest.mark.parametrize(("types", "subtypes", "mechanisms", "name"), LOGINS)
@pytest.mark.parametrize("version", [Version.V3_7, Version.V3_8])
@pytest.mark.parametrize("segment", [1, 5, 1000])
def test_wire_R07_every_login(types, subtypes, mechanisms, name, version, segment):
    target = demanding(types, subtypes, mechanisms, version=version)
    proxy = ClientHandshake(Preference(types, subtypes), USER, os.urandom)
    events = carry(target, proxy, segment=segment)
    judge(target, events)
    events += carry(target, proxy, segment=segment)
    assert LoggedIn(name) in events
    assert sum(isinstance(event, TlsDue) for event in events) == 2 * any(each.is_encrypted for each in subtypes)
    proxy.initialise(shared=True)
    assert carry(target, proxy, segment=segment) == [ClientInit(True, name)]
    assert proxy.receive_data(server_init())[-1] == ServerInit(1024, 768, "QEMU (vm)", server_init())
    assert target.finished
    assert proxy.finished


@pytest.mark.parametrize(
    ("types", "subtypes", "mechanisms", "name"), [login for login in LOGINS if not login[-1].endswith("None")]
)
@pytest.mark.parametrize("version", [Version.V3_7, Version.V3_8])
def test_every_login_with_a_wrong_password(types, subtypes, mechanisms, name, version):
    target = demanding(types, subtypes, mechanisms, version=version)
    proxy = ClientHandshake(Preference(types, subtypes), Credentials("Ada", Secret("guess")), os.urandom)
    if "SASL" in name or "Vnc" in name:
        with pytest.raises(SecurityFailure, match="client g"):
            carry(target, proxy)
    else:
        judge(target, carry(target, proxy))
    owed = target.data_to_send()
    told = "SecurityResult 1: 'Authentication failed'" if version is Version.V3_8 else "SecurityResult 1$"
    with pytest.raises(SecurityFailure, match="closed instead of answering" if "SASL" in name else told) as raised:
        proxy.receive_data(owed) if owed else proxy.receive_eof()
    assert "guess" not in str(raised.value)
    assert "größer" not in str(raised.value)
    assert proxy.security is None


@pytest.mark.parametrize("subtype", list(VeNCryptSubtype))
def test_a_target_that_offers_everything_gets_what_is_preferred(subtype):
    target = demanding((SecurityType.NONE, SecurityType.VENCRYPT, SecurityType.SASL), tuple(VeNCryptSubtype))
    proxy = ClientHandshake(Preference((SecurityType.VENCRYPT, SecurityType.NONE), (subtype,)), USER, os.urandom)
    judge(target, carry(target, proxy))
    carry(target, proxy)
    assert proxy.security.startswith(f"VeNCrypt {subtype}")


@pytest.mark.parametrize("rest", [SecurityType.NONE, SecurityType.VNC_AUTHENTICATION, SecurityType.SASL])
def test_the_second_choice_is_one_that_a_new_connection_logs_in_by(rest):
    def dialled():
        return demanding((SecurityType.VENCRYPT, rest), (VeNCryptSubtype.TLS_VNC,))

    preference = Preference((SecurityType.VENCRYPT, rest), (VeNCryptSubtype.X509_VNC,))
    proxy = ClientHandshake(preference, USER, os.urandom)
    with pytest.raises(NothingInCommon):
        carry(dialled(), proxy)
    again = ClientHandshake(proxy.second_choice, USER, os.urandom)
    assert any(isinstance(event, LoggedIn) for event in carry(dialled(), again))
    assert again.second_choice is None
