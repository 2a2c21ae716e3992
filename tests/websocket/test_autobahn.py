"""Autobahn's client, as a peer that others wrote, against the stream."""

import pytest
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.client.callers import Caller, Listening


class Client(WebSocketClientProtocol):
    def __init__(self):
        super().__init__()
        self.received = bytearray()
        self.pongs = []
        self.closed = None

    def onMessage(self, payload, is_binary):
        assert is_binary
        self.received += payload

    def onPong(self, payload):
        self.pongs.append(payload)

    def onClose(self, was_clean, code, reason):
        self.closed = (was_clean, code, reason)


class Talk:
    """Autobahn's client and the proxy, wired back to back."""

    def __init__(self):
        factory = WebSocketClientFactory("ws://example.net:6080/?token=t", protocols=["binary"], reactor=Clock())
        self.client = Client()
        self.client.factory = factory
        self.caller = Caller()
        self.wire = StringTransport()
        self.client.makeConnection(self.wire)
        self.exchange()
        self.sink = Listening()
        self.caller.stream.push_to(self.sink)

    def exchange(self):
        for _ in range(10):
            sent = self.wire.value()
            self.wire.clear()
            for i in range(0, len(sent), 4093):
                self.caller.send(sent[i : i + 4093])
            answered = self.caller.received()
            if answered:
                self.client.dataReceived(answered)
            if not sent and not answered:
                break

    def lose(self):
        self.client.connectionLost(Failure(ConnectionDone()))
        self.caller.lose()


@pytest.fixture
def talk():
    opened = Talk()
    yield opened
    opened.lose()


def test_it_opens(talk):
    assert talk.client.state == talk.client.STATE_OPEN
    assert talk.client.websocket_protocol_in_use == "binary"


@pytest.mark.parametrize("size", [0, 1, 20, 125, 126, 65535, 65536, 1_000_000])
def test_messages_of_every_size_both_ways(talk, size):
    payload = bytes(i % 253 for i in range(size))
    for _ in range(3):
        talk.client.sendMessage(payload, isBinary=True)
    talk.caller.stream.send(payload)
    talk.exchange()
    assert talk.sink.data == payload * 3
    assert talk.client.received == payload


def test_messages_in_fragments_with_pings(talk):
    talk.client.beginMessage(isBinary=True)
    for number in range(5):
        talk.client.sendMessageFrame(b"fragment%d" % number)
        talk.client.sendPing(b"%d" % number)
    talk.client.endMessage()
    talk.exchange()
    assert talk.sink.data == b"".join(b"fragment%d" % number for number in range(5))
    assert talk.client.pongs == [b"%d" % number for number in range(5)]


def test_pings_are_answered_by_it(talk):
    for _ in range(5):
        talk.caller.clock.advance(25)
        talk.exchange()
    assert not talk.caller.transport.aborted


def test_the_client_closes(talk):
    talk.client.sendClose(3001, "tschüß")
    talk.exchange()
    assert talk.sink.events == ["eof"]
    talk.client.connectionLost(Failure(ConnectionDone()))
    assert talk.client.closed == (True, 3001, "tschüß")


def test_the_target_closes(talk):
    talk.caller.stream.send_eof()
    talk.exchange()
    assert talk.caller.transport.disconnecting
    talk.client.connectionLost(Failure(ConnectionDone()))
    assert talk.client.closed == (True, 1000, "Target closed")


def test_text_is_refused(talk):
    talk.client.sendMessage(b"text", isBinary=False)
    talk.exchange()
    assert talk.caller.stream.ended
    talk.client.connectionLost(Failure(ConnectionDone()))
    assert talk.client.closed[1] == 1003
