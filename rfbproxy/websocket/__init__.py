"""WebSocket without I/O (RFC 6455), as a server speaks it: frames, masks, and the answer to an opening handshake.

Messages are a byte stream: their boundaries mean nothing to what is inside, so none is gathered.
Imports only `rfbproxy.errors`, and Autobahn's unmasking where that is built. A parser raises `RemoteProtocolError` and
nothing else, whatever bytes it is fed.
"""

from rfbproxy.websocket.constants import FRAME_LIMIT, MESSAGE_LIMIT, REASON_LIMIT, CloseCode, Opcode
from rfbproxy.websocket.frames import FrameReader, WebSocketError, close_frame, header
from rfbproxy.websocket.handshake import SUBPROTOCOL, VERSIONS, accept, answer

__all__ = [
    "FRAME_LIMIT",
    "MESSAGE_LIMIT",
    "REASON_LIMIT",
    "SUBPROTOCOL",
    "VERSIONS",
    "CloseCode",
    "FrameReader",
    "Opcode",
    "WebSocketError",
    "accept",
    "answer",
    "close_frame",
    "header",
]
