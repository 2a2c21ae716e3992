"""Connecting by itself, in every reactor; what a dialler makes of it is in `test_dial.py`."""

import socket
from contextlib import closing

import pytest
from twisted.internet import error
from twisted.python.failure import Failure

from rfbproxy.target.attempt import connect
from tests.ports import black_hole, free_port
from tests.session.wires import REACTORS

TIMEOUT_S = 5.0


@pytest.fixture(params=REACTORS)
def reactor(request):
    reactor = request.param()
    yield reactor
    assert reactor.getWriters() == []
    assert [call for call in reactor.getDelayedCalls() if call.active()] == []
    for waker in reactor.getReaders():
        reactor.removeReader(waker)
        waker.connectionLost(None)
    if loop := getattr(reactor, "_asyncioEventloop", None):
        loop.close()


def turn_until(reactor, done):
    for _ in range(500):
        if done():
            return
        reactor.iterate(0.01)
    raise AssertionError("waited in vain")


def outcome(reactor, connected):
    got = []
    connected.addBoth(got.append)
    turn_until(reactor, lambda: got)
    return got[0]


def test_it_stands(reactor):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        stream = outcome(reactor, connect(reactor, "127.0.0.1", server.getsockname()[1], TIMEOUT_S))
        peer, _ = server.accept()
    with peer:
        peer.sendall(b"RFB")
        turn_until(reactor, lambda: stream._buffer == b"RFB")
        stream.send(b"RFB")
        assert peer.recv(3) == b"RFB"
        peer.shutdown(socket.SHUT_WR)
        turn_until(reactor, lambda: stream.ended)
        assert not stream.lost, "the other half is open"
        stream.close()
        turn_until(reactor, lambda: stream.lost)


def test_nobody_listens(reactor):
    failure = outcome(reactor, connect(reactor, "127.0.0.1", free_port(), TIMEOUT_S))
    assert failure.check(error.ConnectionRefusedError)


def test_nobody_answers(reactor):
    with black_hole() as port:
        failure = outcome(reactor, connect(reactor, "127.0.0.1", port, 0.05))
    assert failure.check(error.TimeoutError)


def test_a_peer_hears_that_it_is_given_up_though_it_has_spoken(reactor):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        connected = connect(reactor, "127.0.0.1", server.getsockname()[1], TIMEOUT_S)
        peer, _ = server.accept()
    with peer:
        peer.sendall(b"RFB")
        connected.addErrback(lambda _: None)
        connected.cancel()
        assert peer.recv(1) == b""


def test_the_reactor_goes(reactor):
    with black_hole() as port:
        connected = connect(reactor, "127.0.0.1", port, TIMEOUT_S)
        (attempt,) = reactor.getWriters()
        attempt.connectionLost(Failure(error.ConnectionLost()))
    assert outcome(reactor, connected).check(error.ConnectError)


def test_what_is_no_address_or_no_port(reactor):
    with pytest.raises(socket.gaierror):
        connect(reactor, "fe80::1%nothing", 5900, TIMEOUT_S)
    for port in (-1, 65536):
        with pytest.raises(OverflowError, match=str(port)):
            connect(reactor, "127.0.0.1", port, TIMEOUT_S)
