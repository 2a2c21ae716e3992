"""WebSocket frames as a client makes them, every field a keyword, and a reader of those that come back."""

from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # with its answer, RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(
    payload: bytes = b"",
    *,
    opcode: int = BINARY,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    mask: bytes = b"\x37\xfa\x21\x3d",
    claimed: int | None = None,
    size_of_length: int | None = None,
) -> bytes:
    """One frame.

    Args:
        claimed: the length that the header states, where it is not the payload's.
        size_of_length: bytes of the extended length (0, 2, 8), where it is not the shortest.
    """
    length = len(payload) if claimed is None else claimed
    if size_of_length is None:
        size_of_length = 0 if length < 126 else 2 if length < 65536 else 8
    first = length if size_of_length == 0 else 126 if size_of_length == 2 else 127
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | first])
    head += length.to_bytes(size_of_length, "big") if size_of_length else b""
    if masked:
        head += mask
        repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")
    return head + payload


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(b"" if code is None else code.to_bytes(2, "big") + reason, opcode=CLOSE)


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True


def closing(code: int, reason: bytes | str) -> Frame:
    return Frame(CLOSE, code.to_bytes(2, "big") + (reason.encode() if isinstance(reason, str) else reason))


def parse(data: bytes) -> list[Frame]:
    """The frames of a server, which must be whole, unmasked and without reserved bits."""
    frames = []
    while data:
        assert data[0] & 0x70 == 0, "reserved bits"
        assert data[1] & 0x80 == 0, "a server does not mask"
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        assert len(data) >= start + length, "truncated"
        frames.append(Frame(data[0] & 0x0F, data[start : start + length], bool(data[0] & 0x80)))
        data = data[start + length :]
    return frames


def upgrade(
    target: str = "/?token=123-456-789",
    *,
    method: str = "GET",
    http: str = "HTTP/1.1",
    host: str | None = "example.net:6080",
    upgrade: str | None = "websocket",
    connection: str | None = "Upgrade",
    version: str | None = "13",
    key: str | None = KEY,
    protocol: str | None = None,
    origin: str | None = None,
    extra: tuple[str, ...] = (),
) -> bytes:
    """A client's opening handshake; None leaves a header out."""
    headers = {
        "Host": host,
        "Upgrade": upgrade,
        "Connection": connection,
        "Sec-WebSocket-Version": version,
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Protocol": protocol,
        "Origin": origin,
    }
    lines = [f"{method} {target} {http}", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join([*lines, *extra, "", ""]).encode("latin-1")
