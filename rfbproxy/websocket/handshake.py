"""The opening handshake's answer (RFC 6455 section 4.2.2); the request's head is judged by whoever reads HTTP."""

from base64 import b64encode
from hashlib import sha1

VERSIONS = (13, 8)
SUBPROTOCOL = "binary"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3


def accept(key: bytes) -> bytes:
    """The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def answer(key: bytes, *, binary: bool) -> bytes:
    """The answer that opens the WebSocket; `binary`: the subprotocol was offered, so it is agreed on."""
    agreed = b"Sec-WebSocket-Protocol: %s\r\n" % SUBPROTOCOL.encode() if binary else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n%s\r\n" % (accept(key), agreed)
    )
