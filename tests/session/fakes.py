"""A visit without a network: streams that record, a store and a dialler that answer when they are told to."""

from functools import cache

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken
from rfbproxy.consoleauth.token import hash_token
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import Preference, SecurityType
from rfbproxy.session.limits import Limits
from rfbproxy.session.visit import Surroundings, VisitRules
from rfbproxy.session.visits import Visits
from rfbproxy.stream import ClientStream
from rfbproxy.target.dial import Dialler
from rfbproxy.target.tls import TargetTls, TargetTlsRules

TOKEN = "7b1ad8a4-5c3f-4f29-9d3e-0c1f1b0a4d11"
STARTED = 1_700_000_000.0


class FakeStream(ClientStream):
    """Records what is asked of it; a test plays the peer with the `deliver` methods."""

    def __init__(self):
        super().__init__()
        self.sent = bytearray()
        self.said = []  # what happened to the connection, in order
        self.paused = False
        self.producer = None
        self.on_send = None

    def take(self):
        sent = bytes(self.sent)
        self.sent.clear()
        return sent

    def send(self, data):
        self.sent += data
        if self.on_send is not None:
            self.on_send(data)

    def send_eof(self):
        self.said.append("eof")

    def close(self):
        self.said.append("close")

    def accept(self):
        self.said.append("accept")

    def close_because(self, refused):
        self.said.append(refused)

    def abort(self):
        self.said.append("abort")
        self.deliver_lost()

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def feed_from(self, producer):
        self.producer = producer

    @property
    def farewell(self):
        (refused,) = (said for said in self.said if isinstance(said, Refused))
        return refused

    def end(self, how):
        if how == "eof":
            self.deliver_eof()
        else:
            self.deliver_lost()


class SecuringStream(FakeStream):
    """One whose TLS a test plays: `secured` is what it fires."""

    def __init__(self):
        super().__init__()
        self.sides = []
        self.securing = None

    def start_tls(self, side):
        if self._buffer:
            raise RemoteProtocolError("bytes came in clear where TLS is due")
        self.sides.append(side)
        self.securing = Deferred()
        return self.securing

    def secured(self):
        self.securing.callback(None)


class FakeStore:
    def __init__(self):
        self.asked = []
        self.waiting = None

    async def find(self, token):
        self.asked.append(token)
        self.waiting = Deferred()
        return await self.waiting


class FakeDialler(Dialler):
    def __init__(self):
        self.asked = []
        self.waiting = None
        self.cancelled = False

    async def dial(self, host, port):
        self.asked.append((host, port))
        self.waiting = Deferred(self._cancel)
        return await self.waiting

    def _cancel(self, waiting):
        self.cancelled = True
        waiting.errback(OSError("an endpoint fails in its own words when it is cancelled"))


class FakeAudit:
    def __init__(self):
        self.records = []

    def write(self, record):
        self.records.append(record)


@cache
def target_tls():
    """One for all tests: it reads the system's CAs."""
    return TargetTls(TargetTlsRules())


def console_token(**fields):
    return ConsoleToken(
        **{
            "token_hash": hash_token(TOKEN),
            "console_type": "novnc",
            "host": "192.0.2.7",
            "port": 5901,
            "instance_uuid": "f0f0f0f0-0000-4000-8000-000000000000",
            "expires": int(STARTED) + 600,
            "access_url_base": None,
        }
        | fields
    )


def console_request(**fields):
    return ConsoleRequest(**{"way_in": "websocket", "source": "198.51.100.9", "token": TOKEN} | fields)


class Bench:
    """One visit, and everything around it."""

    def __init__(self, *, sessions=0, sessions_per_source=0, clock=None, target_check=None, **rules):
        self.clock = clock or Clock()
        self.store = FakeStore()
        self.dialler = FakeDialler()
        self.audit = FakeAudit()
        self.client = FakeStream()
        self.target = FakeStream()
        preference = Preference((SecurityType.VNC_AUTHENTICATION, SecurityType.NONE))
        self.visits = Visits(
            Surroundings(
                VisitRules(**{"security_preference": preference} | rules),
                self.store,
                self.dialler,
                target_tls(),
                self.clock,
                lambda: STARTED + self.clock.seconds(),
                Limits(sessions, sessions_per_source),
                target_check,
                self.spice_surroundings(),
            ),
            self.audit,
        )

    def spice_surroundings(self):
        """Nothing: it is for VNC."""

    def open(self, **request):
        self.visits.open(console_request(**request), self.client)

    def authorise(self, **token):
        self.store.waiting.callback(console_token(**token))

    def connect(self):
        self.dialler.waiting.callback(self.target)

    @property
    def record(self):
        (record,) = self.audit.records
        return record

    def assert_over(self, reason):
        """One record, with this reason, and nothing left behind."""
        assert self.record.close_reason == reason.value
        assert self.record.ended is not None
        assert not len(self.visits)
        assert self.clock.getDelayedCalls() == []
        assert self.client.farewell.reason is reason
        assert self.dialler.cancelled or self.target.said.count("close") == (self.dialler.waiting is not None)
        assert self.client.producer is None
        assert self.target.producer is None
        assert self.client.on_end is None
        assert self.target.on_end is None


def refusal(reason):
    """What a 3.7 or 3.8 client is told."""
    sentence = reason.sentence if isinstance(reason, CloseReason) else reason
    return (
        b"\x00"  # no security types
        + len(sentence).to_bytes(4, "big")  # reason-length
        + sentence.encode()  # reason-string
    )
