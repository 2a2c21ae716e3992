"""Frames that break RFC 6455, each with the code that the client is told."""

from rfbproxy.websocket import FRAME_LIMIT
from tests.client.frames import BINARY, CONTINUATION, PING, TEXT, close_frame, frame

VIOLATIONS = {
    "text": (frame(b"hi", opcode=TEXT), 1003),
    "text in fragments": (frame(b"h", opcode=TEXT, fin=False) + frame(b"i", opcode=CONTINUATION), 1003),
    "text that is not UTF-8": (frame(b"\xff", opcode=TEXT), 1003),
    "empty text": (frame(b"", opcode=TEXT), 1003),
    "unmasked": (frame(b"hi", masked=False), 1002),
    "reserved bit": (frame(b"hi", rsv=4), 1002),
    "reserved bits, and unmasked": (frame(b"hi", rsv=7, masked=False), 1002),
    "reserved data opcode": (frame(b"hi", opcode=3), 1002),
    "reserved control opcode": (frame(b"hi", opcode=11), 1002),
    "fragmented ping": (frame(b"hi", opcode=PING, fin=False), 1002),
    "long ping": (frame(b"a" * 126, opcode=PING), 1002),
    "endless ping": (frame(b"a" * 100, opcode=PING, claimed=2**62), 1002),
    "continuation of nothing": (frame(b"hi", opcode=CONTINUATION), 1002),
    "message inside a message": (frame(b"", fin=False) + frame(b""), 1002),
    "text inside a message": (frame(b"", fin=False) + frame(b"", opcode=TEXT), 1002),
    "length not the shortest, 16 bits": (frame(b"hi", size_of_length=2), 1002),
    "length not the shortest, 64 bits": (frame(b"hi", size_of_length=8), 1002),
    "length of 65535 in 64 bits": (frame(b"", opcode=BINARY, claimed=65535, size_of_length=8), 1002),
    "length of 2^63": (frame(b"hi", claimed=2**63), 1002),
    "length of 2^63-1": (frame(b"hi", claimed=2**63 - 1), 1009),
    "frame beyond its limit": (frame(b"", claimed=FRAME_LIMIT + 1), 1009),
    "close with one byte": (frame(b"\x03", opcode=8), 1002),
    "close with 999": (close_frame(999), 1002),
    "close with 1004": (close_frame(1004), 1002),
    "close with 1005": (close_frame(1005), 1002),
    "close with 1006": (close_frame(1006), 1002),
    "close with 1015": (close_frame(1015), 1002),
    "close with 2000": (close_frame(2000), 1002),
    "close with 5000": (close_frame(5000), 1002),
    "close with a reason that is not UTF-8": (close_frame(1000, b"\xff"), 1007),
    "close with half a character": (close_frame(1000, b"\xc3"), 1007),
    "long close": (close_frame(1000, b"a" * 124), 1002),
}
