"""A viewer for tests: messages, a screen that decodes updates, and a bench to put viewers on."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from rfbproxy.demo import DemoServer
from rfbproxy.demo.geometry import Rect
from rfbproxy.demo.palette import PALETTE
from rfbproxy.demo.rfb_server import UPDATE_INTERVAL_S, Viewer

RAW, ZLIB, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE = 0, 6, -223, -308
HELLO = (
    b"RFB 003.008\n"  # ProtocolVersion
    b"\x01"  # security type None
    b"\x01"  # ClientInit: shared
)
GREETING = (
    b"RFB 003.008\n"  # ProtocolVersion
    b"\x01\x01"  # one security type: None
    b"\x00\x00\x00\x00"  # SecurityResult: OK
    b"\x03\x20\x02\x58"  # 800 x 600
    b"\x20\x18\x00\x01"  # 32 bits, depth 24, little-endian, true colour
    b"\x00\xff\x00\xff\x00\xff"  # maxima
    b"\x10\x08\x00"  # shifts
    b"\x00\x00\x00"  # padding
    b"\x00\x00\x00\x0cDemo desktop"  # name
)


def set_pixel_format(
    *, bits: int, depth: int, big: int = 0, true: int = 1, maxima: tuple[int, ...], shifts: tuple[int, ...]
) -> bytes:
    return struct.pack("!B3xBBBBHHHBBB3x", 0, bits, depth, big, true, *maxima, *shifts)


def set_encodings(*encodings: int) -> bytes:
    return struct.pack(f"!BxH{len(encodings)}i", 2, len(encodings), *encodings)


def request(*, incremental: bool = True, x: int = 0, y: int = 0, width: int = 800, height: int = 600) -> bytes:
    return struct.pack("!BBHHHH", 3, incremental, x, y, width, height)


def key(keysym: int, *, down: bool = True) -> bytes:
    return struct.pack("!BB2xI", 4, down, keysym)


def pointer(x: int, y: int, *, buttons: int = 0) -> bytes:
    return struct.pack("!BBHH", 5, buttons, x, y)


def client_cut_text(text: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("!B3xI", 6, len(text) if length is None else length) + text


def set_desktop_size(width: int, height: int, *, screens: int = 1) -> bytes:
    return struct.pack("!BxHHBx", 251, width, height, screens) + bytes(16 * screens)


@dataclass
class Screen:
    """What a viewer makes of the server's messages."""

    width: int = 800
    height: int = 600
    size: int = 4  # bytes of a pixel
    pixels: bytearray = field(default_factory=lambda: bytearray(800 * 600 * 4))
    inflate: "zlib._Decompress" = field(default_factory=zlib.decompressobj)

    def read(self, data: bytes) -> list[tuple[object, ...]]:
        heard: list[tuple[object, ...]] = []
        at = 0
        while at < len(data):
            if data[at] == 0:
                (count,) = struct.unpack_from("!H", data, at + 2)
                at, rects = self._rectangles(data, at + 4, count)
                heard.append(("update", *rects))
            elif data[at] == 2:
                heard.append(("bell",))
                at += 1
            else:
                assert data[at] == 3
                (length,) = struct.unpack_from("!I", data, at + 4)
                heard.append(("cut text", data[at + 8 : at + 8 + length].decode("latin-1")))
                at += 8 + length
        assert at == len(data)
        return heard

    def _rectangles(self, data: bytes, at: int, count: int) -> tuple[int, list[tuple[int, ...]]]:
        rects = []
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack_from("!HHHHi", data, at)
            at += 12
            rects.append((encoding, x, y, width, height))
            if encoding == EXTENDED_DESKTOP_SIZE:
                assert data[at : at + 8] == b"\x01\0\0\0\0\0\0\0"
                assert struct.unpack_from("!HHHHI", data, at + 8) == (0, 0, width, height, 0)
                at += 20
            if encoding in (DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE):
                if (width, height) != (self.width, self.height):
                    self.width, self.height = width, height
                    self.pixels = bytearray(width * height * self.size)
                continue
            body = data[at : at + width * height * self.size]
            at += len(body)
            if encoding == ZLIB:
                at -= len(body)
                (length,) = struct.unpack_from("!I", data, at)
                body = self.inflate.decompress(data[at + 4 : at + 4 + length])
                at += 4 + length
            assert len(body) == width * height * self.size
            assert x + width <= self.width
            assert y + height <= self.height
            for row in range(height):
                start = ((y + row) * self.width + x) * self.size
                line = body[row * width * self.size : (row + 1) * width * self.size]
                self.pixels[start : start + len(line)] = line
        return at, rects


class Bench:
    """A server, its clock, and viewers past their handshake."""

    def __init__(self, server: DemoServer | None = None) -> None:
        self.clock = Clock()
        self.server = server or DemoServer(clock=self.clock)
        self.transports: dict[Viewer, StringTransport] = {}

    def connect(self, hello: bytes = HELLO) -> Viewer:
        viewer = self.server.buildProtocol(None)
        self.transports[viewer] = StringTransport()
        viewer.makeConnection(self.transports[viewer])
        if hello:
            viewer.dataReceived(hello)
            assert self.sent(viewer) == GREETING
        return viewer

    def sent(self, viewer: Viewer) -> bytes:
        data = self.transports[viewer].value()
        self.transports[viewer].clear()
        return data

    def ask(self, viewer: Viewer, *messages: bytes, wait: float = UPDATE_INTERVAL_S) -> bytes:
        viewer.dataReceived(b"".join(messages))
        self.clock.advance(wait)
        return self.sent(viewer)

    def lose(self, viewer: Viewer) -> None:
        viewer.connectionLost()

    def wanted(self, pixel: Callable[[int, int, int], bytes]) -> bytes:
        desktop = self.server.desktop
        table = [pixel(*rgb) for rgb in PALETTE]
        indices: bytes = desktop.read(Rect(0, 0, desktop.width, desktop.height))
        return b"".join(table[index] for index in indices)


def bgrx(red: int, green: int, blue: int) -> bytes:
    return bytes((blue, green, red, 255))
