"""Every scene: what passes, and which peers are compared in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.measuring import Figures, Play
from benchmarks.peers import Direct, Haproxy, Nginx, Peer, Websockify
from benchmarks.product import Product
from benchmarks.stage import Load

PRODUCT = "rfbproxy"
WORKERS = f"{PRODUCT}-workers"
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Direct(),
        Websockify(),
        Haproxy("haproxy"),
        Haproxy("haproxy-splice", "option splice-auto"),
        Nginx(),
        Product(PRODUCT, workers=1),
        Product(WORKERS, workers=None),
    )
}

_ALL = ("direct", "websockify", "haproxy", PRODUCT)
_BULK = ("direct", "websockify", "haproxy", "haproxy-splice", "nginx", PRODUCT)
_MANY = ("direct", "websockify", "haproxy", PRODUCT, WORKERS)
_GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Scene:
    """One comparison.

    Attributes:
        name: what `--only` calls it.
        quick: what the load is where there is little time.
        way: of this proxy's clients; websockify's come by WebSocket, all others' speak bare RFB.
        adds_delay: whether what a peer adds to the direct way is a figure too.
        on_one_processor: whether load and peer share one, where else the waking of idle ones would be measured.
    """

    name: str
    title: str
    peers: tuple[str, ...]
    load: Load
    quick: Load
    measure: Callable[[Play], Figures]
    way: str = "websocket"
    tls: bool = False
    adds_delay: bool = False
    on_one_processor: bool = False


_DOWN = Load("down", amount=2 * _GB)
_SHORT_DOWN = Load("down", amount=_GB // 2)
_PAINT = Load("paint", sessions=50, seconds=5)
_KEYS = Load("keys", amount=20_000, seconds=3)
_BUSY_KEYS = Load("keys", amount=100_000, seconds=4)
_APART_KEYS = replace(_BUSY_KEYS, apart=True)
_CONNECT = Load("connect", sessions=8, amount=10_000, seconds=3)
_IDLE = Load("idle", sessions=400)
_FLOOD = Load("down", amount=1000 * _GB, yields=True)


SCENES = (
    Scene("down", "Server to client, one stream", _BULK, _DOWN, _SHORT_DOWN, Play.bulk),
    Scene("down-16", "Server to client, 16 streams", _MANY,
          replace(_DOWN, sessions=16), replace(_SHORT_DOWN, sessions=16), Play.bulk),
    Scene("down-xvp", "Server to client by CONNECT, one stream", ("direct", "haproxy", "haproxy-splice", PRODUCT),
          _DOWN, _SHORT_DOWN, Play.bulk, way="connect"),
    Scene("down-tls", "Server to client in TLS, one stream", ("websockify", "haproxy", "nginx", PRODUCT),
          replace(_DOWN, amount=_GB), replace(_DOWN, amount=_GB // 4), Play.bulk, tls=True),
    Scene("paint", "50 sessions, each painting 32 KiB 20 times a second", _MANY,
          _PAINT, replace(_PAINT, seconds=2), Play.painting),
    Scene("up-large", "Client to server, frames of 1 MiB", _ALL,
          Load("up-large", amount=512), Load("up-large", amount=128), Play.bulk),
    Scene("up-small", "Client to server, frames of 20 bytes", _ALL,
          Load("up-small", amount=200 * 1024), Load("up-small", amount=40 * 1024), Play.small_messages),
    Scene("keys", "Keystroke there and back, nothing else to do", _ALL,
          _KEYS, replace(_KEYS, seconds=1), Play.keystrokes,
          adds_delay=True, on_one_processor=True),
    Scene("keys-busy", "Keystroke there and back, among 50 painting sessions", _ALL,
          _BUSY_KEYS, replace(_BUSY_KEYS, seconds=1), lambda play: play.keystrokes_among(replace(_PAINT, seconds=60))),
    Scene("keys-tls", "Keystroke there and back in TLS", ("websockify", "haproxy", PRODUCT),
          _KEYS, replace(_KEYS, seconds=1), Play.keystrokes, tls=True,
          on_one_processor=True),
    Scene("fair", "Keystroke there and back, beside a flooded session", ("direct", "haproxy", PRODUCT),
          _APART_KEYS, replace(_APART_KEYS, seconds=1), lambda play: play.keystrokes_beside_flood(_FLOOD)),
    Scene("connect", "Visits, eight at a time", _MANY, _CONNECT, replace(_CONNECT, seconds=1), Play.visits),
    Scene("connect-xvp", "Visits by CONNECT, eight at a time", ("websockify", "haproxy", PRODUCT, WORKERS),
          _CONNECT, replace(_CONNECT, seconds=1), Play.visits, way="connect"),
    Scene("connect-tls", "Visits in TLS, eight at a time", ("websockify", "haproxy", PRODUCT, WORKERS),
          _CONNECT, replace(_CONNECT, seconds=1), Play.visits, tls=True),
    Scene("idle", "400 idle sessions", ("websockify", "haproxy", PRODUCT),
          _IDLE, replace(_IDLE, sessions=100), Play.idle_sessions),
    Scene("idle-tls", "300 idle sessions in TLS", ("websockify", "haproxy", PRODUCT),
          replace(_IDLE, sessions=300), replace(_IDLE, sessions=60), Play.idle_sessions, tls=True),
    Scene("hold", "4,000 sessions in one process", ("haproxy", PRODUCT),
          replace(_IDLE, sessions=4000), replace(_IDLE, sessions=4000), Play.idle_sessions),
    Scene("stall", "A flood of 1 GB that the client does not read", ("websockify", "haproxy", PRODUCT),
          Load("stall", amount=_GB), Load("stall", amount=_GB), Play.stalled_client),
    Scene("start", "From the start to the first answer", ("websockify", "haproxy", PRODUCT, WORKERS),
          Load("idle"), Load("idle"), Play.start_up),
)  # fmt: skip
