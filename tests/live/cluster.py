"""Several proxies on one database, and light clients of theirs, each from an address of its own that records name."""

import json
import select
import socket
import time
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.issue import Console, issue
from rfbproxy.reasons import CloseReason
from tests.live.databases import DatabaseServer
from tests.peers import SERVER_INIT, Target, WebSocket, cut_text, echo, enter, http
from tests.ports import free_port
from tests.proxy_process import Proxy

PROXIES = 4
BEARER = "the-key-of-the-clusters-api"
OPTIONS = """
api_listen = 127.0.0.1:{port}
api_token_file = {folder}/api-token
max_connections_per_source = 0
[consoleauth]
connection = {url}
"""


@dataclass(frozen=True)
class Issued:
    """A console that was given out; one token opens it on every proxy."""

    token: str
    instance: str


@dataclass
class Session:
    """A client that sees a console."""

    client: WebSocket
    source: str
    proxy: int
    console: Issued
    texts: Iterator[int] = field(default_factory=count)

    def relays(self) -> bool:
        """Whether what it says goes to the target, and comes back."""
        text = cut_text(f"{self.source} says {next(self.texts)}".encode())
        self.client.send(text)
        return self.client.receive(len(text)) == text


class ApiProxy(Proxy):
    """A proxy of the cluster, with the API."""

    def __init__(self, folder: Path, url: str) -> None:
        self.api_port = free_port()
        (folder / "api-token").write_text(f"{BEARER}\n")
        super().__init__(folder, OPTIONS.format(port=self.api_port, folder=folder, url=url))

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request of the API: status and JSON."""
        content = json.dumps(body) if body is not None else ""
        status, _, answer = http(
            self.api_port,
            f"{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {BEARER}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}",
        )
        return status, json.loads(answer)

    def ready(self) -> tuple[int, str]:
        """What a load balancer is told."""
        status, _, answer = http(self.port, "GET /readyz HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n")
        return status, answer.decode().strip()


def patient_echo(sock: socket.socket) -> None:
    """An echoing RFB server that waits for its client as long as it takes."""
    sock.settimeout(None)
    echo(sock)


class Cluster:
    """Proxies on a database, their sessions, and what each session's record is to say in the end.

    Attributes:
        live: the sessions that nobody has ended.
        expected: of each visit whose record is due, the proxy, the client's address and the close reason.
    """

    def __init__(self, folder: Path, server: DatabaseServer, target: Target) -> None:
        self.server = server
        self._target = target
        self._sources = count(2)
        self.store = SqlStore(server.url)
        self.store.open()
        folders = [folder / f"proxy{number}" for number in range(PROXIES)]
        for each in folders:
            each.mkdir()
        self.proxies = [ApiProxy(each, server.url) for each in folders]
        self.live: list[Session] = []
        self.expected: Counter[tuple[int, str, str]] = Counter()
        with ThreadPoolExecutor(PROXIES) as threads:
            list(threads.map(Proxy.start, self.proxies))

    def stop(self) -> None:
        self.store.close()
        for proxy in self.proxies:
            if proxy.process is not None:
                proxy.stop()

    def issue(self, instance: str) -> Issued:
        """A token that lives longer than the test."""
        console = Console("novnc", "127.0.0.1", self._target.port, instance=instance)
        made = issue(self.store, console, base="http://console.example/vnc_auto.html", ttl=3600, now=int(time.time()))
        return Issued(made.token.reveal(), instance)

    def connect(self, number: int, console: Issued) -> tuple[WebSocket, str]:
        """A client at a proxy, with its address."""
        high, low = divmod(next(self._sources), 250)
        source = f"127.0.{high + 1}.{low + 1}"
        return WebSocket(self.proxies[number].port, f"/?token={console.token}", source=source), source

    def open(self, number: int, console: Issued) -> Session:
        """A session on one of the proxies."""
        client, source = self.connect(number, console)
        assert enter(client) == SERVER_INIT
        session = Session(client, source, number, console)
        self.live.append(session)
        return session

    def listed(self, number: int) -> list[dict[str, Any]]:
        """The sessions as a proxy's API lists them."""
        status, answer = self.proxies[number].ask("GET", "/v1/sessions")
        assert status == 200, answer
        return list(answer["sessions"])

    def id_of(self, session: Session) -> str:
        """As lists call it."""
        (found,) = [row["id"] for row in self.listed(0) if row["client"] == session.source]
        return str(found)

    @contextmanager
    def ending(self, sessions: Collection[Session], within_s: float) -> Iterator[None]:
        """Those sessions are revoked in the block, and end within seconds of its end; all others relay on."""
        yield
        begun = time.monotonic()
        waiting = {session.client.sock: session for session in sessions}
        while waiting:
            left = begun + within_s - time.monotonic()
            assert left > 0, f"{len(waiting)} of {len(sessions)} sessions live {within_s} s after they were revoked"
            for sock in select.select(waiting, [], [], left)[0]:
                client = waiting[sock].client
                client.until_close()
                assert (client.close_code, client.close_reason) == (1008, CloseReason.REVOKED.sentence)
                del waiting[sock]
        for session in sessions:
            self.gone(session, CloseReason.REVOKED)
        self.check_relaying()

    def gone(self, session: Session, reason: CloseReason | None) -> None:
        """A session has ended; None: so suddenly that it left no record."""
        session.client.sock.close()
        self.live.remove(session)
        if reason is not None:
            self.expected[session.proxy, session.source, reason.value] += 1

    def check_relaying(self) -> None:
        """Every session that nobody has ended still relays, both ways."""
        assert all(session.relays() for session in self.live)

    @property
    def records(self) -> Counter[tuple[int, str, str]]:
        """What all proxies have recorded."""
        return Counter(
            (number, record["client"], record["close_reason"])
            for number, proxy in enumerate(self.proxies)
            for record in proxy.records
        )
