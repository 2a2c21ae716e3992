"""TLS from the first byte, as SPICE has it on a port of its own, with a target that is Python's `ssl` in a thread."""

import contextlib
import socket
import ssl
import threading

import pytest

from rfbproxy.errors import SecurityFailure
from rfbproxy.target.tls import TargetTls, TargetTlsRules
from tests.certificates import certificate
from tests.target.test_dial import finish, world  # noqa: F401 - a fixture
from tests.test_transport_tls import heard


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    certificate(folder / "target", folder / "target")
    certificate(folder / "other", folder / "other")
    return folder


@pytest.fixture
def port(pem):
    """Of a target that serves one client: what it says comes back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem / "target")

    def serve():
        with contextlib.suppress(OSError):  # as it is when the client refuses
            plain, _ = listening.accept()
            with plain, context.wrap_socket(plain, server_side=True) as peer:
                while said := peer.recv(4096):
                    peer.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(5)


@pytest.fixture
def dialled(world, port):  # noqa: F811
    stream = world.result("127.0.0.1", port)
    yield stream
    finish(world, stream)


def secure(world, stream, side):  # noqa: F811
    """What becomes of TLS that begins at once."""
    got = []
    stream.start_tls(side).addBoth(lambda result: got.append(getattr(result, "value", result)))
    world.turn_until(lambda: got)
    return got[0]


@pytest.mark.parametrize("subject", [None, "CN=localhost"])
def test_wire_A15_tls_begins_with_the_first_byte(world, dialled, pem, subject):  # noqa: F811
    side = TargetTls(TargetTlsRules(ca_certs=pem / "target")).side("localhost", subject)
    assert secure(world, dialled, side) is None
    said = b"REDQ" * 20_000  # Twisted holds back what is small until its own reactor turns
    dialled.send(said)
    assert heard(world, dialled, len(said)) == said


@pytest.mark.parametrize(
    ("cas", "name", "subject", "told"),
    [
        ("other", "localhost", None, "TLS failed: target's certificate is refused: it is signed by itself alone"),
        ("other", "localhost", "CN=localhost", "TLS failed: target's certificate is refused: it is signed by itself"),
        ("target", "node1", None, "target's certificate is not for 'node1' but for [localhost, 127.0.0.1]"),
        ("target", "localhost", "CN=node1", "target's certificate is not for the subject 'CN=node1' but for 'CN=local"),
    ],
)
def test_wire_A15_the_certificate_of_somebody_else(world, dialled, pem, cas, name, subject, told):  # noqa: F811
    failure = secure(world, dialled, TargetTls(TargetTlsRules(ca_certs=pem / cas)).side(name, subject))
    assert isinstance(failure, SecurityFailure)
    assert str(failure).startswith(told)
    world.turn_until(lambda: dialled.lost)
