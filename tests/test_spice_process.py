"""SPICE through the real `twistd consoleproxy`: the ways in, what is refused and why, and what is recorded."""

import base64
import contextlib
import signal
import socket
import ssl
import struct
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import pytest

from rfbproxy.reasons import CloseReason
from rfbproxy.secret import Secret
from rfbproxy.spice import LinkError
from rfbproxy.spice.messages import message
from tests.certificates import certificate
from tests.peers import TIMEOUT_S, WebSocket, refusal, target
from tests.ports import free_port
from tests.proxy_process import run, until
from tests.spice.samples import HTML5_TICKET, MECHANISM
from tests.spice_peers import (
    CHANNELS,
    CURSOR,
    DISPLAY,
    ECHOED,
    INPUTS,
    MAIN,
    Link,
    Socket,
    Viewer,
    link_error,
    spice_target,
    switch_host,
)
from tests.spice_process import BINARY, PASSWORD, WAYS_IN, spice_running

ORIGINS = "[console]\nallowed_origins = allowed.example\n"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with spice_running(tmp_path_factory.mktemp("clear"), ORIGINS) as started:
        yield started


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    file = tmp_path_factory.mktemp("certificates") / "both.pem"
    certificate(file, file)
    return file


@pytest.fixture(scope="module")
def tls(pem):
    return ssl.create_default_context(cafile=str(pem))


@pytest.fixture(scope="module")
def encrypting(tmp_path_factory, pem):
    """A proxy with a certificate, which is also the one CA of its targets."""
    tls_port = free_port()
    options = f"spice_tls_listen = 127.0.0.1:{tls_port}\nspice_ca_certs = {pem}\n[DEFAULT]\ncert = {pem}\n"
    with spice_running(tmp_path_factory.mktemp("encrypting"), options) as started:
        started.tls_port = tls_port
        yield started


@pytest.fixture(scope="module")
def machine():
    with spice_target(password=PASSWORD) as (_, listening):
        yield listening


# The ways in


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_session_is_relayed_and_leaves_one_record(proxy, way_in):
    with spice_target(password=PASSWORD) as (server, listening):
        token = proxy.token(listening.port, instance="11111111-2222-3333-4444-555555555555")
        with proxy.view(token, way_in) as viewer:
            assert viewer.channels() == list(CHANNELS)
            for channel in CHANNELS:
                viewer.link(channel)
        record = proxy.record(token)
        assert server.linked == [(MAIN, 0), *CHANNELS]
    assert record.pop("session")
    assert record.pop("started") <= record.pop("ended")
    assert len(record.pop("token")) == 8
    assert record == {
        "client": "127.0.0.1",
        "instance": "11111111-2222-3333-4444-555555555555",
        "console_type": "spice-html5",
        "target": f"127.0.0.1:{listening.port}",
        "way_in": way_in,
        "client_version": None,
        "target_version": None,
        "client_security": "SPICE ticket",
        "target_security": "SPICE ticket",
        "bytes_to_client": 6 + 32 + 6 + 10 + 3 * 11,  # INIT, CHANNELS_LIST, and three echoes
        "bytes_to_target": 6 + 3 * 11,
        "channels": ["main", "display", "inputs", "cursor"],
        "power": None,
        "close_reason": "client-closed",
    }
    for secret in (token, PASSWORD):
        assert secret not in proxy.log + proxy.audit_file.read_text()


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("/?token={}", ()),
        ("/spice_auto.html?token={}", ()),
        ("/?path=websockify%3Ftoken%3D{}", ()),
        ("/websockify", ("Cookie: other=1; token={}",)),
        ("/?token=nonsense&token={}", ("Cookie: token=nonsense",)),
    ],
)
def test_every_form_of_the_token_on_a_websocket(proxy, machine, url, headers):
    token = proxy.token(machine.port)

    def come():
        client = WebSocket(proxy.spice_port, url.format(token), *(header.format(token) for header in headers), BINARY)
        assert "sec-websocket-protocol: binary" in client.head.lower()
        return client

    with Viewer(come, "any ticket will do") as viewer:
        viewer.link()


def test_without_a_subprotocol_none_is_named(proxy, machine):
    with WebSocket(proxy.spice_port, f"/?token={proxy.token(machine.port)}") as client:
        assert "sec-websocket-protocol" not in client.head.lower()
        Link(client).open()


def test_what_is_in_a_browsers_ticket_does_not_matter(proxy, machine):
    """Not even whether it can be opened (wire_S22)."""
    with WebSocket(proxy.spice_port, f"/?token={proxy.token(machine.port)}") as client:
        client.send(Link(client).asked.pack())
        assert client.receive(16)[:4] == b"REDQ"
        client.receive(174 + 4 + 8)
        client.send(MECHANISM + b"\xff" * 128)
        assert client.receive(4) == bytes(4)


def test_wire_S17_whole_and_byte_by_byte(proxy, machine):
    """wire_S5, S12, S13 and S18 in one: another minor version, a gap before the words, and bytes after them."""
    link = b"REDQ" + struct.pack("<III", 2, 99, 18 + 4 + 4 + 2) + struct.pack("<IBBIII", 0, 1, 0, 1, 0, 22)
    link += b"\xde\xad\xbe\xef" + struct.pack("<I", 9) + b"??"
    token = proxy.token(machine.port)
    for pieces in ([link], [bytes([byte]) for byte in link]):
        with proxy.come(token, "websocket") as client:
            for piece in pieces:
                client.send(piece)
            assert client.receive(20)[16:] == bytes(4)


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"CONNECT h:1 HTTP/1.0\r\n\r\n", b"REDX" + bytes(40)]
)
def test_wire_S2_S3_the_native_port_speaks_spice_alone(proxy, first):
    client = Socket(proxy.native_port)
    client.send(first)
    assert link_error(client) is LinkError.INVALID_MAGIC
    assert client.until_close() == b""


@pytest.mark.parametrize("port", ["native_port", "tls_port"])
def test_native_viewers_come_inside_tls(encrypting, machine, tls, port):
    token = encrypting.token(machine.port, console_type="spice-direct")
    with Viewer(lambda: Socket(getattr(encrypting, port), tls=tls), token) as viewer:
        viewer.link()
    record = encrypting.record(token)
    assert (record["way_in"], record["console_type"]) == ("spice", "spice-direct")


def test_a_native_viewer_in_clear_is_sent_to_tls(encrypting, machine):
    for port, source in ((encrypting.native_port, "127.0.0.30"), (encrypting.tls_port, "127.0.0.31")):
        client = Socket(port, source=source)
        assert Link(client).refused() is LinkError.NEED_SECURED
        assert client.until_close() == b""
        record = encrypting.record(client=source)
        assert (record["close_reason"], record["way_in"], record["token"]) == ("tls-required", "spice", None)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("form", ["host", "authorization"])
def test_a_viewers_connect(encrypting, machine, tls, form, inside):
    token = encrypting.token(machine.port)
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()

    def come():
        client = Socket(encrypting.spice_port)
        asked = (f"{token}:5900",) if form == "host" else ("console:5900", f"Proxy-Authorization: Basic {basic}")
        assert client.connect_by_http(*asked).startswith("HTTP/1.0 200 ")
        if inside:
            client.start_tls(tls)
        return client

    with Viewer(come) as viewer:
        viewer.link()
    assert encrypting.record(token)["way_in"] == "connect"


def test_a_connect_inside_tls(encrypting, machine, tls):
    token = encrypting.token(machine.port)

    def come():
        client = Socket(encrypting.spice_port, tls=tls)
        assert client.connect_by_http(f"{token}:5900").startswith("HTTP/1.0 200 ")
        return client

    with Viewer(come) as viewer:
        viewer.link()


@pytest.mark.parametrize("way_in", ["connect", "spice"])
def test_no_tls_record_goes_on_after_a_messages_end(encrypting, machine, tls, way_in):
    """For spice-gtk asks its socket whether more has come, and not its TLS."""
    token = encrypting.token(machine.port)

    def come():
        if way_in == "spice":
            return Socket(encrypting.tls_port, tls=tls)
        client = encrypting.come(token, way_in)
        client.start_tls(tls)
        return client

    said = [message(ECHOED, bytes(size)) for size in range(40)]
    records = []
    with Viewer(come, token) as viewer:
        peer = viewer.link().peer
        peer.send(b"".join(said))
        while sum(map(len, records)) < len(b"".join(said)):
            records.append(peer.sock.recv(65536))  # of one record, however many there are
            assert records[-1]
    assert b"".join(records) == b"".join(said)
    assert set(accumulate(map(len, said))) <= set(accumulate(map(len, records)))


def test_tls_inside_a_connect_without_a_certificate(proxy, machine, tls):
    client = proxy.come(proxy.token(machine.port), "connect")
    with pytest.raises(OSError, match=r"(?i)eof|reset"):
        client.start_tls(tls)


def test_connect_is_no_open_proxy(proxy, machine):
    """What it names is a token, or nothing; a token of another client does not help."""
    connections = machine.connections
    for asked in (f"127.0.0.1:{machine.port}", f"localhost:{machine.port}", f"::1:{machine.port}", f"{uuid.uuid4()}:1"):
        client = Socket(proxy.spice_port, source="127.0.0.40")
        answer = client.connect_by_http(asked) + client.until_close().decode()
        if not answer.startswith("HTTP/1.0 400 ") and not answer.startswith("HTTP/1.1 400 "):
            assert answer.split()[1] == "401"
            assert answer.endswith(CloseReason.TOKEN_UNKNOWN.sentence + "\n")
    assert machine.connections == connections


def test_over_ipv6_a_unix_socket_and_from_a_balancer(tmp_path, machine):
    path, port6, port = tmp_path / "socket", free_port("::1"), free_port()
    options = (
        f"spice_listen = [::1]:{port6}, 127.0.0.1:{port}\ntrusted_proxies = 127.0.0.0/8\n"
        f"[spice]\nhtml5proxy_host = unix:{path}\n"
    )
    with spice_running(tmp_path, options) as proxy, spice_target("::1", password=PASSWORD) as (_, six):
        token = proxy.token(six.port, host="::1")
        with Viewer(lambda: Socket(port6, host="::1"), token) as viewer:
            viewer.link()
        record = proxy.record(token)
        assert (record["client"], record["target"]) == ("::1", f"[::1]:{six.port}")

        token = proxy.token(machine.port)
        preface = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 5900\r\n"
        with Viewer(lambda: Socket(port, preface=preface), token) as viewer:
            viewer.link()
            preface = preface.replace(b"192.0.2.7", b"192.0.2.8")
            assert viewer.ask((DISPLAY, 0)).denied(token) is LinkError.BAD_CONNECTION_ID
        assert proxy.record(token, client="192.0.2.7")["channels"] == ["main", "inputs"]
        proxy.record(token, client="192.0.2.8")

        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(path))
            sock.sendall(f"CONNECT {proxy.token(machine.port)}:1 HTTP/1.0\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.0 200"


# Wrong tokens


def test_wire_S21_S22_S23_every_wrong_ticket_is_denied_alike(proxy, machine):
    """Result 7 after a second, whatever is wrong."""
    vnc = proxy.create(machine.port)["token"]
    expired = proxy.token(machine.port, ttl=0)
    passwords = {
        "unknown": (str(uuid.uuid4()), "token-unknown"),
        "expired": (expired, "token-expired"),
        "of VNC": (vnc, "token-unknown"),
        "empty": ("", "token-unknown"),
        "not a token": ("sésame\x01", "token-unknown"),
        "long": ("x" * 59, "token-unknown"),
    }
    sealed = {
        "zeros": bytes(128),
        "ones": b"\xff" * 128,
        "of another key": HTML5_TICKET,
        "ends in 0": b"\x55" * 127 + b"\0",
    }

    def take_time(number, kind):
        client = Socket(proxy.native_port, source=f"127.0.1.{number}")
        link = Link(client)
        begun = time.monotonic()
        if kind in passwords:
            link.give_ticket(passwords[kind][0])
        else:
            client.send(link.asked.pack())
            client.receive(178 + 16 + 8)
            client.send(MECHANISM + sealed[kind])
        assert client.receive(4) == b"\7\0\0\0", kind
        took = time.monotonic() - begun
        assert client.until_close() == b""
        return took

    connections = machine.connections
    kinds = [*passwords, *sealed]
    with ThreadPoolExecutor(len(kinds)) as pool:
        took = list(pool.map(take_time, range(1, len(kinds) + 1), kinds))
    assert min(took) > 0.95
    assert max(took) - min(took) < 0.8
    for number, kind in enumerate(kinds, 1):
        reason = passwords.get(kind, ("", "token-unknown"))[1]
        assert proxy.record(client=f"127.0.1.{number}")["close_reason"] == reason
    assert machine.connections == connections
    for secret in (vnc, expired, passwords["unknown"][0]):
        assert secret not in proxy.log


def test_wrong_tokens_on_a_websocket(proxy, machine):
    revoked = proxy.token(machine.port)
    proxy.console("revoke", "--token", revoked)
    connections = machine.connections
    for token, reason in [
        (str(uuid.uuid4()), CloseReason.TOKEN_UNKNOWN),
        (proxy.token(machine.port, ttl=0), CloseReason.TOKEN_EXPIRED),
        (proxy.create(machine.port)["token"], CloseReason.TOKEN_UNKNOWN),
        (revoked, CloseReason.TOKEN_UNKNOWN),
        ("", CloseReason.TOKEN_UNKNOWN),
    ]:
        client = proxy.come(token)
        assert Link(client).refused() is LinkError.PERMISSION_DENIED
        assert client.until_close() == b""
        assert (client.close_code, client.close_reason) == (1008, reason.sentence)
    assert machine.connections == connections


def test_a_token_of_spice_opens_no_vnc_console(proxy, machine):
    token = proxy.token(machine.port)
    with WebSocket(proxy.port, f"/?token={token}") as client:
        assert refusal(client) == CloseReason.TOKEN_UNKNOWN.sentence
    record = proxy.record(token)
    assert (record["close_reason"], record["console_type"]) == ("token-unknown", "spice-html5")


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        ("http://evil.example", "Origin header does not match this host."),
        ("null", "Origin header not valid."),
        ("https://console.example", "Origin header protocol does not match this host."),
        ("http://console.example", None),
        ("http://allowed.example", None),
    ],
)
def test_origin(proxy, machine, origin, sentence):
    token = proxy.token(machine.port)
    with WebSocket(proxy.spice_port, f"/?token={token}", "Host: console.example", f"Origin: {origin}") as client:
        if sentence is None:
            Link(client).open()
            return
        assert Link(client).refused() is LinkError.PERMISSION_DENIED
        client.until_close()
        assert (client.close_code, client.close_reason) == (1008, sentence)


def test_origin_is_judged_for_every_link(proxy, machine):
    token = proxy.token(machine.port)
    origins = iter(["http://allowed.example", "http://evil.example"])
    with Viewer(lambda: WebSocket(proxy.spice_port, f"/?token={token}", f"Origin: {next(origins)}")) as viewer:
        assert viewer.ask((INPUTS, 0)).refused() is LinkError.PERMISSION_DENIED


def test_where_only_tls_is_allowed(tmp_path, machine, pem, tls):
    with spice_running(tmp_path, f"[DEFAULT]\nssl_only = True\ncert = {pem}\n") as proxy:
        connections = machine.connections
        token = proxy.token(machine.port)
        client = proxy.come(token)
        assert Link(client).refused() is LinkError.NEED_SECURED
        client.until_close()
        assert (client.close_code, client.close_reason) == (1008, CloseReason.TLS_REQUIRED.sentence)
        told = Socket(proxy.spice_port).connect_by_http(f"{token}:5900")
        assert told.startswith("HTTP/1.1 403 ")
        assert Link(Socket(proxy.native_port)).refused() is LinkError.NEED_SECURED
        assert machine.connections == connections
        with Viewer(lambda: Socket(proxy.native_port, tls=tls), token) as viewer:
            viewer.link()


# Targets that refuse


def refused(proxy, token, error, reason):
    """On each way in: in place of the link reply where the token came first, and else nothing after the ticket."""
    client = proxy.come(token)
    assert Link(client).refused() is error
    assert client.until_close() == b""
    assert (client.close_code, client.close_reason) == (reason.websocket_code, reason.sentence)
    record = proxy.record(token)
    assert record["close_reason"] == reason.value
    assert record["channels"] is None
    return record


def test_wire_S26_a_target_that_refuses_the_ticket(proxy, machine):
    """The client never hears that a password is wrong: it was not its own."""
    refused(
        proxy,
        proxy.token(machine.port, password=Secret("wrong")),
        LinkError.CHANNEL_NOT_AVAILABLE,
        CloseReason.TARGET_AUTH_FAILED,
    )
    assert "target refuses the password of the token's grant" in proxy.log
    token = proxy.token(machine.port, password=Secret("wrong"))
    native = Link(proxy.come(token, "spice")).give_ticket(token)
    assert native.peer.until_close() == b"", "it would ask its user for another password"
    native.peer.sock.close()


def test_a_target_that_is_not_there(proxy):
    port = free_port()
    refused(proxy, proxy.token(port), LinkError.ERROR, CloseReason.TARGET_UNREACHABLE)
    token = proxy.token(port)
    client = proxy.come(token, "spice")
    Link(client).give_ticket(token)
    assert client.until_close() == b"", "a viewer takes every error for a wrong password"


@contextlib.contextmanager
def secured_machine(file, host="127.0.0.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with spice_target(host, password=PASSWORD, tls=context) as (server, listening):
        yield server, listening.port


@pytest.mark.parametrize(
    ("ports", "grant"),
    [
        ("both", {}),
        ("TLS alone", {}),
        ("both", {"tls_name": "localhost"}),
        ("both", {"host_subject": "CN=localhost"}),
        ("both", {"host": "127.0.0.2", "host_subject": "CN=localhost"}),
        ("both", {"host": "127.0.0.2", "tls_name": "localhost"}),
    ],
)
def test_targets_that_want_tls(encrypting, pem, ports, grant):
    host = grant.get("host", "127.0.0.1")
    with secured_machine(pem, host) as (server, tls_port), spice_target(host, need_secured=True) as (_, plain):
        token = encrypting.token(plain.port if ports == "both" else -1, tls_port=tls_port, **grant)
        with encrypting.view(token) as viewer:
            viewer.link()
            assert server.linked == [(MAIN, 0), (INPUTS, 0)]
        pinned = {"tls_name", "host_subject"} & grant.keys()
        assert plain.connections == (1 if ports == "both" and not pinned else 0), "error 5 is asked for once a session"
        assert encrypting.record(token)["target_security"] == "SPICE ticket"


@pytest.mark.parametrize(
    ("wrong", "grant"),
    [
        ("CA", {}),
        ("host", {"host": "127.0.0.2"}),
        ("name", {"tls_name": "another.example"}),
        ("subject", {"host_subject": "CN=another.example"}),
        ("no TLS port", {"tls_port": None}),
        ("no TLS", {"tls_port": 0}),
    ],
)
def test_targets_whose_tls_is_wrong(encrypting, pem, tmp_path, wrong, grant):
    file = pem
    if wrong == "CA":
        file = tmp_path / "stranger.pem"
        certificate(file, file)
    host = grant.get("host", "127.0.0.1")
    with secured_machine(file, host) as (server, tls_port), spice_target(host, need_secured=True) as (_, plain):
        grant = {"tls_port": tls_port} | grant
        if wrong == "no TLS":
            grant["tls_port"] = plain.port
        token = encrypting.token(plain.port, **grant)
        refused(encrypting, token, LinkError.ERROR, CloseReason.TARGET_AUTH_FAILED)
        assert server.linked == []


def test_a_target_that_is_silent_in_tls(encrypting):
    with target(lambda sock: sock.recv(65536) and sock.recv(1)) as silent:
        token = encrypting.token(-1, tls_port=silent.port)
        refused(encrypting, token, LinkError.ERROR, CloseReason.TARGET_UNREACHABLE)


def test_require_secure_never_dials_in_clear(tmp_path, pem, machine):
    with (
        spice_running(tmp_path, f"spice_ca_certs = {pem}\n[spice]\nrequire_secure = True\n") as proxy,
        secured_machine(pem) as (_, tls_port),
    ):
        connections = machine.connections
        refused(proxy, proxy.token(machine.port), LinkError.ERROR, CloseReason.TARGET_AUTH_FAILED)
        with proxy.view(proxy.token(machine.port, tls_port=tls_port)) as viewer:
            viewer.link()
        assert machine.connections == connections


def test_a_password_that_spice_cannot_carry_is_refused_at_once(proxy):
    arguments = ("--type", "spice-html5", "--host", "127.0.0.1", "--port", "5900", "--password-file", "-")
    command = ("consoleproxy", "--config-file", proxy.config, "console", "create", *arguments)
    result = run(*command, stdin="x" * 60)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "59" in result.stderr
    assert run(*command, stdin="x" * 59).returncode == 0


# Sessions


def test_wire_S34_main_closes_and_all_others_end(proxy):
    with spice_target(password=PASSWORD, lets_channels_live=True) as (_, listening):
        token = proxy.token(listening.port)
        with proxy.view(token) as viewer:
            for channel in CHANNELS:
                viewer.link(channel)
            begun = time.monotonic()
            viewer.main.peer.sock.close()
            for link in viewer.links:
                assert link.peer.until_close() == b""
            assert time.monotonic() - begun < 5
        record = proxy.record(token)
        assert record["channels"] == ["main", "display", "inputs", "cursor"]
        assert record["bytes_to_target"] == 3 * 11
        with proxy.view(token) as again:
            again.link()


def test_the_target_closes_main(proxy):
    with spice_target(password=PASSWORD, lists=[]) as (server, listening):
        token = proxy.token(listening.port)
        with proxy.view(token) as viewer:
            viewer.link()
            server.mains[0].shutdown(socket.SHUT_RDWR)
            assert viewer.main.peer.until_close() == b""
            assert (viewer.main.peer.close_code, viewer.main.peer.close_reason) == (1000, "Target closed")
            viewer.links[0].peer.until_close()
        assert proxy.record(token)["close_reason"] == "target-closed"


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_wire_S16_sessions_that_are_not_ones_own(proxy, machine, way_in):
    """Another token's, though its target has the same one; and another number."""
    mine, others = proxy.token(machine.port), proxy.token(machine.port)
    with proxy.view(mine, way_in) as viewer, proxy.view(others, way_in) as other:
        assert viewer.session_id != other.session_id
        connections = machine.connections
        for connection_id in (other.session_id, viewer.session_id + 1000, 0):
            link = viewer.ask((INPUTS, 0), connection_id)
            error = link.denied(mine) if way_in == "spice" else link.refused()
            assert error is LinkError.BAD_CONNECTION_ID
            assert link.peer.until_close() == b""
            if way_in == "websocket":
                assert link.peer.close_code == 1002
        assert machine.connections == connections
        viewer.link()
        other.link()


def test_two_targets_with_the_same_session_id(proxy):
    with (
        spice_target(password=PASSWORD) as (one, first),
        spice_target(password=PASSWORD) as (two, second),
        proxy.view(proxy.token(first.port)) as viewer,
        proxy.view(proxy.token(second.port)) as other,
    ):
        assert viewer.session_id == other.session_id
        viewer.link((DISPLAY, 0))
        other.link((CURSOR, 0))
        assert one.linked == [(MAIN, 0), (DISPLAY, 0)]
        assert two.linked == [(MAIN, 0), (CURSOR, 0)]


def test_a_session_belongs_to_its_clients_address(proxy, machine):
    token = proxy.token(machine.port)
    with proxy.view(token, "spice", source="127.0.0.1") as viewer:
        stranger = Link(Socket(proxy.native_port, source="127.0.0.2"), (INPUTS, 0), viewer.session_id)
        assert stranger.denied(token) is LinkError.BAD_CONNECTION_ID
        viewer.link()
    assert proxy.record(token, client="127.0.0.2")["close_reason"] == "protocol-error"


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_token_may_expire_while_its_session_lives(proxy, machine, way_in):
    token = proxy.token(machine.port)
    with proxy.view(token, way_in) as viewer:
        proxy.expire(token)
        viewer.link()
    proxy.record(token)
    proxy.expire(token)
    if way_in == "websocket":
        assert Link(proxy.come(token)).refused() is LinkError.PERMISSION_DENIED


def test_a_second_main_is_refused(proxy, machine):
    """After a moment, in which the first might have ended."""

    def come_again(way_in):
        token = proxy.token(machine.port)
        with proxy.view(token, way_in) as viewer:
            link = Link(proxy.come(token, way_in))
            error = link.denied(token) if way_in == "spice" else link.refused()
            viewer.link()
            proxy.record(token, close_reason="policy")
        proxy.record(token, close_reason="client-closed")
        return error

    with ThreadPoolExecutor(len(WAYS_IN)) as pool:
        assert list(pool.map(come_again, WAYS_IN)) == [LinkError.PERMISSION_DENIED] * len(WAYS_IN)


@pytest.fixture(scope="module")
def limiting(tmp_path_factory):
    """A proxy whose sessions may be taken over, and are short."""
    options = "spice_second_main = take-over\nidle_timeout_s = 1\n"
    with spice_running(tmp_path_factory.mktemp("limiting"), options) as started:
        yield started


def test_a_second_main_takes_over(limiting, machine):
    token = limiting.token(machine.port)
    with limiting.view(token) as first:
        first.link()
        with limiting.view(token) as second:
            assert first.main.peer.until_close() == b""
            assert (first.main.peer.close_code, first.main.peer.close_reason) == (1008, CloseReason.POLICY.sentence)
            second.link()
    limiting.record(token, close_reason="policy")
    assert limiting.record(token, close_reason="client-closed")["channels"] == ["main", "inputs"]


def test_idle_and_time_limits_are_the_sessions(limiting, machine):
    """A session is idle when none of its links does anything."""
    idle, timed = limiting.token(machine.port), limiting.token(machine.port, time_limit_s=2)
    with limiting.view(idle) as viewer, limiting.view(timed) as other:
        begun = time.monotonic()
        viewer.link()
        other.link()
        while time.monotonic() - begun < 1.5:
            viewer.links[0].echo()
            other.links[0].echo()
            time.sleep(0.1)
        assert viewer.main.peer.until_close() == b""
        assert viewer.main.peer.close_reason == CloseReason.IDLE.sentence
        assert time.monotonic() - begun > 2
        other.main.peer.until_close()
        assert other.main.peer.close_reason == CloseReason.TIME_LIMIT.sentence
        for ended in (viewer, other):
            ended.links[0].peer.until_close()
    assert limiting.record(idle)["close_reason"] == "idle"
    assert limiting.record(timed)["close_reason"] == "time-limit"


def test_channels_that_may_not_be(proxy):
    """A channel twice; and what reaches into the user's machine, unless the token allows it (wire_S14)."""
    usbredir, webdav = (9, 0), (11, 0)
    with spice_target(password=PASSWORD, lists=[*CHANNELS, usbredir, webdav]) as (server, listening):
        token = proxy.token(listening.port)
        with proxy.view(token) as viewer:
            assert viewer.channels() == list(CHANNELS)
            viewer.link()
            viewer.link((DISPLAY, 1))
            linked = list(server.linked)
            for channel in ((INPUTS, 0), usbredir, webdav, (0, 0), (7, 0), (12, 0), (255, 0)):
                assert viewer.ask(channel).refused() is LinkError.CHANNEL_NOT_AVAILABLE
            assert server.linked == linked
        proxy.record(token, close_reason="limit")
        assert proxy.record(token, close_reason="client-closed")["channels"] == ["main", "inputs", "display:1"]

        token = proxy.token(listening.port, allow_channels=("usbredir",))
        with proxy.view(token) as viewer:
            assert viewer.channels() == [*CHANNELS, usbredir]
            viewer.link(usbredir)
            assert viewer.ask(webdav).refused() is LinkError.CHANNEL_NOT_AVAILABLE


# A machine that moves


MIGRATION = {101: "BEGIN", 102: "CANCEL", 112: "END", 116: "BEGIN_SEAMLESS", 117: "ACK", 118: "NACK"}
HOST = b"host.inside.example\0"


def test_wire_S33_migration_is_not_told(proxy):
    destination = struct.pack("<HHIIII", 1, 2, len(HOST), 20, 0, 0) + HOST
    tells = b"".join(struct.pack("<HI", kind, len(destination)) + destination for kind in MIGRATION)
    with spice_target(password=PASSWORD, tells=tells + switch_host(1, HOST)) as (_, listening):
        for way_in in WAYS_IN:
            token = proxy.token(listening.port)
            with proxy.view(token, way_in) as viewer:
                viewer.channels()
                heard = [viewer.main.hear() for _ in range(len(MIGRATION) + 1)]
                assert [kind for kind, _ in heard[:-1]] == [7] * len(MIGRATION)  # NOTIFY
                assert HOST[:-1] not in b"".join(body for _, body in heard)
                kind, body = heard[-1]
                if way_in == "websocket":
                    assert kind == 7, "a browser cannot follow"
                elif way_in == "connect":
                    assert kind == 111
                    assert token.encode() in body
                else:
                    assert kind == 111
                    assert struct.unpack_from("<HH", body) == (proxy.native_port, 0)


def test_what_a_client_says_of_migration_is_not_passed_on(proxy, machine):
    with proxy.view(proxy.token(machine.port)) as viewer:
        for kind in (102, 103, 109, 110, 111):
            viewer.main.say(kind)
        viewer.main.say(101, b"CLIENT_INFO")  # which this target sends back, as BEGIN
        assert viewer.main.hear()[0] == 7


@pytest.mark.parametrize("way_in", ["connect", "spice"])
def test_a_viewer_follows_its_machine(proxy, way_in):
    with (
        spice_target(password=PASSWORD) as (new_server, new),
        spice_target(password=PASSWORD, tells=switch_host(new.port)) as (_, old),
    ):
        token = proxy.token(old.port)
        with proxy.view(token, way_in) as viewer:
            viewer.channels()
            assert viewer.main.hear()[0] == 111
            proxy.expire(token)
            with proxy.view(token, way_in) as following:
                following.link()
                assert new_server.linked == [(MAIN, 0), (INPUTS, 0)]
        assert old.connections == 1
        for where in (old, new):
            proxy.record(token, target=f"127.0.0.1:{where.port}")


# The service


def test_sigterm_ends_every_link_and_writes_every_record(tmp_path, machine):
    with spice_running(tmp_path) as proxy:
        tokens = {way_in: proxy.token(machine.port) for way_in in WAYS_IN}
        with contextlib.ExitStack() as stack:
            viewers = {way_in: stack.enter_context(proxy.view(token, way_in)) for way_in, token in tokens.items()}
            for viewer in viewers.values():
                viewer.link()
            proxy.process.send_signal(signal.SIGTERM)
            for way_in, viewer in viewers.items():
                for link in (viewer.main, *viewer.links):
                    assert link.peer.until_close() == b""
                    if way_in == "websocket":
                        assert (link.peer.close_code, link.peer.close_reason) == (1001, CloseReason.SHUTDOWN.sentence)
                    link.peer.sock.close()
        assert proxy.stop() == 0
        for token in tokens.values():
            record = proxy.record(token)
            assert (record["close_reason"], record["channels"]) == ("shutdown", ["main", "inputs"])
            assert record["bytes_to_client"] == 38 + 11


def test_sighup_ends_no_session_and_is_for_those_to_come(tmp_path, machine):
    with spice_running(tmp_path) as proxy:
        token = proxy.token(machine.port)
        with proxy.view(token) as viewer:
            viewer.link()
            proxy.write_config("spice_second_main = take-over\nconnect_timeout_s = 1")
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: "options were read again" in proxy.log, "the reload")
            viewer.links[0].echo()
            viewer.link((DISPLAY, 0))
            with proxy.view(token) as newcomer:
                viewer.main.peer.until_close()
                newcomer.link()
        assert proxy.record(token, close_reason="policy")["channels"] == ["main", "inputs", "display"]
