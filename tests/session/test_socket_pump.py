"""The socket pump between real sockets: what goes through, and what happens when something else comes."""

import gc
import os
from contextlib import suppress
from pathlib import Path

import pytest
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session import attention, ends, pipes, socket_end
from rfbproxy.transport import TransportStream
from tests.client.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close_frame, closing, frame
from tests.session.wires import BIG, FAMILIES, REACTORS, WAYS, Session, World, block

CLEAR, ENCRYPTED = (), ("client", "target")
SIDES_IN_TLS = [(kind, sides) for kind in REACTORS for sides in (CLEAR, ENCRYPTED)]
SIDES_IN_TLS += [(REACTORS[0], ("client",)), (REACTORS[0], ("target",))]


def named(param):
    kind, sides = param
    return "-".join([kind.__name__, *sides])


@pytest.fixture(params=SIDES_IN_TLS, ids=named)
def world(request):
    """Whatever the reactor, and with TLS or without, everything is the same."""
    world = World(*request.param)
    yield world
    world.close()


@pytest.fixture(params=REACTORS, ids=lambda kind: kind.__name__)
def clear_world(request):
    """One without TLS."""
    world = World(request.param)
    yield world
    world.close()


def use(monkeypatch, own):
    """Have pipes of a test's own."""
    for module in (ends, socket_end):
        monkeypatch.setattr(module, "pipes", own)
    return own


@pytest.fixture(params=["spliced", "copied"])
def bulk(request, monkeypatch):
    """How many bytes go through at once: by the kernel, or where it cannot."""
    monkeypatch.setattr(pipes, "LIMIT", 32 if request.param == "spliced" else 0)
    use(monkeypatch, pipes.Pipes())
    monkeypatch.setattr(pipes, "IDLE_LIMIT", 0)
    return request.param


class Capitals:
    """A filter that shows that it is there, and that can be broken."""

    def __init__(self):
        self.then = None

    def receive_data(self, data):
        if b"!" in data:
            raise RemoteProtocolError("an exclamation mark")
        if self.then is not None:
            self.then()
        return data.upper()

    def data_to_send(self):
        return b"(before)"


def registered(world):
    """What the reactor watches, but for its own waker."""
    return [
        each
        for each in {*world.reactor.getReaders(), *world.reactor.getWriters()}
        if hasattr(each, "connectionLost") and "Waker" not in type(each).__name__
    ]


def open_descriptors():
    gc.collect()  # else what an earlier test left might be closed between two counts
    return len(list(Path("/proc/self/fd").iterdir()))


# What goes through


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", WAYS)
def test_bytes_go_both_ways_and_are_counted(world, way, family):
    session = Session(world, way, family)
    assert session.is_pumped
    session.client.say(b"key")
    session.target.say(b"pixels")
    world.until(lambda: session.target.heard and session.client.heard, "them")
    assert (session.target.heard, session.client.heard) == (b"key", b"pixels")
    assert (session.relay.to_target.relayed, session.relay.to_client.relayed) == (3, 6)
    assert len(registered(world)) == 2
    for descriptor in registered(world):
        verifyObject(IReadWriteDescriptor, descriptor)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", WAYS)
def test_bulk_goes_through_byte_by_byte(world, bulk, way, family):
    session = Session(world, way, family)
    for size in (1, 65535, 65536, 65537, len(BIG), 10, 0, 200_000):
        session.target.say(BIG[:size])
    everything = b"".join(BIG[:size] for size in (1, 65535, 65536, 65537, len(BIG), 10, 200_000))
    world.until(lambda: len(session.client.heard) >= len(everything), "all of it")
    assert session.client.heard == everything
    assert session.relay.to_client.relayed == len(everything)
    assert session.is_pumped


def test_many_bytes_are_spliced_and_few_are_read(clear_world, bulk, monkeypatch):
    moved = []
    fill = pipes.Pipe.fill
    monkeypatch.setattr(pipes.Pipe, "fill", lambda *of: moved.append(fill(*of)) or moved[-1])
    session = Session(clear_world)
    session.target.say(b"few")
    clear_world.until(lambda: session.client.heard, "few")
    assert moved == []
    session.target.say(BIG)
    clear_world.until(lambda: len(session.client.heard) == 3 + len(BIG), "many")
    count = len(moved)
    assert (count > 0) is (bulk == "spliced")
    for _ in range(3):
        before = len(session.client.heard)
        session.target.say(b"few again")
        clear_world.until(lambda before=before: len(session.client.heard) == before + 9, "few")
    assert len(moved) <= count + 1, "the first few find it out"


@pytest.mark.parametrize("shared", [False, True])
def test_a_turn_of_bulk_is_short_while_somebody_types_elsewhere(clear_world, bulk, monkeypatch, shared):
    monkeypatch.setattr(attention, "CALM_S", 1000.0 if shared else 0.0)
    typing = Session(clear_world)
    asked = []
    fill = pipes.Pipe.fill
    monkeypatch.setattr(pipes.Pipe, "fill", lambda pipe, fd, most: asked.append(most) or fill(pipe, fd, most))
    typing.client.say(b"key")
    clear_world.until(lambda: typing.target.heard, "the key")
    sessions = Session(clear_world), Session(clear_world)
    for session in sessions:
        session.target.say(BIG)
    clear_world.until(lambda: all(len(session.client.heard) == len(BIG) for session in sessions), "all of it")
    if bulk == "spliced":
        assert set(asked) == {attention.SHARED_SIZE if shared else pipes.SIZE}
    for session in sessions:
        assert session.client.heard == BIG


def test_large_and_small_frames_of_the_client(world):
    session = Session(world, "websocket")
    expected = b""
    for size in (0, 1, 20, 125, 126, 70_000, 3, 1_000_000, 20, 20):
        session.client.say(BIG[:size])
        expected += BIG[:size]
    world.until(lambda: len(session.target.heard) == len(expected), "all of it")
    assert session.target.heard == expected


def test_fragments_with_pings_in_between(world):
    session = Session(world, "websocket")
    session.client.say_raw(
        frame(b"ab", fin=False)
        + frame(b"1", opcode=PING)
        + frame(b"", opcode=CONTINUATION, fin=False)
        + frame(b"2", opcode=PONG)
        + frame(b"cd", opcode=CONTINUATION)
    )
    for byte in frame(b"ef", fin=False) + frame(b"3", opcode=PING) + frame(b"gh", opcode=CONTINUATION):
        session.client.say_raw(bytes([byte]))
        world.turn(2)
    world.until(lambda: session.target.heard == b"abcdefgh", "the message")
    world.until(lambda: len(session.client.frames) == 2, "the pongs")
    assert session.client.frames == [Frame(PONG, b"1"), Frame(PONG, b"3")]
    assert session.is_pumped


@pytest.mark.parametrize("way", WAYS)
def test_filters_see_what_is_inside(world, way):
    session = Session(world, way, client_filter=Capitals(), target_filter=Capitals())
    assert session.is_pumped
    session.client.say(b"key")
    session.target.say(b"pixels" * 50_000)
    world.until(lambda: len(session.client.heard) == 300_000 and session.target.heard, "both")
    assert (session.target.heard, session.client.heard) == (b"KEY", b"PIXELS" * 50_000)


# How it begins


@pytest.mark.parametrize("way", WAYS)
def test_bytes_that_came_with_the_handshake_go_first(world, way):
    session = Session(world, way, early=(b"early key", b"early pixels"))
    session.client.say(b", key")
    session.target.say(b", pixels")
    world.until(lambda: len(session.target.heard) == 14 and len(session.client.heard) == 20, "all")
    assert (session.target.heard, session.client.heard) == (b"early key, key", b"early pixels, pixels")
    assert session.is_pumped


@pytest.mark.parametrize("way", WAYS)
def test_what_the_transport_owes_is_sent_before_the_pump_begins(world, way):
    session = Session(world, way, started=False)
    session.client.reading = False
    session.client_stream.send(BIG * 4)  # more than the system takes
    session.start()
    assert not session.is_pumped
    session.target.say(b"then")
    world.settle()
    assert not session.is_pumped
    session.client.reading = True
    world.until(lambda: len(session.client.heard) == 4 * len(BIG) + 4, "what is owed")
    session.target.say(b" this")
    world.until(lambda: len(session.client.heard) == 4 * len(BIG) + 9, "the rest")
    assert session.client.heard == BIG * 4 + b"then this"
    assert session.is_pumped


# Back-pressure


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["target", "client"])
def test_a_sink_that_does_not_read_stops_its_source_alone(world, bulk, way, source):
    session = Session(world, way)
    sent = block(session, source)
    world.settle()
    one, other = (session.target, session.client) if source == "target" else (session.client, session.target)
    assert one.has_unsent, "the source is not read"
    assert session.is_pumped
    other.say(b"the other way goes on")
    world.until(lambda: one.heard, "the other way")
    other.reading = True
    world.until(lambda: len(other.heard) == len(sent), "the rest")
    assert other.heard == sent
    assert not session.relay.to_client.blocked
    assert not session.relay.to_target.blocked
    assert session.is_pumped
    assert len(registered(world)) == 2


def test_pings_of_a_client_that_does_not_read_are_answered_later_and_once(world, bulk):
    session = Session(world, "websocket")
    sent = block(session)
    for number in range(50):
        session.client.say_raw(frame(b"%d" % number, opcode=PING))
        world.turn()
    world.settle()
    session.client.reading = True
    world.until(lambda: len(session.client.heard) == len(sent), "all")
    world.settle()
    assert session.client.heard == sent
    assert [each.payload for each in session.client.frames if each.opcode == PONG] == [b"49"]


def test_pings_of_the_proxy_wait_for_the_end_of_a_frame(world, bulk):
    session = Session(world, "websocket")
    sent = block(session)
    session.client_stream._ping()
    session.client.reading = True
    world.until(lambda: len(session.client.heard) == len(sent), "all")
    world.until(lambda: any(each.opcode == PING for each in session.client.frames), "a ping")
    assert session.client.heard == sent


def test_a_client_that_is_not_heard_need_not_answer_pings(world):
    session = Session(world, "websocket")
    block(session, "client")
    session.client_stream._ping_interval_s = 0.02
    session.client_stream._ping()
    assert not session.client_stream.reading
    world.until(lambda: len(session.client.frames) > 5, "some pings")
    assert not session.client_stream.lost
    session.target.reading = True
    world.until(lambda: session.client_stream.lost, "one that answers nothing at all to be dropped")
    assert session.fate is CloseReason.CLIENT_CLOSED


# How it ends


@pytest.mark.parametrize("first", ["client", "target"])
def test_half_close_both_ways(clear_world, first):
    session = Session(clear_world)
    one, other = (session.client, session.target) if first == "client" else (session.target, session.client)
    one.say(b"last words")
    one.half_close()
    clear_world.until(lambda: other.ended, "the end")
    assert other.heard == b"last words"
    assert session.outcome == []
    other.say(BIG)
    clear_world.until(lambda: len(one.heard) == len(BIG), "an answer")
    other.half_close()
    clear_world.until(lambda: one.ended, "the end")
    assert one.heard == BIG
    assert session.fate is (CloseReason.CLIENT_CLOSED if first == "client" else CloseReason.TARGET_CLOSED)


@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_the_target_while_the_client_does_not_read(world, bulk, way):
    """The last bytes come, and then the end, however long the client takes."""
    session = Session(world, way)
    sent = block(session)
    session.client.reading = False
    world.turn(20)
    session.client.reading = True
    world.until(lambda: not session.target.has_unsent, "the target to have sent everything")
    session.client.reading = False
    session.target.half_close()
    world.settle()
    session.client.reading = True
    world.until(lambda: len(session.client.heard) == len(sent), "all")
    assert session.client.heard == sent
    if way == "raw":
        world.until(lambda: session.client.ended, "the end")
    else:
        last = closing(1000, CloseReason.TARGET_CLOSED.sentence)
        world.until(lambda: session.client.frames[-1] == last, "the close")


def test_a_close_in_the_middle_of_bulk(world, bulk):
    session = Session(world, "websocket")
    session.target.say(BIG * 3)
    world.until(lambda: len(session.client.raw) > 1_000_000, "some of it")
    session.client.say_raw(frame(b"bye") + close_frame(1000, b"enough") + frame(b"not read"))
    world.until(lambda: session.target.ended, "the end")
    assert session.target.heard == b"bye"
    world.until(lambda: session.client.ended, "the end")
    assert session.client.frames[-1] == closing(1000, "enough")
    got = session.client.heard
    assert got == (BIG * 3)[: len(got)]
    assert not session.is_pumped


@pytest.mark.parametrize(
    ("wrong", "code"), [(frame(b"x", masked=False), 1002), (frame(b"x", opcode=TEXT), 1003)], ids=["unmasked", "text"]
)
def test_a_client_that_breaks_websocket(world, wrong, code):
    session = Session(world, "websocket")
    session.client.say_raw(frame(b"before") + wrong + frame(b"after"))
    world.until(lambda: session.client.ended, "the end")
    assert session.target.heard == b"before"
    assert session.client.frames == [closing(code, CloseReason.PROTOCOL_ERROR.sentence)]
    assert session.client_stream.broken.startswith("WebSocket: ")
    assert not session.is_pumped


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", ["client", "target"])
def test_a_filter_that_finds_the_protocol_broken(world, way, side):
    session = Session(world, way, **{f"{side}_filter": Capitals()})
    one, other = (session.client, session.target) if side == "client" else (session.target, session.client)
    one.say(b"well")
    world.until(lambda: other.heard, "it")
    one.say(b"then!")
    assert session.fate.check(Refused).__name__ == "Refused"
    assert session.fate.value.reason is (CloseReason.PROTOCOL_ERROR)
    world.until(lambda: other.heard == b"WELL(before)", "what was before")
    assert not session.is_pumped


@pytest.mark.parametrize("way", WAYS)
def test_a_filter_in_which_the_relay_is_stopped(world, way):
    wrapped = Capitals()
    session = Session(world, way, client_filter=wrapped)
    wrapped.then = session.relay.stop
    session.client.say(b"key")
    world.until(lambda: not session.is_pumped, "the stop")
    world.settle()
    assert session.target.heard == b""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("gone", ["client", "target"])
def test_a_reset(world, way, gone):
    session = Session(world, way)
    (session.client if gone == "client" else session.target).reset_connection()
    assert session.fate is (CloseReason.CLIENT_CLOSED if gone == "client" else CloseReason.TARGET_CLOSED)
    assert not session.is_pumped


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("gone", ["client", "target"])
def test_a_reset_by_whom_bytes_are_owed_to(world, bulk, way, gone):
    """It is noticed at once, though nothing is read from the other side."""
    session = Session(world, way)
    block(session, "target" if gone == "client" else "client")
    (session.client if gone == "client" else session.target).reset_connection()
    assert session.fate is (CloseReason.CLIENT_CLOSED if gone == "client" else CloseReason.TARGET_CLOSED)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("gone", ["client", "target"])
def test_a_reset_of_a_source_that_is_paused(world, bulk, way, gone):
    """It is noticed once the sink takes what it has."""
    session = Session(world, way)
    block(session, gone)
    one, other = (session.target, session.client) if gone == "target" else (session.client, session.target)
    one.reset_connection()
    world.turn(20)
    other.reading = True
    assert session.fate is (CloseReason.CLIENT_CLOSED if gone == "client" else CloseReason.TARGET_CLOSED)


@pytest.mark.parametrize("blocked", [None, "client", "target"])
@pytest.mark.parametrize("way", WAYS)
def test_stop(world, bulk, way, blocked):
    """Nothing more is taken; what was taken is delivered."""
    session = Session(world, way)
    sent = block(session, blocked) if blocked else b""
    session.relay.stop()
    session.relay.stop()
    assert not session.is_pumped
    taken = session.relay.to_client.relayed if blocked != "client" else session.relay.to_target.relayed
    other = session.target if blocked == "client" else session.client
    other.reading = True
    world.until(
        lambda: len(other.heard) >= (0 if session.client is other and way != "raw" else taken), "what was taken"
    )
    world.settle()
    assert other.heard == sent[: len(other.heard)]
    assert len(other.heard) == taken
    session.client_stream.close_because(Refused(CloseReason.SHUTDOWN, "stopped"))
    session.target_stream.close()
    world.until(lambda: session.target.ended, "the target to be let go")
    if way == "websocket":
        world.until(lambda: session.client.frames[-1].opcode == CLOSE, "the client to be told")
        assert session.client.frames[-1] == closing(
            Refused(CloseReason.SHUTDOWN, "").websocket_code, CloseReason.SHUTDOWN.sentence
        )
    else:
        world.until(lambda: session.client.ended, "the client to be let go")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", ["client", "target"])
@pytest.mark.parametrize("blocked", [None, "client", "target"])
def test_abort(world, bulk, way, who, blocked):
    """With owed bytes or without: the connection is gone, and so is the relay."""
    session = Session(world, way)
    if blocked:
        block(session, blocked)
    (session.client_stream if who == "client" else session.target_stream).abort()
    assert session.fate is (CloseReason.CLIENT_CLOSED if who == "client" else CloseReason.TARGET_CLOSED)
    assert not session.is_pumped


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("blocked", [None, "client", "target"])
def test_the_transport_is_aborted_behind_the_streams_back(world, bulk, way, blocked):
    """As a listener does that is shut down."""
    session = Session(world, way)
    if blocked:
        block(session, blocked)
    stream = session.client_stream
    (stream if way == "websocket" else stream.protocol).transport.transport.abortConnection()
    assert session.fate is CloseReason.CLIENT_CLOSED
    assert not session.is_pumped


def test_a_number_that_is_used_again_belongs_to_its_new_owner(world):
    """No descriptor of a session that is over is left in the reactor."""
    for number in range(8):
        before = registered(world)
        session = Session(world, WAYS[number % 2])
        session.target.say(BIG[: number * 100_000])
        world.turn(number)
        if number % 3 == 0:
            session.client_stream.abort()
        elif number % 3 == 1:
            session.client.reset_connection()
        else:
            session.target.reset_connection()
        world.until(lambda session=session: session.outcome, "the end")
        session.client_stream.abort()
        session.target_stream.abort()
        world.until(lambda session=session: session.client_stream.lost and session.target_stream.lost, "all")
        assert registered(world) == before == []


def test_pipes_are_given_back(clear_world, monkeypatch):
    own = use(monkeypatch, pipes.Pipes())
    session = Session(clear_world)
    block(session)
    assert own._taken == 1
    session.relay.stop()
    assert own._taken == 0
    assert len(own._idle) == 1
    with pytest.raises(BlockingIOError):
        os.read(own._idle[0].reading, 1)
    own.take().close()


# Pipes


def test_small_pipes_are_not_used(monkeypatch):
    def refuse(*_):
        raise PermissionError("too many")

    monkeypatch.setattr(pipes.fcntl, "fcntl", refuse)
    before = open_descriptors()
    assert pipes.Pipes().take() is None
    assert open_descriptors() == before


def test_there_are_not_many_pipes(monkeypatch):
    monkeypatch.setattr(pipes, "LIMIT", 6)
    own = pipes.Pipes()
    taken = [own.take() for _ in range(6)]
    assert own.take() is None
    before = open_descriptors()
    for pipe in taken:
        own.put_back(pipe)
    assert open_descriptors() == before - 2 * (6 - pipes.IDLE_LIMIT)
    for _ in range(pipes.IDLE_LIMIT):
        own.take().close()


def test_no_descriptors_are_left(monkeypatch):
    def refuse(_):
        raise OSError(24, "too many open files")

    monkeypatch.setattr(pipes.os, "pipe2", refuse)
    assert pipes.Pipes().take() is None


# Who lends


def test_only_sockets_are_lent(world):
    session = Session(world, started=False)
    transport = session.target_stream.protocol.transport
    assert session.target_stream.has_socket
    session.target_stream.protocol.transport = StringTransport()
    assert not session.target_stream.has_socket
    session.target_stream.protocol.transport = transport


def test_where_one_side_cannot_lend_the_streams_pump(world, monkeypatch):
    monkeypatch.setattr(TransportStream, "has_socket", False)
    session = Session(world)
    session.client.say(b"key")
    world.until(lambda: session.target.heard == b"key", "it")
    assert not session.is_pumped


def test_one_that_is_paused_while_its_event_waits_reads_nothing(clear_world):
    """In one batch of events the client's end finds both sinks full: what is owed to the client is not written over."""
    world = clear_world
    session = Session(world, "websocket", "unix")
    to_target, to_client = session.relay._pump._ends
    session.client.reading = session.target.reading = False
    for end in (to_target, to_client):
        for size in (100_000, 1):
            with suppress(BlockingIOError):
                while end._socket.send(bytes(size)):
                    pass
    session.client.say_raw(frame(b"key") + frame(b"ping", opcode=PING))
    session.target.say_raw(b"pixels")
    world.reactor.iterate(0.05)
    session.client.reading = session.target.reading = True
    world.until(lambda: session.target.raw.endswith(b"key"), "key")
    owed = (b"\x82\x06pixels", b"\x8a\x04ping")  # in the order in which the reactor names the two ends
    world.until(lambda: bytes(session.client.raw.lstrip(b"\0")) in (b"".join(owed), b"".join(owed[::-1])), "both")
