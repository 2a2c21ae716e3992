"""Both ends of a visit over real sockets: a plain WebSocket client, and scripted RFB servers."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

TIMEOUT_S = 20.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SERVER_INIT = b"".join(
    [
        b"\x00\x40\x00\x30",  # width, height
        b"\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00",  # pixel format
        b"\x00\x00\x00\x04test",  # name
    ]
)


def http(port: int, request: str, host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
    """One request with exactly these bytes; `Connection: close` is expected or sent by the caller."""
    with socket.create_connection((host, port), TIMEOUT_S) as sock:
        sock.sendall(request.encode("latin-1"))
        answer = bytearray()
        while piece := sock.recv(65536):
            answer += piece
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


class Refusal(Exception):
    """The upgrade was answered with something else than 101."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text


class WebSocket:
    """A client that sends binary frames and sees a byte stream, until a close frame or the end."""

    def __init__(
        self,
        port: int,
        target: str,
        *headers: str,
        host: str = "127.0.0.1",
        version: int = 13,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.create_connection((host, port), TIMEOUT_S, source_address=source and (source, 0))
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        named = {line.partition(":")[0].lower() for line in headers}
        lines = [
            f"GET {target} HTTP/1.1",
            *([] if "host" in named else [f"Host: {host}:{port}"]),
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            f"Sec-WebSocket-Version: {version}",
            *headers,
        ]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self._input = bytearray()
        self._stream = bytearray()
        self.close_code: int | None = None
        self.close_reason = ""
        self.ended = False
        self.pings = 0
        head = self._head()
        self.status = int(head.split()[1])
        self.head = head
        if self.status != 101:
            raise Refusal(self.status, head)

    def _head(self) -> str:
        while b"\r\n\r\n" not in self._input:
            piece = self.sock.recv(65536)
            if not piece:
                break
            self._input += piece
        head, _, rest = bytes(self._input).partition(b"\r\n\r\n")
        self._input = bytearray(rest)
        return head.decode("latin-1")

    def send(self, data: bytes, opcode: int = 2) -> None:
        mask = os.urandom(4)
        size = len(data)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += struct.pack("!BH", 0x80 | 126, size)
        else:
            head += struct.pack("!BQ", 0x80 | 127, size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.sock.sendall(head + mask + masked)

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes of the stream."""
        while len(self._stream) < size:
            assert not self.ended, (bytes(self._stream), self.close_code, self.close_reason)
            self._frame()
        data = bytes(self._stream[:size])
        del self._stream[:size]
        return data

    def until_close(self) -> bytes:
        """What comes until the close frame or the end of the connection."""
        while not self.ended:
            self._frame()
        data = bytes(self._stream)
        self._stream.clear()
        return data

    def hear_pings(self, count: int) -> None:
        """Answer pings until there were so many."""
        while self.pings < count:
            assert not self.ended
            self._frame()

    def close(self, code: int = 1000) -> None:
        self.send(struct.pack("!H", code), opcode=8)

    def vanish(self) -> None:
        """Drop the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _take(self, size: int) -> bytes | None:
        while len(self._input) < size:
            try:
                piece = self.sock.recv(262144)
            except ConnectionResetError:
                piece = b""
            if not piece:
                self.ended = True
                return None
            self._input += piece
        data = bytes(self._input[:size])
        del self._input[:size]
        return data

    def _frame(self) -> None:
        head = self._take(2)
        if head is None:
            return
        assert not head[1] & 0x80, "a server's frame is masked"
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack("!H", self._take(2) or b"\0\0")[0]
        elif size == 127:
            size = struct.unpack("!Q", self._take(8) or bytes(8))[0]
        payload = self._take(size)
        if payload is None:
            return
        opcode = head[0] & 0x0F
        if opcode == 8:
            self.ended = True
            self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self.close_reason = payload[2:].decode()
            with contextlib.suppress(OSError):
                self.send(payload[:2], opcode=8)
        elif opcode == 9:
            self.pings += 1
            self.send(payload, opcode=10)
        elif opcode in (0, 2):
            self._stream += payload

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def enter(client: WebSocket, version: bytes = b"RFB 003.008\n") -> bytes:
    """Speak RFB as a viewer up to ServerInit; gives what the target sent as its ServerInit."""
    assert client.receive(12) == b"RFB 003.008\n"
    client.send(version)
    if version < b"RFB 003.007\n":
        assert client.receive(4) == b"\0\0\0\1"
    else:
        assert client.receive(2) == b"\1\1"
        client.send(b"\1")
        if version >= b"RFB 003.008\n":
            assert client.receive(4) == b"\0\0\0\0"
    client.send(b"\1")
    return client.receive(len(SERVER_INIT))


def refusal(client: WebSocket, version: bytes = b"RFB 003.008\n") -> str:
    """Speak RFB as a viewer until the refusal, and give its sentence; the close must say the same."""
    assert client.receive(12) == b"RFB 003.008\n"
    client.send(version)
    if version < b"RFB 003.007\n":
        assert client.receive(4) == b"\0\0\0\0"
    else:
        assert client.receive(1) == b"\0"
    size = struct.unpack("!I", client.receive(4))[0]
    sentence = client.receive(size).decode("ascii")
    assert client.until_close() == b""
    assert client.close_reason == sentence
    return sentence


@dataclass
class Target:
    """A server that runs `script(socket)` for each connection, in a thread."""

    script: Callable[[socket.socket], None]
    host: str = "127.0.0.1"
    connections: int = 0
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listening = socket.create_server((self.host, 0), family=family)
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listening.accept()
                self.connections += 1
                threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(TIMEOUT_S)
            try:
                self.script(sock)
            except OSError as error:
                self.errors.append(error)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


@contextlib.contextmanager
def target(script: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[Target]:
    server = Target(script, host)
    try:
        yield server
    finally:
        server.close()


def take(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError(f"closed after {len(data)} of {size} bytes")
        data += piece
    return bytes(data)


def rfb_server(sock: socket.socket, version: bytes = b"RFB 003.008\n") -> None:
    """Let a client in without a password, up to ServerInit."""
    sock.sendall(version)
    assert take(sock, 12) == version
    if version < b"RFB 003.007\n":
        sock.sendall(b"\0\0\0\1")
    else:
        sock.sendall(b"\1\1")
        assert take(sock, 1) == b"\1"
        if version >= b"RFB 003.008\n":
            sock.sendall(b"\0\0\0\0")
    assert take(sock, 1) in (b"\0", b"\1")
    sock.sendall(SERVER_INIT)


def secured_rfb_server(sock: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """The same inside TLS with a certificate (VeNCrypt X509None); gives the inside."""
    sock.sendall(b"RFB 003.008\n")
    assert take(sock, 12) == b"RFB 003.008\n"
    sock.sendall(b"\1\x13")  # one security type: VeNCrypt
    assert take(sock, 1) == b"\x13"
    sock.sendall(b"\0\2")  # VeNCrypt 0.2
    assert take(sock, 2) == b"\0\2"
    sock.sendall(b"\0\1" + struct.pack("!I", 260))  # accepted, one subtype: X509None
    assert take(sock, 4) == struct.pack("!I", 260)
    sock.sendall(b"\1")
    inside = tls.wrap_socket(sock, server_side=True)
    inside.sendall(b"\0\0\0\0")
    assert take(inside, 1) in (b"\0", b"\1")
    inside.sendall(SERVER_INIT)
    return inside


def cut_text(text: bytes) -> bytes:
    """A ClientCutText: how a viewer can say anything at all."""
    return b"\6\0\0\0" + struct.pack("!I", len(text)) + text


def echo(sock: socket.socket) -> None:
    """An RFB server that, after its ServerInit, sends back all it gets."""
    rfb_server(sock)
    while data := sock.recv(65536):
        sock.sendall(data)
