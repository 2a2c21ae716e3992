"""Dialling over real loopback sockets, and names through a resolver of the tests' own."""

import contextlib
import gc
import socket
from time import monotonic

import pytest
from twisted.internet._resolver import HostResolution
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.target.dial import Dialler, address_text
from rfbproxy.transport import TransportStream
from tests.ports import black_hole, free_port
from tests.test_interactive import is_interactive

TIMEOUT_S = 20.0  # for whatever answers, on a busy machine too
SHORT_S = 0.3  # for whatever never does


@implementer(IHostnameResolver)
class Names:
    """Knows the names that a test gave it; `None` never answers."""

    def __init__(self, port):
        self.known = {}
        self.port = port

    def resolveHostName(self, receiver, name, portNumber=0, **_):  # noqa: N803 - Twisted's name
        resolution = HostResolution(name)
        receiver.resolutionBegan(resolution)
        hosts = self.known.get(name, [name] if name in ("127.0.0.1", "::1") else [])
        if hosts is None:
            return resolution
        for host in hosts:
            kind = IPv6Address if ":" in host else IPv4Address
            receiver.addressResolved(kind("TCP", host, portNumber))
        receiver.resolutionComplete()
        return resolution


class World:
    """A reactor of its own, turned by hand."""

    def __init__(self):
        self.reactor = EPollReactor()
        self.names = Names(0)
        self.reactor.installNameResolver(self.names)
        self.reactor.startRunning(installSignalHandlers=False)

    def turn_until(self, done):
        end = monotonic() + TIMEOUT_S
        while not done() and monotonic() < end:
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0.01)
        assert done()

    def dial(self, host, port, timeout_s=TIMEOUT_S):
        got = []
        dialling = Deferred.fromCoroutine(Dialler(self.reactor, timeout_s).dial(host, port))
        dialling.addBoth(got.append)
        return dialling, got

    def result(self, host, port, timeout_s=TIMEOUT_S):
        _, got = self.dial(host, port, timeout_s)
        self.turn_until(lambda: got)
        return getattr(got[0], "value", got[0])

    def timers(self):
        return [call for call in self.reactor.getDelayedCalls() if call.active()]

    def sockets(self):
        return len(self.reactor.getReaders()) + len(self.reactor.getWriters()) - len(self.reactor._internalReaders)


@pytest.fixture
def world():
    world = World()
    yield world
    world.turn_until(lambda: world.timers() == [])
    world.reactor.fireSystemEvent("shutdown")
    gc.collect(1)


@pytest.fixture
def soon(monkeypatch):
    """The next address is tried sooner than in life."""
    monkeypatch.setattr("twisted.internet.endpoints.HostnameEndpoint._DEFAULT_ATTEMPT_DELAY", 0.03)


@pytest.fixture
def listening():
    with contextlib.ExitStack() as stack:

        def listen(host="127.0.0.1", port=0):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = stack.enter_context(socket.socket(family))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen()
            return sock, sock.getsockname()[1]

        yield listen


@pytest.fixture(name="black_hole")
def port_that_never_answers():
    with black_hole() as port:
        yield port


def finish(world, stream):
    stream.abort()
    world.turn_until(lambda: stream.lost)


@pytest.mark.parametrize(
    ("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::1", "[::1]"), ("::1", "0:0::1")]
)
def test_an_address(world, listening, host, written):
    sock, port = listening(host)
    stream = world.result(written, port)
    assert isinstance(stream, TransportStream)
    peer, _ = sock.accept()
    with peer:
        stream.send(b"RFB")
        peer.sendall(b"early")
        world.turn_until(lambda: stream._buffer == b"early")
        assert peer.recv(3) == b"RFB"
        assert is_interactive(stream.protocol.transport.getHandle())
        finish(world, stream)


def test_half_close_over_a_real_socket(world, listening):
    sock, port = listening()
    stream = world.result("127.0.0.1", port)
    peer, _ = sock.accept()
    with peer:
        peer.shutdown(socket.SHUT_WR)
        world.turn_until(lambda: stream.ended)
        assert not stream.lost
        stream.send(b"still")
        stream.send_eof()
        sent = bytearray()

        def all_sent():
            with contextlib.suppress(BlockingIOError):
                sent.extend(peer.recv(5) or b"|end")
            return sent.startswith(b"still|end")

        peer.setblocking(False)
        world.turn_until(all_sent)
        assert not stream.lost, "the other half is open"
        finish(world, stream)


def test_a_target_that_takes_nothing_is_dropped_after_a_while(world, listening, monkeypatch):
    monkeypatch.setattr("rfbproxy.transport.CLOSE_TIMEOUT_S", 0.1)
    sock, port = listening()
    stream = world.result("127.0.0.1", port)
    peer, _ = sock.accept()
    with peer:
        stream.send(b"x" * 50_000_000)
        stream.close()
        world.turn_until(lambda: stream.lost)


def test_a_name_with_several_addresses_of_which_one_answers(world, listening, soon):
    _, port = listening("127.0.0.2")
    world.names.known["console.example"] = ["::1", "127.0.0.1", "127.0.0.2"]
    stream = world.result("console.example", port)
    assert stream.protocol.transport.getPeer().host == "127.0.0.2"
    assert is_interactive(stream.protocol.transport.getHandle())
    finish(world, stream)


def test_an_address_that_never_answers_does_not_hold_up_the_next(world, listening, black_hole, soon):
    _, port = listening("127.0.0.2", black_hole)
    world.names.known["console.example"] = ["127.0.0.1", "127.0.0.2"]
    stream = world.result("console.example", port)
    assert stream.protocol.transport.getPeer().host == "127.0.0.2"
    finish(world, stream)


def unreachable(refused, *words):
    assert isinstance(refused, Refused)
    assert refused.reason is CloseReason.TARGET_UNREACHABLE
    for word in words:
        assert word in refused.detail


def test_a_port_where_nobody_listens(world):
    port = free_port()
    unreachable(world.result("127.0.0.1", port), f"127.0.0.1:{port}", "refused")
    unreachable(world.result("[::1]", port), f"[::1]:{port} is")


@pytest.mark.parametrize(("host", "times"), [("console.example", 1), ("console.example", 3), ("127.0.0.1", 1)])
def test_a_black_hole(world, black_hole, host, times):
    world.names.known["console.example"] = ["127.0.0.1"] * times
    begun = monotonic()
    unreachable(world.result(host, black_hole, SHORT_S), f"no answer within {SHORT_S} s")
    assert SHORT_S <= monotonic() - begun < SHORT_S + 2


def test_a_name_that_nobody_knows(world):
    unreachable(world.result("nowhere.example", 5900), "nowhere.example:5900")


def test_a_name_that_is_not_answered_for(world):
    world.names.known["slow.example"] = None
    unreachable(world.result("slow.example", 5900, SHORT_S), f"no answer within {SHORT_S} s")


@pytest.mark.parametrize("host", ["", "bad host", "a" * 300, "\ud800", "xn--\u00fc", "."])
def test_what_is_no_name(world, host):
    unreachable(world.result(host, 5900))


@pytest.mark.parametrize("host", ["fe80::1%nothing", "[fe80::1%nothing]", "name%zone"])
def test_a_zone_that_is_not_there(world, host):
    """Zones that are there are in `tests/live/test_namespaces.py`."""
    unreachable(world.result(host, 5900), host.strip("[]"))


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_what_is_no_port(world, port):
    unreachable(world.result("127.0.0.1", port), str(port))


def test_a_cancelled_attempt_is_no_unreachable_target(world, black_hole):
    dialling, got = world.dial("127.0.0.1", black_hole)
    dialling.cancel()
    assert got[0].check(CancelledError)


def test_an_address_is_not_looked_up(world, listening):
    _, port = listening()
    world.names.known["127.0.0.1"] = None
    finish(world, world.result("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "addresses"),
    [("console.example", None), ("console.example", ["127.0.0.1", "127.0.0.1"]), ("127.0.0.1", None)],
    ids=["resolving", "connecting", "an-address"],
)
def test_cancelling_leaves_nothing(world, black_hole, host, addresses):
    world.names.known["console.example"] = addresses
    dialling, got = world.dial(host, black_hole)
    for _ in range(3):
        world.reactor.runUntilCurrent()
        world.reactor.doIteration(0.01)
    dialling.cancel()
    assert len(got) == 1
    world.turn_until(lambda: world.timers() == [])
    assert world.sockets() == 0


@pytest.mark.parametrize(
    ("host", "text"),
    [("node1", "node1:5900"), ("192.0.2.1", "192.0.2.1:5900"), ("2001:db8::1", "[2001:db8::1]:5900")],
)
def test_address_text(host, text):
    assert address_text(host, 5900) == text
