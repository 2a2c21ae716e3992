import os
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from rfbproxy.client.folders import Folders
from tests.client.callers import Caller, CongestedConnection, answers
from tests.client.page_requests import body, get, status

# What is where


@pytest.mark.parametrize(
    "target", ["/", "/?token=123-456-789", "/vnc_auto.html?path=%3Ftoken%3D123-456-789", "/vnc_lite.html"]
)
def test_our_page_under_the_names_of_novas_urls(folders, target):
    code, headers, text = get(folders, target)
    assert (code, text) == (200, b"<!doctype html><title>console</title>\n")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


def test_the_operators_page_goes_before_ours_but_never_at_the_root(folders):
    (folders.operator / "index.html").write_text("theirs")
    assert body(folders, "/vnc.html") == b"the operator's\n"
    assert b"console" in body(folders, "/")
    assert body(folders, "/index.html") == b"theirs"
    assert get(folders, "/vnc.html")[1]["content-security-policy"] == "frame-ancestors 'self'"
    assert b"console" in body(Folders(folders.own, None), "/vnc.html")


def test_our_own_files_and_novncs(folders):
    assert body(folders, "/_console/console.js") == b"import Viewer\n"
    assert body(folders, "/_console/console.html").startswith(b"<!doctype")
    assert body(folders, "/_console/viewer.js") == b"import noVNC\n"
    assert body(folders, "/_console/novnc/core/rfb.js") == b"export default class RFB {}\n"
    assert status(folders, "/_console/novnc/core/none.js") == 404
    assert status(folders, "/_console/none.js") == 404
    assert status(folders, "/_console/") == 404
    assert status(folders, "/_console") == 404
    assert status(folders, "/_console/novnc") == 404
    assert status(Folders(folders.own, None), "/_console/novnc/core/rfb.js") == 404
    assert status(Folders(folders.own, None), "/a.txt") == 404


def test_novncs_settings_are_empty_unless_the_operator_has_some(folders):
    assert body(folders, "/defaults.json") == b"{}"
    assert get(folders, "/defaults.json")[1]["content-type"] == "application/json"
    assert body(folders, "/mandatory.json") == b'{"view_only": true}'
    assert status(folders, "/sub/defaults.json") == 404


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.woff2", "font/woff2"),
        ("a.ico", "image/x-icon"),
        ("a.map", "application/json"),
        ("a.oga", "audio/ogg"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.qqq", "application/octet-stream"),
        ("mandatory.json", "application/json"),
        ("_console/console.js", "text/javascript; charset=utf-8"),
        ("_console/icon.svg", "image/svg+xml"),
    ],
)
def test_types(folders, name, kind):
    assert get(folders, "/" + name)[1]["content-type"] == kind


def test_names_are_percent_decoded_once(folders):
    assert body(folders, "/%C3%BC.txt") == b"x"
    assert body(folders, "/%61.txt") == b"x"
    assert status(folders, "/%2561.txt") == 404


def test_targets_in_absolute_form(folders):
    assert body(folders, "http://example.net:6080/a.txt?x") == b"x"
    assert b"console" in body(folders, "HTTPS://example.net")
    assert b"console" in body(folders, "http://example.net?token=123-456-789")
    assert status(folders, "ftp://example.net/a.txt") == 400
    assert status(folders, "http://example.net//evil.com/%2F..") == 400
    assert status(folders, "a.txt") == 400
    assert status(folders, "*") == 400


# No way out


@pytest.mark.parametrize(
    "target",
    [
        "//example.com/%2F..",
        "///example.com/%2F..",
        "//example.com",
        "///",
        "/%2F/example.com",
        "/%2Fexample.com/..",
        "/\\example.com",
        "/%5cexample.com",
        "/../outside",
        "/sub/../../outside",
        "/%2e%2e/outside",
        "/%2E./outside",
        "/..%2foutside",
        "/..%5coutside",
        "/sub/..",
        "/.",
        "/sub/%2e/",
        "/a.txt%00",
        "/%00",
        "/a%0d%0ab",
        "/%7f",
        "/%ff",
        "/\x90",
    ],
)
def test_nova_W18_no_path_leads_out_or_to_another_host(folders, target):
    """nova: 400 or a redirect to one slash; here never a redirect."""
    code, headers, _ = get(folders, target)
    assert code == 400
    assert "location" not in headers


@pytest.mark.parametrize(
    "target",
    [
        "/way_out",
        "/folder_out/outside",
        "/folder_out",
        "/folder_out/",
        "/.hidden",
        "/sub/.hidden",
        "/.git/config",
        "/...",
        "/a//b",
        "/sub//index.html",
        "/sub//",
        "/none",
        "/a.txt/",
        "/a.txt/b",
        "/" + "a" * 300,
        "/_console/../outside%3f".replace("..", "%2e%2e%2e"),
    ],
)
def test_what_is_not_served_is_404(folders, target):
    assert status(folders, target) == 404


def test_a_link_inside_the_folder_is_served(folders):
    assert body(folders, "/way_in") == b"x"


def test_only_regular_files(folders):
    os.mkfifo(folders.operator / "fifo")
    assert status(folders, "/fifo") == 404


def test_a_file_that_cannot_be_opened_is_404(folders, monkeypatch, log):
    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert status(folders, "/a.txt") == 404
    assert any("cannot be read" in str(event.get("log_format")) for event in log)


def test_a_file_that_became_something_else_is_404(folders, monkeypatch):
    fifo = folders.operator / "fifo"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    monkeypatch.setattr(Path, "open", lambda self, mode: os.fdopen(descriptor, "rb", buffering=0))
    assert status(folders, "/a.txt") == 404


def test_nova_W30_folders(folders):
    """nova: 301 to `/sub/`; here relatively, so that a prefix of a proxy in front stays and no other host is named."""
    code, headers, _ = get(folders, "/sub?token=123-456-789&x")
    assert (code, headers["location"]) == (301, "./sub/?token=123-456-789&x")
    assert get(folders, "/sub")[1]["location"] == "./sub/"
    assert body(folders, "/sub/") == b"sub\n"
    assert body(folders, "/sub/index.html") == b"sub\n"
    assert status(folders, "/empty") == 404, "no listing"
    assert status(folders, "/empty/") == 404


# Methods


def test_nova_W30_options(folders):
    """nova: 501, which health checks of load balancers do not like."""
    for target in ("/", "/none", "/a.txt"):
        code, headers, text = get(folders, target, method="OPTIONS")
        assert (code, headers["allow"], text) == (204, "GET, HEAD, OPTIONS", b"")
        assert "content-length" not in headers
    assert get(folders, "*", method="OPTIONS")[0] in (204, 400)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "X"])
def test_other_methods_are_405(folders, method):
    code, headers, _ = get(folders, "/", method=method)
    assert (code, headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    "target", ["/", "/a.txt", "/none?token=123-456-789", "/sub", "/healthz", "/readyz", "/defaults.json"]
)
def test_head_is_get_without_its_body(folders, target, log):
    code, headers, text = get(folders, target, method="HEAD")
    code_of_get, headers_of_get, text_of_get = get(folders, target)
    headers.pop("date"), headers_of_get.pop("date")
    assert (code, headers) == (code_of_get, headers_of_get)
    assert text == b""
    assert headers["content-length"] == str(len(text_of_get))
    assert not [event for event in log if event["log_namespace"].startswith("twisted.web")]


# Validators


def test_a_page_that_the_client_has_is_304(folders):
    code, headers, _ = get(folders, "/a.txt")
    etag = headers["etag"]
    for value in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        code, headers, text = get(folders, "/a.txt", f"If-None-Match: {value}")
        assert (code, headers["etag"], text) == (304, etag, b"")
        assert "content-length" not in headers
    for value in ('"x"', "", etag.strip('"')):
        assert get(folders, "/a.txt", f"If-None-Match: {value}")[0] == 200
    (folders.operator / "a.txt").write_bytes(b"xy")
    assert get(folders, "/a.txt", f"If-None-Match: {etag}")[0] == 200


def test_dashboards_may_frame_the_page(folders):
    policy = get(folders, "/", allowed_origins=["dash.example", "b"])[1]["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' http://dash.example:* https://dash.example:* http://b:* https://b:*")


# Large files


def test_a_large_file(folders):
    assert body(folders, "/large.bin") == bytes(range(256)) * 2048


def test_a_large_file_waits_for_a_client_that_does_not_keep_up(folders):
    caller = Caller(folders=folders, transport=CongestedConnection())
    caller.send(b"GET /large.bin HTTP/1.1\r\n\r\nGET /a.txt HTTP/1.1\r\n\r\n")
    got = b""
    for _ in range(20):
        part = caller.received()
        assert len(part) <= 65536 * 2 + 1000
        got += part
        if caller.transport.producer is not None:
            caller.transport.producer.resumeProducing()
    (_, _, large), (_, _, small) = answers(got)
    assert (len(large), small) == (524288, b"x")
    caller.lose()


def test_a_client_that_vanishes_leaves_no_file_open(folders, monkeypatch):
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: opened.append(real(self, mode)) or opened[-1])
    caller = Caller(folders=folders, transport=CongestedConnection())
    caller.send(b"GET /large.bin HTTP/1.1\r\n\r\n")
    assert not opened[0].closed
    caller.transport.producer.stopProducing()
    caller.lose()
    assert opened[0].closed
    get(folders, "/a.txt")
    get(folders, "/a.txt", method="HEAD")
    assert all(file.closed for file in opened)


# Health


def test_healthz(folders):
    assert get(folders, "/healthz")[::2] == (200, b"alive\n")
    assert status(folders, "/healthz/") == 404


@pytest.mark.parametrize(("problem", "code"), [(None, 200), ("The token store fails.", 503)])
def test_readyz(folders, problem, code):
    answer = Deferred()
    caller = Caller(folders=folders, ready=lambda: answer)
    caller.send(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert caller.received() == b""
    answer.callback(problem)
    ((status, _, text),) = answers(caller.received())
    assert (status, text) == (code, b"%s\n" % (problem or "ready").encode())
    caller.lose()


def test_readyz_of_a_client_that_left(folders):
    answer = Deferred()
    caller = Caller(folders=folders, ready=lambda: answer)
    caller.send(b"GET /readyz HTTP/1.1\r\n\r\n")
    caller.lose()
    answer.callback(None)
    assert caller.received() == b""


def test_readyz_whose_check_fails_is_not_left_unanswered(folders, log):
    async def ready():
        raise ZeroDivisionError

    assert get(folders, "/readyz", ready=ready)[::2] == (503, b"The check itself failed.\n")
    assert log.pop(next(i for i, event in enumerate(log) if "log_failure" in event))["log_format"].startswith(
        "readiness"
    )
