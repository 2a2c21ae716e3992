"""The API of the real service, asked over real sockets and by the real command."""

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import time

import pytest

from rfbproxy.reasons import CloseReason
from tests.certificates import certificate
from tests.peers import SERVER_INIT, WebSocket, echo, enter, refusal, target
from tests.ports import free_port
from tests.proxy_process import BIN, TIMEOUT_S, Proxy, run, running, until
from tests.test_startup import hand_over

TOKEN = "the-token-of-the-api"
ENDS_WITHIN_S = 2.0


def serving(folder, options="", listen=None):
    """A proxy with an API; gives it with `api_port`."""
    (folder / "token").write_text(f"{TOKEN}\n")
    port = free_port()
    listen = listen or f"127.0.0.1:{port}"
    started = running(folder, f"api_listen = {listen.format(port=port)}\napi_token_file = token\n{options}")
    return port, started


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    port, started = serving(folder, "trusted_proxies = 127.0.0.1\n[spice]\nenabled = True\nhtml5proxy_host =\n")
    with started as running_proxy:
        running_proxy.api_port = port
        until(lambda: "listening for the API on" in running_proxy.log, "the API")
        yield running_proxy


@pytest.fixture(scope="module")
def echoing():
    with target(echo) as server:
        yield server


def ask(port, method, path, body=None, *, token=TOKEN, context=None, headers=()):
    """One request; gives status and JSON."""
    kind = http.client.HTTPConnection if context is None else http.client.HTTPSConnection
    connection = kind("127.0.0.1", port, timeout=TIMEOUT_S, **({} if context is None else {"context": context}))
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **dict(headers)}
    content = body if isinstance(body, bytes) or body is None else json.dumps(body)
    try:
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def command(proxy, *arguments, token_file="token", scheme="http", stdin=""):
    """Run the command on the API, far from the proxy's own options."""
    api = ("--api", f"{scheme}://127.0.0.1:{proxy.api_port}", "--api-token-file", proxy.folder / token_file)
    return run("consoleproxy", "--json", *arguments, *api, stdin=stdin)


def done(proxy, *arguments, **how):
    result = command(proxy, *arguments, **how)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def create(proxy, port, instance=None, **policy):
    """Issue a token by the API."""
    body = {"type": "novnc", "target": {"host": "127.0.0.1", "port": port, "policy": policy}}
    if instance is not None:
        body["instance"] = instance
    status, created = ask(proxy.api_port, "POST", "/v1/consoles", body)
    assert status == 200, created
    return created


def opened(proxy, created, source="198.51.100.1"):
    return WebSocket(proxy.port, f"/?token={created['token']}", f"X-Forwarded-For: {source}")


def ended_within(client, since):
    client.until_close()
    took = time.monotonic() - since
    assert took < ENDS_WITHIN_S, f"ended after {took:.1f} s"
    return client.close_code


def session_of(proxy, instance):
    """The session of an instance, once it is told of."""

    def find():
        _, listed = ask(proxy.api_port, "GET", "/v1/sessions")
        return [session for session in listed["sessions"] if session["instance"] == instance]

    return until(find, "the session in the list")[0]


def test_a_console_created_by_the_command_can_be_opened_listed_moved_and_revoked(proxy, echoing, tmp_path):
    (tmp_path / "password").write_text("geheim\n")
    created = done(proxy, "console", "create", "--type", "novnc", "--host", "127.0.0.1", "--port", str(echoing.port),
                   "--instance", "first", "--idle-timeout", "60", "--password-file", tmp_path / "password")  # fmt: skip
    assert list(created) == ["token", "url", "type", "expires", "instance"]
    assert created["url"] == f"http://127.0.0.1:{proxy.port}/vnc_auto.html?path=%3Ftoken%3D{created['token']}"
    with opened(proxy, created) as client:
        assert enter(client) == SERVER_INIT
    listed = done(proxy, "console", "list")
    assert listed == proxy.console("list")
    (id_,) = [each["id"] for each in listed["consoles"] if each["instance"] == "first"]
    assert done(proxy, "console", "move", "--instance", "first", "--host", "::1", "--port", "5") == {"moved": 1}
    moved = next(each for each in proxy.console("list")["consoles"] if each["id"] == id_)
    assert (moved["host"], moved["port"]) == ("::1", 5)
    assert done(proxy, "console", "revoke", "--token-file", "-", stdin=created["token"]) == {"revoked": 1}
    assert done(proxy, "console", "revoke", "--id", id_) == {"revoked": 0}


def test_a_spice_console_brings_its_file(proxy):
    created = done(proxy, "console", "create", "--type", "spice-direct", "--host", "h", "--port", "1",
                   "--allow-channel", "usbredir", "--host-subject", "CN=a")  # fmt: skip
    assert created["vv"].startswith("[virt-viewer]\n")


def test_what_the_api_refuses_is_one_line(proxy):
    refused = command(proxy, "console", "create", "--type", "novnc", "--host", "a b", "--port", "1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"consoleproxy: the API at http://127.0.0.1:{proxy.api_port} answers 400: "
        "host 'a b' is neither a name nor an address\n"
    )
    (proxy.folder / "wrong").write_text("wrong\n")
    denied = command(proxy, "console", "list", token_file="wrong")
    assert denied.returncode == 1
    assert "answers 401: " in denied.stderr
    assert len(denied.stderr.splitlines()) == 1


def test_the_token_may_come_from_the_options(proxy):
    result = run("consoleproxy", "--json", "--config-file", proxy.config, "session", "list", "--api",
                 f"http://127.0.0.1:{proxy.api_port}", cwd=proxy.folder)  # fmt: skip
    assert result.returncode == 0, result.stderr
    result = run("consoleproxy", "session", "list", "--api", f"http://127.0.0.1:{proxy.api_port}")
    assert result.returncode == 1
    assert result.stderr == ("consoleproxy: --api needs a token: --api-token-file, or [consoleproxy] api_token_file\n")


def test_session_list_and_session_end(proxy, echoing):
    with opened(proxy, create(proxy, echoing.port, "listed")) as client:
        assert enter(client) == SERVER_INIT
        session = session_of(proxy, "listed")
        assert list(session) == ["id", "type", "client", "target", "instance", "started", "bytes_to_client",
                                 "bytes_to_target", "proxy"]  # fmt: skip
        assert (session["type"], session["client"]) == ("novnc", "198.51.100.1")
        assert session["target"] == f"127.0.0.1:{echoing.port}"
        assert session["id"] in [each["id"] for each in done(proxy, "session", "list")["sessions"]]
        before = len(proxy.records)
        asked = time.monotonic()
        assert ask(proxy.api_port, "DELETE", f"/v1/sessions/{session['id']}") == (200, {"ended": 1})
        assert ended_within(client, asked) == CloseReason.REVOKED.websocket_code
    assert proxy.next_record(before)["close_reason"] == "revoked"
    assert done(proxy, "session", "end", session["id"]) == {"ended": 0}


@pytest.mark.parametrize("how", ["token", "instance", "id", "DELETE"])
def test_revoking_ends_a_live_session(proxy, echoing, how):
    created = create(proxy, echoing.port, f"revoked-{how}")
    with opened(proxy, created) as client:
        assert enter(client) == SERVER_INIT
        session_of(proxy, created["instance"])
        _, listed = ask(proxy.api_port, "GET", "/v1/consoles")
        (id_,) = [each["id"] for each in listed["consoles"] if each["instance"] == created["instance"]]
        asked = time.monotonic()
        if how == "DELETE":
            answer = ask(proxy.api_port, "DELETE", f"/v1/consoles/{id_}")
        else:
            which = {**created, "id": id_}[how]
            answer = ask(proxy.api_port, "POST", "/v1/consoles/revoke", {how: which})
        assert answer == (200, {"revoked": 1})
        assert ended_within(client, asked) == 1008
    with opened(proxy, created) as client:
        assert refusal(client) == CloseReason.TOKEN_UNKNOWN.sentence


def test_a_one_time_token_is_for_one_client(proxy, echoing):
    created = create(proxy, echoing.port, one_time=True)
    with opened(proxy, created) as client:
        assert enter(client) == SERVER_INIT
        with opened(proxy, created, "203.0.113.9") as other:
            assert refusal(other) == CloseReason.TOKEN_EXPIRED.sentence
    with opened(proxy, created) as again:
        assert enter(again) == SERVER_INIT


def test_an_exclusive_session_ends_the_others_of_its_instance(proxy, echoing):
    created = create(proxy, echoing.port, "exclusive")
    with opened(proxy, created) as client:
        assert enter(client) == SERVER_INIT
        session_of(proxy, "exclusive")
        asked = time.monotonic()
        with opened(proxy, create(proxy, echoing.port, "exclusive", share="exclusive")) as other:
            assert enter(other) == SERVER_INIT
            assert ended_within(client, asked) == CloseReason.POLICY.websocket_code


def test_a_session_that_yields_is_refused(proxy, echoing):
    with opened(proxy, create(proxy, echoing.port, "yields", share="share")) as client:
        assert enter(client) == SERVER_INIT
        session_of(proxy, "yields")
        with opened(proxy, create(proxy, echoing.port, "yields", share="refuse")) as other:
            assert refusal(other) == CloseReason.POLICY.sentence


def test_novas_console_can_be_opened(proxy, echoing):
    body = {"remote_console": {"protocol": "vnc", "type": "novnc"},
            "target": {"host": "127.0.0.1", "port": echoing.port}}  # fmt: skip
    status, answer = ask(proxy.api_port, "POST", "/v2.1/servers/s/remote-consoles", body,
                         headers={"OpenStack-API-Version": "compute 2.6"})  # fmt: skip
    assert status == 200
    token = answer["remote_console"]["url"].partition("token%3D")[2]
    with opened(proxy, {"token": token}) as client:
        assert enter(client) == SERVER_INIT
    status, shown = ask(proxy.api_port, "GET", f"/v2.1/os-console-auth-tokens/{token}")
    assert (status, shown["console"]["port"]) == (200, echoing.port)
    assert token not in proxy.log


def test_limits(proxy):
    for size, expected in ((64 * 1024 + 1, 413), (4 * 1024 * 1024, 413)):
        status, answer = ask(proxy.api_port, "POST", "/v1/consoles", b" " * size)
        assert (status, list(answer)) == (expected, ["overLimit"])
    assert ask(proxy.api_port, "POST", "/v1/consoles", b"[" * 60_000)[0] == 400
    assert ask(proxy.api_port, "POST", "/v1/consoles", b"[" * 60_000, token="wrong")[0] == 401
    assert ask(proxy.api_port, "GET", "/v1/consoles")[0] == 200


def test_the_openapi_document_holds_under_schemathesis(proxy):
    """Requests made of the document, right and wrong ones; few of them, since this is for every run of the tests."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance," \
             "negative_data_rejection,ignored_auth,unsupported_method"  # fmt: skip
    result = subprocess.run(
        [BIN / "schemathesis", "run", f"http://127.0.0.1:{proxy.api_port}/openapi.json", "--header",
         f"Authorization: Bearer {TOKEN}", "--checks", checks, "--phases", "examples,coverage,fuzzing",
         "--max-examples", "5", "--generation-deterministic", "--no-color", "--workers", "1"],
        capture_output=True, text=True, timeout=110, check=False, cwd=proxy.folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "Traceback" not in proxy.log


def test_no_secret_in_the_log(proxy):
    assert "API: POST /v1/consoles by 127.0.0.1" in proxy.log
    for secret in (TOKEN, "geheim", "token="):
        assert secret not in proxy.log


# Starting, reloading, TLS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("api_listen = 8775", "[consoleproxy] api_listen needs a token: set [consoleproxy] api_token_file"),
        ("api_listen = 8775\napi_token_file = none", "api_token_file: {folder}/none cannot be read: No such file"),
        ("api_listen = 8775\napi_token_file = empty", "the first line of {folder}/empty has 0 bytes"),
        ("api_listen = localhost", "[consoleproxy] api_listen: 'localhost' is not an address"),
        ("api_listen = :99999", "api_listen: '127.0.0.1:99999' is not an address"),
    ],
)
def test_what_cannot_be_used_ends_the_start(tmp_path, options, expected):
    (tmp_path / "empty").write_text("\n")
    proxy = Proxy(tmp_path, options)
    result = run("twistd", "-n", "consoleproxy", "--config-file", proxy.config, cwd=tmp_path)
    assert result.returncode == 1
    assert expected.format(folder=tmp_path) in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("listen", ["{port}", ":{port}"])
def test_without_a_host_it_listens_on_loopback_and_a_reload_keeps_it(tmp_path, listen):
    port, started = serving(tmp_path, listen=listen)
    with started as proxy:
        assert f"listening for the API on 127.0.0.1:{port}" in until(lambda: proxy.log, "the log")
        assert ask(port, "GET", "/v1/consoles")[0] == 200
        (tmp_path / "other").write_text("another token")
        proxy.write_config(f"api_listen = {free_port()}\napi_token_file = other")
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: "options were read again" in proxy.log, "the reload")
        assert "needs a restart: [consoleproxy] api_listen" in proxy.log
        assert ask(port, "GET", "/v1/consoles")[0] == 401
        assert ask(port, "GET", "/v1/consoles", token="another token")[0] == 200
        assert proxy.stop() == 0


def test_a_socket_that_was_handed_over(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    proxy = Proxy(tmp_path, "api_listen = 8775\napi_token_file = token")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hand_over(proxy, [listening], {"LISTEN_FDNAMES": "api"})
        try:
            assert ask(listening.getsockname()[1], "GET", "/v1/sessions") == (200, {"sessions": []})
            assert "listening for the API on 127.0.0.1" in proxy.log
            assert "(handed over)" in proxy.log
        finally:
            assert proxy.stop() == 0


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("[::1]", False), ("0.0.0.0", True)])
def test_in_clear_on_a_network_there_is_a_warning(tmp_path, host, warned):
    _, started = serving(tmp_path, listen=host + ":{port}")
    with started as proxy:
        assert ("the API is offered in clear on 0.0.0.0:" in proxy.log) is warned


def test_connections_of_strangers_are_bounded(tmp_path):
    port, started = serving(tmp_path, "max_unauthenticated_per_source = 5")
    with started as proxy, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(6)]
        silent[0].settimeout(TIMEOUT_S)
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b""
        assert ask(port, "GET", "/v1/consoles")[0] == 200
        assert "is dropped without a token" in proxy.log


def test_an_api_alone_is_a_service_too(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    port = free_port()
    proxy = Proxy(tmp_path, f"api_listen = {port}\napi_token_file = token\n[vnc]\nenabled = False")
    proxy._is_up = lambda: "listening for the API" in proxy.log
    try:
        proxy.start()
        assert ask(port, "GET", "/v1/consoles") == (200, {"consoles": []})
    finally:
        assert proxy.stop() == 0


def test_tls(tmp_path):
    pem, other = tmp_path / "cert.pem", tmp_path / "other.pem"
    certificate(pem, pem)
    certificate(other, other)
    port, started = serving(tmp_path, f"[DEFAULT]\ncert = {pem}\nssl_only = True")
    trusting = ssl.create_default_context(cafile=str(pem))
    with started as proxy:
        proxy.api_port = port
        assert ask(port, "GET", "/v1/consoles", context=trusting) == (200, {"consoles": []})
        assert ask(port, "GET", "/v1/consoles")[0] == 403
        assert done(proxy, "console", "list", "--api-ca-file", pem, scheme="https") == {"consoles": []}
        distrusting = command(proxy, "console", "list", "--api-ca-file", other, scheme="https")
        assert distrusting.returncode == 1
        assert "cannot be asked: " in distrusting.stderr
        assert len(distrusting.stderr.splitlines()) == 1


def test_client_certificates(tmp_path):
    pem, client = tmp_path / "cert.pem", tmp_path / "client.pem"
    certificate(pem, pem)
    certificate(client, client, "client")
    port, started = serving(tmp_path, f"client_ca_certs = {client}\n[DEFAULT]\ncert = {pem}")
    with started as proxy:
        nobody = ssl.create_default_context(cafile=str(pem))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(port, "GET", "/v1/consoles", context=nobody)
        known = ssl.create_default_context(cafile=str(pem))
        known.load_cert_chain(client)
        assert ask(port, "GET", "/v1/consoles", context=known)[0] == 200
        assert ask(port, "GET", "/v1/consoles")[0] == 403
        proxy.api_port = port
        shown = ("console", "list", "--api-ca-file", pem)
        assert done(proxy, *shown, "--api-cert-file", client, scheme="https") == {"consoles": []}
        refused = command(proxy, *shown, scheme="https")
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
