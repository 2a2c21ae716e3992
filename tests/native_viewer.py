"""A native VNC viewer as far as its login goes: raw RFB, VeNCrypt, TLS inside it."""

from __future__ import annotations

import socket
import ssl
import struct

from tests.peers import SERVER_INIT, TIMEOUT_S, take

X509_PLAIN = 262


class NativeViewer:
    """A connection to the proxy's `rfb_listen`.

    Args:
        version: what it answers to the greeting.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", version: bytes = b"RFB 003.008\n", preface: bytes = b""):
        self.version = version
        self.sock = socket.create_connection((host, port), TIMEOUT_S)
        self.sock.sendall(preface)
        assert self.receive(12) == b"RFB 003.008\n"
        self.sock.sendall(version)

    def receive(self, size: int) -> bytes:
        return take(self.sock, size)

    def until_end(self) -> bytes:
        data = bytearray()
        while piece := self.sock.recv(65536):
            data += piece
        return bytes(data)

    def start_tls(self, trusted: str, *, name: str = "localhost", subtype: int = X509_PLAIN) -> None:
        """Up to where the user's name and password are due."""
        assert self.receive(2) == b"\1\x13"
        self.sock.sendall(b"\x13")
        assert self.receive(2) == b"\0\2"
        self.sock.sendall(b"\0\2")
        assert self.receive(6) == b"\0\1" + struct.pack("!I", X509_PLAIN)
        self.sock.sendall(struct.pack("!I", subtype))
        assert self.receive(1) == b"\1"
        context = ssl.create_default_context(cafile=trusted)
        self.sock = context.wrap_socket(self.sock, server_hostname=name)

    def plain(self, password: str, username: str = "somebody") -> None:
        sizes = struct.pack("!II", len(username), len(password))
        self.sock.sendall(sizes + username.encode() + password.encode())

    def enter(self, trusted: str, token: str, username: str = "somebody") -> bytes:
        """Log in; returns ServerInit."""
        self.start_tls(trusted)
        self.plain(token, username)
        assert self.receive(4) == b"\0\0\0\0"
        self.sock.sendall(b"\1")
        return self.receive(len(SERVER_INIT))

    def refusal(self) -> str:
        """The sentence of a failed SecurityResult, with which the connection ends."""
        assert self.receive(4) == b"\0\0\0\1"
        if self.version < b"RFB 003.008\n":
            assert self.until_end() == b""
            return ""
        sentence = self.receive(struct.unpack("!I", self.receive(4))[0])
        assert self.until_end() == b""
        return sentence.decode("ascii")

    def __enter__(self) -> NativeViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
