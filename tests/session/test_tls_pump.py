"""What a pump meets in TLS alone; what it meets everywhere is in `test_socket_pump`."""

import os
import socket
import subprocess

import pytest
from OpenSSL import SSL

from rfbproxy import tls_layer
from rfbproxy.client.raw import RawStream
from rfbproxy.client.tls import inside_tls
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session import tls_ends
from rfbproxy.session.relay import Relay
from rfbproxy.transport import TransportStream
from tests.client.frames import PING, frame
from tests.session.wires import BIG, REACTORS, WAYS, Session, World, block, own_tls

SIDES = ("client", "target")
BAD_RECORD = b"".join(
    [
        b"\x17",  # type: application data
        b"\x03\x03",  # version, as all of TLS 1.2 and 1.3 have it
        b"\x00\x20",  # length
        bytes(32),
    ]
)
LEFT = {"client": CloseReason.CLIENT_CLOSED, "target": CloseReason.TARGET_CLOSED}


@pytest.fixture(params=REACTORS, ids=lambda kind: kind.__name__)
def world(request):
    """Whatever the reactor, everything is the same."""
    world = World(request.param, SIDES)
    yield world
    world.close()


@pytest.fixture(params=["sockets", "transports"])
def pump(request, monkeypatch):
    """Whichever moves the bytes."""
    if request.param == "transports":
        monkeypatch.setattr(TransportStream, "has_socket", False)
    return request.param


def peers(session, side):
    """The peer of a side, and that of the other."""
    return (session.client, session.target) if side == "client" else (session.target, session.client)


# Records


@pytest.mark.parametrize("way", WAYS)
def test_records_in_pieces(world, monkeypatch, way):
    monkeypatch.setattr(tls_ends, "_records", memoryview(bytearray(7)))
    session = Session(world, way)
    session.client.say(b"key")
    session.client.say(BIG[:3000])
    session.target.say(BIG[:20_000])
    world.until(lambda: len(session.client.heard) == 20_000 and len(session.target.heard) == 3003, "all")
    assert session.client.heard == BIG[:20_000]
    assert session.target.heard == b"key" + BIG[:3000]
    assert session.is_pumped


@pytest.mark.parametrize(("way", "size"), [("raw", 20), ("websocket", 22)])
def test_what_is_short_is_one_record(world, way, size):
    session = Session(world, way)
    session.client.socket.records.clear()
    session.target.say(b"x" * 20)
    world.until(lambda: session.client.heard, "it")
    assert session.client.socket.records == [size]


class Messages:
    """Messages of the same size."""

    def __init__(self, size):
        self._size = size

    def cut(self, data):
        return [data[at : at + self._size] for at in range(0, len(data), self._size)]


class Everything:
    """A filter through which all passes."""

    def receive_data(self, data):
        return data


def test_a_client_that_must_get_each_message_by_itself(world):
    session = Session(world, target_filter=Everything(), client_ends=Messages(4))
    assert session.is_pumped
    session.target.say(b"one.two.six.")
    world.until(lambda: len(session.client.heard) == 12, "all")
    assert session.client.socket.records == [4, 4, 4]
    assert session.is_pumped


def test_messages_wait_for_a_client_that_does_not_read(world):
    session = Session(world, target_filter=Everything(), client_ends=Messages(10_000))
    sent = block(session)
    session.client.reading = True
    world.until(lambda: len(session.client.heard) == len(sent), "all")
    assert session.client.heard == sent
    assert max(session.client.socket.records) == 10_000
    assert session.is_pumped


def test_a_client_that_asks_for_new_keys(world):
    """As `openssl s_client` does; it writes down what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = ["openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{server.getsockname()[1]}"]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        accepted, _ = server.accept()
    session = Session(world, started=False)
    stream = RawStream(world.reactor)
    try:
        world.adopt(accepted, inside_tls(stream.protocol, own_tls(), world.reactor))
        session.relay = Relay(stream, session.target_stream)
        session.start()
        os.set_blocking(program.stdout.fileno(), False)
        for word, command in ((b"one", b""), (b"two", b"K\n"), (b"three", b"")):
            if command:
                os.write(program.stdin.fileno(), command)
                read_until(world, program.stdout, b"KEYUPDATE")
            os.write(program.stdin.fileno(), word + b"\n")
            world.until(lambda word=word: session.target.heard.endswith(word + b"\n"), "a word")
            session.target.say(b"heard " + word)
            read_until(world, program.stdout, b"heard " + word)
        assert session.is_pumped
        assert session.target.heard == b"one\ntwo\nthree\n"
    finally:
        program.kill()
        program.communicate()
        world.until(lambda: stream.lost, "the end")


def read_until(world, output, words):
    shown = b""

    def is_shown():
        nonlocal shown
        shown += output.read() or b""
        return words in shown

    world.until(is_shown, words)


# How it begins


def test_this_twisted_is_known(world):
    """Else no session with TLS is fast: `rfbproxy/tls_layer.py` says what of Twisted has changed."""
    session = Session(world, started=False)
    assert session.client_stream.has_socket
    assert session.target_stream.has_socket
    session.start()
    assert session.is_pumped


def test_with_another_twisted_the_streams_pump(world, monkeypatch):
    monkeypatch.setattr(tls_layer, "_USED", (*tls_layer._USED, "_not_thought_of_yet"))
    session = Session(world)
    session.client.say(b"key")
    session.target.say(b"pixels")
    world.until(lambda: session.target.heard == b"key" and session.client.heard == b"pixels", "them")
    assert not session.client_stream.has_socket
    assert not session.target_stream.has_socket
    assert not session.is_pumped


@pytest.mark.parametrize("way", WAYS)
def test_a_relay_that_starts_between_two_records(world, way):
    """What is in TLS already comes before what is on the socket."""
    session = Session(world, way, started=False)

    def start(data):
        session.client_stream.unread(data)
        session.start()
        assert not session.is_pumped, "more is there to be read"

    session.client_stream.receive(start)
    session.client.say(BIG[:50_000])
    world.until(lambda: len(session.target.heard) == 50_000, "all of it")
    session.client.say(b"more")
    world.until(lambda: len(session.target.heard) == 50_004, "more")
    assert session.target.heard == BIG[:50_000] + b"more"
    assert session.is_pumped


# How it ends


@pytest.mark.parametrize("side", SIDES)
def test_the_end_of_tls_ends_the_connection(world, pump, side):
    session = Session(world)
    one, other = peers(session, side)
    one.say(b"last words")
    one.half_close()
    assert session.fate is LEFT[side]
    session.client_stream.close_because(Refused(LEFT[side], LEFT[side].sentence))
    session.target_stream.close()
    world.until(lambda: one.ended and other.ended, "both to be told")
    assert other.heard == b"last words"
    assert not one.reset
    assert not other.reset


@pytest.mark.parametrize("side", SIDES)
def test_the_end_of_the_connection_without_that_of_tls(world, pump, side):
    session = Session(world)
    one, other = peers(session, side)
    one.say(b"last words")
    one.socket.tls.close()
    one.reading = False
    assert session.fate is LEFT[side]
    world.until(lambda: other.heard, "it")
    assert other.heard == b"last words"
    assert session.target_stream.tls_failure is None


@pytest.mark.parametrize("side", SIDES)
def test_what_is_no_tls(world, pump, side):
    """What was before it goes through, and the transport says why it ended, as if no pump had been there."""
    session = Session(world)
    one, other = peers(session, side)
    one.say(b"last words")
    one.socket.put(BAD_RECORD)
    assert session.fate is LEFT[side]
    world.until(lambda: other.heard, "it")
    assert other.heard == b"last words"
    why = session.target_stream.tls_failure
    assert why == ("decryption failed or bad record mac" if side == "target" else None)


class Reluctant:
    """An OpenSSL connection that takes one record, and then wants to read first."""

    def __init__(self, connection):
        self._connection = connection
        self._taken = False

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def send(self, data):
        if self._taken:
            raise SSL.WantReadError
        self._taken = True
        return self._connection.send(data[:10_000])


@pytest.mark.parametrize("way", WAYS)
def test_what_openssl_does_not_take_the_transport_sends(world, way):
    session = Session(world, way)
    end, _ = session.relay._pump._ends
    end._tls = Reluctant(end._tls)
    session.target.say(BIG[:40_000])
    world.until(lambda: len(session.client.heard) == 40_000, "all of it")
    assert session.client.heard == BIG[:40_000]
    assert not session.is_pumped


def test_a_ping_then_the_end_of_tls_then_a_reset(world):
    """The answer to the ping cannot be sent, which is found out before the end of TLS is."""
    session = Session(world, "websocket")
    assert session.is_pumped
    session.client.say_raw(frame(b"1", opcode=PING))
    session.client.socket.shutdown(None)
    session.client.reset_connection()
    world.until(lambda: session.outcome, "the end")
    world.settle()
    assert session.outcome == [CloseReason.CLIENT_CLOSED]


def test_a_target_that_takes_no_more_while_both_sockets_are_lent():
    """Twisted's TLS towards it may have gathered what is sent: lending it has that sent, and the client is paused."""
    world = World(REACTORS[0], ("target",))
    try:
        session = Session(world, started=False)
        wire = session.target_stream.protocol.transport
        wire.writeSomeData = lambda data: 0  # as if its socket were full
        session.target_stream.send(BIG[:20_000])
        session.start()
        assert not session.is_pumped
        session.client.say(BIG[:60_000])
        world.settle()
        assert session.relay.to_target.blocked
        session.client.say(BIG)
        world.settle()
        assert session.client.has_unsent, "it is not read"
        del wire.writeSomeData
        sent = BIG[:20_000] + BIG[:60_000] + BIG
        world.until(lambda: len(session.target.heard) == len(sent), "all")
        assert session.target.heard == sent
        assert session.is_pumped
    finally:
        world.close()


class Talkative:
    """OpenSSL with a peer that wants to hear much."""

    def bio_write(self, data):
        pass

    def recv_into(self, *_):
        raise SSL.WantReadError

    def bio_read(self, limit):
        return bytes(100_000)


def test_a_client_that_wants_answers_and_does_not_read_them_is_dropped(world):
    session = Session(world)
    block(session)
    session.relay._pump._ends[0]._tls = Talkative()
    for _ in range(20):
        session.client.say(b"hello")
        world.settle()
    assert session.client_stream.lost
    assert session.outcome == [CloseReason.CLIENT_CLOSED]
