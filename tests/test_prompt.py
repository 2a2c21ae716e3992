"""Transports that send at once: what they send, what they owe, and that all else is as Twisted does it."""

import socket
from contextlib import suppress

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import Protocol

from rfbproxy.loan import lend
from rfbproxy.prompt import PromptClient, PromptServer, PromptUnixServer
from tests.session.wires import connected


class Heard(Protocol):
    """What a protocol hears."""

    def __init__(self):
        self.data = b""
        self.lost = None

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.lost = reason.type


class Connection:
    """A transport, its peer, and a reactor that is turned by hand."""

    def __init__(self, family):
        self.reactor = EPollReactor()
        self.peer, side = connected(family)
        self.peer.setblocking(False)
        kind = PromptUnixServer if family == "unix" else PromptServer
        self.protocol = Heard()
        self.transport = kind(side, self.protocol, ("192.0.2.1", 1), None, 0, self.reactor)
        self.protocol.makeConnection(self.transport)

    def turn(self, times=1):
        for _ in range(times):
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0)

    def heard(self):
        """What the peer hears by now, without a turn of the reactor."""
        got = bytearray()
        with suppress(BlockingIOError):
            while data := self.peer.recv(1 << 20):
                got += data
        return bytes(got)

    @property
    def waits(self):
        return self.transport in self.reactor.getWriters()

    def heard_to_the_end(self, size):
        got = b""
        for _ in range(2000):
            self.turn()
            got += self.heard()
            if len(got) >= size:
                break
        return got


@pytest.fixture(params=["tcp", "unix"])
def connection(request):
    connection = Connection(request.param)
    yield connection
    connection.peer.close()
    if connection.protocol.lost is None:
        connection.transport.abortConnection()
        connection.turn()
    for reader in connection.reactor.removeAll():
        reader.connectionLost(None)


def test_it_sends_before_the_reactor_turns(connection):
    for message in (b"one", b"two"):
        connection.transport.write(message)
        assert connection.heard() == message
        assert not connection.waits


def test_what_the_socket_does_not_take_comes_before_what_is_written_then(connection):
    sent = [bytes([number]) * 500_000 for number in range(4)] + [b"the end"]
    for piece in sent:
        connection.transport.write(piece)
    assert connection.waits
    assert connection.heard_to_the_end(2_000_007) == b"".join(sent)
    assert not connection.waits
    connection.transport.write(b"more")
    assert connection.heard() == b"more"


def test_a_sequence_comes_before_what_is_written_then(connection):
    connection.transport.writeSequence([b"one", b"two"])
    connection.transport.write(b"three")
    connection.turn()
    assert connection.heard() == b"onetwothree"


def test_tcp_goes_unpaced_where_it_may(monkeypatch):
    told = []
    monkeypatch.setattr("rfbproxy.prompt.send_unpaced_within_machine", told.append)
    reactor = EPollReactor()
    clients, targets = connected("tcp")
    with clients, targets:
        PromptServer(clients, Heard(), ("192.0.2.1", 1), None, 0, reactor)
        PromptClient(targets, Heard(), reactor)
        reactor.removeAll()
    assert told == [clients, targets]


def test_nothing_is_nothing(connection):
    connection.transport.write(b"")
    assert not connection.waits


def test_a_push_producer_is_paused_once_much_is_owed(connection):
    told = []

    class Producer:
        def pauseProducing(self):
            told.append("pause")

        def resumeProducing(self):
            told.append("resume")

        def stopProducing(self):
            told.append("stop")

    connection.transport.registerProducer(Producer(), True)
    connection.transport.write(b"a little")
    assert told == []
    connection.transport.write(b"x" * 4_000_000)
    assert told == ["pause"]
    connection.heard_to_the_end(4_000_008)
    assert told == ["pause", "resume"]
    connection.transport.unregisterProducer()


def test_a_pull_producer_is_asked_for_more(connection):
    pieces = [b"one", b"two", b"three"]

    class Producer:
        def resumeProducing(self):
            if pieces:
                connection.transport.write(pieces.pop(0))
            else:
                connection.transport.unregisterProducer()

        def stopProducing(self):
            """Nothing."""

    connection.transport.registerProducer(Producer(), False)
    connection.turn(5)
    assert connection.heard() == b"onetwothree"


def test_the_end_comes_after_what_was_written(connection):
    connection.transport.write(b"the last")
    connection.transport.loseConnection()
    connection.turn(2)
    assert connection.heard() == b"the last"
    assert connection.peer.recv(1) == b""
    assert connection.protocol.lost is not None
    connection.transport.write(b"nobody hears")


def test_the_end_of_one_half_comes_after_what_was_written(connection):
    connection.transport.write(b"the last")
    connection.transport.loseWriteConnection()
    connection.turn(2)
    connection.transport.write(b"nobody hears")
    assert connection.heard() == b"the last"
    connection.peer.send(b"still heard")
    connection.turn()
    assert connection.protocol.data == b"still heard"


@pytest.mark.parametrize("connection", ["tcp"], indirect=True)  # a UNIX socket's is one
def test_the_end_is_no_reset_though_not_all_was_read(connection):
    connection.peer.send(b"nobody reads")
    connection.transport.loseConnection()
    connection.turn(2)
    assert connection.protocol.lost is not None
    assert connection.peer.recv(100) == b""


def test_one_half_ends_before_the_reactor_turns_if_nothing_is_owed(connection):
    connection.transport.write(b"the last")
    connection.transport.loseWriteConnection()
    assert connection.peer.recv(100) == b"the last"
    assert connection.peer.recv(100) == b""
    assert not connection.waits
    connection.transport.write(b"nobody hears")
    connection.turn(2)
    assert connection.protocol.lost is None
    connection.transport.loseConnection()
    connection.turn(2)
    assert connection.protocol.lost is not None


def test_one_half_ends_after_what_is_owed(connection):
    connection.transport.write(b"x" * 2_000_000)
    connection.transport.loseWriteConnection()
    assert connection.waits
    assert len(connection.heard_to_the_end(2_000_000)) == 2_000_000
    connection.turn()
    assert connection.peer.recv(100) == b""


def test_nothing_is_sent_once_it_is_aborted(connection):
    connection.transport.abortConnection()
    connection.transport.write(b"nobody hears")
    with suppress(ConnectionResetError):
        assert connection.heard() == b""
    connection.turn(2)
    assert connection.protocol.lost is ConnectionAborted


def test_the_reactor_finds_out_that_the_peer_is_gone(connection):
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.peer.close()
    for _ in range(2):
        connection.transport.write(b"nobody hears")
    assert connection.protocol.lost is None, "not from inside of a write"
    connection.turn(2)
    assert connection.protocol.lost is not None


class Lending(Heard):
    """Lends its socket to somebody who owes something at once, in the turn in which it reads."""

    borrower = None

    def dataReceived(self, data):
        self.borrower = Borrower(lend(self))

    def pauseProducing(self):
        pass

    resumeProducing = stopProducing = pauseProducing


class Borrower:
    """Is to read, and to write."""

    def __init__(self, loan):
        self.fileno = loan.socket.fileno
        loan.begin(self)
        loan.reactor.addWriter(self)

    def logPrefix(self):
        return "test"

    def doRead(self):
        pass

    doWrite = give_back = doRead


def test_a_borrower_hears_of_room_though_the_transport_has_asked_for_it_before():
    reactor = EPollReactor()
    peer, side = connected("tcp")
    side.setblocking(False)
    protocol = Lending()
    transport = PromptServer(side, protocol, ("192.0.2.1", 1), None, 0, reactor)
    transport.registerProducer(protocol, True)
    protocol.makeConnection(transport)
    transport.startReading()
    transport.startWriting()  # so that one event says that there is data, and room
    with peer, side:
        peer.send(b"x")
        reactor.iterate(0.05)
        assert protocol.borrower in reactor.getWriters()
        reactor.removeAll()
