import pytest

from rfbproxy.reasons import CloseReason
from tests.client.callers import Caller, answers

SENTENCE = f"{CloseReason.TLS_REQUIRED.sentence}\n".encode()


def answer(request, **fields):
    """The one answer to a request that came in clear where only TLS is allowed."""
    caller = Caller(tls_only=True, **fields)
    caller.send(request if isinstance(request, bytes) else request.encode("latin-1"))
    (found,) = answers(caller.received())
    assert caller.opened == []
    caller.lose()
    return found


def get(target, host="proxy.example:6080", method="GET"):
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "host", "location"),
    [
        ("/", "proxy.example:6080", "https://proxy.example:6080/"),
        ("/vnc.html?autoconnect=1", "proxy.example", "https://proxy.example/vnc.html?autoconnect=1"),
        ("/vnc.html?path=websockify", "192.0.2.1:80", "https://192.0.2.1:80/vnc.html?path=websockify"),
        ("/", "[2001:db8::1]:6080", "https://[2001:db8::1]:6080/"),
        ("/", "[fe80::1%25eth0]:6080", "https://[fe80::1%25eth0]:6080/"),
        ("//evil.example/%2f..", "proxy.example", "https://proxy.example//evil.example/%2f.."),
        ("/\\evil.example", "proxy.example", "https://proxy.example/\\evil.example"),
        ("/\xe9", "proxy.example", "https://proxy.example/%E9"),
    ],
)
def test_a_page_without_a_token_is_sent_to_https_on_the_same_host_and_port(target, host, location, method):
    status, headers, _ = answer(get(target, host, method))
    assert (status, headers["location"]) == (308, location)
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    "target",
    [
        "/?token=123-456-789",
        "/vnc_auto.html?path=%3Ftoken%3D123-456-789",
        "/vnc.html?path=websockify%3Ftoken%3D123-456-789&autoconnect=1",
    ],
)
def test_a_token_that_came_in_clear_is_not_sent_on(target):
    status, headers, body = answer(get(target))
    assert (status, body) == (403, SENTENCE)
    assert "location" not in headers


def test_nor_is_one_in_a_cookie():
    status, _, body = answer("GET / HTTP/1.1\r\nHost: proxy.example\r\nCookie: a=b; token=123-456-789\r\n\r\n")
    assert (status, body) == (403, SENTENCE)


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "a@evil.example", "evil.example/", "a:b", "[::1", "a:999999", "a\\b", "a?", "a#"]
)
def test_a_host_that_is_none_is_not_sent_anywhere(host):
    assert answer(get("/", host))[0] == 403


def test_a_request_without_a_host_is_not_sent_anywhere():
    assert answer("GET / HTTP/1.0\r\n\r\n")[0] == 403
    assert answer("GET http://evil.example/ HTTP/1.1\r\nHost: proxy.example\r\n\r\n")[0] == 403
    assert answer("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")[0] == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "DELETE", "TRACE"])
def test_other_methods_are_refused(method):
    assert answer(get("/", method=method))[0] == 403
    assert answer(f"{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")[0] == 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz?a=b"])
def test_health_checks_are_answered_in_clear(path):
    assert answer(get(path))[0] == 200
    assert answer(get(path).replace("1.1", "1.0"))[0] == 200


def test_what_only_looks_like_a_health_check_is_not():
    assert answer(get("/healthz/../vnc.html"))[0] == 308
    assert answer(get("/healthz/"))[0] == 308


def test_behind_a_trusted_proxy_the_way_that_it_was_asked_for_counts():
    forwarded = get("/vnc.html", "inside:6080").replace(
        "\r\n\r\n", "\r\nX-Forwarded-Host: public.example\r\nX-Forwarded-Prefix: /console\r\n\r\n"
    )
    assert answer(forwarded, source="198.51.100.1")[1]["location"] == "https://public.example/console/vnc.html"
    assert answer(forwarded)[1]["location"] == "https://inside:6080/vnc.html"
