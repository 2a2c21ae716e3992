"""A relay between real sockets in a reactor of its own, which a test turns by hand while it plays both peers."""

import asyncio
import contextlib
import functools
import os
import socket
import ssl
import tempfile
import time
from pathlib import Path
from unittest import mock

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.protocols import tls

from rfbproxy.client.raw import RawStream
from rfbproxy.client.tls import ServerTls, inside_tls
from rfbproxy.client.websocket import WebSocketStream
from rfbproxy.session.relay import Relay
from rfbproxy.transport import TransportStream
from tests.certificates import certificate
from tests.client.frames import frame, parse

WAYS = ("raw", "websocket")
FAMILIES = ("tcp", "unix")
PATIENCE_S = 20.0
BIG = os.urandom(3_000_000)


def asyncio_reactor():
    return AsyncioSelectorReactor(asyncio.new_event_loop())


REACTORS = [SelectReactor, PollReactor, asyncio_reactor]
with contextlib.suppress(ImportError):
    from twisted.internet.epollreactor import EPollReactor

    from rfbproxy.reactor import Reactor

    REACTORS[:0] = [Reactor, EPollReactor]


def connected(family="tcp"):
    """Two ends of a connection, between which not much is on its way."""
    if family == "unix":
        return _limited(*socket.socketpair())
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _limited(one, other)


def _limited(*ends):
    for end in ends:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            end.setsockopt(socket.SOL_SOCKET, option, 200_000)
    return ends


@functools.cache
def own_tls():
    """The proxy's side of TLS, on whichever side it is."""
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "pem"
        certificate(pem, pem)
        return ServerTls(pem, None)


class TlsSocket:
    """A peer's socket inside TLS, to be used as one without."""

    def __init__(self, sock, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = version
        sock.setblocking(False)
        self.tls = context.wrap_socket(sock, do_handshake_on_connect=False)
        self.setsockopt, self.setblocking, self.close = self.tls.setsockopt, self.tls.setblocking, self.tls.close
        self.records = []  # how many bytes came in each

    def send(self, data):
        with _as_without_tls():
            return self.tls.send(data)

    def recv(self, size):
        with _as_without_tls(), contextlib.suppress(ssl.SSLZeroReturnError):
            data = self.tls.recv(size)
            self.records.append(len(data))
            return data
        return b""

    def put(self, data):
        """Send bytes that are no TLS."""
        assert os.write(self.tls.fileno(), data) == len(data)

    def shutdown(self, _):
        """Send the alert that says that no more comes, whatever is still to be read."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()


@contextlib.contextmanager
def _as_without_tls():
    try:
        yield
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
        raise BlockingIOError from error


class Peer:
    """The far end of one side, never blocking."""

    def __init__(self, sock, framed):
        sock.setblocking(False)
        self.socket = sock
        self._framed = framed
        self._unsent = bytearray()
        self.raw = bytearray()  # what came
        self._payload = bytearray()  # in its whole frames, the first so many bytes
        self._parsed = 0
        self.ended = self.reset = False
        self.reading = True

    def say(self, data, **named):
        """Send bytes of the stream, as one frame where there are frames."""
        self.say_raw(_frame(data, **named) if self._framed else data)

    def say_raw(self, data):
        self._unsent += data
        self.turn()

    def turn(self):
        try:
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent[:1_000_000])]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()
        try:
            while self.reading and not self.ended:
                data = self.socket.recv(1_000_000)
                self.raw += data
                self.ended = not data
        except BlockingIOError:
            pass
        except OSError:
            self.ended = self.reset = True

    @property
    def unsent(self):
        return len(self._unsent)

    @property
    def has_unsent(self):
        return bool(self._unsent)

    @property
    def frames(self):
        return parse(bytes(self.raw))

    @property
    def heard(self):
        """The bytes of the stream so far; of frames, those that are whole."""
        if not self._framed:
            return self.raw
        raw = self.raw
        while (at := self._parsed) + 2 <= len(raw):
            size, start = raw[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(raw[start : start + width], "big"), start + width
            if start + size > len(raw):
                break
            if raw[at] == 0x82:
                self._payload += raw[start : start + size]
            self._parsed = start + size
        return self._payload

    def half_close(self):
        assert not self.has_unsent
        self.socket.shutdown(socket.SHUT_WR)

    def reset_connection(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()
        self.reading = False
        self._unsent.clear()


def _frame(data, **named):
    """A frame whose mask is nothing where it is long: making it is not what is tested."""
    return frame(data, **named) if len(data) < 1000 else _zero_masked(data)


def _zero_masked(data):
    head = frame(b"", claimed=len(data), mask=bytes(4))
    return head + data


class World:
    """A reactor, and what it is turned for.

    Args:
        encrypted: the sides that are inside TLS: in 1.2 the client, in 1.3 the target.
    """

    def __init__(self, kind, encrypted=()):
        self.reactor = kind()
        self._loop = getattr(self.reactor, "_asyncioEventloop", None)
        self.encrypted = encrypted
        self._clock = mock.patch.object(tls, "_get_default_clock", return_value=self.reactor)
        self._clock.start()
        self.sessions = []

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
            self.turn()

    def turn(self, count=1):
        for _ in range(count):
            for session in self.sessions:
                session.client.turn()
                session.target.turn()
            self._iterate(0.0005)

    def _iterate(self, delay_s):
        if loop := self._loop:  # whose reactor waits for ten milliseconds more
            loop.call_later(delay_s, loop.stop)
            loop.run_forever()
        else:
            self.reactor.iterate(delay_s)

    def settle(self, moves=lambda: False, calm_s=0.05):
        """Let go through whatever goes through, until nothing has moved for some time, and for some turns.

        The time is longer than TCP keeps an acknowledgement back; a busy machine may spend all of it elsewhere.
        """
        began, turns = time.monotonic(), 0
        while turns < 20 or time.monotonic() - began < calm_s:
            self.turn()
            turns += 1
            if moves():
                began, turns = time.monotonic(), 0

    def adopt(self, sock, protocol):
        class One(Factory):
            noisy = False

            def buildProtocol(self, addr):
                return protocol

        self.reactor.adoptStreamConnection(sock.fileno(), sock.family, One())
        sock.close()

    def close(self):
        self._clock.stop()
        for session in self.sessions:
            session.client.socket.close()
            session.target.socket.close()
            for stream in (session.client_stream, session.target_stream):
                if not stream.lost:
                    stream.abort()
        self.until(self._is_idle, "the connections to end")
        for call in self.reactor.getDelayedCalls():
            call.cancel()
        for waker in self.reactor.getReaders():
            self.reactor.removeReader(waker)
            waker.connectionLost(None)
        if self._loop:
            self._loop.close()
        self.sessions.clear()  # so that what was sent is not kept until somebody looks for garbage

    def _is_idle(self):
        return all(session.client_stream.lost and session.target_stream.lost for session in self.sessions)


class Session:
    """One relay; its peers are `client` and `target`."""

    def __init__(
        self,
        world,
        way="raw",
        family="tcp",
        *,
        client_filter=None,
        target_filter=None,
        early=(b"", b""),
        client_ends=None,
        started=True,
    ):
        self.world = world
        client, client_side = connected(family)
        target, target_side = connected(family)
        if "client" in world.encrypted:
            client = TlsSocket(client, ssl.TLSVersion.TLSv1_2)
        if "target" in world.encrypted:
            target = TlsSocket(target, ssl.TLSVersion.TLSv1_3)
        self.client, self.target = Peer(client, way == "websocket"), Peer(target, False)
        self.client_stream = (
            WebSocketStream(b"", 1000.0, world.reactor) if way == "websocket" else RawStream(world.reactor)
        )
        self.target_stream = TransportStream(world.reactor)
        world.sessions.append(self)
        self._connect(client_side, target_side)
        self.client_stream.is_authorised = True
        self.client.say(early[0]) if early[0] else None
        self.target.say(early[1])
        self.outcome = []
        if any(early):
            world.settle()
        self.relay = Relay(self.client_stream, self.target_stream, client_filter, target_filter, client_ends)
        if started:
            self.start()

    def _connect(self, client_side, target_side):
        """Let the streams have their connections, and TLS in them where it is to be: around one, begun inside one."""
        world = self.world
        protocol = getattr(self.client_stream, "protocol", self.client_stream)
        if "client" in world.encrypted:
            protocol = inside_tls(protocol, own_tls(), world.reactor)
        world.adopt(client_side, protocol)
        world.adopt(target_side, self.target_stream.protocol)
        secured = []
        if "target" in world.encrypted:
            self.target_stream.start_tls(own_tls()).addCallback(secured.append)
        for peer in (getattr(self, side) for side in world.encrypted):
            world.until(peer.socket.tls.version, "TLS")  # before that there is none
        world.until(lambda: len(secured) == world.encrypted.count("target"), "TLS")
        if "client" in world.encrypted:
            world.until(lambda: protocol._handshakeDone, "TLS")

    def start(self):
        self.relay.start().addBoth(self.outcome.append)

    @property
    def is_pumped(self):
        return self.relay._pump is not None and not self.relay._pump.over

    @property
    def fate(self):
        self.world.until(lambda: self.outcome, "the relay to end")
        return self.outcome[0]


def block(session, source="target"):
    """Send so much that the sink, whose peer does not read, is full; gives what was sent."""
    one, other = (session.target, session.client) if source == "target" else (session.client, session.target)
    flow = session.relay.to_client if source == "target" else session.relay.to_target
    other.reading = False
    sent = b""
    unsent = None

    def moves():
        nonlocal sent, unsent
        if one.unsent < 500_000:
            sent += BIG[:500_000]
            one.say(BIG[:500_000])
            assert len(sent) < 60_000_000
        before, unsent = unsent, one.unsent
        return not flow.blocked or unsent != before

    session.world.settle(moves, 0.25)  # where a window was closed, TCP asks after 0.2 s whether it is open again
    return sent
