"""Both ends of a SPICE session over real sockets: a viewer with its links, and a server that has channels."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.secret import Secret
from rfbproxy.spice import (
    Capabilities,
    ChannelType,
    ClientLink,
    LinkAccepted,
    LinkError,
    LinkMess,
    LinkRefused,
    LinkReplied,
    LinkRequested,
    ServerLink,
    TicketGiven,
)
from rfbproxy.spice.constants import MsgcMain, MsgMain
from rfbproxy.spice.messages import message
from tests.peers import TIMEOUT_S, Target, take
from tests.spice.samples import KEY

MAIN, DISPLAY, INPUTS, CURSOR = ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR
CHANNELS = ((DISPLAY, 0), (INPUTS, 0), (CURSOR, 0))
CAPS = Capabilities((0x9,), ())  # a choice of login, and mini headers
SERVER_CAPS = Capabilities((0xB,), (0xFFFFFFFF,))
ECHOED = 101  # a client's KEY_DOWN on inputs, a server's INIT: a type that passes unseen on every channel but main
FIRST_SESSION_ID = 0x1001  # of every server, so that two of them have the same


class Peer(Protocol):
    """What a link is spoken over: a `WebSocket` or a `Socket`."""

    sock: socket.socket

    def send(self, data: bytes) -> None: ...

    def receive(self, size: int) -> bytes: ...

    def until_close(self) -> bytes: ...


class Socket:
    """A bare connection, perhaps inside TLS."""

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        source: str | None = None,
        preface: bytes = b"",
    ) -> None:
        self.sock = socket.create_connection((host, port), TIMEOUT_S, source_address=source and (source, 0))
        self.sock.sendall(preface)
        if tls is not None:
            self.start_tls(tls)

    def start_tls(self, tls: ssl.SSLContext) -> None:
        self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")

    def connect_by_http(self, target: str, *headers: str) -> str:
        """Send a CONNECT as spice-gtk does, and give the head of the answer."""
        self.send("\r\n".join([f"CONNECT {target} HTTP/1.0", f"Host: {target}", *headers, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.receive(1)
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


class Link:
    """One channel of a viewer, up to the messages that it carries."""

    def __init__(
        self, peer: Peer, channel: tuple[int, int] = (MAIN, 0), connection_id: int = 0, caps: Capabilities = CAPS
    ):
        self.peer = peer
        self.asked = LinkMess(connection_id, *channel, caps)

    def open(self, password: str = "") -> Link:
        """Link and log in, or raise what the server answered."""
        self._until(LinkAccepted, self._begin(password))
        return self

    def give_ticket(self, password: str = "") -> Link:
        """Link and log in, and do not wait for the result."""
        self.peer.send(self._begin(password).data_to_send())
        return self

    def refused(self) -> LinkError:
        """Link, and be refused in place of the link reply; gives the error."""
        self.peer.send(self.asked.pack())
        return link_error(self.peer)

    def denied(self, password: str = "") -> LinkError:
        """Link and log in, and be refused as the result of the ticket; gives the error."""
        machine = self._begin(password)
        try:
            self._until(LinkAccepted, machine)
        except LinkRefused as refused:
            assert self.peer.until_close() == b""
            return LinkError(refused.error)
        raise AssertionError("the ticket was accepted")

    def say(self, kind: int, body: bytes = b"") -> None:
        self.peer.send(message(kind, body))

    def hear(self) -> tuple[int, bytes]:
        """The next message: its type and body."""
        kind, size = struct.unpack("<HI", self.peer.receive(6))
        return kind, self.peer.receive(size)

    def echo(self, text: bytes = b"hello") -> None:
        """Say something that the server sends back."""
        self.say(ECHOED, text)
        assert self.hear() == (ECHOED, text)

    def _begin(self, password: str) -> ClientLink:
        machine = ClientLink(self.asked, Secret(password))
        self._until(LinkReplied, machine)
        return machine

    def _until(self, kind: type, machine: ClientLink) -> None:
        events: list[object] = []
        while not any(isinstance(event, kind) for event in events):
            self.peer.send(machine.data_to_send())
            events = machine.receive_data(self.peer.receive(1))


def link_error(peer: Peer) -> LinkError:
    """The error of a link reply, which is zeros but for that."""
    reply = peer.receive(194)
    assert reply[:16] == b"REDQ" + struct.pack("<III", 2, 2, 178)
    assert not any(reply[20:])
    return LinkError(int.from_bytes(reply[16:20], "little"))


class Viewer:
    """A viewer whose main is linked, and that links others.

    Args:
        come: makes a connection to the proxy, one for each link.
        password: of its tickets.
    """

    def __init__(self, come: Callable[[], Peer], password: str = "") -> None:
        self._come = come
        self._password = password
        self.links: list[Link] = []
        self.main = Link(come()).open(password)
        kind, init = self.main.hear()
        assert kind == MsgMain.INIT
        self.session_id = int.from_bytes(init[:4], "little")

    def ask(self, channel: tuple[int, int], connection_id: int | None = None) -> Link:
        """A link that has not spoken yet."""
        return Link(self._come(), channel, self.session_id if connection_id is None else connection_id)

    def link(self, channel: tuple[int, int] = (INPUTS, 0)) -> Link:
        """One link more, which the server echoes."""
        self.links.append(self.ask(channel).open(self._password))
        self.links[-1].echo()
        return self.links[-1]

    def channels(self) -> list[tuple[int, int]]:
        """What the server lists."""
        self.main.say(MsgcMain.ATTACH_CHANNELS)
        kind, listed = self.main.hear()
        assert kind == MsgMain.CHANNELS_LIST
        return [(channel_type, channel_id) for channel_type, channel_id in struct.iter_unpack("BB", listed[4:])]

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        for link in (self.main, *self.links):
            link.peer.sock.close()


def echo_all(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


@dataclass
class SpiceServer:
    """A server with one machine: main tells its session's id and channels, and then sends back what it gets.

    Attributes:
        password: of its tickets.
        tls: inside which all links are.
        need_secured: whether every link is answered with error 5.
        lists: the channels that main tells of.
        tells: what main sends after them.
        channel: what all other channels do.
        lets_channels_live: whether they stay when main has gone.
        mains: connections of all that came.
        linked: what was linked, in that order: channel type and id.
    """

    password: str = ""
    tls: ssl.SSLContext | None = None
    need_secured: bool = False
    lists: Sequence[tuple[int, int]] = CHANNELS
    tells: bytes = b""
    channel: Callable[[socket.socket], None] = echo_all
    lets_channels_live: bool = False
    mains: list[socket.socket] = field(default_factory=list)
    linked: list[tuple[int, int]] = field(default_factory=list)
    _sessions: dict[int, list[socket.socket]] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(FIRST_SESSION_ID))

    def __call__(self, sock: socket.socket) -> None:
        """Serve one connection."""
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_side=True)
        with sock, contextlib.suppress(ConnectionError, RemoteProtocolError):
            asked = self._let_in(sock)
            if asked is None:
                return
            sock.settimeout(None)  # it may be quiet for as long as its session lives
            self.linked.append((asked.channel_type, asked.channel_id))
            if asked.channel_type == MAIN:
                self._main(sock)
            else:
                self._sessions[asked.connection_id].append(sock)
                self.channel(sock)

    def _let_in(self, sock: socket.socket) -> LinkMess | None:
        machine = ServerLink()
        asked = _event(sock, machine, LinkRequested).link
        error = LinkError.NEED_SECURED if self.need_secured else None
        if error is None:
            machine.offer(KEY.public_key, SERVER_CAPS)
            if KEY.open(_event(sock, machine, TicketGiven).ticket) != Secret(self.password):
                error = LinkError.PERMISSION_DENIED
            elif asked.channel_type != MAIN and asked.connection_id not in self._sessions:
                error = LinkError.BAD_CONNECTION_ID
        if error is None:
            machine.accept()
        else:
            machine.refuse(error)
        sock.sendall(machine.data_to_send())
        return asked if error is None else None

    def _main(self, sock: socket.socket) -> None:
        session_id = next(self._ids)
        channels = self._sessions[session_id] = []
        self.mains.append(sock)
        try:
            sock.sendall(main_init(session_id))
            while True:
                kind, size = struct.unpack("<HI", take(sock, 6))
                body = take(sock, size)
                if kind == MsgcMain.ATTACH_CHANNELS:
                    listed = b"".join(bytes(channel) for channel in self.lists)
                    sock.sendall(message(MsgMain.CHANNELS_LIST, struct.pack("<I", len(self.lists)) + listed))
                    sock.sendall(self.tells)
                else:
                    sock.sendall(message(kind, body))
        finally:
            del self._sessions[session_id]
            for channel in [] if self.lets_channels_live else channels:
                with contextlib.suppress(OSError):
                    channel.shutdown(socket.SHUT_RDWR)


def main_init(session_id: int) -> bytes:
    return message(MsgMain.INIT, struct.pack("<8I", session_id, 1, 3, 1, 0, 10, 0, 0))


def switch_host(port: int, host: bytes = b"127.0.0.1\0") -> bytes:
    """What main says when its machine has gone to `host`."""
    return message(MsgMain.MIGRATE_SWITCH_HOST, struct.pack("<HHIIII", port, 0, len(host), 20, 0, 0) + host)


def _event(sock: socket.socket, machine: ServerLink, kind: type) -> object:
    while True:
        if data := machine.data_to_send():
            sock.sendall(data)
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError
        for event in machine.receive_data(piece):
            if isinstance(event, kind):
                return event


@contextlib.contextmanager
def spice_target(host: str = "127.0.0.1", **options: object) -> Iterator[tuple[SpiceServer, Target]]:
    server = SpiceServer(**options)
    listening = Target(server, host)
    try:
        yield server, listening
    finally:
        listening.close()
