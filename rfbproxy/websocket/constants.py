"""Numbers of RFC 6455, and our limits."""

from enum import IntEnum

FRAME_LIMIT = 16 * 1024 * 1024  # bytes of a payload; RFB's longest client message that anybody sends is far shorter
MESSAGE_LIMIT = 64 * 1024 * 1024  # ... of all fragments of a message
CONTROL_LIMIT = 125  # ... of a control frame (section 5.5)
REASON_LIMIT = CONTROL_LIMIT - 2  # ... of a close frame's reason, which follows the code


class Opcode(IntEnum):
    """What a frame is (section 5.2); from 8 on they are control frames."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Why a WebSocket ends (section 7.4.1), as far as it is said here."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_PAYLOAD = 1007
    MESSAGE_TOO_BIG = 1009
