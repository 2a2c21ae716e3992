"""This proxy as a peer."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from benchmarks.peers import Proxy, Route
from rfbproxy.config import Config
from rfbproxy.issue import Console, issue
from rfbproxy.options import GROUPS
from rfbproxy.store_options import open_store

TOKEN_TTL_S = 3600


class Product(Proxy):
    """This proxy with everything on that a service has on: token store, audit log, table of sessions, limits.

    Args:
        workers: how many worker processes; None: as many as it takes by itself.
    """

    hello = b"GET /healthz HTTP/1.0\r\n\r\n"

    def __init__(self, name: str, *, workers: int | None) -> None:
        self.name = name
        self._workers = workers

    def missing(self) -> str | None:
        """See `Peer.missing`."""
        if self._workers is None and not _has_workers():
            return "[consoleproxy] workers is no option yet: one process is all"
        return None if _consoleproxy().exists() else "the program is not installed: run make venv"

    def _prepare(self, folder: Path, port: int, targets: Sequence[int], *, way: str, tls: bool) -> Sequence[Route]:
        base = f"{'https' if tls else 'http'}://127.0.0.1:{port}/vnc_auto.html"
        files = f"cert = {folder}/cert.pem\nkey = {folder}/key.pem\n" if tls else ""
        workers = f"workers = {self._workers}\n" if self._workers is not None and _has_workers() else ""
        (folder / "nova.conf").write_text(
            f"[DEFAULT]\nstate_path = {folder}/state\n{files}"
            f"[vnc]\nnovncproxy_host = 127.0.0.1\nnovncproxy_port = {port}\nnovncproxy_base_url = {base}\n"
            f"xvpvncproxy_host =\n[consoleproxy]\naudit_log = {folder}/audit.jsonl\n{workers}"
        )
        console_type, path = ("xvpvnc", "/console") if way == "connect" else ("novnc", "/websockify")
        with closing(open_store(Config([str(folder / "nova.conf")]))) as store:
            consoles = [Console(console_type, "127.0.0.1", target) for target in targets]
            now = int(time.time())
            tokens = [issue(store, console, base=base, ttl=TOKEN_TTL_S, now=now).token for console in consoles]
        return [Route(port, way, tls, f"{path}?token={token.reveal()}") for token in tokens]

    def _command(self, folder: Path, port: int, targets: Sequence[int], *, tls: bool) -> Sequence[str | Path]:
        return [_consoleproxy(), "serve", "--config-file", folder / "nova.conf"]


@cache
def _has_workers() -> bool:
    return any(option.dest == "workers" for option in GROUPS["consoleproxy"])


def _consoleproxy() -> Path:
    return Path(sys.executable).parent / "consoleproxy"
