"""Connecting by itself, in every reactor; what a dialler makes of it is in `test_dial.py`."""

import errno
import socket
from contextlib import closing

import pytest
from twisted.internet import error
from twisted.internet.defer import CancelledError
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


def test_a_reactor_that_does_not_take_the_connection_fails_it(reactor, monkeypatch):
    def refuse(reader):
        raise OSError(errno.ENOSPC, "too many are watched")

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        connected = connect(reactor, "127.0.0.1", server.getsockname()[1], TIMEOUT_S)
        monkeypatch.setattr(reactor, "addReader", refuse)
        failure = outcome(reactor, connected)
        monkeypatch.undo()
    assert failure.check(error.ConnectError)


def test_a_reactor_that_does_not_take_the_attempt_fails_it(reactor, monkeypatch):
    def refuse(writer):
        raise OSError(errno.ENOSPC, "too many are watched")

    monkeypatch.setattr(reactor, "addWriter", refuse)
    with black_hole() as hole:
        failure = outcome(reactor, connect(reactor, "127.0.0.1", hole, TIMEOUT_S))
    assert failure.check(error.ConnectError)
    assert reactor.getDelayedCalls() == []


def test_a_peer_hears_that_it_is_given_up_though_it_has_spoken(reactor):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        connected = connect(reactor, "127.0.0.1", server.getsockname()[1], TIMEOUT_S)
        peer, _ = server.accept()
    with peer:
        peer.sendall(b"RFB")
        connected.addErrback(lambda _: None)
        connected.cancel()
        assert peer.recv(1) == b""


@pytest.mark.parametrize("sends", [b"", b"RFB"])
def test_an_event_of_whoever_had_the_descriptor_before_is_no_connection(reactor, sends):
    """In one turn one connection goes, another is begun with its descriptor, and the event of the first comes then."""
    first, got = [], []
    one, other = socket.socketpair()

    class Ending:
        fileno = one.fileno

        def logPrefix(self):
            return "test"

        def doRead(self):
            one.recv(1)
            descriptor = first[0].fileno()
            first[0].close()
            second = connect(reactor, "127.0.0.1", hole, TIMEOUT_S)
            assert [each.fileno() for each in reactor.getWriters()] == [descriptor]
            second.addBoth(got.append)
            first[:] = [second]

    with one, other, closing(socket.create_server(("127.0.0.1", 0))) as server, black_hole() as hole:
        ending = Ending()
        reactor.addReader(ending)
        other.send(b"x")
        first.append(Predecessor(reactor, server, sends))
        reactor.iterate(0.05)
        reactor.iterate(0.05)
        assert got == []
        first[0].cancel()
        reactor.removeReader(ending)
    assert got[0].check(CancelledError)


class Predecessor:
    """A connection that waits for what its peer sends, or for room."""

    def __init__(self, reactor, server, sends):
        self._reactor = reactor
        self._socket = socket.create_connection(server.getsockname())
        self.fileno = self._socket.fileno
        peer, _ = server.accept()
        with peer:
            peer.sendall(sends)
        (reactor.addReader if sends else reactor.addWriter)(self)

    def close(self):
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()

    def logPrefix(self):
        return "test"

    def doRead(self):
        raise AssertionError("it was to be closed first")

    doWrite = doRead


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
