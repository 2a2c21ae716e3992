import pytest
from twisted.internet.task import Clock

from rfbproxy.client.probe import MemoryTransport, websocket_opens
from tests.client.callers import make_listener


def test_a_listener_that_works_opens_a_websocket_and_begins_no_visit():
    clock, opened = Clock(), []
    assert websocket_opens(make_listener(clock, opened=opened))
    assert opened == []
    assert clock.getDelayedCalls() == []


def test_a_listener_for_encrypted_clients_only_works_too():
    assert websocket_opens(make_listener(tls_only=True))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: other\r\n\r\n"])
def test_a_listener_that_opens_no_websocket_is_found_out(answer, monkeypatch):
    monkeypatch.setattr("rfbproxy.client.connection.opening_handshake", lambda head: answer)
    assert not websocket_opens(make_listener())


def test_a_listener_that_refuses_websockets_is_found_out(monkeypatch):
    monkeypatch.setattr("rfbproxy.client.websocket.VERSIONS", (8,))
    assert not websocket_opens(make_listener())


def test_the_transport_in_memory_does_what_protocols_ask_of_it():
    transport = MemoryTransport()
    transport.write(b"a")
    transport.writeSequence([b"b", b"c"])
    for nothing in ("loseConnection", "abortConnection", "unregisterProducer", "pauseProducing", "resumeProducing"):
        getattr(transport, nothing)()
    transport.registerProducer(transport, True)
    transport.stopProducing()
    assert transport.written == b"abc"
    assert transport.getPeer() == transport.getHost()
