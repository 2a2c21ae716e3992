"""The whole program with listeners for SPICE, viewers that come in by each of its ways, and one that lives beside."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from rfbproxy.consoleauth import hash_token
from rfbproxy.secret import Secret
from tests.peers import WebSocket
from tests.ports import free_port
from tests.proxy_process import Proxy, running, until
from tests.spice_peers import Link, Peer, Socket, Viewer, spice_target

BINARY = "Sec-WebSocket-Protocol: binary"
WAYS_IN = ("websocket", "connect", "spice")  # as audit records name them
PASSWORD = "sesame"  # of targets
OPTIONS = "connect_timeout_s = 1\nhandshake_timeout_s = 2\n"


class SpiceProxy(Proxy):
    """A running proxy that listens for SPICE by WebSocket and CONNECT at `spice_port`, and bare at `native_port`."""

    def __init__(self, folder: Path, options: str = "", **named: object) -> None:
        self.native_port = free_port()
        super().__init__(folder, options, **named)

    def write_config(self, options: str) -> None:
        super().write_config(
            f"spice_listen = 127.0.0.1:{self.native_port}\n[spice]\nenabled = True\n[consoleproxy]\n{options}"
        )

    def token(self, port: int, **grant) -> str:
        """A token for the machine whose SPICE server is at `port`."""
        grant = {"console_type": "spice-html5", "password": Secret(PASSWORD)} | grant
        return self.create(port, **grant)["token"]

    def set_row(self, table: str, token: str, **values: object) -> None:
        """Change a token's row behind the program's back."""
        names = ", ".join(f"{name} = ?" for name in values)
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "consoleproxy.sqlite", timeout=10)) as database:
            changing = f"UPDATE {table} SET {names} WHERE token_hash = ?"
            assert database.execute(changing, (*values.values(), hash_token(token))).rowcount == 1
            database.commit()

    def expire(self, token: str) -> None:
        self.set_row("console_auth_tokens", token, expires=int(time.time()) - 1)

    def come(self, token: str, way_in: str = "websocket", *, source: str | None = None) -> Peer:
        """A connection that is about to speak SPICE."""
        if way_in == "websocket":
            return WebSocket(self.spice_port, f"/websockify?token={token}", BINARY, source=source)
        if way_in == "spice":
            return Socket(self.native_port, source=source)
        client = Socket(self.spice_port, source=source)
        assert client.connect_by_http(f"{token}:5900").startswith("HTTP/1.0 200 ")
        return client

    def view(self, token: str, way_in: str = "websocket", *, source: str | None = None) -> Viewer:
        """A viewer whose main is linked."""
        return Viewer(lambda: self.come(token, way_in, source=source), token if way_in == "spice" else "whatever")

    def record(self, token: str | None = None, **facts: object) -> dict:
        """The one record of a token, or with other such facts, once it is there."""
        if token is not None:
            facts["token"] = hash_token(token)[:8]
        found = until(lambda: [one for one in self.records if facts.items() <= one.items()], f"a record with {facts}")
        assert len(found) == 1, found
        return found[0]


@contextlib.contextmanager
def spice_running(folder: Path, options: str = "") -> Iterator[SpiceProxy]:
    with running(folder, OPTIONS + options, kind=SpiceProxy) as proxy:
        yield proxy
        assert "Traceback" not in proxy.log
        assert "Unhandled" not in proxy.log


class Bystander:
    """A session that nothing else may disturb; bare, because nobody answers pings meanwhile."""

    def __init__(self, viewer: Viewer) -> None:
        self._link: Link = viewer.link()

    def is_served(self) -> None:
        """Within a second; a machine that is busy with something else may need more than one try."""
        assert any(self._waits_for_echo() < 1 for _ in range(3))

    def _waits_for_echo(self) -> float:
        begun = time.monotonic()
        self._link.echo(b"still here")
        return time.monotonic() - begun


@contextlib.contextmanager
def bystander(proxy: SpiceProxy) -> Iterator[Bystander]:
    with spice_target(password=PASSWORD) as (_, listening), proxy.view(proxy.token(listening.port), "spice") as viewer:
        beside = Bystander(viewer)
        beside.is_served()
        yield beside
        beside.is_served()
