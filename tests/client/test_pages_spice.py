"""What a listener for SPICE consoles serves, where that differs."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from rfbproxy.client.folders import Folders
from tests.client.callers import Caller, answers
from tests.client.page_requests import body, get, status

SPICE = {"protocol": "spice"}
TOKEN = "123-456-789"


def write(folder, **files):
    """Files whose names have `__` for a slash and `_` for a dot."""
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def npm(tmp_path):
    """spice-html5 as npm lays it out."""
    write(tmp_path / "npm", src__main_js="npm's main", spice_css="npm's style")
    (tmp_path / "npm" / "spice_auto.html").write_text("npm's page")
    return tmp_path / "npm"


@pytest.fixture
def spice(folders, npm):
    write(folders.own, vnc_js="our vnc", spice_js="our spice")
    return Folders(folders.own, None, None, npm)


def test_our_page_and_its_policy(spice):
    for target in ("/", "/?token=123-456-789", "/_console/console.html"):
        code, headers, text = get(spice, target, **SPICE)
        assert (code, text) == (200, b"<!doctype html><title>console</title>\n")
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; media-src blob:; frame-ancestors 'self'"
        )
    assert body(spice, "/mandatory.json", **SPICE) == b"{}"


def test_the_viewer_is_that_of_the_listeners_protocol(spice):
    assert body(spice, "/_console/viewer.js", **SPICE) == b"our spice"
    assert body(spice, "/_console/viewer.js") == b"our vnc"


def test_our_page_has_no_name_of_novncs(spice):
    for name in ("vnc.html", "vnc_auto.html", "vnc_lite.html"):
        assert status(spice, f"/{name}", **SPICE) == 404


def test_spice_html5s_page_is_served_as_it_is(spice):
    code, headers, text = get(spice, f"/spice_auto.html?token={TOKEN}", **SPICE)
    assert (code, text) == (200, b"npm's page")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert body(spice, "/src/main.js", **SPICE) == b"npm's main"
    assert body(spice, "/spice.css", **SPICE) == b"npm's style"
    assert status(spice, "/spice_auto.html") == 404, "on a listener for VNC"
    assert status(replace(spice, spice=None), "/spice_auto.html", **SPICE) == 404


@pytest.mark.parametrize("target", ["/src/../../outside", "/src/%2e%2e/%2e%2e/outside", "/_console/spice-html5/..%2f"])
def test_no_path_leads_out_of_the_package(spice, target):
    assert status(spice, target, **SPICE) == 400


def test_our_page_loads_the_modules_of_npms_package_and_of_debians(spice, tmp_path):
    assert body(spice, "/_console/spice-html5/main.js", **SPICE) == b"npm's main"
    write(tmp_path / "debian", main_js="Debian's main")
    debian = replace(spice, spice=tmp_path / "debian")
    assert body(debian, "/_console/spice-html5/main.js", **SPICE) == b"Debian's main"
    assert status(debian, "/_console/spice-html5/src/main.js", **SPICE) == 404
    assert status(replace(spice, spice=None), "/_console/spice-html5/main.js", **SPICE) == 404


def test_the_operators_spice_html5_goes_before_the_package_and_is_not_mixed_with_it(spice, tmp_path):
    operator = tmp_path / "theirs"
    write(operator, main_js="their main", a_txt="theirs")
    folders = replace(spice, operator=operator)
    assert body(folders, "/a.txt", **SPICE) == b"theirs"
    assert body(folders, "/spice_auto.html", **SPICE) == b"npm's page", "a folder for VNC, perhaps"
    (operator / "spice_auto.html").write_text("their page")
    assert body(folders, "/spice_auto.html", **SPICE) == b"their page"
    assert body(folders, "/main.js", **SPICE) == b"their main"
    assert status(folders, "/src/main.js", **SPICE) == 404
    assert body(folders, "/_console/spice-html5/main.js", **SPICE) == b"npm's main", "our page has its own"
    assert b"console" in body(folders, "/", **SPICE)


# Viewer files


def with_file(made, asked=None):
    """A listener that makes `made` of any token; `asked` collects what for."""

    async def make(token, source):
        if asked is not None:
            asked.append((token, source))
        if isinstance(made, Exception):
            raise made
        return made

    return {**SPICE, "viewer_file": make}


def test_a_viewer_file(spice):
    asked = []
    for method in ("GET", "HEAD"):
        target, made = f"/console.vv?token=x&token={TOKEN}", with_file(b"[virt-viewer]\n", asked)
        code, headers, text = get(spice, target, method=method, cache="no-store", **made)
        assert (code, text) == (200, b"[virt-viewer]\n" if method == "GET" else b"")
        assert headers["content-type"] == "application/x-virt-viewer"
        assert headers["content-disposition"] == 'attachment; filename="console.vv"'
        assert headers["content-length"] == "14"
    assert asked == [(TOKEN, "192.0.2.7")] * 2


def test_a_viewer_file_that_is_not_given_out(spice):
    code, headers, text = get(
        spice, f"/console.vv?token={TOKEN}", cache="no-store", **with_file((403, "The token has expired."))
    )
    assert (code, text) == (403, b"The token has expired.\n")
    assert headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("query", ["", "?", "?token=", "?tok=x"])
def test_a_viewer_file_needs_a_token(spice, query):
    asked = []
    assert status(spice, f"/console.vv{query}", **with_file(b"", asked)) == 400
    assert asked == []


def test_a_listener_without_viewer_files(spice):
    assert status(spice, f"/console.vv?token={TOKEN}", **SPICE) == 404
    assert status(spice, f"/console.vv?token={TOKEN}") == 404


def test_a_viewer_file_that_cannot_be_made_is_not_left_unanswered(spice, log):
    made = with_file(ZeroDivisionError())
    code, _, text = get(spice, f"/console.vv?token={TOKEN}", cache="no-store", **made)
    assert (code, text) == (500, b"The file could not be made.\n")
    failed = log.pop(next(i for i, event in enumerate(log) if "log_failure" in event))
    assert failed["log_format"] == "viewer file failed"


def test_a_viewer_file_for_a_client_that_left(spice):
    made = Deferred()
    caller = Caller(folders=spice, viewer_file=lambda token, source: made, **SPICE)
    caller.send(b"GET /console.vv?token=123-456-789 HTTP/1.1\r\n\r\n")
    caller.lose()
    made.callback(b"[virt-viewer]\n")
    assert caller.received() == b""


def test_other_requests_go_on_after_a_viewer_file(spice):
    caller = Caller(folders=spice, **with_file(b"[virt-viewer]\n"))
    for target in (f"/console.vv?token={TOKEN}", "/healthz"):
        caller.send(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    assert [text for _, _, text in answers(caller.received())] == [b"[virt-viewer]\n", b"alive\n"]
    caller.lose()
