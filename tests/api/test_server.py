"""The API's HTTP: who may ask, what a body may be, and what is answered where something fails."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfbproxy.api.faults import Fault
from rfbproxy.api.json_body import BODY_LIMIT, read_json
from rfbproxy.errors import StoreError, StoreReadOnly
from tests.api.conftest import TOKEN, AbortableTransport, read_answer
from tests.api.test_nova_routes import is_fault

PATHS = ["/v1/consoles", "/v1/sessions", "/servers/i/action", "/v2.1/os-console-auth-tokens/x", "/nonsense", "//", "*x"]
BODY = {"type": "novnc", "target": {"host": "h", "port": 1}}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "\xe4"])
def test_without_the_token_nothing_is_told(api, path, token):
    for method in ("GET", "POST", "DELETE", "PATCH"):
        answer = api.ask(method, path, token=token)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json == {
            "unauthorized": {"code": 401, "message": "The request you have made requires authentication."}
        }


@pytest.mark.parametrize("header", [f"X-Auth-Token: {TOKEN}", f"authorization: bearer   {TOKEN} ",
                                    f"Authorization: Basic x\r\nX-Auth-Token: {TOKEN}"])  # fmt: skip
def test_ways_to_show_the_token(api, header):
    assert api.ask("GET", "/v1/consoles", token=None, headers=[header]).status == 200


def test_a_changed_token_counts_at_once(api, tmp_path, log):
    (tmp_path / "token").write_text("another one\nand one more\n")
    assert api.ask("GET", "/v1/consoles").status == 401
    assert api.ask("GET", "/v1/consoles", token="another one").status == 200
    (tmp_path / "token").write_text("")
    assert api.ask("GET", "/v1/consoles", token="").status == 401
    assert api.ask("GET", "/v1/consoles", token="another one").status == 401
    (tmp_path / "token").unlink()
    assert api.ask("GET", "/v1/consoles", token="another one").status == 401
    told = [event for event in log if "lets nobody in" in str(event.get("log_format"))]
    assert len(told) == 2
    assert "another one" not in str(log)


def test_what_needs_no_token(api):
    assert (api.ask("GET", "/healthz", token=None).body, api.ask("GET", "/readyz", token=None).body) == (
        b"alive\n", b"ready\n",
    )  # fmt: skip
    assert api.ask("HEAD", "/healthz", token=None).body == b""
    assert api.ask("GET", "/openapi.json", token=None).json["openapi"] == "3.1.0"
    assert api.ask("POST", "/healthz", token=None).status == 401
    assert is_fault(api.ask("POST", "/healthz"), 405)
    api.problems.append("The store fails.")
    answer = api.ask("GET", "/readyz", token=None)
    assert (answer.status, answer.body) == (503, b"The store fails.\n")


@pytest.mark.parametrize("tls_only", [True])
def test_in_clear_only_health_is_told_where_tls_is_demanded(api, tls_only):
    assert api.ask("GET", "/healthz", token=None).status == 200
    assert is_fault(api.ask("GET", "/v1/consoles"), 403, "TLS")


def test_other_methods(api):
    answer = api.ask("PUT", "/v1/consoles")
    assert is_fault(answer, 405)
    assert answer.headers["allow"] == "POST, GET"
    assert api.ask("HEAD", "/v1/consoles").status == 200
    assert api.ask("DELETE", "/v1/consoles/revoke").headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Expecting value"),
        (b"{", "Malformed request body"),
        (b"\xff", "not UTF-8"),
        (b'{"a": "\xc3\x28"}', "not UTF-8"),
        (b'\xef\xbb\xbf{}', "Malformed"),
        (b'{"type": "\\ud800"}', "not UTF-8"),
        (b'{"type": "novnc", "type": "novnc"}', "twice"),
        (b'{"type": "novnc", "target": {"host": "h", "host": "h", "port": 1}}', "twice"),
        (b'{"type": NaN}', "NaN is no JSON"),
        (b'{"type": -Infinity}', "no JSON"),
        (b'{"type": 1e999}', "type"),
        (b"1" * 5000, "too many digits"),
        (b"[" * BODY_LIMIT, "nested too deeply"),
        (b'{"type": ' + b"[" * 900 + b"]" * 900 + b"}", "Invalid input"),
        (b'{"a": ' * 10000, "nested too deeply"),
        (b"{} {}", "Extra data"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_strict_json(api, body, words):
    assert is_fault(api.ask("POST", "/v1/consoles", body), 400, words)


def test_novas_own_kind_of_body(api):
    head = f"POST /v1/consoles/revoke HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\n"
    head += "Content-Type: application/vnd.openstack.compute+json; charset=utf-8\r\nContent-Length: 15\r\n\r\n"
    assert read_answer(api.send(head.encode() + b'{"token": "no"}').value()).json == {"revoked": 0}


def test_bodies_of_other_kinds(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
        head = f"POST /v1/consoles HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\nContent-Type: {kind}\r\n"
        answer = read_answer(api.send(f"{head}Content-Length: 2\r\n\r\n{{}}".encode()).value())
        assert is_fault(answer, 415)


def test_a_body_up_to_the_limit(api):
    body = json.dumps(BODY).encode()
    assert api.ask("POST", "/v1/consoles", body + b" " * (BODY_LIMIT - len(body))).status == 200
    answer = api.ask("POST", "/v1/consoles", body + b" " * (BODY_LIMIT + 1 - len(body)))
    assert is_fault(answer, 413)
    assert answer.headers["connection"] == "close"


def test_a_chunked_body_has_the_same_limit(api):
    head = (f"POST /v1/consoles HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").encode()  # fmt: skip
    body = json.dumps(BODY).encode()
    pieces = [b"%x\r\n%s\r\n" % (len(body), body), b"0\r\n\r\n"]
    assert read_answer(api.send(head, *pieces).value()).status == 200
    spaces = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    assert is_fault(read_answer(api.send(head, *[spaces] * 17, b"0\r\n\r\n").value()), 413)


def test_a_body_without_end_is_cut_off(api):
    head = f"POST /v1/consoles HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\nContent-Length: 99999999\r\n\r\n"
    assert api.send(head.encode(), *[b" " * 1024 * 1024] * 17).aborted


def test_a_silent_connection_is_dropped(api):
    transport = api.send()
    api.clock.advance(31)
    assert transport.aborted


def test_whoever_brings_no_token_is_dropped_however_slowly_it_talks(api):
    transport = AbortableTransport()
    connection = api.factory.buildProtocol(None)
    connection.makeConnection(transport)
    connection.dataReceived(b"GET /v1/consoles HTTP/1.1\r\nHost: api\r\n")
    for _ in range(29):
        api.clock.advance(1)
        connection.dataReceived(b"x: y\r\n")
    assert not transport.aborted
    api.clock.advance(1)
    assert transport.aborted


def test_a_store_that_fails_is_not_the_callers_fault(api, log):
    def fail(*arguments):
        raise StoreError("token store postgresql://db: the disk is full")

    api.store.list = fail
    answer = api.ask("GET", "/v1/consoles")
    assert is_fault(answer, 503)
    assert b"postgresql" not in answer.body
    assert any("disk is full" in str(event.get("error")) for event in log)

    def refuse(*arguments):
        raise StoreReadOnly("token store x is nova's")

    api.store.create = refuse
    assert is_fault(api.ask("POST", "/v1/consoles", BODY), 403, "nova's")


def test_our_own_fault_tells_nothing(api, log):
    def fail(*arguments):
        raise KeyError("hunter2")

    api.store.list = fail
    answer = api.ask("GET", "/v1/consoles")
    assert answer.json == {"computeFault": {"code": 500, "message": "Unexpected API Error."}}
    assert any(event.get("log_failure") for event in log)


def test_no_secret_is_logged(api, log):
    created = api.ask("POST", "/v1/consoles", {**BODY, "target": {**BODY["target"], "password": "hunter2"}}).json
    api.ask("GET", f"/os-console-auth-tokens/{created['token']}")
    api.ask("POST", "/v1/consoles/revoke", {"token": created["token"]})
    api.ask("POST", "/v1/consoles/revoke", {"token": created["token"], "extra": "hunter2"})
    text = str(log)
    assert "API: " in text
    for secret in (created["token"], "hunter2", TOKEN):
        assert secret not in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["OpenStack-API-Version: compute 2.31"], 404),
        (["X-OpenStack-Nova-API-Version: 2.31"], 404),
        (["OpenStack-API-Version: identity 3.1, compute 2.5"], 200),
        (["OpenStack-API-Version: identity 3.1"], 200),
        (["OpenStack-API-Version: compute 2.5", "X-OpenStack-Nova-API-Version: 2.99"], 200),
        (["OpenStack-API-Version: compute latest"], 404),
        (["OpenStack-API-Version: compute 2.100"], 406),
        (["OpenStack-API-Version: compute 2.0"], 406),
        (["OpenStack-API-Version: compute 3.1"], 406),
        (["OpenStack-API-Version: compute two"], 400),
        (["OpenStack-API-Version: compute"], 400),
        (["OpenStack-API-Version: compute 2.05"], 400),
        (["X-OpenStack-Nova-API-Version: 2"], 400),
    ],
)
def test_microversions(api, headers, status):
    body = {"os-getVNCConsole": {"type": "novnc"}, "target": {"host": "h", "port": 1}}
    answer = api.ask("POST", "/servers/i/action", body, headers=headers)
    assert answer.status == status
    if status != 200:
        assert is_fault(answer, status)


@pytest.mark.parametrize("name", ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "Host", "Content-Type",
                                  "Authorization", "X-Auth-Token", "Accept"])  # fmt: skip
def test_headers_that_are_no_text(api, name):
    for path in ("/v2.1/", "/os-console-auth-tokens/x", "/v1/consoles"):
        sent = f"GET {path} HTTP/1.1\r\nConnection: close\r\nX-Auth-Token: {TOKEN}\r\n".encode()
        transport = api.send(sent + name.encode() + b": \x84\xff\r\n\r\n")
        assert read_answer(transport.value()).status in (200, 400, 401, 404)


def test_guessing_gets_slower_and_asking_again_does_not(api):
    def waits(token):
        sent = f"GET /v1/consoles HTTP/1.1\r\nHost: api\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        transport = api.send(sent.encode())
        waited = 0.0
        while not transport.value():
            api.clock.advance(0.01)
            waited += 0.01
        return read_answer(transport.value()).status, waited

    for _ in range(20):
        assert waits("an old one")[1] < 0.2, "a client that does not know of the new token is no guesser"
    for number in range(100):
        status, waited = waits(f"guess {number}")
        assert status == 401
    assert waited > 0.4, "one after the other, two a second"
    status, waited = waits(TOKEN)
    assert (status, waited > 0.4) == (200, True), "the wait does not tell whether a token is good"


def test_whoever_has_the_token_is_no_stranger(api):
    room = api.factory._listener.waiting_room
    transport = api.send(f"GET /v1/consoles HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\n\r\n".encode())
    assert transport.value().startswith(b"HTTP/1.1 200 ")
    assert len(room) == 0
    api.send(b"GET /v1/consoles HTTP/1.1\r\nHost: a\r\nX-Auth-Token: wrong\r\n\r\n")
    assert len(room) == 1


@pytest.mark.parametrize("length", [b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: +2",
                                    b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"Content-Length: 2, 2",
                                    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding : chunked",
                                    ])  # fmt: skip
def test_no_request_is_smuggled_in_another(api, length):
    inner = f"POST /v1/consoles/revoke HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\n\r\n".encode()
    head = f"POST /v1/consoles/revoke HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\n".encode()
    said = api.send(head + length + b"\r\n\r\n" + inner).value()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("headers", [["Origin: https://evil.example", "Cookie: token=" + TOKEN],
                                     ["Host: rebound.example"], ["Sec-Fetch-Site: cross-site"],
                                     ["Authorization: Basic dXNlcjpwYXNz"]])  # fmt: skip
def test_what_a_browser_brings_by_itself_opens_nothing(api, headers):
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        answer = api.ask(method, "/v1/consoles", b"{}" if method == "POST" else None, token=None, headers=headers)
        assert answer.status == 401
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert api.ask("OPTIONS", "/v1/consoles", headers=headers).status == 405


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
SOME_KEYS = st.sampled_from(["type", "instance", "target", "host", "port", "policy", "password", "token", "id", "share",
                             "remote_console", "protocol", "os-getVNCConsole", "allow_channels"])  # fmt: skip
NEARLY = st.recursive(JSON, lambda inner: st.dictionaries(SOME_KEYS, inner), max_leaves=8)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/v1/consoles", "/v1/consoles/revoke", "/v1/consoles/move", "/servers/i/remote-consoles",
                          "/servers/i/action"]),
    body=st.binary() | NEARLY.map(lambda value: json.dumps(value).encode()),
)  # fmt: skip
def test_no_body_makes_it_fail(api, path, body):
    assert api.ask("POST", path, body).status in (200, 400)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1))
def test_no_bytes_make_it_fail(api, data):
    api.send(data)
    api.send(b"POST " + data)


@given(st.binary())
def test_json_is_read_or_refused(data):
    try:
        value = read_json(data)
    except Fault:
        return
    assert value == json.loads(data) or value != value
