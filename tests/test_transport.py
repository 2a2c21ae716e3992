import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer
from zope.interface.verify import verifyObject

from rfbproxy.stream import BUFFER_LIMIT
from rfbproxy.transport import CLOSE_TIMEOUT_S, TransportStream, end_sending


@implementer(ITCPTransport)
class TcpTransport(StringTransport):
    """A TCP connection as far as a stream looks at it."""

    def __init__(self):
        super().__init__()
        self.half_closed = False
        self.aborted = False

    def loseWriteConnection(self):
        self.half_closed = True

    def abortConnection(self):
        self.aborted = True

    def unregisterProducer(self):
        self.producer = None  # as TCP and TLS do, whether there is one or not


class Recorder:
    """A sink that writes down what it hears."""

    def __init__(self):
        self.heard = []

    def data_received(self, data):
        self.heard.append(data)

    def eof_received(self):
        self.heard.append("eof")

    def connection_lost(self):
        self.heard.append("lost")


class Producer:
    def pauseProducing(self):
        """Not looked at."""

    resumeProducing = stopProducing = pauseProducing


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream(clock):
    return TransportStream(clock)


@pytest.fixture
def transport(stream):
    transport = TcpTransport()
    stream.protocol.makeConnection(transport)
    return transport


def received(stream):
    got = []
    stream.receive(got.append)
    return got


def lose(stream):
    stream.protocol.connectionLost(Failure(ConnectionDone()))


def test_bytes_wait_until_they_are_asked_for(stream, transport):
    stream.protocol.dataReceived(b"a")
    stream.protocol.dataReceived(b"b")
    assert received(stream) == [b"ab"]


def test_who_asks_waits_for_bytes(stream, transport):
    got = received(stream)
    assert got == []
    stream.protocol.dataReceived(b"a")
    stream.protocol.dataReceived(b"b")
    assert got == [b"a"]
    assert received(stream) == [b"b"]


@pytest.mark.parametrize("how", ["readConnectionLost", "connectionLost"])
def test_the_end_comes_after_the_bytes_and_stays(stream, transport, how):
    stream.protocol.dataReceived(b"a")
    if how == "connectionLost":
        lose(stream)
    else:
        stream.protocol.readConnectionLost()
    assert [received(stream) for _ in range(3)] == [[b"a"], [b""], [b""]]
    assert stream.lost == (how == "connectionLost")


def test_who_asks_hears_of_the_end(stream, transport):
    got = received(stream)
    lose(stream)
    assert got == [b""]


def test_who_asked_may_change_his_mind(stream, transport):
    got = received(stream)
    stream.receive(None)
    stream.protocol.dataReceived(b"a")
    assert got == []
    assert received(stream) == [b"a"]


def test_unread_bytes_come_first_again(stream, transport):
    stream.protocol.dataReceived(b"cd")
    stream.unread(b"ab")
    assert received(stream) == [b"abcd"]


def test_a_stream_that_nobody_reads_pauses_its_peer(stream, transport):
    stream.protocol.dataReceived(b"x" * BUFFER_LIMIT)
    assert transport.producerState == "producing"
    for _ in range(2):
        stream.protocol.dataReceived(b"y")
        assert transport.producerState == "paused"
    assert received(stream) == [b"x" * BUFFER_LIMIT + b"yy"]
    assert transport.producerState == "producing"


def test_on_end_is_told_once_and_first(stream, transport):
    told = []
    stream.on_end = lambda: told.append("end")
    stream.receive(told.append)
    stream.protocol.readConnectionLost()
    lose(stream)
    assert told == ["end", b""]


def test_push_to_pushes_what_waits_and_then_what_comes(stream, transport):
    sink = Recorder()
    stream.on_end = lambda: sink.heard.append("on_end")
    stream.protocol.dataReceived(b"a")
    stream.push_to(sink)
    stream.protocol.dataReceived(b"b")
    stream.protocol.readConnectionLost()
    lose(stream)
    lose(stream)
    assert sink.heard == [b"a", b"b", "eof", "lost"]


def test_push_to_after_the_end(stream, transport):
    sink = Recorder()
    stream.protocol.dataReceived(b"a" * (BUFFER_LIMIT + 1))
    lose(stream)
    stream.push_to(sink)
    assert sink.heard == [b"a" * (BUFFER_LIMIT + 1), "eof", "lost"]


def test_push_to_after_half_the_end_with_nothing_waiting(stream, transport):
    sink = Recorder()
    stream.protocol.readConnectionLost()
    stream.push_to(sink)
    assert sink.heard == ["eof"]


def test_push_to_resumes_before_the_sink_may_pause(stream, transport):
    class Full(Recorder):
        def data_received(self, data):
            stream.pause()

    stream.protocol.dataReceived(b"a" * (BUFFER_LIMIT + 1))
    stream.push_to(Full())
    assert transport.producerState == "paused"


def test_a_loss_without_an_end_is_both(stream, transport):
    sink = Recorder()
    stream.push_to(sink)
    lose(stream)
    assert sink.heard == ["eof", "lost"]


def test_the_protocol_knows_of_halves(stream, transport):
    verifyObject(IHalfCloseableProtocol, stream.protocol)


def test_before_there_is_a_connection_nothing_happens(stream, clock):
    stream.send(b"a")
    stream.send_eof()
    stream.pause()
    stream.resume()
    stream.feed_from(None)
    stream.close()
    stream.abort()
    assert clock.getDelayedCalls() == []


def test_sending_and_half_closing(stream, transport):
    stream.send(b"a")
    assert transport.value() == b"a"
    stream.send_eof()
    stream.protocol.writeConnectionLost()
    assert transport.half_closed
    assert not transport.disconnecting
    stream.protocol.dataReceived(b"b")
    assert received(stream) == [b"b"]


def test_tls_has_no_halves(transport):
    directlyProvides(transport, ITCPTransport, ISSLTransport)
    assert not end_sending(transport)
    assert transport.disconnecting
    assert not transport.half_closed


def test_no_transport_has_no_halves_either():
    assert not end_sending(None)


def test_close(stream, transport, clock):
    for _ in range(2):
        stream.close()
    assert transport.disconnecting
    assert len(clock.getDelayedCalls()) == 1
    lose(stream)
    assert clock.getDelayedCalls() == []
    stream.close()
    assert clock.getDelayedCalls() == []


def test_a_peer_that_does_not_take_what_is_owed_to_it_is_dropped(stream, transport, clock):
    stream.close()
    clock.advance(CLOSE_TIMEOUT_S - 0.1)
    assert not transport.aborted
    clock.advance(0.1)
    assert transport.aborted
    lose(stream)


def test_abort(stream, transport):
    stream.abort()
    assert transport.aborted


def test_pausing_and_resuming_end_with_the_stream(stream, transport):
    stream.pause()
    assert transport.producerState == "paused"
    stream.resume()
    assert transport.producerState == "producing"
    stream.protocol.readConnectionLost()
    stream.pause()
    stream.resume()
    assert transport.producerState == "paused", "there is nothing to read"
    transport.producerState = "untouched"
    lose(stream)
    stream.pause()
    assert transport.producerState == "untouched"


def test_feed_from(stream, transport):
    first, second = Producer(), Producer()
    stream.feed_from(first)
    assert (transport.producer, transport.streaming) == (first, True)
    stream.feed_from(second)
    assert transport.producer is second
    stream.feed_from(None)
    assert transport.producer is None
