"""nova's Java viewer (nova-xvpvncviewer, TightVNC 1.3.10 with additions), byte for byte, over a real socket."""

from __future__ import annotations

import socket
import ssl
import struct

from tests.peers import TIMEOUT_S

ENCODINGS = (7, 1, 16, 5, 6, 4, 2, -26, -240, -239, -232, -224, -223, -309)  # the last one is xvp
SET_ENCODINGS = b"\2\0" + struct.pack("!H14i", len(ENCODINGS), *ENCODINGS)
SET_PIXEL_FORMAT = b"\0\0\0\0" + b"\x20\x18\0\1\0\xff\0\xff\0\xff\x10\x08\0\0\0\0"
UPDATE_REQUEST = b"\3\0\0\0\0\0\0\x40\0\x30"


class ProxyReports(Exception):
    """What the viewer shows a person in place of a console: everything after `HTTP/1.1 ` or so."""


class JavaViewer:
    """Asks for what its URL names, and then is a byte stream.

    Args:
        target: path and query of the URL, or whatever else to ask for.
        understands: how the only answer begins that means success to the viewer.
        early: what is sent with the request, which the real one never does.
        context: for an https URL; no name is verified, as the viewer verifies none.
    """

    def __init__(
        self,
        port: int,
        target: str,
        *,
        method: str = "CONNECT",
        understands: bytes = b"HTTP/1.1 200 ",
        host: str = "127.0.0.1",
        early: bytes = b"",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.create_connection((host, port), TIMEOUT_S)
        if context is not None:
            self.sock = context.wrap_socket(self.sock)
        self.sock.sendall(f"{method} {target} HTTP/1.0\r\n\r\n".encode() + early)
        line = self._line()
        if not line.startswith(understands):
            self.answer = line + self.until_end()
            self.sock.close()
            raise ProxyReports(self.answer.decode())
        while self._line() not in (b"\r\n", b""):
            pass

    def _line(self) -> bytes:
        """A line, read byte by byte as `DataInputStream.readLine` does; the last one may have no end."""
        line = b""
        while not line.endswith(b"\n") and (byte := self.sock.recv(1)):
            line += byte
        return line

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            assert piece, (data, "closed")
            data += piece
        return data

    def until_end(self) -> bytes:
        data = b""
        while piece := self.sock.recv(65536):
            data += piece
        return data

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def __enter__(self) -> JavaViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
