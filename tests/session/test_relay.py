import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IPushProducer
from zope.interface.verify import verifyObject

from rfbproxy.reasons import CloseReason
from rfbproxy.session.relay import Relay
from tests.session.fakes import FakeStream


@pytest.fixture
def client():
    return FakeStream()


@pytest.fixture
def target():
    return FakeStream()


@pytest.fixture
def relay(client, target):
    return Relay(client, target)


def outcome(relaying):
    got = []
    relaying.addBoth(got.append)
    return got


def test_bytes_go_both_ways_and_are_counted(relay, client, target):
    got = outcome(relay.start())
    client.deliver(b"key")
    target.deliver(b"pixels")
    assert (target.take(), client.take()) == (b"key", b"pixels")
    assert (relay.to_target.relayed, relay.to_client.relayed) == (3, 6)
    assert got == []


def test_what_waits_already_goes_first(relay, client, target):
    client.deliver(b"a")
    client.unread(b">")
    target.deliver(b"b")
    relay.start()
    client.deliver(b"c")
    assert (target.take(), client.take()) == (b">ac", b"b")


@pytest.mark.parametrize("way", ["to_target", "to_client"])
def test_back_pressure(relay, client, target, way):
    source, sink = (client, target) if way == "to_target" else (target, client)
    relay.start()
    flow = getattr(relay, way)
    verifyObject(IPushProducer, flow)
    assert sink.producer is flow
    for _ in range(2):
        sink.producer.pauseProducing()
        assert source.paused
        assert flow.blocked
    assert not sink.paused, "the other way goes on"
    for _ in range(2):
        sink.producer.resumeProducing()
        assert not source.paused
        assert not flow.blocked


def test_a_sink_that_fills_up_with_what_waits_already_pauses_the_source(relay, client, target):
    client.deliver(b"x" * 100_000)
    assert client.paused
    target.on_send = lambda data: target.producer.pauseProducing()
    relay.start()
    assert client.paused
    target.producer.resumeProducing()
    assert not client.paused


def test_a_lost_sink_pauses_its_source(relay, client, target):
    relay.start()
    target.producer.stopProducing()
    assert client.paused


@pytest.mark.parametrize(
    ("first", "reason"), [("client", CloseReason.CLIENT_CLOSED), ("target", CloseReason.TARGET_CLOSED)]
)
def test_half_close_both_ways(relay, client, target, first, reason):
    one, other = (client, target) if first == "client" else (target, client)
    got = outcome(relay.start())
    one.deliver(b"last words")
    one.deliver_eof()
    assert other.take() == b"last words"
    assert other.said == ["eof"]
    assert got == []
    other.deliver(b"and an answer")
    assert one.take() == b"and an answer"
    other.deliver_eof()
    assert one.said == ["eof"]
    assert got == [reason]


@pytest.mark.parametrize(
    ("gone", "reason"), [("client", CloseReason.CLIENT_CLOSED), ("target", CloseReason.TARGET_CLOSED)]
)
def test_one_side_is_lost(relay, client, target, gone, reason):
    one, other = (client, target) if gone == "client" else (target, client)
    got = outcome(relay.start())
    one.deliver(b"last words")
    one.deliver_lost()
    assert other.take() == b"last words"
    assert got == [reason]
    other.deliver(b"to nobody")
    assert one.take() == b""
    other.deliver_lost()
    assert got == [reason]
    assert (client.producer, target.producer) == (None, None)


def test_both_sides_lost_in_the_same_turn(relay, client, target):
    got = outcome(relay.start())
    target.deliver_lost()
    client.deliver_lost()
    assert got == [CloseReason.TARGET_CLOSED]


def test_both_lost_before_it_began(relay, client, target):
    client.deliver_lost()
    target.deliver_lost()
    assert outcome(relay.start()) == [CloseReason.CLIENT_CLOSED]
    assert (client.producer, target.producer) == (None, None)


def test_the_target_ended_before_it_began(relay, client, target):
    target.deliver(b"all there was")
    target.deliver_eof()
    got = outcome(relay.start())
    assert client.take() == b"all there was"
    assert client.said == ["eof"]
    assert got == []


def test_a_stalled_client_and_the_end_of_the_target(relay, client, target):
    """The target's last bytes and its end come once it is read again, after the client has taken what it had."""
    got = outcome(relay.start())
    client.producer.pauseProducing()
    assert target.paused
    client.producer.resumeProducing()
    target.deliver(b"the rest")
    client.producer.pauseProducing()
    target.deliver_eof()
    assert client.take() == b"the rest"
    assert client.said == ["eof"]
    assert client.producer is None
    assert not target.paused
    client.deliver_lost()
    assert got == [CloseReason.TARGET_CLOSED]


@pytest.mark.parametrize("paused", [False, True])
def test_stop(relay, client, target, paused):
    got = outcome(relay.start())
    if paused:
        client.producer.pauseProducing()
        target.producer.pauseProducing()
    relay.stop()
    relay.stop()
    assert not client.paused, "it may have a close to say"
    assert not target.paused
    client.deliver(b"late")
    target.deliver(b"late")
    assert (client.take(), target.take()) == (b"", b"")
    assert (client.producer, target.producer) == (None, None)
    client.deliver_eof()
    assert target.said == []
    assert got == []
    client.deliver_lost()
    assert got == [CloseReason.CLIENT_CLOSED]


def test_cancelling_stops_it(relay, client, target):
    relaying = relay.start()
    got = outcome(relaying)
    relaying.cancel()
    assert got.pop().check(CancelledError)
    client.deliver(b"late")
    client.deliver_lost()
    target.deliver_lost()
    assert target.take() == b""
    assert got == []
