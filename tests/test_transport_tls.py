"""TLS that begins in the middle of a `TransportStream`, over real loopback sockets: Twisted has its own ways there."""

import gc

import pytest
from OpenSSL import SSL
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rfbproxy.client.tls import ServerTls
from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.target.tls import TargetTls, TargetTlsRules
from rfbproxy.transport import TransportStream
from tests.certificates import certificate
from tests.target.test_dial import World as Reactor
from tests.test_transport import Producer, Recorder, TcpTransport, lose, received

ROLES = ["client", "server"]


class Streams(ClientFactory):
    """Makes a stream for the one connection of a test."""

    noisy = False

    def __init__(self, reactor):
        self.stream = TransportStream(reactor)

    def buildProtocol(self, addr):
        return self.stream.protocol


class Wire(Reactor):
    """A target's stream and ours, with a connection between, and a reactor that is turned by hand."""

    def __init__(self, pem):
        super().__init__()
        self.pem = pem
        client, server = Streams(self.reactor), Streams(self.reactor)
        port = self.reactor.listenTCP(0, server, interface="127.0.0.1")
        self.reactor.connectTCP("127.0.0.1", port.getHost().port, client)
        self.client, self.server = client.stream, server.stream
        self.turn_until(lambda: self.client.protocol.transport and self.server.protocol.transport)
        port.stopListening()

    def target_side(self, *, name="localhost", cas="target", **rules):
        ca_certs = self.pem / cas
        return TargetTls(TargetTlsRules(ca_certs=ca_certs, **rules)).side(name)

    def own_side(self, *, demands=None):
        return ServerTls(self.pem / "target", None, client_ca_certs=self.pem / demands if demands else None)

    def begin(self, stream, side):
        got = []
        securing = stream.start_tls(side)
        securing.addBoth(lambda result: got.append(getattr(result, "value", result)))
        return securing, got

    def secure(self, target_side=None, own_side=None):
        """Begin TLS on both ends; what becomes of either, once that is known."""
        _, server = self.begin(self.server, own_side or self.own_side())
        _, client = self.begin(self.client, target_side or self.target_side())
        self.turn_until(lambda: client and server)
        return client[0], server[0]

    def role(self, which):
        """A stream and its peer."""
        return (self.client, self.server) if which == "client" else (self.server, self.client)

    def side_of(self, which):
        return self.target_side() if which == "client" else self.own_side()


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    certificate(folder / "target", folder / "target")
    certificate(folder / "other", folder / "other")
    return folder


@pytest.fixture
def wire(pem):
    wire = Wire(pem)
    yield wire
    for stream in (wire.client, wire.server):
        stream.abort()
    wire.turn_until(lambda: wire.client.lost and wire.server.lost)
    wire.turn_until(lambda: wire.timers() == [])
    wire.reactor.fireSystemEvent("shutdown")
    gc.collect(1)


def heard(wire, stream, size):
    """So many bytes of a stream."""
    data = bytearray()
    while len(data) < size:
        got = received(stream)
        wire.turn_until(lambda got=got: got)
        assert got[0] != b"", bytes(data)
        data += got[0]
    return bytes(data)


def test_bytes_go_both_ways_before_and_inside(wire):
    wire.client.send(b"in clear")
    assert heard(wire, wire.server, 8) == b"in clear"
    assert wire.secure() == (None, None)
    assert ISSLTransport.providedBy(wire.client.protocol.transport)
    for one, other in ((wire.client, wire.server), (wire.server, wire.client)):
        one.send(b"x" * 300_000)
        assert heard(wire, other, 300_000) == b"x" * 300_000
    assert (wire.client.tls_failure, wire.server.tls_failure) == (None, None)


def test_what_is_said_as_soon_as_tls_stands_is_kept(wire):
    """The target may speak in the segment that ends its handshake, and Twisted holds back what is small."""
    spoken = b"x" * 70_000
    _, got = wire.begin(wire.client, wire.target_side())
    securing, _ = wire.begin(wire.server, wire.own_side())
    securing.addCallback(lambda _: wire.server.send(spoken))
    wire.turn_until(lambda: got)
    assert heard(wire, wire.client, len(spoken)) == spoken


@pytest.mark.parametrize("role", ROLES)
def test_wire_R17_bytes_that_are_there_already_are_refused(wire, role):
    stream, peer = wire.role(role)
    peer.send(b"injected")
    wire.turn_until(lambda: stream._buffer)
    with pytest.raises(RemoteProtocolError, match="8 bytes came in clear where TLS is due"):
        stream.start_tls(wire.side_of(role))
    assert not ISSLTransport.providedBy(stream.protocol.transport), "TLS was not begun"


@pytest.mark.parametrize("connected", [True, False])
def test_on_a_connection_that_is_gone(pem, connected):
    stream = TransportStream(Clock())
    if connected:
        stream.protocol.makeConnection(TcpTransport())
        lose(stream)
    got = []
    stream.start_tls(ServerTls(pem / "target", None)).addErrback(got.append)
    assert got[0].check(SecurityFailure)
    assert got[0].getErrorMessage() == "TLS failed: the connection is gone"
    assert stream.tls_failure == "the connection is gone"


# Who is not believed


def test_a_certificate_of_an_unknown_ca(wire):
    client, server = wire.secure(wire.target_side(cas="other"))
    assert isinstance(client, SecurityFailure)
    assert str(client) == (
        "TLS failed: target's certificate is refused: it is signed by itself alone (certificate verify failed)"
    )
    assert wire.client.tls_failure in str(client)
    assert isinstance(server, SecurityFailure)
    assert str(server).startswith("TLS failed: ")
    assert "unknown ca" in str(server), "the client says why"


def test_a_certificate_for_somebody_else_hears_not_a_byte(wire):
    """Its name is judged once TLS stands, and then the connection is dropped."""
    client, _ = wire.secure(wire.target_side(name="elsewhere.example"))
    assert str(client) == ("target's certificate is not for 'elsewhere.example' but for [localhost, 127.0.0.1]")
    wire.client.send(b"the login")
    wire.turn_until(lambda: wire.client.lost and wire.server.lost)
    assert received(wire.server) == [b""]


def test_wire_R18_a_client_certificate_that_is_demanded_late(wire):
    """In TLS 1.3 the client is done before the server judges it."""
    client, server = wire.secure(own_side=wire.own_side(demands="other"))
    assert client is None
    assert "peer did not return a certificate" in str(server)
    wire.turn_until(lambda: wire.client.lost)
    assert received(wire.client) == [b""]
    assert wire.client.tls_failure.startswith(
        "target asked for a client certificate, and client_cert is unset (tlsv13 alert certificate required)"
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_peer_that_speaks_something_else(wire, role):
    stream, peer = wire.role(role)
    _, got = wire.begin(stream, wire.side_of(role))
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    wire.turn_until(lambda: got)
    assert isinstance(got[0], SecurityFailure)
    assert str(got[0]) == f"TLS failed: {stream.tls_failure}"
    assert "version number" in stream.tls_failure or "http" in stream.tls_failure


# Who leaves in between


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("how", ["close", "abort", "send_eof"])
def test_a_peer_that_leaves_during_the_handshake(wire, role, after, how):
    stream, peer = wire.role(role)
    _, got = wire.begin(stream, wire.side_of(role))
    peer.send(b"\x16\x03\x01"[:after])
    getattr(peer, how)()
    wire.turn_until(lambda: got)
    assert isinstance(got[0], SecurityFailure)
    assert str(got[0]).startswith("TLS failed: ")
    wire.turn_until(lambda: stream.lost)
    assert received(stream) == [b""]


@pytest.mark.parametrize("role", ROLES)
def test_the_end_is_told_once_where_the_handshake_is_cut_off(wire, role):
    stream, peer = wire.role(role)
    told = []
    stream.on_end = lambda: told.append("end")
    _, got = wire.begin(stream, wire.side_of(role))
    peer.abort()
    wire.turn_until(lambda: stream.lost)
    assert told == ["end"]
    assert len(got) == 1


@pytest.mark.parametrize("role", ROLES)
def test_cancelled_and_then_lost(wire, role):
    stream, peer = wire.role(role)
    securing, got = wire.begin(stream, wire.side_of(role))
    securing.cancel()
    assert isinstance(got[0], CancelledError)
    peer.abort()
    wire.turn_until(lambda: stream.lost)
    assert len(got) == 1


@pytest.mark.parametrize("role", ROLES)
def test_cancelled_and_then_it_comes_to_stand(wire, role):
    stream, peer = wire.role(role)
    securing, got = wire.begin(stream, wire.side_of(role))
    securing.cancel()
    _, other = wire.begin(peer, wire.side_of("server" if role == "client" else "client"))
    wire.turn_until(lambda: other)
    assert other == [None]
    wire.turn_until(lambda: stream.protocol.transport.getHandle().get_finished() is not None)
    assert len(got) == 1


def test_cancelled_and_then_the_certificate_is_not_believed(wire):
    securing, got = wire.begin(wire.client, wire.target_side(name="elsewhere.example"))
    securing.cancel()
    wire.begin(wire.server, wire.own_side())
    wire.turn_until(lambda: wire.client.lost)
    assert len(got) == 1


# What goes on inside


@pytest.mark.parametrize("role", ROLES)
def test_inside_tls_nothing_that_a_relay_does_fails_after_the_loss(wire, role):
    """A transport whose TLS began in its middle has no `protocol` any more once it is lost."""
    assert wire.secure() == (None, None)
    stream, peer = wire.role(role)
    sink = Recorder()
    stream.push_to(sink)
    stream.feed_from(Producer())
    peer.abort()
    wire.turn_until(lambda: stream.lost)
    assert not hasattr(stream.protocol.transport, "protocol")
    stream.feed_from(None)
    stream.feed_from(Producer())
    stream.send(b"too late")
    stream.send_eof()
    stream.pause()
    stream.resume()
    stream.close()
    stream.abort()
    assert sink.heard == ["eof", "lost"]


@pytest.mark.parametrize("role", ROLES)
def test_the_producer_is_paused_while_the_peer_takes_nothing(wire, role):
    assert wire.secure() == (None, None)
    stream, peer = wire.role(role)
    asked = []

    class Source(Producer):
        def pauseProducing(self):
            asked.append("pause")

        def resumeProducing(self):
            asked.append("resume")

    peer.pause()
    stream.feed_from(Source())
    stream.send(b"x" * 30_000_000)
    wire.turn_until(lambda: "pause" in asked)
    stream.feed_from(None)
    peer.push_to(Recorder())
    peer.resume()


@pytest.mark.parametrize("role", ROLES)
def test_sending_no_more_closes_for_tls_has_no_halves_here(wire, role):
    assert wire.secure() == (None, None)
    stream, peer = wire.role(role)
    stream.send(b"last words")
    stream.send_eof()
    assert heard(wire, peer, 10) == b"last words"
    wire.turn_until(lambda: peer.ended and stream.lost)


@pytest.mark.parametrize("role", ROLES)
def test_the_end_inside_tls(wire, role):
    assert wire.secure() == (None, None)
    stream, peer = wire.role(role)
    peer.send(b"last words")
    peer.close()
    assert heard(wire, stream, 10) == b"last words"
    wire.turn_until(lambda: stream.lost)
    assert received(stream) == [b""]


def test_in_clear_a_loss_says_nothing_of_tls():
    stream = TransportStream(Clock())
    stream.protocol.makeConnection(TcpTransport())
    stream.protocol.connectionLost(Failure(SSL.Error([("", "", "no matter")])))
    assert stream.tls_failure is None


def test_a_stream_that_never_began_tls_may_hear_of_one_around_it():
    """As a listener's whole connection may be inside TLS."""
    stream = TransportStream(Clock())
    stream.protocol.makeConnection(TcpTransport())
    stream.deliver_secured(None)
    stream.protocol.connectionLost(Failure(ConnectionDone()))
    assert stream.tls_failure is None
