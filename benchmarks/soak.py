"""Soak the real proxy: sessions of random sizes, pauses, half-closes and cuts, every stream compared.

    python -m benchmarks.soak [--seconds 600] [--sessions 200] [--seed N]

As many sessions as asked for are always open, by WebSocket and by CONNECT, half of them in TLS; one that ends is
followed by another. Exits with 1 if a byte is wrong, or if in the end the proxy has more descriptors or memory than at
the start.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.soak_peers import Ends, Target, open_client
from rfbproxy.session.pipes import IDLE_LIMIT
from tests.certificates import certificate
from tests.ports import free_port
from tests.proxy_process import Proxy, running

MEMORY_KIB = 24 * 1024  # that the proxy may have more in the end: its heap is in pieces then
SETTLE_S = 30.0
SESSION_S = 120.0  # of the longest session there may be


class Soak:
    """All sessions, and what came of them."""

    def __init__(self, proxy: Proxy, target: Target, tokens: dict[str, tuple[int, str]], seed: int) -> None:
        self._proxy = proxy
        self._target = target
        self._tokens = tokens
        self._random = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.moved = 0
        self.errors: list[str] = []

    async def run(self, sessions: int, seconds: float) -> None:
        """Keep so many sessions open for so long, then let them end."""
        until = time.monotonic() + seconds
        ways = [list(self._tokens)[number % len(self._tokens)] for number in range(sessions)]
        await asyncio.gather(*(self._one_after_the_other(way, until) for way in ways))

    async def _one_after_the_other(self, way: str, until: float) -> None:
        while time.monotonic() < until and len(self.errors) < 10:
            seed = self._random.getrandbits(48)
            story = f"{way} session of seed {seed}"
            try:
                async with asyncio.timeout(SESSION_S):
                    await self._session(way, random.Random(seed))
            except (AssertionError, OSError, EOFError, TimeoutError) as error:
                self.errors.append(f"{story}: {type(error).__name__}: {error}")

    async def _session(self, way: str, chance: random.Random) -> None:
        port, token = self._tokens[way]
        client = await open_client(way, port, token)
        number = chance.getrandbits(64)
        client.say_number(number)
        target = await self._target.accept(number)
        ends = Ends(client, target, chance)
        try:
            self.ends[f"{way}: {await ends.play()}"] += 1
        finally:
            self.moved += ends.moved
            client.cut()
            target.cut()


def main(arguments: list[str] | None = None) -> int:
    """Soak; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_soak(Path(folder), asked))


async def _soak(folder: Path, asked: argparse.Namespace) -> int:
    certificate(pem := folder / "tls.pem", pem)
    xvp_port = free_port()
    options = (
        "max_connections_per_source = 0\n"
        f"[DEFAULT]\ncert = {pem}\n[vnc]\nxvpvncproxy_host = 127.0.0.1\nxvpvncproxy_port = {xvp_port}\n"
    )
    target = Target()
    target_port = await target.listen()
    with running(folder, options, command=("consoleproxy", "serve")) as proxy:
        websocket = proxy.port, proxy.create(target_port, ttl=86400)["token"]
        connect = xvp_port, proxy.create(target_port, console_type="xvpvnc", ttl=86400)["token"]
        tokens = {"websocket": websocket, "connect": connect, "websocket-tls": websocket, "connect-tls": connect}
        print(f"seed {asked.seed}")
        pipes = proxy.open_pipes + 2 * IDLE_LIMIT
        soak = Soak(proxy, target, tokens, asked.seed)
        await soak.run(asked.sessions, min(asked.seconds / 4, 30.0))
        start = await _settled(proxy, None)
        await soak.run(asked.sessions, asked.seconds)
        end = await _settled(proxy, start)
        if proxy.open_pipes > pipes:
            soak.errors.append(f"{proxy.open_pipes} ends of pipes are open, of at most {pipes}")
    return _judge(soak, start, end)


async def _settled(proxy: Proxy, start: tuple[int, int] | None) -> tuple[int, int]:
    """Descriptors and memory once nothing is open any more, or once they are as they were at the start."""
    deadline = time.monotonic() + SETTLE_S
    last = (-1, -1)
    while time.monotonic() < deadline:
        now = (proxy.open_files, proxy.memory_kib)
        if (start is None and now == last) or (start is not None and _is_back(start, now)):
            return now
        last = now
        await asyncio.sleep(2.0)
    return last


def _is_back(start: tuple[int, int], end: tuple[int, int]) -> bool:
    return end[0] <= start[0] and end[1] <= start[1] + MEMORY_KIB


def _judge(soak: Soak, start: tuple[int, int], end: tuple[int, int]) -> int:
    for kind, count in sorted(soak.ends.items()):
        print(f"{count:7} {kind}")
    print(f"{soak.moved / 1e9:.2f} GB compared")
    print(f"descriptors {start[0]} -> {end[0]}, memory {start[1]} -> {end[1]} KiB")
    for error in soak.errors:
        print(error, file=sys.stderr)
    return int(bool(soak.errors) or not _is_back(start, end))


if __name__ == "__main__":
    sys.exit(main())
