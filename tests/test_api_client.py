"""The API's client: what it asks, and what it makes of answers that it does not expect."""

import json
import socket
import threading
from contextlib import contextmanager

import pytest

from rfbproxy.api_client import ApiClient
from rfbproxy.errors import ApiError, ConfigError
from rfbproxy.secret import Secret


@contextmanager
def answering(answer: bytes):
    """A server for one request; gives its URL, and a list with what was asked."""
    asked: list[bytes] = []

    def serve():
        connection, _ = listening.accept()
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            asked.append(data)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/prefix/", asked
        thread.join(5)


def http(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_it_asks_with_the_token_below_the_prefix():
    with answering(http("200 OK", b'{"ended": 1}')) as (url, asked):
        assert ApiClient(url, Secret("the-token")).end_session("a/b?c") == {"ended": 1}
    assert asked[0].startswith(b"DELETE /prefix/v1/sessions/a%2Fb%3Fc HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer the-token\r\n" in asked[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http("404 No", json.dumps({"itemNotFound": {"code": 404, "message": "a\nb"}}).encode()), "answers 404: a b"),
        (http("502 No", b"<html>"), "answers 502: that is not an answer of this API"),
        (http("200 OK", b"[]"), "answers 200: that is not"),
        (http("400 No", b'{"a": 1}'), "answers 400: that is not"),
        (http("400 No", b"{}"), "answers 400: that is not"),
        (b"", "cannot be asked: "),
        (b"SSH-2.0-x\r\n", "cannot be asked: "),
        (http("200 OK", b"{}")[:-1], "answers 200: that is not"),
    ],
)
def test_what_it_makes_of_other_answers(answer, expected):
    with answering(answer) as (url, _), pytest.raises(ApiError) as raised:
        ApiClient(url, Secret("the-token")).list()
    assert expected in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert "the-token" not in str(raised.value)


def test_nobody_there():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ApiError, match="cannot be asked: Connection refused"):
            ApiClient(f"http://127.0.0.1:{closed.getsockname()[1]}", Secret("t")).list()


@pytest.mark.parametrize("url", ["", "host:1", "ftp://h", "http://", "http://h:x", "http://[::1", "http://u:p@h"])
def test_what_is_no_address_of_an_api(url):
    with pytest.raises(ConfigError, match="is not a URL"):
        ApiClient(url, Secret("t"))


def test_what_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="printable ASCII"):
        ApiClient("http://h", Secret("a\r\nb"))
    with pytest.raises(ConfigError, match="cannot be read"):
        ApiClient("https://h", Secret("t"), ca_certs=tmp_path / "none")
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigError, match="no usable certificate"):
        ApiClient("https://h", Secret("t"), ca_certs=tmp_path / "empty")
    (tmp_path / "empty.pem").touch()
    with pytest.raises(ConfigError, match=r"empty\.pem holds no usable certificate with its key"):
        ApiClient("https://h", Secret("t"), cert=tmp_path / "empty.pem")
