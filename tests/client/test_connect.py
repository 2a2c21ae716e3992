"""CONNECT, as the Java viewers send it, and everything else that looks like it."""

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.client.connect import ConnectStream
from rfbproxy.client.http_head import LINE_LIMIT
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.stream import BUFFER_LIMIT
from rfbproxy.transport import CLOSE_TIMEOUT_S
from tests.client.callers import HEAD_TIMEOUT_S, Caller, Listening, answers
from tests.cuts import segmentations

TOKEN = "7b1ad8a4-5c3f-4f29-9d3e-0c1f1b0a4d11"
NOVA = f"CONNECT /console?token={TOKEN} HTTP/1.0\r\n\r\n".encode()  # all that nova's Java viewer sends
TIGHTVNC = f"CONNECT {TOKEN}:5900 HTTP/1.0\r\n\r\n".encode()  # all that TightVNC's sends
NOVA_ACCEPTED = b"HTTP/1.1 200 OK\r\n\r\n"
TIGHTVNC_ACCEPTED = b"HTTP/1.0 200 OK\r\n\r\n"
V3_8 = b"RFB 003.008\n"


def request(target, method="CONNECT", version="1.0", *headers):
    return "\r\n".join([f"{method} {target} HTTP/{version}", *headers, "", ""]).encode()


def basic(text):
    return f"Proxy-Authorization: Basic {b64encode(text.encode()).decode()}"


def opened(data, **fields):
    """A client whose request is with the session now."""
    caller = Caller(**fields)
    caller.send(data)
    assert len(caller.opened) == 1, caller.received()
    assert isinstance(caller.stream, ConnectStream)
    assert caller.connection.has_console
    assert caller.received() == b""
    return caller


def accepted(data=NOVA):
    caller = opened(data)
    caller.stream.accept()
    caller.received()
    return caller


def malformed(*segments, **fields):
    """What the listener itself refuses: the answer, whose status line the Java viewer shows a person."""
    caller = Caller(**fields)
    caller.send(*segments)
    assert caller.opened == []
    answer = caller.received()
    assert answer.startswith(b"HTTP/1.1 ")
    ((status, headers, body),) = answers(answer)
    assert headers["connection"] == "close"
    caller.connection.connectionLost(None)
    return status, body.decode()


def refused(caller, reason):
    """What a client is told that was not accepted."""
    caller.stream.close_because(Refused(reason, "for the log"))
    answer = caller.received()
    assert answer.startswith(b"HTTP/1.1 ")
    ((status, _, body),) = answers(answer)
    assert body.decode() == f"{reason.sentence}\n"
    assert caller.transport.half_closed
    return status


# The ways to ask


def test_nova_X01_the_viewers_exact_bytes_in_every_segmentation():
    for segments in segmentations(NOVA):
        caller = Caller()
        caller.send(*segments)
        asked = caller.request
        assert (asked.way_in, asked.token, asked.source) == ("connect", TOKEN, "192.0.2.7")
        assert (asked.origin, asked.host, asked.encrypted) == (None, None, False)
        assert not caller.stream.greets_at_once
        assert caller.received() == b"", "nothing is said before the target lets the proxy in"
        caller.stream.accept()
        caller.stream.send(V3_8)
        assert caller.received() == NOVA_ACCEPTED + V3_8
        caller.stream.close()
        caller.lose()


@pytest.mark.parametrize("target", [
    "?token=T",  # nova_X03: of a URL without a path
    "/?token=T",
    "/console?token=T",
    "/console?x=1&token=T&path=y",
    "//console?token=T",
    "http://proxy.example:6081/console?token=T",
    "HTTPS://[2001:db8::1]:6081/console?token=T",
    "/console?token=%54",
])  # fmt: skip
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nova_X03_X04_urls(target, version):
    for headers in ([], ["Host: proxy.example:6081"], ["User-Agent: x", "Proxy-Connection: keep-alive"]):
        caller = opened(request(target, "CONNECT", version, *headers))
        assert caller.request.token == "T"
        caller.stream.accept()
        assert caller.received() == NOVA_ACCEPTED


def test_what_looks_like_another_way_to_give_a_token_is_none():
    headers = ["Cookie: token=C", basic("user:P")]
    assert opened(request("/console", "CONNECT", "1.1", *headers)).request.token is None
    assert opened(request("/console?path=%3Ftoken%3DT")).request.token is None


def test_tightvncs_exact_bytes():
    for segments in segmentations(TIGHTVNC):
        caller = Caller()
        caller.send(*segments)
        assert (caller.request.way_in, caller.request.token) == ("connect", TOKEN)
        caller.stream.accept()
        assert caller.received() == TIGHTVNC_ACCEPTED


@pytest.mark.parametrize("credentials", [f"user:{TOKEN}", f":{TOKEN}", f"ü:{TOKEN}"])
@pytest.mark.parametrize("host", ["proxy:1", "192.0.2.1:5900", "[::1]:5900", f"{TOKEN}x:0"])
def test_the_token_as_a_proxys_password(credentials, host):
    caller = opened(request(host, "CONNECT", "1.1", basic(credentials)))
    assert caller.request.token == TOKEN
    caller.stream.accept()
    assert caller.received() == TIGHTVNC_ACCEPTED


@pytest.mark.parametrize("authorization", [
    "Basic", "Basic !!!", "Basic dXNlcg==", "Bearer dTpw", "Digest x", "Basic \xff\xff", "Basic /w==",
])  # fmt: skip
def test_a_proxys_password_that_is_none(authorization):
    data = request("proxy:1", "CONNECT", "1.1").replace(
        b"\r\n\r\n", b"\r\nProxy-Authorization: " + authorization.encode("latin-1") + b"\r\n\r\n"
    )
    assert malformed(data)[0] == 400


@pytest.mark.parametrize("host", ["127.0.0.1:5920", "[::1]:5900", "example.org:443", "localhost:22"])
def test_it_is_no_open_proxy(host):
    """A host is at most a token, whatever it looks like; the session knows no other."""
    assert opened(request(host)).request.token == host.rpartition(":")[0]


def test_get_is_meant_as_connect_where_the_listener_says_so():
    for target in ("/console?token=T", "/?token=T", "/console"):
        caller = opened(request(target, "GET", "1.0"), connect_by_get=True)
        assert caller.request.token == ("T" if "token" in target else None)
        caller.stream.accept()
        assert caller.received() == NOVA_ACCEPTED


@pytest.mark.parametrize("target", ["/", "/healthz", "/vnc_auto.html?path=%3Ftoken%3DT", "/?xtoken=T"])
def test_other_gets_are_pages_even_there(target):
    caller = Caller(connect_by_get=True)
    caller.send(request(target, "GET", "1.0"))
    assert caller.opened == []
    assert not caller.connection.has_console


def test_elsewhere_get_is_always_a_page():
    caller = Caller()
    caller.send(request("/console?token=T", "GET", "1.0"))
    assert caller.opened == []


def test_headers_reach_the_session():
    caller = opened(request("/?token=T", "CONNECT", "1.1", "Host: h:1", "Origin: http://evil.example"))
    assert (caller.request.host, caller.request.origin) == ("h:1", "http://evil.example")


# Bad requests (protocols.md D3)


@pytest.mark.parametrize("data", [
    pytest.param(b"CONNECT HTTP/1.0\r\n\r\n", id="wire_X1 no path"),
    pytest.param(request("*"), id="wire_X1 an asterisk"),
    pytest.param(request("host"), id="wire_X1 a host without a port"),
    pytest.param(request("host:123456"), id="a port that is none"),
    pytest.param(request("user@host:1"), id="a user"),
    pytest.param(request("ftp://h/console?token=T"), id="another scheme"),
    pytest.param(request("http://[::1/console?token=T"), id="a malformed URL"),
    pytest.param(request("/?token=T&token=T"), id="wire_X3 two tokens"),
    pytest.param(request("/?token=&token=T"), id="wire_X3 two tokens, one empty"),
    pytest.param(request("/?token=T%00"), id="wire_X4 a zero byte"),
    pytest.param(request("/?token=T%0d%0aX:y"), id="wire_X4 a line end"),
    pytest.param(request("/?token=" + "T" * 256), id="a long token"),
    pytest.param(request("/?" + "a=b&" * 101 + "token=T"), id="many parameters"),
    pytest.param(b"CONNECT /?token=T\r\n", id="wire_X5 HTTP/0.9"),
    pytest.param(b"CONNECT /?token=T HTTP/2.0\r\n\r\n", id="HTTP/2.0"),
    pytest.param(request("/?token=T", "CONNECT", "1.1", "Content-Length: 5") + b"hello", id="wire_X8 a body"),
    pytest.param(request("/?token=T", "CONNECT", "1.1", "Transfer-Encoding: chunked"), id="wire_X8 a chunked body"),
    pytest.param(request("/?token=T", "CONNECT", "1.1", "Host: a", "Host: b"), id="two hosts"),
])  # fmt: skip
def test_wire_X_malformed(data):
    for segments in segmentations(data):
        status, sentence = malformed(*segments)
        assert status == 400
        assert sentence.endswith(".\n")


def test_wire_X2_a_path_without_a_token_is_the_sessions_to_refuse():
    for target in ("/console", "/console?token=", "/console?other=1"):
        caller = opened(request(target))
        assert caller.request.token is None
        assert refused(caller, CloseReason.TOKEN_UNKNOWN) == 400


def test_wire_X6_a_request_line_of_64_KiB():
    assert malformed(request("/?token=" + "T" * 65536))[0] == 414
    assert malformed(b"CONNECT /?token=" + b"T" * LINE_LIMIT)[0] == 414


def test_wire_X7_a_head_that_never_ends():
    caller = Caller()
    for byte in NOVA[:9]:
        caller.clock.advance(HEAD_TIMEOUT_S / 10)
        caller.send(bytes([byte]))
    assert caller.received() == b""
    caller.clock.advance(HEAD_TIMEOUT_S / 5)
    ((status, _, _),) = answers(caller.received())
    assert status == 408
    caller.lose()


def test_wire_X9_early_bytes_of_rfb_are_kept():
    for segments in segmentations(NOVA + V3_8 + b"\x01\x01"):
        caller = Caller()
        caller.send(*segments)
        sink = Listening()
        caller.stream.push_to(sink)
        assert bytes(sink.data) == V3_8 + b"\x01\x01"


def test_wire_X9_but_not_too_many():
    caller = opened(NOVA)
    while not caller.transport.paused:
        caller.send(bytes(4096))
    assert len(caller.stream._buffer) <= BUFFER_LIMIT + 4096


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60))
def test_whatever_is_asked_for_is_a_console_or_refused(target):
    caller = Caller()
    caller.send(b"CONNECT " + target.encode("latin-1") + b" HTTP/1.0\r\n\r\n")
    if caller.opened:
        assert caller.request.token is None or caller.request.token.isprintable()
    else:
        assert caller.received().startswith(b"HTTP/1.1 400 ")


# Refusals


STATUS = {
    CloseReason.TOKEN_UNKNOWN: 401,
    CloseReason.TOKEN_EXPIRED: 401,
    CloseReason.REVOKED: 401,
    CloseReason.ORIGIN_REFUSED: 403,
    CloseReason.TLS_REQUIRED: 403,
    CloseReason.POLICY: 403,
    CloseReason.LIMIT: 503,
    CloseReason.SHUTDOWN: 503,
    CloseReason.TARGET_UNREACHABLE: 502,  # nova_X02: nova says 500
    CloseReason.TARGET_AUTH_FAILED: 502,
    CloseReason.PROTOCOL_ERROR: 502,
    CloseReason.INTERNAL: 500,
}


@pytest.mark.parametrize("reason", STATUS)
@pytest.mark.parametrize("data", [NOVA, TIGHTVNC], ids=["nova's viewer", "TightVNC's viewer"])
def test_nova_X02_wire_X10_every_refusal_is_an_http_status_and_a_sentence(reason, data):
    assert refused(opened(data), reason) == STATUS[reason]


def test_one_that_left_is_told_nothing():
    caller = opened(NOVA)
    caller.stream.close_because(Refused(CloseReason.CLIENT_CLOSED, "gone"))
    assert caller.received() == b""


def test_what_is_unread_does_not_take_the_answer_back():
    caller = opened(NOVA)
    refused(caller, CloseReason.TARGET_UNREACHABLE)
    assert not caller.transport.disconnecting, "the client closes first"
    caller.send(bytes(3 * BUFFER_LIMIT))
    assert not caller.stream._buffer
    assert not caller.transport.paused
    caller.half_close()
    assert caller.transport.disconnecting
    caller.lose()


def test_a_client_that_does_not_close_is_dropped():
    caller = opened(NOVA)
    refused(caller, CloseReason.TOKEN_EXPIRED)
    caller.stream.close_because(Refused(CloseReason.SHUTDOWN, "again"))
    caller.clock.advance(CLOSE_TIMEOUT_S)
    assert caller.transport.aborted
    caller.lose()


def test_one_that_has_half_closed_is_told_and_closed():
    caller = opened(NOVA)
    caller.half_close()
    caller.stream.close_because(Refused(CloseReason.TOKEN_UNKNOWN, "unknown"))
    assert caller.received().startswith(b"HTTP/1.1 401 ")
    assert caller.transport.disconnecting
    caller.lose()


def test_once_accepted_nothing_but_rfb_is_said():
    caller = accepted()
    caller.stream.close_because(Refused(CloseReason.TARGET_CLOSED, "closed"))
    assert caller.received() == b""
    assert caller.transport.half_closed


# Half-closes


def test_nova_X06_each_side_may_end_alone():
    caller = accepted()
    sink = Listening()
    caller.stream.push_to(sink)
    caller.send(b"last")
    caller.half_close()
    assert (bytes(sink.data), sink.events) == (b"last", ["eof"])
    caller.stream.send(b"still drawn")
    assert caller.received() == b"still drawn"
    assert not caller.transport.disconnecting
    caller.stream.send_eof()
    assert caller.transport.half_closed


def test_a_lost_client_is_heard_of():
    caller = accepted()
    sink = Listening()
    caller.stream.push_to(sink)
    caller.lose()
    assert sink.events == ["eof", "lost"]


def test_pages_before_a_connect_on_the_same_connection():
    caller = Caller()
    caller.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert caller.received().startswith(b"HTTP/1.1 200 ")
    caller.send(NOVA)
    assert caller.request.token == TOKEN
