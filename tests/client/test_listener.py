import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rfbproxy.client.connection import KEEP_ALIVE_S, LINGER_S, PAGE_TIMEOUT_S, ClientConnection
from rfbproxy.client.factory import source_of
from rfbproxy.client.http_head import HEAD_LIMIT, LINE_LIMIT
from tests.client.callers import (
    HEAD_TIMEOUT_S,
    Caller,
    CongestedConnection,
    Console,
    Listening,
    answers,
    make_listener,
)
from tests.client.frames import ACCEPT, close_frame, frame, upgrade
from tests.cuts import segmentations

PAGE = b"GET /healthz?token=123-456-789 HTTP/1.1\r\nHost: h\r\n\r\n"
ALIVE = b"alive\n"


def refusal(request, **fields):
    """What a request is refused with: one answer that says so, and the end of the connection."""
    caller = Caller(**fields)
    caller.send(request)
    ((status, headers, body),) = answers(caller.received())
    assert "close" in headers["connection"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert caller.transport.half_closed
    caller.send(b"what the client had still to say")
    assert caller.received() == b""
    assert caller.opened == []
    caller.clock.advance(LINGER_S)
    assert caller.transport.aborted
    caller.lose()
    return status, headers, body.decode()


# The way to a console


def test_nova_W01_an_upgrade_opens_a_console_with_the_token():
    for segments in segmentations(upgrade("/?token=123-456-789", origin="https://example.net:6080")):
        caller = Caller()
        caller.send(*segments)
        answer = caller.received()
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n".encode() in answer
        request = caller.request
        assert (request.way_in, request.token, request.source) == ("websocket", "123-456-789", "192.0.2.7")
        assert (request.origin, request.host) == ("https://example.net:6080", "example.net:6080")
        assert caller.connection.has_console
        caller.lose()


@pytest.mark.parametrize("path", ["/", "/vnc.html", "/websockify", "/vnc_lite.html", "/none", "/..", "//x", "/healthz"])
def test_any_path_is_a_websocket_and_without_upgrade_a_page(path):
    assert Console(handshake=upgrade(f"{path}?token=T")).request.token == "T"
    caller = Caller()
    caller.send(f"GET {path}?token=T HTTP/1.1\r\n\r\n".encode())
    assert not caller.received().startswith(b"HTTP/1.1 101")
    assert not caller.connection.has_console


def test_nova_W02_ipv6_headers_reach_the_session():
    host = "[2001:db8::1]:6080"
    request = Console(handshake=upgrade(host=host, origin=f"https://{host}")).request
    assert (request.origin, request.host) == ("https://[2001:db8::1]:6080", host)


def test_nova_W12_headers_that_are_not_there():
    request = Console(handshake=upgrade("/", host=None)).request
    assert (request.token, request.origin, request.host, request.forwarded_proto) == (None, None, None, None)


def test_origins_that_autobahn_would_refuse_are_the_sessions_to_judge():
    for origin in ("null", "", "nonsense", "https://h:abc"):
        assert Console(handshake=upgrade(origin=origin)).request.origin == origin
    assert Console(handshake=upgrade(origin="a", extra=("Origin: b",))).request.origin == "a, b"
    assert Console(handshake=upgrade(version="8", extra=("Sec-WebSocket-Origin: c",))).request.origin == "c"


def test_the_forwarded_scheme_is_believed_from_trusted_proxies_only():
    """Nova believes anybody."""
    handshake = upgrade(extra=("X-Forwarded-Proto: https",))
    assert Console(handshake=handshake, source="198.51.100.1").request.forwarded_proto == "https"
    assert Console(handshake=handshake).request.forwarded_proto is None


def test_nova_W17_the_cookie():
    request = Console(handshake=upgrade("/", extra=('Cookie: ?=!; token="123-456-789"',))).request
    assert request.token == "123-456-789"


def test_what_comes_with_the_upgrade_is_not_lost():
    data = upgrade() + frame(b"RFB 003.008\n") + frame(b"\x01")
    for segments in segmentations(data):
        caller = Caller()
        caller.send(*segments)
        sink = Listening()
        caller.stream.push_to(sink)
        assert sink.data == b"RFB 003.008\n\x01"
        caller.lose()


def test_an_upgrade_that_closes_at_once():
    caller = Caller()
    caller.send(upgrade() + close_frame(1000))
    assert caller.received().endswith(b"\r\n\r\n" + bytes.fromhex("880203e8"))
    assert caller.stream.ended
    caller.lose()


@pytest.mark.parametrize(
    "request_bytes",
    [
        upgrade(http="HTTP/1.0"),  # nova looks at neither version nor Connection
        upgrade(connection=None),
        upgrade(connection="keep-alive, Upgrade"),
        upgrade(upgrade="WEBSOCKET"),
        upgrade("http://example.net:6080/?token=123-456-789"),
    ],
)
def test_odd_upgrades_that_are_taken(request_bytes):
    assert Console(handshake=request_bytes).request.token == "123-456-789"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (upgrade(version="7"), 426),
        (upgrade(version="9" * 5000), 426),
        (upgrade(key="bad"), 400),
        (upgrade(key=None), 400),
        (upgrade(extra=("Host: other",)), 400),
        (upgrade(extra=("Content-Length: 5",)), 400),
        (upgrade(extra=("Transfer-Encoding: chunked",)), 400),
        (b"RFB 003.008\n", 400),
        (b"GET / HTTP/1.1\r\nbad\r\n\r\n", 400),
        (b"GET /" + b"a" * LINE_LIMIT + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\na: " + b"b" * HEAD_LIMIT, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101, 431),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", 405),
    ],
)
def test_requests_that_are_refused(request_bytes, status):
    code, headers, sentence = refusal(request_bytes)
    assert code == status
    assert sentence.endswith(".\n")
    if status == 426:
        assert headers["sec-websocket-version"] == "13, 8"
        assert headers["upgrade"] == "websocket"
        assert headers["connection"] == "close, Upgrade"
    if status == 405:
        assert headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_refused_client_that_closes_is_gone_at_once():
    caller = Caller()
    caller.send(b"nonsense\n")
    caller.half_close()
    assert caller.transport.disconnecting
    caller.lose()


def test_a_client_that_half_closed_and_is_refused():
    caller = Caller()
    caller.connection._half_closed = True
    caller.send(b"nonsense\n")
    assert caller.transport.disconnecting
    assert not caller.transport.half_closed


# Pages


def test_pages_one_after_the_other_and_then_a_console():
    for segments in segmentations(PAGE + PAGE + upgrade() + frame(b"RFB")):
        caller = Caller()
        caller.send(*segments)
        sink = Listening()
        caller.stream.push_to(sink)
        pages, _, upgraded = caller.received().partition(b"HTTP/1.1 101 ")
        assert [(status, body) for status, _, body in answers(pages)] == [(200, ALIVE)] * 2
        assert upgraded
        assert sink.data == b"RFB"
        caller.lose()


def test_requests_that_come_while_a_page_waits_are_served_in_their_order():
    for segments in segmentations(PAGE + upgrade() + frame(b"RFB")):
        answer = Deferred()
        caller = Caller(ready=lambda answer=answer: answer)
        caller.send(b"GET /readyz HTTP/1.1\r\n\r\n", *segments)
        assert caller.received() == b""
        assert caller.opened == []
        assert not caller.connection.has_console
        answer.callback(None)
        assert caller.stream is not None
        pages, _, upgraded = caller.received().partition(b"HTTP/1.1 101 ")
        assert [body for _, _, body in answers(pages)] == [b"ready\n", ALIVE]
        assert upgraded
        caller.lose()


def test_thousands_of_requests_at_once():
    caller = Caller()
    caller.send(b"OPTIONS / HTTP/1.1\r\n\r\n" * 1000)
    assert len(answers(caller.received())) == 1000
    caller.lose()


def test_a_client_that_pipelines_while_a_page_waits_is_paused():
    answer = Deferred()
    caller = Caller(ready=lambda: answer)
    caller.send(b"GET /readyz HTTP/1.1\r\n\r\n", *[PAGE] * 10)
    assert not caller.transport.paused
    caller.send(PAGE * 1000)
    assert caller.transport.paused
    answer.callback(None)
    assert not caller.transport.paused
    assert len(answers(caller.received())) == 1011
    caller.lose()


def test_a_client_that_pipelines_and_takes_no_answer_is_bounded():
    caller = Caller(transport=CongestedConnection())
    for _ in range(20):
        if not caller.transport.paused:
            caller.send(PAGE * 1000)
    assert caller.transport.paused
    assert len(caller.transport.value()) < 65536 + 1000
    got = 0
    while pages := answers(caller.received()):
        got += len(pages)
        if caller.transport.producer is not None:
            caller.transport.producer.resumeProducing()
    assert got % 1000 == 0
    assert got > 0
    caller.lose()


def test_upgrade_to_something_else_is_a_page():
    caller = Caller()
    caller.send(b"GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert answers(caller.received())[0][2] == ALIVE
    caller.lose()


@pytest.mark.parametrize(
    "request_bytes", [b"GET /healthz HTTP/1.0\r\n\r\n", PAGE.replace(b"Host: h", b"Connection: close")]
)
def test_a_client_that_wants_one_page_only(request_bytes):
    caller = Caller()
    caller.send(request_bytes + PAGE)
    ((status, _, body),) = answers(caller.received())
    assert (status, body) == (200, ALIVE)
    assert caller.transport.disconnecting
    caller.clock.advance(PAGE_TIMEOUT_S)
    assert caller.transport.aborted, "a client that does not take it is dropped"
    caller.lose()


def test_expect_100_continue_without_a_body_does_no_harm():
    caller = Caller()
    caller.send(b"GET /healthz HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
    assert caller.received().endswith(ALIVE)


def test_limits_of_the_head_are_those_of_the_pages_too():
    caller = Caller()
    target = b"/healthz?" + b"a" * 8000
    headers = b"".join(b"h%d: %s\r\n" % (i, b"v" * 200) for i in range(99)) + b"long: " + b"v" * 3000 + b"\r\n"
    caller.send(b"GET " + target + b" HTTP/1.1\r\n" + headers + b"\r\n")
    assert answers(caller.received())[0][2] == ALIVE


def test_what_twisted_web_alone_finds_wrong_ends_the_connection():
    caller = Caller()
    caller.send(b"GET /\xff HTTP/1.1\r\n\r\n")
    assert caller.received() == b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert caller.transport.disconnecting
    caller.lose()


# Half-close


def test_a_page_still_goes_to_a_client_that_half_closed():
    answer = Deferred()
    caller = Caller(ready=lambda: answer)
    caller.send(b"GET /readyz HTTP/1.1\r\n\r\n" + PAGE + b"GET /heal")
    caller.half_close()
    assert not caller.transport.disconnecting
    answer.callback(None)
    assert [body for _, _, body in answers(caller.received())] == [b"ready\n", ALIVE]
    assert caller.transport.disconnecting
    caller.clock.advance(LINGER_S)
    assert caller.transport.aborted
    caller.lose()


def test_a_client_that_half_closes_without_a_request_is_let_go():
    caller = Caller()
    caller.half_close()
    assert caller.transport.disconnecting
    caller.connection.writeConnectionLost()
    caller.lose()


# Deadlines


def test_a_port_probe_is_closed_in_silence():
    caller = Caller()
    caller.clock.advance(HEAD_TIMEOUT_S)
    assert caller.transport.disconnecting
    assert caller.received() == b""
    caller.clock.advance(LINGER_S)
    assert caller.transport.aborted
    caller.lose()


def test_a_head_that_trickles_is_408():
    caller = Caller()
    for byte in b"GET /":
        caller.send(bytes([byte]))
        caller.clock.advance(HEAD_TIMEOUT_S / 5)
    ((status, _, _),) = answers(caller.received())
    assert status == 408
    caller.lose()


def test_an_idle_connection_is_kept_for_a_while():
    caller = Caller()
    caller.send(PAGE)
    caller.clock.advance(KEEP_ALIVE_S - 1)
    caller.send(PAGE)
    caller.clock.advance(KEEP_ALIVE_S - 1)
    assert not caller.transport.disconnecting
    caller.send(b"G")
    caller.clock.advance(HEAD_TIMEOUT_S)
    assert b"408" in caller.received()
    caller.lose()
    caller = Caller()
    caller.send(PAGE)
    caller.clock.advance(KEEP_ALIVE_S)
    assert caller.transport.disconnecting
    caller.lose()


def test_a_page_that_is_never_taken_is_dropped():
    caller = Caller(ready=Deferred)
    caller.send(b"GET /readyz HTTP/1.1\r\n\r\n")
    caller.clock.advance(PAGE_TIMEOUT_S)
    assert caller.transport.aborted
    caller.lose()


def test_a_console_has_no_deadline_of_the_listener():
    console = Console()
    assert len(console.clock.getDelayedCalls()) == 1  # the ping
    console.lose()


# TLS (the rest is in test_tls.py)


def test_tls_without_a_certificate_is_dropped():
    caller = Caller()
    caller.send(bytes.fromhex("160301"), b"nonsense")
    assert caller.transport.aborted
    assert caller.received() == b""
    caller.lose()


def test_tls_may_begin_a_connection_only():
    caller = Caller()
    caller.send(PAGE)
    caller.received()
    caller.send(b"\x16\n")
    assert answers(caller.received())[0][0] == 400
    assert not caller.transport.aborted


def test_nova_W28_clear_text_where_only_tls_is_allowed():
    """Nova closes in silence; pages are in `test_tls_only.py`."""
    assert refusal(b"RFB 003.008\n", tls_only=True)[0] == 400
    caller = Caller(tls_only=True)
    caller.send(upgrade())
    assert caller.received().startswith(b"HTTP/1.1 101 ")
    assert not caller.request.encrypted
    caller.lose()


# All connections of a listener


def test_a_transport_that_is_not_tcp():
    connection = ClientConnection(make_listener(), "unix")
    connection.makeConnection(StringTransport())
    connection.dataReceived(PAGE)
    assert connection.transport.value().endswith(ALIVE)


def test_consoles_gone_pages_may_stay():
    console = Console()
    page = console.factory.buildProtocol(None)
    page.makeConnection(StringTransport())
    fired = []
    console.factory.when_consoles_gone().addCallback(fired.append)
    assert fired == []
    console.connection.connectionLost(Failure(ConnectionDone()))
    assert fired == [None]
    console.factory.when_consoles_gone().addCallback(fired.append)
    assert fired == [None, None]


def test_abort_all():
    callers = Caller()
    unconnected = callers.factory.buildProtocol(None)
    callers.factory.abort_all()
    assert callers.transport.aborted
    unconnected.abort()


@pytest.mark.parametrize(
    ("address", "source"),
    [
        (IPv4Address("TCP", "8.8.8.8", 1), "8.8.8.8"),
        (IPv6Address("TCP", "2001:db8::1", 1), "2001:db8::1"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 1), "192.0.2.1"),
        (IPv6Address("TCP", "::ffff:0:1", 1), "::ffff:0:1"),
        (UNIXAddress(b"/run/x"), "unix"),
        (None, "unix"),
    ],
)
def test_nova_W08_the_clients_address(address, source):
    assert source_of(address) == source


def test_a_refusal_is_logged_without_its_query(log):
    refusal(upgrade("/?token=123-456-789", version="1"))
    assert any(event.get("status") == 426 and event["source"] == "192.0.2.7" for event in log)


# Anything at all


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=200), max_size=5),
    st.sampled_from([b"", PAGE, upgrade(), b"GET / HTTP/1.1\r\n"]),
)
def test_random_bytes_never_raise_and_leave_no_timer(segments, prefix):
    caller = Caller()
    caller.send(*([prefix] if prefix else []), *segments)
    if caller.opened:
        caller.stream.send(b"anything")
        caller.stream.send_eof()
    caller.clock.advance(1)
    caller.lose()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            frame,
            st.binary(max_size=20),
            opcode=st.integers(0, 15),
            fin=st.booleans(),
            rsv=st.sampled_from([0, 0, 0, 1]),
            masked=st.sampled_from([True, True, True, False]),
            size_of_length=st.sampled_from([None, None, 2, 8]),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_random_frames_never_raise_and_leave_no_timer(some, relayed):
    console = Console()
    if relayed:
        console.stream.push_to(Listening())
    console.send(*some)
    console.frames()
    console.stream.send(b"anything")
    console.clock.advance(100)
    console.lose()
