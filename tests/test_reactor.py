"""The reactor with less around each event: what Twisted's own does, it does."""

import socket
import subprocess
import sys

import pytest
from twisted.internet import main

Reactor = pytest.importorskip("rfbproxy.reactor", reason="there is no epoll").Reactor


class Descriptor:
    """Reads what comes, and then does what it is told to."""

    def __init__(self, sock, then=lambda: None):
        self.fileno = sock.fileno
        self._socket = sock
        self._then = then
        self.heard = b""
        self.lost = None

    def doRead(self):
        self.heard += self._socket.recv(100)
        return self._then()

    def doWrite(self):
        self._socket.send(b"written")
        return self._then()

    def logPrefix(self):
        return "test"

    def connectionLost(self, reason):
        self.lost = reason


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def reactor(pair):
    reactor = Reactor()
    yield reactor
    reactor.removeAll()
    for each in reactor.getReaders():
        reactor.removeReader(each)
        each.connectionLost(None)


def test_reading_and_writing(reactor, pair):
    one = Descriptor(pair[0])
    reactor.addReader(one)
    pair[1].send(b"read")
    reactor.iterate(1.0)
    assert one.heard == b"read"
    reactor.addWriter(one)
    reactor.iterate(1.0)
    assert pair[1].recv(100) == b"written"
    assert one.lost is None


def test_a_descriptor_that_says_it_is_lost_leaves(reactor, pair):
    one = Descriptor(pair[0], lambda: main.CONNECTION_LOST)
    reactor.addReader(one)
    pair[1].send(b"read")
    reactor.iterate(1.0)
    assert one.lost.check(type(main.CONNECTION_LOST))
    assert one not in reactor.getReaders()


def test_one_that_fails_leaves_and_the_others_go_on(reactor, pair, caplog):
    def fail():
        raise ZeroDivisionError

    one, two = Descriptor(pair[0], fail), Descriptor(pair[1])
    for each in (one, two):
        reactor.addReader(each)
    pair[0].send(b"to two")
    pair[1].send(b"to one")
    reactor.iterate(1.0)
    reactor.iterate(1.0)
    assert one.lost.check(ZeroDivisionError)
    assert (two.heard, two.lost) == (b"to two", None)


def test_one_that_fails_when_it_is_lost_and_the_others_go_on(reactor, pair):
    def fail():
        raise ZeroDivisionError

    one, two = Descriptor(pair[0], fail), Descriptor(pair[1])
    one.connectionLost = lambda _: fail()
    for each in (one, two):
        reactor.addReader(each)
    pair[0].send(b"to two")
    pair[1].send(b"to one")
    reactor.iterate(1.0)
    reactor.iterate(0)
    assert (one.heard, two.heard) == (b"to one", b"to two")


def test_one_that_an_earlier_event_removed_has_none(reactor, pair):
    descriptors = []

    def remove_all():
        for each in descriptors:
            reactor.removeReader(each)

    descriptors += [Descriptor(end, remove_all) for end in pair]
    for each in descriptors:
        reactor.addReader(each)
    pair[0].send(b"one")
    pair[1].send(b"other")
    reactor.iterate(1.0)
    assert sorted(each.heard for each in descriptors)[0] == b""


@pytest.mark.parametrize("reads", [True, False])
def test_another_descriptor_reads_the_same_socket(reactor, pair, reads):
    one, other = Descriptor(pair[0]), Descriptor(pair[0])
    if reads:
        reactor.addReader(one)
    reactor.hand_over(one, other)
    assert other in reactor.getReaders()
    assert one not in reactor.getReaders()
    pair[1].send(b"read")
    reactor.iterate(1.0)
    assert (one.heard, other.heard) == (b"", b"read")
    reactor.addWriter(other)
    reactor.removeReader(other)
    reactor.removeWriter(other)
    assert other not in reactor.getReaders()


def test_the_end_of_a_peer_ends(reactor, pair):
    one = Descriptor(pair[0], lambda: main.CONNECTION_DONE)
    reactor.addReader(one)
    pair[1].close()
    reactor.iterate(1.0)
    assert one.lost.check(type(main.CONNECTION_DONE))


@pytest.mark.parametrize(
    ("changed", "module"),
    [
        ("", "rfbproxy.reactor"),
        ("reactor._USED += ('renamed',)", "twisted.internet.epollreactor"),
        ("from twisted.internet.pollreactor import install; install()", "twisted.internet.pollreactor"),
    ],
    ids=["as it was", "changed", "another one was asked for"],
)
def test_the_service_runs_in_it_unless_twisted_has_changed_or_there_is_one(changed, module):
    program = (
        "from rfbproxy import reactor, tap\n"
        f"{changed}\n"
        "tap._choose_reactor()\n"
        "from twisted.internet import reactor\n"
        "print(type(reactor).__module__)"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60, text=True)
    assert ran.stdout.strip() == module
