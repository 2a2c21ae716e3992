"""Both ends of a SPICE session over real sockets: a viewer's link, and a server that has channels."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rfbproxy.secret import Secret
from rfbproxy.spice import (
    Capabilities,
    ChannelType,
    ClientLink,
    LinkAccepted,
    LinkError,
    LinkMess,
    LinkRequested,
    ServerLink,
    TicketGiven,
)
from rfbproxy.spice.constants import MsgMain
from rfbproxy.spice.messages import message
from tests.peers import TIMEOUT_S, Target, take
from tests.spice.samples import KEY

MAIN, DISPLAY, INPUTS, CURSOR = ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR
CHANNELS = ((DISPLAY, 0), (INPUTS, 0), (CURSOR, 0))
CAPS = Capabilities((0x9,), ())  # a choice of login, and mini headers
ECHOED = 101  # on inputs KEY_DOWN, and for a server's answer INIT: types that pass unseen


class Peer(Protocol):
    """What a link is spoken over: a `WebSocket` or a `Socket`."""

    def send(self, data: bytes) -> None: ...

    def receive(self, size: int) -> bytes: ...


class Socket:
    """A bare connection, perhaps inside TLS."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection((host, port), TIMEOUT_S)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")

    def connect_by_http(self, token: str, *headers: str, tls: ssl.SSLContext | None = None) -> str:
        """Send a CONNECT as spice-gtk does, and give the head of the answer; after 200, TLS may begin."""
        lines = [f"CONNECT {token}:5900 HTTP/1.0", f"Host: {token}:5900", *headers, "", ""]
        self.send("\r\n".join(lines).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.receive(1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        return head.decode()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self, size: int) -> bytes:
        return take(self.sock, size)

    def until_close(self) -> bytes:
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := self.sock.recv(65536):
                data += piece
        return data

    def close(self) -> None:
        self.sock.close()


class Link:
    """One channel of a viewer, up to the messages that it carries."""

    def __init__(
        self, peer: Peer, channel: tuple[int, int] = (MAIN, 0), connection_id: int = 0, caps: Capabilities = CAPS
    ):
        self.peer = peer
        self.asked = LinkMess(connection_id, *channel, caps)

    def open(self, password: str | None = None) -> Link:
        """Link and log in, or raise what the server answered."""
        machine = ClientLink(self.asked, None if password is None else Secret(password))
        events: list[object] = []
        while not any(isinstance(event, LinkAccepted) for event in events):
            self.peer.send(machine.data_to_send())
            events = machine.receive_data(self.peer.receive(1))
        assert not machine.unread()
        return self

    def refused(self) -> LinkError:
        """Link, and be refused in place of the link reply; gives the error."""
        self.peer.send(self.asked.pack())
        reply = self.peer.receive(194)
        assert reply.startswith(b"REDQ")
        assert not any(reply[20:])
        return LinkError(int.from_bytes(reply[16:20], "little"))

    def say(self, kind: int, body: bytes = b"") -> None:
        self.peer.send(message(kind, body))

    def hear(self) -> tuple[int, bytes]:
        """The next message: its type and body."""
        kind, size = struct.unpack("<HI", self.peer.receive(6))
        return kind, self.peer.receive(size)

    def echo(self, text: bytes) -> None:
        """Say something that the server sends back."""
        self.say(ECHOED, text)
        assert self.hear() == (ECHOED, text)


@dataclass
class SpiceServer:
    """A server with one machine: main tells its session's id and channels, and all others send back what they get.

    Attributes:
        password: of its tickets; None: it takes every one.
        tls: inside which all links are.
        lists: the channels that main tells of.
        linked: what was linked, in that order: channel type and id.
        tell: more that main sends, once its channels are asked for.
    """

    password: str | None = None
    tls: ssl.SSLContext | None = None
    lists: Sequence[tuple[int, int]] = CHANNELS
    linked: list[tuple[int, int]] = field(default_factory=list)
    tickets: list[Secret | None] = field(default_factory=list)
    tell: bytes = b""
    need_secured: bool = False
    sessions: dict[int, list[socket.socket]] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(0x1001))

    def __call__(self, sock: socket.socket) -> None:
        """Serve one connection."""
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_side=True)
        with sock, contextlib.suppress(ConnectionError):
            machine = ServerLink()
            asked = self._event(sock, machine, LinkRequested).link
            if self.need_secured:
                machine.refuse(LinkError.NEED_SECURED)
                sock.sendall(machine.data_to_send())
                return
            machine.offer(KEY.public_key, Capabilities((0xB,), (0xFFFFFFFF,)))
            ticket = KEY.open(self._event(sock, machine, TicketGiven).ticket)
            self.tickets.append(ticket)
            if self.password is not None and ticket != Secret(self.password):
                machine.refuse(LinkError.PERMISSION_DENIED)
                sock.sendall(machine.data_to_send())
                return
            if asked.channel_type != MAIN and asked.connection_id not in self.sessions:
                machine.refuse(LinkError.BAD_CONNECTION_ID)
                sock.sendall(machine.data_to_send())
                return
            machine.accept()
            sock.sendall(machine.data_to_send())
            self.linked.append((asked.channel_type, asked.channel_id))
            if asked.channel_type == MAIN:
                self._main(sock)
            else:
                self.sessions[asked.connection_id].append(sock)
                self._echo(sock)

    def _event(self, sock: socket.socket, machine: ServerLink, kind: type) -> object:
        while True:
            if data := machine.data_to_send():
                sock.sendall(data)
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError
            for event in machine.receive_data(piece):
                if isinstance(event, kind):
                    return event

    def _main(self, sock: socket.socket) -> None:
        session_id = next(self._ids)
        self.sessions[session_id] = []
        try:
            sock.sendall(message(MsgMain.INIT, struct.pack("<8I", session_id, 1, 3, 1, 0, 10, 0, 0)))
            while True:
                kind, size = struct.unpack("<HI", take(sock, 6))
                body = take(sock, size)
                if kind == 104:  # ATTACH_CHANNELS
                    listed = b"".join(bytes(channel) for channel in self.lists)
                    sock.sendall(message(MsgMain.CHANNELS_LIST, struct.pack("<I", len(self.lists)) + listed))
                    sock.sendall(self.tell)
                else:
                    sock.sendall(message(kind, body))
        finally:
            for channel in self.sessions.pop(session_id):
                with contextlib.suppress(OSError):
                    channel.shutdown(socket.SHUT_RDWR)

    def _echo(self, sock: socket.socket) -> None:
        while data := sock.recv(65536):
            sock.sendall(data)


@contextlib.contextmanager
def spice_target(**options: object) -> Iterator[tuple[SpiceServer, Target]]:
    server = SpiceServer(**options)  # type: ignore[arg-type]
    listening = Target(server)
    try:
        yield server, listening
    finally:
        listening.close()
