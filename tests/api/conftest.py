"""The API over a memory transport, on a store in memory, with a clock that the test moves."""

import json
from dataclasses import dataclass, field

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from rfbproxy.api.access import Access, TokenFile
from rfbproxy.api.resource import ApiRules
from rfbproxy.api.server import ApiFactory, ApiListener
from rfbproxy.config import Config
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoles import Consoles
from rfbproxy.session.limits import DELAY_LIMIT_S, BadTokens

TOKEN = "the-token-of-the-api"
METRICS_TOKEN = "the-token-of-the-metrics"
NOW = 1_700_000_000


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class AbortableTransport(StringTransport):
    aborted = False

    def abortConnection(self):
        self.aborted = True


@dataclass
class ApiUnderTest:
    """One API; each `ask` is a connection of its own."""

    store: SqlStore
    factory: ApiFactory
    clock: Clock
    problems: list[str] = field(default_factory=list)
    snapshots: list[dict[str, float]] = field(default_factory=list)
    now: float = NOW

    def ask(self, method, path, body=None, *, token=TOKEN, version=None, headers=()):
        """Ask, and give the answer; a body that is not bytes is sent as JSON."""
        lines = [f"{method} {path} HTTP/1.1", "Host: api", "Connection: close", *headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if version is not None:
            lines.append(f"OpenStack-API-Version: compute {version}")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        transport = self.send("\r\n".join([*lines, "", ""]).encode() + content)
        if not transport.value():  # whoever guesses waits
            self.clock.advance(DELAY_LIMIT_S)
        return read_answer(transport.value())

    def send(self, *pieces):
        transport = AbortableTransport()
        connection = self.factory.buildProtocol(None)
        connection.makeConnection(transport)
        for piece in pieces:
            connection.dataReceived(piece)
        return transport


def read_answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    return Answer(int(status.split()[1]), headers, body)


@pytest.fixture
def options():
    """More lines of `nova.conf`; a test module may say others."""
    return "[spice]\nenabled = True\n[consoleproxy]\nrfb_listen = 127.0.0.1:5900\n"


@pytest.fixture
def tls_only():
    return False


@pytest.fixture
def api(tmp_path, options, tls_only):
    (tmp_path / "nova.conf").write_text(options)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "metrics-token").write_text(f"{METRICS_TOKEN}\n")
    config = Config([str(tmp_path / "nova.conf")], base=tmp_path)
    store = SqlStore("sqlite://")
    store.open()
    clock = Clock()
    made: list[ApiUnderTest] = []

    async def ready():
        return made[0].problems[0] if made[0].problems else None

    async def figures():
        return made[0].snapshots

    async def on_thread(function):
        return function()

    rules = ApiRules(
        Consoles(store, config, lambda: made[0].now),
        on_thread,
        Access(TokenFile(tmp_path / "token", "t"), BadTokens(), TokenFile(tmp_path / "metrics-token", "m")),
        clock,
        [name for name in ("vnc", "spice") if config.flag(name, "enabled")],
        ready,
        figures,
        tls_only=tls_only,
    )
    made.append(ApiUnderTest(store, ApiFactory(ApiListener(rules, clock)), clock))
    yield made[0]
    store.close()
