from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.client.http_head import HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT, HeadReader, HttpError, RequestHead
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.wire import EndOfStream
from tests.cuts import run


def read(data, **options):
    return run(HeadReader, data, **options)


def head(*lines, request=b"GET / HTTP/1.1"):
    outcome = read(b"\r\n".join([request, *lines, b"", b""]), trailing=b"\x82\x85rest")
    assert outcome.error is None
    assert outcome.finished
    (event,) = outcome.events
    assert isinstance(event, RequestHead)
    return event


def refused(data, *, status):
    outcome = read(data)
    assert outcome.events == ()
    kind, _ = outcome.error
    assert kind is HttpError
    with pytest.raises(HttpError) as caught:
        HeadReader().receive_data(data)
    assert caught.value.status == status
    return caught.value.sentence


def test_a_request_is_read_whatever_follows():
    request = head(b"Host: example.net:6080", b"X-Empty:", b"X-Spaces: \t a  b \t", request=b"GET /?token=T HTTP/1.0")
    assert (request.method, request.target, request.version) == ("GET", "/?token=T", "HTTP/1.0")
    assert request.headers == (("host", "example.net:6080"), ("x-empty", ""), ("x-spaces", "a  b"))
    assert request.raw == (
        b"GET /?token=T HTTP/1.0\r\nHost: example.net:6080\r\nX-Empty:\r\nX-Spaces: \t a  b \t\r\n\r\n"
    )


def test_the_bytes_after_the_head_are_handed_on():
    assert read(b"GET / HTTP/1.1\r\n\r\n").unread == b""
    reader = HeadReader()
    reader.receive_data(b"GET / HTTP/1.1\r\n\r\n\x82\x80abcd")
    assert reader.unread() == b"\x82\x80abcd"


def test_a_request_prints_without_its_secrets():
    text = repr(head(b"Cookie: token=SECRET", request=b"GET /?token=SECRET HTTP/1.1"))
    assert "SECRET" not in text


def test_bare_line_feeds_and_one_empty_line_before_are_accepted():
    (event,) = read(b"\r\nGET / HTTP/1.1\nHost: h\n\n").events
    assert event.headers == (("host", "h"),)
    assert event.raw == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"\r\n",  # a second empty line
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.2",
        b"GET / http/1.1",
        b"G@T / HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET /a b HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\r HTTP/1.1",
        b"RFB 003.008",
        b"\x80\x2e\x01",
    ],
)
def test_what_is_no_request_line_is_400(line):
    assert refused(b"\r\n" + line + b"\r\n\r\n", status=400) == "This is not an HTTP/1 request."


@pytest.mark.parametrize(
    "line",
    [
        b"no colon",
        b": no name",
        b"Na me: v",
        b"Name : v",
        b" folded: v",
        b"\tfolded",
        b"N: a\x00b",
        b"N: a\rb",
        b"N: \x7f",
    ],
)
def test_a_malformed_header_is_400(line):
    assert "malformed" in refused(b"GET / HTTP/1.1\r\nA: b\r\n" + line + b"\r\n\r\n", status=400)


def test_a_request_line_at_its_limit_passes_and_beyond_it_is_414():
    line = b"GET /" + b"a" * (LINE_LIMIT - len(b"GET / HTTP/1.1\r\n")) + b" HTTP/1.1\r\n"
    assert len(line) == LINE_LIMIT
    assert read(line + b"\r\n").error is None
    refused(line[:5] + b"a" + line[5:] + b"\r\n", status=414)
    refused(b"a" * LINE_LIMIT, status=414)
    refused(b"\r\n" + b"a" * LINE_LIMIT, status=414)
    assert not read(b"a" * (LINE_LIMIT - 1)).finished


def test_a_head_at_its_limit_passes_and_beyond_it_is_431():
    line = b"GET / HTTP/1.1"
    room = HEAD_LIMIT - len(line) - len(b"a: \r\n\r\n")
    HeadReader().receive_data(line + b"\r\na: " + b"b" * (room - 8) + b"\r\n\r\n")
    with pytest.raises(HttpError) as caught:
        HeadReader().receive_data(line + b"\r\na: " + b"b" * (room + 8) + b"\r\n\r\n")
    assert caught.value.status == 431


def test_a_head_never_grows_beyond_its_limit():
    reader = HeadReader()
    reader.receive_data(b"GET / HTTP/1.1\r\na: ")
    for _ in range(HEAD_LIMIT // 1024 - 1):
        reader.receive_data(b"b" * 1024)
    with pytest.raises(HttpError, match="over 32768 bytes"):
        reader.receive_data(b"b" * 1024)


def test_headers_at_their_number_pass_and_one_more_is_431():
    assert read(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * HEADERS_LIMIT + b"\r\n").error is None
    assert "100 headers" in refused(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (HEADERS_LIMIT + 1) + b"\r\n", status=431)


def test_spaces_before_a_bad_byte_cost_no_time():
    begin = process_time()
    with pytest.raises(HttpError):
        HeadReader().receive_data(b"GET / HTTP/1.1\r\na:" + b" " * 30000 + b"\x01\r\n\r\n")
    assert process_time() - begin < 0.5  # it was 15 s where white space could be matched in two ways


def test_a_client_that_leaves_inside_the_head_is_an_end_of_stream():
    assert read(b"GET / HTTP/1.1\r\nHo", eof=True).error[0] is EndOfStream
    assert read(b"", eof=True).error[0] is EndOfStream


def test_values_of_a_repeated_header():
    request = head(b"A: 1", b"a: 2", b"B: 3", b"Cookie: x=1", b"cookie: token=T")
    assert request.get("a") == "1, 2"
    assert request.get("c") is None
    assert request.get_all("cookie") == ["x=1", "token=T"]
    assert request.get_one("b") == "3"
    assert request.get_one("c") is None
    with pytest.raises(HttpError, match="came 2 times") as caught:
        request.get_one("a")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("request_line", "upgrade", "expected"),
    [
        (b"GET / HTTP/1.1", b"websocket", True),
        (b"GET / HTTP/1.1", b"WebSocket", True),
        (b"GET / HTTP/1.1", b"h2c, websocket", True),
        (b"GET / HTTP/1.0", b"websocket", True),  # nova does not look at the version either
        (b"GET / HTTP/1.1", b"h2c", False),
        (b"GET / HTTP/1.1", b"websockets", False),
        (b"GET / HTTP/1.1", b"", False),
        (b"POST / HTTP/1.1", b"websocket", False),
        (b"HEAD / HTTP/1.1", b"websocket", False),
    ],
)
def test_who_wants_a_websocket(request_line, upgrade, expected):
    assert head(b"Upgrade: " + upgrade, request=request_line).wants_websocket is expected
    assert not head(request=request_line).wants_websocket


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Content-Length: 0", False),
        (b"Content-Length:", True),
        (b"Content-Length: 1", True),
        (b"Content-Length: 0, 0", True),
        (b"Content-Length: 00", True),
        (b"Transfer-Encoding: chunked", True),
        (b"Expect: 100-continue", False),
    ],
)
def test_who_sends_a_body(line, expected):
    assert head(line).has_body is expected


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(data):
    for prefix in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\na: b\r\n"):
        with suppress(HttpError):
            HeadReader().receive_data(prefix + data)


@given(st.lists(st.sampled_from([b"GET ", b"/ ", b"HTTP/1.1", b"\r\n", b"\n", b"\r", b"a: ", b"b", b" ", b"\x00"])))
def test_random_heads_are_read_alike_at_every_segmentation(pieces):
    data = b"".join(pieces)
    if data:
        outcome = read(data)
        assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)
