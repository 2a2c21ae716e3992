"""Both peers of a soaked session: they send what can be computed from its place in the stream, and compare."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from itertools import pairwise
from typing import Any

from rfbproxy.websocket.masks import unmask

PATTERN = random.Random(4711).randbytes(1_000_003)  # of a length that no buffer has
SERVER_INIT = b"\0\x40\0\x30" + bytes([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]) + b"\0\0\0\4soak"
CUT_TEXT = 6
SIZES = (1, 20, 125, 126, 4096, 65535, 65536, 65537, 300_000, 1_500_000)
READ_SIZES = (1000, 65536, 1 << 20)


def pattern(at: int, size: int) -> bytes:
    """Bytes of the stream from a place on."""
    start = at % len(PATTERN)
    piece = PATTERN[start : start + size]
    while len(piece) < size:
        piece += PATTERN[: size - len(piece)]
    return piece


class Peer:
    """One end of a session.

    Attributes:
        sent, heard: bytes of pattern so far.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.sent = self.heard = 0

    def cut(self) -> None:
        """Drop the connection with a reset."""
        sock: Any = self.writer.get_extra_info("socket")
        if not self.writer.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()

    @property
    def has_halves(self) -> bool:
        """Whether it may say its last and still hear."""
        return self.writer.can_write_eof()

    def end(self) -> None:
        """Say that nothing more comes."""
        if self.has_halves:
            self.writer.write_eof()
        else:
            self.writer.close()

    async def say(self, size: int, chance: random.Random) -> None:
        """Send so many bytes of pattern."""
        self.writer.write(pattern(self.sent, size))
        self.sent += size
        await self.writer.drain()

    async def hear(self, most: int) -> bool:
        """Compare what comes next; says whether there was anything."""
        data = await self.reader.read(most)
        self.compare(data)
        return bool(data)

    def compare(self, data: bytes) -> None:
        """Compare bytes of pattern."""
        assert data == pattern(self.heard, len(data)), f"wrong bytes after {self.heard}"
        self.heard += len(data)


class TargetPeer(Peer):
    """The target's end; what comes is in ClientCutText messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._head = b""
        self._left = 0

    async def hear(self, most: int) -> bool:
        """See `Peer.hear`."""
        data = await self.reader.read(most)
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                self.compare(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            piece = data[at : at + 8 - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) == 8:
                assert self._head[0] == CUT_TEXT, f"a message of type {self._head[0]} after {self.heard}"
                self._left, self._head = int.from_bytes(self._head[4:], "big"), b""
        return bool(data)


class RawClient(Peer):
    """A client by CONNECT."""

    async def say(self, size: int, chance: random.Random) -> None:
        """See `Peer.say`."""
        self.write(struct.pack("!B3xI", CUT_TEXT, size) + pattern(self.sent, size), chance)
        self.sent += size
        await self.writer.drain()

    def say_number(self, number: int) -> None:
        """Say which session this is."""
        self.write(struct.pack("!B3xIQ", CUT_TEXT, 8, number), random.Random(number))

    def write(self, data: bytes, chance: random.Random) -> None:
        """Send bytes of the stream."""
        self.writer.write(data)

    async def take(self, size: int) -> bytes:
        """Bytes of the handshake."""
        return await self.reader.readexactly(size)


class WebSocketClient(RawClient):
    """A client by WebSocket, which sends fragments, and pings between them."""

    def write(self, data: bytes, chance: random.Random) -> None:
        """See `RawClient.write`."""
        cuts = sorted(chance.choices(range(len(data) + 1), k=chance.choice((0, 0, 1, 3)))) if data else []
        edges = [0, *cuts, len(data)]
        for i, (start, end) in enumerate(pairwise(edges)):
            fin = 0x80 if end == len(data) and i == len(edges) - 2 else 0
            self.writer.write(_frame(fin | (0 if i else 2), data[start:end], chance))
            if chance.random() < 0.1:
                self.writer.write(_frame(0x89, chance.randbytes(chance.randrange(126)), chance))

    @property
    def has_halves(self) -> bool:
        """See `Peer.has_halves`."""
        return False

    def end(self) -> None:
        """Close the WebSocket."""
        self.writer.write(_frame(0x88, b"\x03\xe8", random.Random(0)))

    async def hear(self, most: int) -> bool:
        """See `Peer.hear`; hears a frame, whatever its size."""
        payload = await self._frame()
        if payload is None:
            return False
        self.compare(payload)
        return True

    async def take(self, size: int) -> bytes:
        """See `RawClient.take`."""
        taken = b""
        while len(taken) < size:
            payload = await self._frame()
            if payload is None:
                raise EOFError("closed in the handshake")
            taken += payload
        self.compare(taken[size:])
        return taken[:size]

    async def _frame(self) -> bytes | None:
        """The payload of the next binary frame; None: closed."""
        while True:
            head = await self.reader.read(1)
            if not head:
                return None
            size = (await self.reader.readexactly(1))[0]
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            payload = await self.reader.readexactly(size)
            if head[0] == 0x88:
                self.writer.write(_frame(0x88, payload, random.Random(0)))
                return None
            if head[0] == 0x82:
                return payload
            assert head[0] in (0x89, 0x8A), f"a frame that begins with {head[0]:#x}"
            if head[0] == 0x89:
                self.writer.write(_frame(0x8A, payload, random.Random(0)))


def _frame(first: int, payload: bytes, chance: random.Random) -> bytes:
    mask, masked = chance.randbytes(4), bytearray(payload)
    unmask(memoryview(masked), mask)
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    else:
        head = struct.pack("!BBH", first, 0xFE, size) if size < 65536 else struct.pack("!BBQ", first, 0xFF, size)
    return head + mask + masked


async def open_client(way: str, port: int, token: str) -> RawClient:
    """Come by WebSocket or CONNECT, perhaps in TLS, and through RFB's handshake."""
    tls = _anybodys() if way.endswith("-tls") else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2 << 20, ssl=tls)
    if way.startswith("connect"):
        writer.write(f"CONNECT /console?token={token} HTTP/1.0\r\n\r\n".encode())
        due = b"HTTP/1.1 200 "
        client = RawClient(reader, writer)
    else:
        lines = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        head = [f"GET /?token={token} HTTP/1.1", "Host: soak", *lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        writer.write("\r\n".join([*head, "", ""]).encode())
        due = b"HTTP/1.1 101 "
        client = WebSocketClient(reader, writer)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(due), answer
    chance = random.Random(0)
    version = await client.take(12)
    client.write(version, chance)
    assert await client.take(2) == b"\1\1"
    client.write(b"\1", chance)
    assert await client.take(4) == bytes(4)
    client.write(b"\1", chance)
    assert await client.take(len(SERVER_INIT)) == SERVER_INIT
    return client


def _anybodys() -> ssl.SSLContext:
    """TLS that believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Target:
    """The machine, whose connections are told apart by what their clients say first."""

    def __init__(self) -> None:
        self._arrived: dict[int, asyncio.Future[TargetPeer]] = {}

    async def listen(self) -> int:
        """Begin; gives the port."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024, limit=2 << 20)
        self._server = server
        return int(server.sockets[0].getsockname()[1])

    async def accept(self, number: int) -> TargetPeer:
        """The end of this session."""
        return await self._arrived.setdefault(number, asyncio.get_running_loop().create_future())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"RFB 003.008\n")
            await reader.readexactly(12)
            writer.write(b"\1\1")
            await reader.readexactly(1)
            writer.write(bytes(4))
            await reader.readexactly(1)
            writer.write(SERVER_INIT)
            number = int.from_bytes((await reader.readexactly(16))[8:], "big")
        except (OSError, EOFError):
            writer.transport.abort()
            return
        peer = TargetPeer(reader, writer)
        self._arrived.setdefault(number, asyncio.get_running_loop().create_future()).set_result(peer)
        await asyncio.sleep(0)
        self._arrived.pop(number, None)


class Ends:
    """What happens in one session."""

    def __init__(self, client: RawClient, target: TargetPeer, chance: random.Random) -> None:
        self._client, self._target, self._chance = client, target, chance

    @property
    def moved(self) -> int:
        """Bytes that were compared."""
        return self._client.heard + self._target.heard

    async def play(self) -> str:
        """Live the session; says how it ended. Raises `AssertionError` where a byte is missing or wrong."""
        how = self._chance.choice(("client leaves", "target leaves", "client cuts", "target cuts", "half-close"))
        plans = [self._plan(), self._plan()]
        speaking = asyncio.gather(self._speak(self._client, plans[0]), self._speak(self._target, plans[1]))
        hearing: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._listen(self._client)), asyncio.ensure_future(self._listen(self._target))
        ]  # fmt: skip
        try:
            if how.endswith("cuts"):
                await self._cut(self._client if how == "client cuts" else self._target, speaking)
            else:
                await speaking
                await self._leave(how)
            await asyncio.gather(*hearing)
        finally:
            tasks: list[asyncio.Future[Any]] = [speaking, *hearing]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not how.endswith("cuts"):
            assert self._client.heard == self._target.sent, f"{self._client.heard} of {self._target.sent} to the client"
            assert self._target.heard == self._client.sent, f"{self._target.heard} of {self._client.sent} to the target"
        return how

    def _plan(self) -> list[tuple[int, float]]:
        """Sizes, each with the pause after it."""
        chance = self._chance
        return [
            (
                chance.choice(SIZES) if chance.random() < 0.5 else chance.randrange(1, 2000),
                chance.choice((0, 0, 0, 0.01, 0.3)),
            )
            for _ in range(chance.randrange(1, 25))
        ]

    async def _speak(self, peer: Peer, plan: list[tuple[int, float]]) -> None:
        for size, pause in plan:
            await peer.say(size, self._chance)
            await asyncio.sleep(pause)

    async def _listen(self, peer: Peer) -> None:
        """Hear everything up to the end, now and then slowly."""
        chance = self._chance
        try:
            while await peer.hear(chance.choice(READ_SIZES)):
                if chance.random() < 0.02:
                    await asyncio.sleep(chance.random())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # it was cut; whether it should have been is seen by the count

    async def _cut(self, peer: Peer, speaking: asyncio.Future[Any]) -> None:
        await asyncio.wait([speaking], timeout=self._chance.random())
        peer.cut()
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)

    async def _leave(self, how: str) -> None:
        """Leave once the other side has all; a half-close does not wait for what is to come."""
        first, other = (self._target, self._client) if how == "target leaves" else (self._client, self._target)
        if how != "half-close" or not self._client.has_halves:
            while other.heard < first.sent or first.heard < other.sent:
                await asyncio.sleep(0.01)
            first.end()
            other.end() if not isinstance(other, WebSocketClient) else None
            return
        first.end()
        while other.heard < first.sent:
            await asyncio.sleep(0.01)
        await other.say(100_000, self._chance)
        while first.heard < other.sent:
            await asyncio.sleep(0.01)
        other.end()
