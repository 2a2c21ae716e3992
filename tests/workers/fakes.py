"""Both ends of a link without sockets, and workers without processes."""

from twisted.internet.testing import StringTransport

from rfbproxy.workers.link import Link


class LinkTransport(StringTransport):
    """Remembers what files were given."""

    def __init__(self):
        super().__init__()
        self.given = []

    def sendFileDescriptor(self, descriptor):
        self.given.append(descriptor)


class Pair:
    """Two ends, which say something when `pump` is called."""

    def __init__(self, hears=(), others=()):
        self.lost = []
        self.here = Link(dict(hears), lambda: self.lost.append("here"))
        self.there = Link(dict(others), lambda: self.lost.append("there"))
        for end in (self.here, self.there):
            end.makeConnection(LinkTransport())

    def pump(self):
        """Carry everything to the other end, until nobody says anything more."""
        while self.here.transport.value() or self.there.transport.value():
            for end, other in ((self.here, self.there), (self.there, self.here)):
                said = end.transport.value()
                end.transport.clear()
                for cut in range(0, len(said), 7):
                    other.dataReceived(said[cut : cut + 7])


class FakeLink:
    """Remembers what a worker was told."""

    def __init__(self):
        self.told = []

    def tell(self, what, **facts):
        self.told.append((what, facts))


class FakeWorker:
    """A worker that a test lets serve and go."""

    def __init__(self, reactor=None):
        self.number = self.options = 0
        self.pid = 4000 + id(self) % 1000
        self.link = FakeLink()
        self.ended_well = False
        self.done = []
        self.begun = None

    def begin(self, options, _sockets, told, hears, on_serving, on_gone):
        self.number, self.options = told["number"], options
        self.begun = told
        self.hears = hears
        self._on_serving, self._on_gone = on_serving, on_gone

    def retire(self):
        self.done.append("retire")

    def drain(self):
        self.done.append("drain")

    def kill(self):
        self.done.append("kill")

    def serve(self):
        self._on_serving(self)

    def go(self, how="with status 0"):
        self.ended_well = how == "with status 0"
        self._on_gone(self, how)
