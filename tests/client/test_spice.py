"""SPICE viewers without WebSocket: native ones, told by their first byte, and those inside a CONNECT."""

from functools import partial

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from rfbproxy.client.connection import LINGER_S
from rfbproxy.client.spice import EARLY_LIMIT, NativeSpiceStream, Tunnel
from rfbproxy.client.waiting_room import WaitingRoom
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.spice_visit import SpiceVisit
from rfbproxy.stream import BUFFER_LIMIT
from tests.client.callers import HEAD_TIMEOUT_S, Caller, Listening, answers
from tests.client.test_native import BALANCER, LOCAL, V1, V2
from tests.client.test_tls import TlsCaller, pem  # noqa: F401 - a fixture
from tests.cuts import segmentations
from tests.session.fakes import TOKEN
from tests.session.spice_fakes import SpiceBench, error_reply, ticket
from tests.spice import samples

CONNECT = f"CONNECT {TOKEN}:5900 HTTP/1.0\r\n\r\n".encode()  # as spice-gtk sends it
ACCEPTED = b"HTTP/1.0 200 OK\r\n\r\n"
LINK = samples.GTK_MAIN
CLIENT_HELLO = b"\x16\x03\x01\x02\x00" + bytes(512)


def native(*segments, **fields):
    viewer = Caller(**{"is_native": True, "is_spice": True} | fields)
    viewer.send(*segments)
    return viewer


def tunnel(*segments, **fields):
    viewer = Caller(**{"is_spice": True} | fields)
    viewer.send(*segments)
    return viewer


def read(stream):
    got = []
    stream.receive(got.append)
    return got[0] if got else None


# Native viewers


@pytest.mark.parametrize("data", [b"R", LINK, LINK + ticket(), b"\x00", b"GET / HTTP/1.1\r\n\r\n"])
def test_whoever_does_not_begin_with_tls_speaks_spice(data):
    for segments in segmentations(data):
        viewer = native(*segments)
        request = viewer.request
        assert (request.way_in, request.source, request.token) == ("spice", "192.0.2.7", None)
        assert (request.encrypted, request.origin, request.host) == (False, None, None)
        assert isinstance(viewer.stream, NativeSpiceStream)
        assert (viewer.stream.token_inside, viewer.stream.greets_at_once) == (True, True)
        assert read(viewer.stream) == data, "not a byte is lost"
        assert viewer.received() == b""
        viewer.lose()


def test_wire_S1_its_visit_begins_with_its_first_byte_and_has_its_own_deadlines():
    viewer = native()
    viewer.clock.advance(HEAD_TIMEOUT_S - 0.1)
    assert viewer.opened == []
    viewer.send(b"R")
    assert len(viewer.opened) == 1
    assert viewer.clock.getDelayedCalls() == []
    assert viewer.connection.has_console


def test_one_that_says_nothing_is_no_visit():
    viewer = native()
    viewer.clock.advance(HEAD_TIMEOUT_S)
    assert viewer.transport.disconnecting
    viewer.clock.advance(LINGER_S)
    viewer.lose()
    assert viewer.opened == []


def test_it_is_served_no_page():
    viewer = native(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert viewer.received() == b""
    assert len(viewer.opened) == 1


@pytest.mark.parametrize("tls", [False, True])
def test_inside_tls_it_is_encrypted(pem, tls):  # noqa: F811
    viewer = TlsCaller(pem, is_native=True, is_spice=True)
    if tls:
        viewer.exchange()
        assert viewer.opened == []
        viewer.say(LINK)
    else:
        viewer.send(LINK)
    assert viewer.request.encrypted == tls
    assert viewer.request.way_in == "spice"
    assert read(viewer.stream) == LINK
    viewer.stream.send(samples.REPLY_MAIN)
    if tls:
        viewer.exchange()
        assert viewer.heard() == samples.REPLY_MAIN
    else:
        assert viewer.received() == samples.REPLY_MAIN


def test_tls_inside_tls_is_no_spice(pem):  # noqa: F811
    viewer = TlsCaller(pem, is_native=True, is_spice=True).exchange()
    viewer.say(CLIENT_HELLO)
    assert read(viewer.stream) == CLIENT_HELLO, "which is told so by the visit"


def test_without_a_certificate_tls_is_refused(log):
    viewer = native(CLIENT_HELLO)
    assert viewer.transport.aborted
    assert viewer.opened == []
    assert any("there is no certificate" in (formatEvent(event) or "") for event in log)


@pytest.mark.parametrize("header", [V1, V2])
def test_a_trusted_proxy_says_who_it_is_in_every_segmentation(header):
    for segments in segmentations(header + LINK):
        viewer = native(*segments, source=BALANCER)
        assert viewer.request.source == "203.0.113.9"
        assert read(viewer.stream) == LINK
        viewer.lose()


@pytest.mark.parametrize("header", [b"", LOCAL])
def test_a_proxy_that_speaks_for_itself(header):
    for segments in segmentations(header + LINK):
        assert native(*segments, source=BALANCER).request.source == BALANCER


def test_a_trusted_proxy_says_it_before_tls_begins(pem):  # noqa: F811
    viewer = TlsCaller(pem, is_native=True, is_spice=True, source=BALANCER)
    viewer.send(V1)
    viewer.exchange().say(LINK)
    assert (viewer.request.source, viewer.request.encrypted) == ("203.0.113.9", True)


@pytest.mark.parametrize("header", [V1, V2])
def test_from_anybody_else_such_a_header_opens_nothing(header):
    viewer = native(header + LINK)
    assert viewer.opened == []
    assert viewer.transport.half_closed


def test_a_half_close_is_the_end_of_what_it_says_and_no_more():
    viewer = native(LINK)
    viewer.half_close()
    assert [read(viewer.stream), read(viewer.stream)] == [LINK, b""]
    assert not viewer.stream.lost
    viewer.stream.send(samples.REPLY_MAIN)
    assert viewer.received() == samples.REPLY_MAIN
    assert not viewer.transport.disconnecting


def test_one_that_half_closed_before_it_said_whether_it_uses_tls():
    viewer = native()
    viewer.half_close()
    assert viewer.opened == []
    assert viewer.transport.disconnecting


def test_it_waits_in_the_room_until_its_token_is_good():
    room = WaitingRoom()
    viewer = native(LINK, waiting_room=room)
    assert len(room) == 1
    viewer.stream.on_authorised()
    assert len(room) == 0


def test_who_waited_longest_is_dropped_for_want_of_room():
    room = WaitingRoom(1)
    first = native(LINK, waiting_room=room)
    second = native(LINK, waiting_room=room)
    assert (first.transport.aborted, second.transport.aborted) == (True, False)
    assert first.stream.crowded_out


# Inside a CONNECT


def test_a_connect_is_told_of_its_token_and_nothing_is_said_before_it_is_accepted():
    for segments in segmentations(CONNECT):
        viewer = tunnel(*segments)
        assert (viewer.request.way_in, viewer.request.token) == ("connect", TOKEN)
        assert not viewer.stream.token_inside
        assert not viewer.stream.greets_at_once
        assert viewer.received() == b""
        viewer.stream.accept()
        assert viewer.received() == ACCEPTED
        viewer.lose()


def test_it_may_begin_in_clear():
    for segments in segmentations(LINK):
        viewer = tunnel(CONNECT)
        viewer.stream.accept()
        viewer.send(*segments)
        assert read(viewer.stream) == LINK
        assert not viewer.stream.inside_tls
        viewer.stream.send(samples.REPLY_MAIN)
        assert viewer.received() == ACCEPTED + samples.REPLY_MAIN


def test_wire_X9_early_bytes_are_kept():
    for segments in segmentations(CONNECT + LINK):
        viewer = tunnel(*segments)
        viewer.stream.accept()
        assert read(viewer.stream) == LINK
        assert viewer.received() == ACCEPTED


def test_wire_X9_but_not_too_many():
    """As many as are sent on the chance that the answer is yes; who sends more wants something else."""
    viewer = tunnel(CONNECT + LINK)
    viewer.send(bytes(EARLY_LIMIT - len(LINK)))
    assert not viewer.transport.aborted
    viewer.stream.accept()
    assert len(viewer.stream._buffer) == EARLY_LIMIT
    viewer = tunnel(CONNECT + LINK)
    viewer.send(bytes(EARLY_LIMIT - len(LINK)), b"!")
    assert viewer.transport.aborted
    assert viewer.received() == b""


def test_nor_once_it_is_answered():
    viewer = tunnel(CONNECT + LINK)
    viewer.stream.accept()
    while not viewer.transport.paused:
        viewer.send(bytes(4096))
    assert len(viewer.stream._buffer) <= BUFFER_LIMIT + 4096


def test_the_visit_reads_nothing_before_it_has_answered():
    viewer = tunnel(CONNECT + LINK)
    got = []
    viewer.stream.receive(got.append)
    assert got == []
    viewer.stream.accept()
    assert got == [LINK]


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_tls_that_comes_early_is_answered_in_clear_first(pem, cut):  # noqa: F811
    viewer = TlsCaller(pem, is_spice=True)
    viewer.send(CONNECT)
    with pytest.raises(SSL.WantReadError):
        viewer.tls.do_handshake()
    hello = viewer.tls.bio_read(65536)
    for at in range(0, len(hello), cut or len(hello)):
        viewer.send(hello[at : at + (cut or len(hello))])
    assert viewer.received() == b""
    assert not viewer.stream.inside_tls
    viewer.stream.accept()
    assert viewer.stream.inside_tls
    answered = viewer.received()
    assert answered.startswith(ACCEPTED)
    viewer.tls.bio_write(answered[len(ACCEPTED) :])
    viewer.exchange()
    viewer.say(LINK)
    assert read(viewer.stream) == LINK
    viewer.stream.send(samples.REPLY_MAIN)
    viewer.exchange()
    assert viewer.heard() == samples.REPLY_MAIN


def test_tls_that_comes_early_to_one_that_is_refused(pem):  # noqa: F811
    viewer = TlsCaller(pem, is_spice=True)
    viewer.send(CONNECT + CLIENT_HELLO)
    viewer.stream.close_because(Refused(CloseReason.TOKEN_UNKNOWN, "for the log"))
    ((status, _, body),) = answers(viewer.received())
    assert (status, body.decode()) == (401, f"{CloseReason.TOKEN_UNKNOWN.sentence}\n"), "in clear"


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_or_with_tls_once_it_is_accepted(pem, cut):  # noqa: F811
    viewer = TlsCaller(pem, is_spice=True)
    viewer.send(CONNECT)
    viewer.stream.accept()
    assert viewer.received() == ACCEPTED, "in clear"
    assert not viewer.stream.inside_tls
    viewer.exchange(cut=cut)
    assert viewer.stream.inside_tls
    assert len(viewer.opened) == 1, "it is the same client"
    viewer.say(LINK)
    assert read(viewer.stream) == LINK
    viewer.stream.send(samples.REPLY_MAIN)
    viewer.exchange()
    assert viewer.heard() == samples.REPLY_MAIN
    assert viewer.received() == b"", "and nothing in clear"


def test_what_its_tls_owes_is_sent_before_it_is_closed(pem):  # noqa: F811
    viewer = TlsCaller(pem, is_spice=True)
    viewer.send(CONNECT)
    viewer.stream.accept()
    viewer.received()
    viewer.exchange()
    viewer.stream.send(samples.DENIED)
    viewer.stream.close_because(Refused(CloseReason.TOKEN_UNKNOWN, "for the log"))
    viewer.exchange()
    assert viewer.heard() == samples.DENIED
    assert viewer.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN, "TLS is ended by the proxy"
    viewer.tls.shutdown()
    viewer.exchange()
    assert viewer.transport.disconnecting


def test_in_clear_each_side_may_end_alone():
    viewer, sink = tunnel(CONNECT), Listening()
    viewer.stream.accept()
    viewer.stream.push_to(sink)
    viewer.send(b"last")
    viewer.half_close()
    assert (bytes(sink.data), sink.events) == (b"last", ["eof"])
    viewer.stream.send(b"still drawn")
    assert viewer.received() == ACCEPTED + b"still drawn"
    assert not viewer.transport.disconnecting
    viewer.lose()
    assert sink.events == ["eof", "lost"]


def test_inside_tls_there_are_no_halves(pem):  # noqa: F811
    viewer, sink = TlsCaller(pem, is_spice=True), Listening()
    viewer.send(CONNECT)
    viewer.stream.accept()
    viewer.received()
    viewer.exchange()
    viewer.stream.push_to(sink)
    viewer.half_close()
    assert viewer.transport.disconnecting
    viewer.lose()
    assert sink.events == ["eof", "lost"]


def test_a_connect_that_is_half_closed_at_once_still_hears_its_answer():
    viewer = tunnel()
    viewer.connection._half_closed = True  # as where both come in one turn of the reactor
    viewer.send(CONNECT + LINK)
    assert viewer.stream.ended
    viewer.stream.close_because(Refused(CloseReason.TOKEN_UNKNOWN, "for the log"))
    assert answers(viewer.received())[0][0] == 401


@pytest.mark.parametrize("early", [False, True])
def test_tls_inside_it_where_there_is_no_certificate(early, log):
    viewer = tunnel(CONNECT, *[CLIENT_HELLO] * early)
    assert not viewer.transport.aborted
    viewer.stream.accept()
    assert viewer.received() == ACCEPTED
    viewer.send(*[CLIENT_HELLO] * (not early))
    assert viewer.transport.aborted
    assert not viewer.stream.inside_tls
    assert any("TLS inside its CONNECT" in (formatEvent(event) or "") for event in log)


def test_only_the_first_byte_tells():
    viewer = tunnel(CONNECT)
    viewer.stream.accept()
    viewer.send(b"R", CLIENT_HELLO)
    assert not viewer.transport.aborted
    assert read(viewer.stream) == b"R" + CLIENT_HELLO


def test_on_a_listener_for_vnc_a_connect_holds_no_tls():
    viewer = tunnel(CONNECT, is_spice=False)
    viewer.stream.accept()
    viewer.send(CLIENT_HELLO)
    assert read(viewer.stream) == CLIENT_HELLO


def test_a_refused_connect_hears_it_in_http():
    viewer = tunnel(CONNECT)
    viewer.stream.close_because(Refused(CloseReason.TOKEN_EXPIRED, "for the log"))
    ((status, _, body),) = answers(viewer.received())
    assert (status, body.decode()) == (401, f"{CloseReason.TOKEN_EXPIRED.sentence}\n")
    assert viewer.transport.half_closed


def test_the_tunnel_hears_of_half_closes():
    inside = Tunnel(tunnel(CONNECT).stream, None, None)
    verifyObject(IHalfCloseableProtocol, inside)
    inside.writeConnectionLost()


# With real visits


class Visited:
    """A viewer whose visits are real."""

    def __init__(self, way_in="native", *, is_native=True, **fields):
        self.bench = SpiceBench(way_in)
        open_console = partial(self.bench.visits.open, kind=SpiceVisit)
        self.viewer = Caller(
            clock=self.bench.clock, open_console=open_console, is_native=is_native, is_spice=True, **fields
        )

    @property
    def reasons(self):
        return [record.close_reason for record in self.bench.audit.records]


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"REDX" + LINK[4:], b"RFB 003.008\n"])
def test_wire_S2_S3_what_is_no_spice_is_told_so(said):
    for segments in segmentations(said):
        visited = Visited()
        visited.viewer.send(*segments)
        assert visited.viewer.received() == error_reply(2)
        assert visited.viewer.transport.half_closed
        assert visited.reasons == ["protocol-error"]
        visited.viewer.half_close()
        visited.viewer.lose()


def test_wire_S1_a_byte_and_then_nothing():
    visited = Visited()
    visited.viewer.send(b"R")
    visited.bench.clock.advance(10)
    assert visited.reasons == ["protocol-error"]
    assert visited.viewer.received() == b""
    assert visited.viewer.transport.half_closed


def test_a_probe_that_says_nothing_leaves_no_record():
    visited = Visited()
    visited.viewer.lose()
    assert visited.reasons == []
    assert not len(visited.bench.visits)


@pytest.mark.parametrize("how", ["half-closed", "lost"])
def test_wire_S24_a_viewer_that_leaves_within_its_ticket(how):
    visited = Visited()
    visited.viewer.send(LINK, ticket()[:-1])
    visited.viewer.received()
    if how == "half-closed":
        visited.viewer.half_close()
        assert visited.viewer.transport.disconnecting
    visited.viewer.lose()
    assert visited.reasons == ["client-closed"]
    assert visited.viewer.received() == b""


def test_a_viewer_that_half_closes_after_its_ticket_is_judged_by_its_token():
    visited = Visited()
    visited.viewer.send(LINK, ticket())
    visited.viewer.half_close()
    assert visited.reasons == []
    visited.bench.store.waiting.callback(None)
    visited.bench.clock.advance(1)
    assert visited.reasons == ["token-unknown"]
    assert visited.viewer.transport.disconnecting


def test_a_viewer_without_a_place_leaves_a_record_that_says_so():
    room = WaitingRoom(1)
    visited = Visited(waiting_room=room)
    visited.viewer.send(LINK)
    native(LINK, waiting_room=room)
    visited.viewer.lose()
    assert visited.reasons == ["limit"]


def test_a_connect_whose_token_is_unknown_never_speaks_spice():
    visited = Visited("tunnel", is_native=False)
    visited.viewer.send(CONNECT + LINK)
    visited.bench.store.waiting.callback(None)
    assert answers(visited.viewer.received())[0][0] == 401
    assert visited.reasons == ["token-unknown"]
    assert visited.bench.dialler.asked == []


def test_a_connect_and_its_link_in_one_segment():
    visited = Visited("tunnel", is_native=False)
    visited.viewer.send(CONNECT + LINK)
    assert visited.viewer.received() == b""
    visited.bench.authorise()
    assert visited.viewer.received() == ACCEPTED
    assert visited.bench.dialler.asked == [("192.0.2.7", 5901)]
    visited.viewer.connection.connectionLost(Failure(ConnectionDone()))
    visited.bench.assert_nothing_left()
    assert visited.reasons == ["client-closed"]
