"""The demo desktop's login."""

import os

import pytest
from twisted.internet.task import Clock

from rfbproxy.demo import DemoServer
from rfbproxy.demo.login import Login
from rfbproxy.errors import LocalProtocolError
from rfbproxy.rfb import Credentials, Offer, SecurityType, VeNCryptSubtype, Version
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from tests.demo.viewer import Bench


def vnc_server(clock: Clock, version: Version = Version.V3_8) -> DemoServer:
    offer = Offer(
        (SecurityType.VNC_AUTHENTICATION,), credentials=Credentials(None, Secret("opensesame")), random=os.urandom
    )
    return DemoServer(login=Login(offer, version=version), clock=clock)


@pytest.mark.parametrize(
    ("password", "result"),
    [("opensesame", b"\0\0\0\0"), ("wrong", b"\0\0\0\x01\0\0\0\x15Authentication failed")],
)
def test_vnc_authentication(password: str, result: bytes) -> None:
    clock = Clock()
    bench = Bench(vnc_server(clock))
    viewer = bench.connect(b"")
    viewer.dataReceived(b"RFB 003.008\n\x02")
    greeting = bench.sent(viewer)
    assert greeting[:-16] == b"RFB 003.008\n\x01\x02"
    viewer.dataReceived(vnc_response(Secret(password), greeting[-16:]) + b"\x01")
    answer = bench.sent(viewer)
    assert answer.startswith(result)
    right = password == "opensesame"
    assert answer.endswith(b"Demo desktop") is right
    assert bench.transports[viewer].disconnecting is not right
    assert len(bench.server.viewers) == right


def test_challenges_differ() -> None:
    bench = Bench(vnc_server(Clock(), Version.V3_3))
    challenges = set()
    for _ in range(3):
        viewer = bench.connect(b"")
        viewer.dataReceived(b"RFB 003.003\n")
        greeting = bench.sent(viewer)
        assert greeting[:16] == b"RFB 003.003\n\0\0\0\x02"
        challenges.add(greeting[16:])
    assert len(challenges) == 3


def test_a_missing_certificate_is_told_at_once() -> None:
    with pytest.raises(LocalProtocolError, match="need a certificate"):
        Login(Offer((SecurityType.VENCRYPT,), (VeNCryptSubtype.X509_NONE,)))
