"""Native VNC viewers: raw RFB from the first byte, perhaps after what a load balancer says of them."""

import pytest
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from rfbproxy.client.factory import ClientFactory
from rfbproxy.client.native import PREFACE_PATIENCE_S, NativeConnection
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.stream import BUFFER_LIMIT
from rfbproxy.transport import CLOSE_TIMEOUT_S
from tests.client.callers import Connection, Listening, make_listener
from tests.cuts import segmentations
from tests.session.fakes import Bench

BALANCER = "198.51.100.1"  # which the listener trusts
TLS = object()
V1 = b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 5900\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n"  # signature
    b"\x21"  # version 2, PROXY
    b"\x11"  # TCP over IPv4
    b"\x00\x0c"  # length
    b"\xcb\x00\x71\x09"  # source: 203.0.113.9
    b"\xc6\x33\x64\x01"  # destination
    b"\x12\x67\x17\x0c"  # ports
)
LOCAL = (
    b"\r\n\r\n\x00\r\nQUIT\n"  # signature
    b"\x20"  # version 2, LOCAL
    b"\x00"  # unspecified
    b"\x00\x00"  # length
)
V3_8 = b"RFB 003.008\n"


class Viewer:
    """A native viewer that has connected."""

    def __init__(self, *, source="192.0.2.7", clock=None, address=None, **fields):
        self.clock = clock or Clock()
        self.opened = []
        self.listener = make_listener(self.clock, opened=self.opened, **{"tls": TLS} | fields)
        self.factory = ClientFactory(self.listener, NativeConnection)
        self.connection = self.factory.buildProtocol(address or IPv4Address("TCP", source, 4711))
        self.transport = Connection()
        self.connection.makeConnection(self.transport)

    def send(self, *segments):
        for segment in segments:
            self.connection.dataReceived(segment)
        return self

    def lose(self):
        """The connection is gone; nothing may be left of it."""
        self.connection.connectionLost(Failure(ConnectionDone()))
        assert self.clock.getDelayedCalls() == []
        assert not self.factory._connections

    def received(self):
        data = self.transport.value()
        self.transport.clear()
        return data

    @property
    def request(self):
        ((request, _),) = self.opened
        return request

    @property
    def stream(self):
        ((_, stream),) = self.opened
        return stream


def read(stream):
    got = []
    stream.receive(got.append)
    return got


# Who comes


def test_its_visit_begins_before_it_says_a_word():
    viewer = Viewer()
    request = viewer.request
    assert (request.way_in, request.source, request.token, request.encrypted) == ("rfb", "192.0.2.7", None, True)
    assert (request.origin, request.host) == (None, None)
    assert viewer.stream.inner_tls is TLS
    assert viewer.stream.greets_at_once
    assert viewer.connection.has_console
    assert viewer.clock.getDelayedCalls() == []
    viewer.lose()


def test_bytes_go_both_ways_untouched():
    viewer = Viewer()
    viewer.stream.send(V3_8)
    assert viewer.received() == V3_8
    viewer.send(*(bytes([byte]) for byte in V3_8))
    assert read(viewer.stream) == [V3_8]


@pytest.mark.parametrize(
    ("address", "source"),
    [
        (IPv4Address("TCP", "192.0.2.7", 4711), "192.0.2.7"),
        (IPv4Address("TCP", "::ffff:192.0.2.7", 4711), "192.0.2.7"),
        (UNIXAddress(None), "unix"),
    ],
)
def test_where_it_comes_from(address, source):
    assert Viewer(address=address).request.source == source


def test_the_connection_hears_of_half_closes_and_of_tls():
    connection = Viewer().connection
    verifyObject(IHalfCloseableProtocol, connection)
    verifyObject(IHandshakeListener, connection)
    connection.writeConnectionLost()


def test_that_tls_stands_reaches_the_stream():
    viewer = Viewer()
    seen = []
    viewer.stream.deliver_secured = seen.append
    viewer.transport.getHandle = lambda: "the connection"
    viewer.connection.handshakeCompleted()
    assert seen == ["the connection"]


def test_before_there_is_a_stream_nothing_of_tls_is_heard():
    Viewer(source=BALANCER).connection.handshakeCompleted()


def test_that_tls_failed_reaches_the_stream():
    viewer = Viewer()

    class Side:
        def explain(self):
            return ""

    viewer.transport.startTLS = lambda side: None
    got = []
    viewer.stream.start_tls(Side()).addErrback(got.append)
    viewer.connection.connectionLost(Failure(SSL.Error([("", "", "wrong version number")])))
    assert got[0].getErrorMessage() == "TLS failed: wrong version number"
    assert viewer.stream.lost


# Behind a load balancer


@pytest.mark.parametrize("header", [V1, V2])
def test_a_trusted_proxy_says_who_it_is_in_every_segmentation(header):
    for segments in segmentations(header + V3_8):
        viewer = Viewer(source=BALANCER).send(*segments)
        assert viewer.request.source == "203.0.113.9"
        assert read(viewer.stream) == [V3_8]
        assert not viewer.stream.silent
        assert viewer.clock.getDelayedCalls() == [], "nobody waits for more"
        viewer.lose()


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
def test_a_proxy_that_speaks_for_itself(header):
    for segments in segmentations(header):
        viewer = Viewer(source=BALANCER).send(*segments)
        assert viewer.request.source == BALANCER
        assert viewer.stream.silent, "as its health checks are"
        viewer.lose()


def test_after_some_silence_the_viewer_is_greeted():
    """Without a PROXY header the proxy waits for the greeting as its client does."""
    viewer = Viewer(source=BALANCER)
    viewer.clock.advance(PREFACE_PATIENCE_S - 0.01)
    assert viewer.opened == []
    viewer.clock.advance(0.01)
    assert viewer.request.source == BALANCER
    viewer.send(V3_8)
    assert read(viewer.stream) == [V3_8]
    viewer.lose()


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("cut", [1, 5, 6, 11])
def test_a_header_that_has_begun_is_waited_for(header, cut):
    """For as long as any head may take, not for ever, and nobody is taken for the balancer meanwhile."""
    viewer = Viewer(source=BALANCER).send(header[:cut])
    viewer.clock.advance(PREFACE_PATIENCE_S)
    assert viewer.opened == []
    viewer.send(header[cut:])
    assert viewer.request.source == "203.0.113.9"
    viewer.lose()
    viewer = Viewer(source=BALANCER).send(header[:cut])
    viewer.clock.advance(viewer.listener.head_timeout_s)
    assert viewer.transport.aborted
    viewer.lose()


def test_a_viewer_that_speaks_first_through_a_proxy_without_headers():
    for segments in segmentations(V3_8):
        viewer = Viewer(source=BALANCER).send(*segments)
        assert viewer.request.source == BALANCER
        assert read(viewer.stream) == [V3_8]
        viewer.lose()


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 203.0.113.999 198.51.100.1 4711 5900\r\n",
        b"PROXY TCP5 a b 1 2\r\n",
        b"PROXY " + b"x" * 200,
        V2[:12] + b"\x31" + V2[13:],
        V2[:14] + b"\xff\xff",
    ],
)
def test_a_malformed_header_ends_the_connection(header, log):
    for segments in segmentations(header):
        viewer = Viewer(source=BALANCER)
        viewer.send(*segments)
        assert viewer.transport.aborted
        assert viewer.opened == []
        assert viewer.received() == b""
        viewer.lose()
    assert any(formatEvent(event).startswith("198.51.100.1: ") for event in log)


@pytest.mark.parametrize("header", [V1, V2])
def test_anybody_else_says_it_to_no_effect(header):
    viewer = Viewer().send(header)
    assert viewer.request.source == "192.0.2.7"
    assert read(viewer.stream) == [header], "which is no RFB"


@pytest.mark.parametrize("how", ["connectionLost", "readConnectionLost"])
@pytest.mark.parametrize("cut", [0, 6, 20])
def test_a_proxy_that_leaves_before_it_has_said_it(how, cut):
    viewer = Viewer(source=BALANCER)
    if cut:
        viewer.send(V1[:cut])
    if how == "readConnectionLost":
        viewer.connection.readConnectionLost()
        assert viewer.transport.aborted
    viewer.lose()
    assert viewer.opened == []


# Waiting, and being pushed out


def test_it_waits_in_the_room_until_its_token_is_good():
    room = WaitingRoom()
    viewer = Viewer(waiting_room=room)
    assert len(room) == 1
    viewer.stream.on_authorised()
    assert len(room) == 0
    viewer.lose()


@pytest.mark.parametrize("source", ["192.0.2.7", BALANCER])
def test_it_leaves_the_room_with_its_connection(source):
    room = WaitingRoom()
    viewer = Viewer(source=source, waiting_room=room)
    assert len(room) == 1
    viewer.lose()
    assert len(room) == 0


def test_who_waited_longest_is_dropped_for_want_of_room():
    room, clock = WaitingRoom(2), Clock()
    first, second, third = (Viewer(waiting_room=room, clock=clock) for _ in range(3))
    assert (first.transport.aborted, second.transport.aborted, third.transport.aborted) == (True, False, False)
    assert first.stream.crowded_out
    first.lose()


def test_a_proxy_that_waits_is_dropped_without_a_visit():
    room, clock = WaitingRoom(1), Clock()
    first = Viewer(source=BALANCER, waiting_room=room, clock=clock)
    second = Viewer(waiting_room=room, clock=clock)
    assert first.transport.aborted
    assert first.opened == []
    first.connection.connectionLost(Failure(ConnectionDone()))
    second.lose()


def test_a_proxys_clients_are_counted_by_their_own_address():
    room, clock = WaitingRoom(0, 1), Clock()
    viewers = [Viewer(source=BALANCER, waiting_room=room, clock=clock) for _ in range(3)]
    assert not any(viewer.transport.aborted for viewer in viewers), "the proxy stands for many"
    for viewer in viewers:
        viewer.send(V1)
    assert [viewer.transport.aborted for viewer in viewers] == [True, True, False]


def test_whose_token_was_good_is_not_pushed_out():
    room, clock = WaitingRoom(1), Clock()
    first = Viewer(waiting_room=room, clock=clock)
    first.stream.on_authorised()
    Viewer(waiting_room=room, clock=clock)
    assert not first.transport.aborted


# The end


def test_a_half_close_is_the_end_of_what_it_says_and_no_more():
    viewer = Viewer()
    viewer.send(V3_8)
    viewer.connection.readConnectionLost()
    assert [read(viewer.stream), read(viewer.stream)] == [[V3_8], [b""]]
    assert not viewer.stream.lost
    viewer.stream.send(b"still")
    assert viewer.received() == b"still"
    assert not viewer.transport.disconnecting
    viewer.lose()
    assert viewer.stream.lost


def test_it_relays_like_any_stream():
    viewer, sink = Viewer(), Listening()
    viewer.stream.push_to(sink)
    viewer.send(b"a", b"b")
    viewer.connection.readConnectionLost()
    viewer.lose()
    assert (sink.data, sink.events) == (b"ab", ["eof", "lost"])


def test_who_fills_the_memory_is_paused():
    viewer = Viewer().send(b"x" * (BUFFER_LIMIT + 1))
    assert viewer.transport.paused
    assert len(read(viewer.stream)[0]) == BUFFER_LIMIT + 1
    assert not viewer.transport.paused


def test_a_refused_viewer_may_hear_it_before_the_connection_goes():
    """It closes first; what it says meanwhile is read by nobody, so that nothing takes the refusal back."""
    viewer = Viewer().send(V3_8)
    viewer.stream.send(b"No.")
    viewer.stream.close_because(Refused(CloseReason.TOKEN_UNKNOWN, "for the log"))
    assert viewer.received() == b"No."
    assert viewer.transport.half_closed
    assert not viewer.transport.disconnecting
    viewer.send(b"never mind")
    viewer.connection.readConnectionLost()
    assert viewer.transport.disconnecting
    viewer.lose()


def test_a_refused_viewer_that_does_not_close_is_dropped():
    viewer = Viewer()
    viewer.stream.close_because(Refused(CloseReason.TOKEN_UNKNOWN, "for the log"))
    viewer.clock.advance(CLOSE_TIMEOUT_S)
    assert viewer.transport.aborted
    viewer.lose()


@pytest.mark.parametrize("source", ["192.0.2.7", BALANCER])
def test_all_are_dropped_at_once(source):
    viewer = Viewer(source=source)
    gone = []
    viewer.factory.when_consoles_gone().addCallback(gone.append)
    viewer.factory.abort_all()
    assert viewer.transport.aborted
    assert gone == []
    viewer.lose()
    assert gone == [None]


def test_a_connection_that_never_was_is_no_trouble_to_drop():
    viewer = Viewer()
    viewer.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 4712)).abort()


# Probes


class Visited(Viewer):
    """A viewer whose visits are real."""

    def __init__(self, **fields):
        self.bench = Bench()
        super().__init__(clock=self.bench.clock, open_console=self.bench.visits.open, **fields)

    @property
    def reasons(self):
        return [record.close_reason for record in self.bench.audit.records]


@pytest.mark.parametrize("source", ["192.0.2.7", BALANCER])
@pytest.mark.parametrize("how", ["lost", "half-closed"])
def test_a_probe_that_says_nothing_leaves_no_record(source, how):
    viewer = Visited(source=source)
    viewer.clock.advance(PREFACE_PATIENCE_S)
    assert viewer.received() == V3_8, "it is greeted"
    if how == "half-closed":
        viewer.connection.readConnectionLost()
    viewer.lose()
    assert viewer.reasons == []
    assert len(viewer.bench.visits) == 0


def test_nor_does_one_that_is_silent_until_its_time_is_up():
    viewer = Visited()
    viewer.clock.advance(10)
    assert viewer.transport.half_closed
    viewer.lose()
    assert viewer.reasons == []


def test_nor_does_a_proxys_own_check():
    viewer = Visited(source=BALANCER).send(LOCAL)
    viewer.lose()
    assert viewer.reasons == []


def test_who_says_a_byte_leaves_one():
    viewer = Visited().send(b"R")
    viewer.lose()
    assert viewer.reasons == ["client-closed"]


def test_who_is_pushed_out_after_a_byte_leaves_one_that_says_so():
    room, clock = WaitingRoom(1), Clock()
    viewer = Visited(waiting_room=room)
    viewer.send(V3_8)
    Viewer(waiting_room=room, clock=clock)
    viewer.lose()
    assert viewer.reasons == ["limit"]
