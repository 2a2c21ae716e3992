"""A listener behind load balancers: who its clients are, and who waits there."""

import pytest

from rfbproxy.client.waiting_room import WaitingRoom
from tests.client.callers import HEAD_TIMEOUT_S, Caller, Console, answers
from tests.client.frames import upgrade
from tests.cuts import segmentations

PROXY = "198.51.100.1"  # which the listener trusts
V1 = b"PROXY TCP4 192.0.2.99 198.51.100.1 4711 6080\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n" + b"\x21\x11\x00\x0c" + b"\xc0\x00\x02\x63" + b"\xc6\x33\x64\x01" + b"\x12\x67\x17\xc0"


@pytest.mark.parametrize("header", [V1, V2])
def test_a_trusted_proxy_says_first_who_its_client_is(header):
    for segments in segmentations(header + upgrade()):
        caller = Caller(source=PROXY)
        caller.send(*segments)
        assert caller.request.source == "192.0.2.99"
        assert caller.request.forwarded_proto is None
        caller.lose()


def test_the_client_that_a_proxy_names_is_not_trusted_itself():
    caller = Caller(source=PROXY)
    caller.send(V1 + upgrade(extra=("X-Forwarded-For: 203.0.113.1", "X-Forwarded-Proto: https")))
    assert (caller.request.source, caller.request.forwarded_proto) == ("192.0.2.99", None)


def test_a_proxy_that_speaks_for_itself_keeps_its_own_address():
    caller = Caller(source=PROXY)
    caller.send(b"PROXY UNKNOWN\r\n", upgrade())
    assert caller.request.source == PROXY


@pytest.mark.parametrize("header", [V1, V2, b"PROXY UNKNOWN\r\n"])
def test_trap_16_a_proxy_header_of_anybody_else_is_a_bad_request(header):
    for segments in segmentations(header + upgrade()):
        caller = Caller()
        caller.send(*segments)
        ((status, _, sentence),) = answers(caller.received())
        assert (status, sentence) == (400, b"The PROXY protocol is understood from trusted proxies only.\n")
        assert caller.transport.half_closed
        assert caller.opened == []
        caller.lose()


@pytest.mark.parametrize("header", [b"PROXY TCP4 nonsense\r\n", V2[:12] + b"\xff" * 4, V1 + V1, V1 + V2])
def test_a_malformed_or_second_proxy_header_is_a_bad_request(header):
    caller = Caller(source=PROXY)
    caller.send(header + upgrade())
    ((status, _, _),) = answers(caller.received())
    assert status == 400
    assert caller.opened == []
    caller.lose()


def test_pages_are_asked_for_behind_a_proxy_header(folders):
    caller = Caller(source=PROXY, folders=folders)
    caller.send(V2 + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
    assert [status for status, _, _ in answers(caller.received())] == [200, 200]
    caller.lose()


@pytest.mark.parametrize("header", [V1, V2])
def test_a_proxy_header_after_a_request_is_no_request(folders, header):
    caller = Caller(source=PROXY, folders=folders)
    caller.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", header)
    assert [status for status, _, _ in answers(caller.received())] == [200, 400]
    caller.lose()


def test_a_request_that_begins_as_a_proxy_header_does():
    for segments in segmentations(b"PUT / HTTP/1.1\r\nHost: h\r\n\r\n"):
        caller = Caller(source=PROXY)
        caller.send(*segments)
        assert [status for status, _, _ in answers(caller.received())] == [405]
        caller.lose()


@pytest.mark.parametrize("start", [V1[:10], V2[:20], V2[:3]])
def test_a_proxy_header_that_does_not_come_whole_is_not_waited_for(start):
    caller = Caller(source=PROXY)
    caller.send(start)
    caller.clock.advance(HEAD_TIMEOUT_S)
    assert caller.transport.disconnecting
    caller.lose()


def test_forwarded_headers_of_a_trusted_proxy():
    extra = ("X-Forwarded-For: 10.0.0.1, 192.0.2.99", "X-Forwarded-Host: console.example", "X-Forwarded-Proto: https")
    request = Console(handshake=upgrade(extra=extra), source=PROXY).request
    assert (request.source, request.host, request.forwarded_proto) == ("192.0.2.99", "console.example", "https")
    assert request.encrypted
    request = Console(handshake=upgrade(extra=extra)).request
    assert (request.source, request.host, request.forwarded_proto) == ("192.0.2.7", "example.net:6080", None)
    assert not request.encrypted


def test_each_request_of_a_connection_that_a_proxy_reuses_has_its_own_client(folders):
    """A proxy in front may serve many clients over one connection."""
    caller = Caller(source=PROXY, folders=folders)
    caller.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.98\r\n\r\n")
    caller.send(upgrade(extra=("X-Forwarded-For: 192.0.2.99",)))
    assert caller.request.source == "192.0.2.99"


def test_tls_taken_by_a_trusted_proxy_is_tls():
    request = b"GET /healthz?token=123-456-789 HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n"
    for source, allowed in ((PROXY, True), ("192.0.2.7", False)):
        caller = Caller(source=source, tls_only=True)
        caller.send(request.replace(b"/healthz", b"/"))
        ((status, _, _),) = answers(caller.received())
        assert (status == 403) == (not allowed)
        caller.lose()


@pytest.mark.parametrize("prefix", [b"/console", b"/console/"])
@pytest.mark.parametrize("path", [b"/console/vnc_auto.html", b"/vnc_auto.html"])
def test_a_url_prefix_may_be_stripped_by_the_proxy_or_not(folders, prefix, path):
    caller = Caller(source=PROXY, folders=folders)
    caller.send(b"GET %s?a HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: %s\r\n\r\n" % (path, prefix))
    ((status, _, body),) = answers(caller.received())
    assert (status, body) == (200, b"<!doctype html><title>console</title>\n")
    caller.lose()


def test_a_url_prefix_leads_nowhere_else(folders):
    for path in (b"/console//evil.example/..", b"/console/../outside", b"/consolevnc_auto.html", b"/console"):
        caller = Caller(source=PROXY, folders=folders)
        caller.send(b"GET %s HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /console\r\n\r\n" % path)
        ((status, headers, _),) = answers(caller.received())
        assert status in (400, 404)
        assert "location" not in headers
        caller.lose()


def test_a_redirect_keeps_the_prefix(folders):
    caller = Caller(source=PROXY, folders=folders)
    caller.send(b"GET /console/sub HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /console\r\n\r\n")
    ((status, headers, _),) = answers(caller.received())
    assert (status, headers["location"]) == (301, "./sub/")
    caller.lose()


class TestWaitingRoom:
    """Who has shown no good token can be pushed out; who has one cannot."""

    def test_a_silent_client_is_pushed_out_by_a_newer_one(self):
        room = WaitingRoom(1)
        silent, newer = Caller(waiting_room=room), Caller(waiting_room=room)
        assert silent.transport.aborted
        assert not newer.transport.aborted
        silent.lose()
        newer.lose()
        assert len(room) == 0

    def test_a_console_stays_once_its_token_is_good(self):
        room = WaitingRoom(1)
        console = Caller(waiting_room=room)
        console.send(upgrade())
        assert len(room) == 1
        console.stream.on_authorised()
        assert len(room) == 0
        Caller(waiting_room=room)
        assert not console.transport.aborted

    def test_a_proxys_clients_are_told_apart(self):
        room = WaitingRoom(0, 1)
        first, second, third = (Caller(source=PROXY, waiting_room=room) for _ in range(3))
        assert len(room) == 3, "a proxy stands for many"
        first.send(V1)
        second.send(upgrade(extra=("X-Forwarded-For: 192.0.2.99",)))
        assert [caller.transport.aborted for caller in (first, second, third)] == [True, False, False]

    def test_a_console_without_a_good_token_is_told_apart_when_it_is_pushed_out(self):
        room = WaitingRoom(1)
        console = Caller(waiting_room=room)
        console.send(upgrade())
        Caller(waiting_room=room)
        assert console.transport.aborted
        assert console.stream.crowded_out
