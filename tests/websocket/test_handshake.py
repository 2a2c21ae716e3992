from rfbproxy.websocket import accept, answer
from tests.client.frames import ACCEPT, KEY


def test_the_pair_of_the_rfc():
    """RFC 6455 section 1.3."""
    assert accept(KEY.encode()) == ACCEPT.encode()


def test_the_answer():
    assert answer(KEY.encode(), binary=False) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


def test_the_answer_with_the_subprotocol():
    assert answer(KEY.encode(), binary=True).endswith(b"\r\nSec-WebSocket-Protocol: binary\r\n\r\n")
