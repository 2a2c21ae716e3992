"""One client of a listener, over a transport in memory that has what a TCP connection has."""

from pathlib import Path

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.client.factory import ClientFactory
from rfbproxy.client.folders import Folders
from rfbproxy.client.listener import Listener
from rfbproxy.client.pages import Pages, PageSite
from tests.client import frames

PING_INTERVAL_S = 25.0
HEAD_TIMEOUT_S = 10.0


@implementer(ITCPTransport)
class Connection(StringTransport):
    """A TCP transport of Twisted's manners: a producer may be unregistered twice, a closing one paused."""

    half_closed = False
    aborted = False
    paused = False

    def setTcpNoDelay(self, enabled):
        """Nothing: who serves pages asks for it."""

    def loseWriteConnection(self):
        self.half_closed = True

    def abortConnection(self):
        self.aborted = True

    def unregisterProducer(self):
        self.producer = None

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False


class CongestedConnection(Connection):
    """One whose peer takes nothing: beyond 64 KiB the producer is told to pause, as Twisted's do."""

    def write(self, data):
        super().write(data)
        if self.producer is not None and len(self.value()) > 65536:
            self.producer.pauseProducing()


async def always_ready():
    return None


def make_listener(
    clock=None,
    *,
    opened=None,
    folders=None,
    allowed_origins=(),
    ready=always_ready,
    protocol="vnc",
    viewer_file=None,
    **fields,
):
    """A listener with everything about it settable; `opened` collects (request, stream)."""
    clock = clock or Clock()
    opened = [] if opened is None else opened
    folders = folders or Folders(Path("/nonexistent"), None)
    pages = Pages(folders, allowed_origins, ready, protocol=protocol, viewer_file=viewer_file)
    return Listener(
        **{
            "open_console": lambda request, stream: opened.append((request, stream)),
            "pages": PageSite(pages, reactor=clock),
            "head_timeout_s": HEAD_TIMEOUT_S,
            "ping_interval_s": PING_INTERVAL_S,
            "trusted_proxies": lambda source: source == "198.51.100.1",
            "clock": clock,
        }
        | fields
    )


class Caller:
    """A client that has connected."""

    def __init__(self, *, source="192.0.2.7", transport=None, clock=None, **fields):
        self.clock = clock or Clock()
        self.opened = []
        self.listener = make_listener(self.clock, opened=self.opened, **fields)
        self.factory = ClientFactory(self.listener)
        self.connection = self.factory.buildProtocol(IPv4Address("TCP", source, 4711))
        self.transport = transport or Connection()
        self.connection.makeConnection(self.transport)

    def send(self, *segments):
        for segment in segments:
            self.connection.dataReceived(segment)

    def received(self):
        """What came since the last call."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def half_close(self):
        self.connection.readConnectionLost()

    def lose(self):
        """The connection is gone; nothing may be left of it."""
        self.connection.connectionLost(Failure(ConnectionDone()))
        assert self.clock.getDelayedCalls() == []

    @property
    def request(self):
        return self.opened[-1][0]

    @property
    def stream(self):
        return self.opened[-1][1]


class Console(Caller):
    """A client with an open WebSocket."""

    def __init__(self, *, handshake=None, **fields):
        super().__init__(**fields)
        self.send(handshake or frames.upgrade())
        assert self.received().startswith(b"HTTP/1.1 101 ")

    def frames(self):
        return frames.parse(self.received())


class Listening:
    """A sink that notes what it hears."""

    def __init__(self):
        self.data = bytearray()
        self.events = []

    def data_received(self, data):
        self.data += data

    def eof_received(self):
        self.events.append("eof")

    def connection_lost(self):
        self.events.append("lost")


def answers(data, *, method="GET"):
    """The HTTP answers in `data` to requests of one method: (status, headers in lower case, body) each."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        code = int(status.split()[1])
        length = int(headers.get("content-length", 0))
        if method == "HEAD" or code == 304:
            length = 0
        found.append((code, headers, data[:length]))
        data = data[length:]
    return found
