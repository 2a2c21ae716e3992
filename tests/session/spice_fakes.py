"""SPICE visits without a network: links of viewers, the targets that they reach, and the table of all sessions."""

import struct
from functools import cache, partial

from twisted.internet.defer import Deferred, fail, maybeDeferred

from rfbproxy.consoleauth import hash_token
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.errors import StoreError
from rfbproxy.secret import Secret
from rfbproxy.session.spice_sessions import LOOK_S, SpiceSessions
from rfbproxy.session.spice_surroundings import SpiceRules, SpiceSurroundings
from rfbproxy.session.spice_visit import SpiceVisit
from rfbproxy.spice import ChannelType, LinkMess
from rfbproxy.spice.capabilities import Capabilities
from rfbproxy.spice.constants import MsgMain
from rfbproxy.spice.messages import message
from rfbproxy.spice.ticket import seal
from tests.session.fakes import STARTED, TOKEN, Bench, SecuringStream, console_request, console_token
from tests.spice import samples

MAIN, DISPLAY, INPUTS, USBREDIR = ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.USBREDIR
SESSION_ID = 0x12345678
SOURCE, NETWORK = "198.51.100.9", "198.51.100.9"
TOKEN_HASH = hash_token(TOKEN)
CAPS = Capabilities((0x9,))  # a choice of login, and mini headers
INIT = message(MsgMain.INIT, struct.pack("<8I", SESSION_ID, 1, 3, 1, 0, 10, 0, 0))
WAYS_IN = {"browser": "websocket", "tunnel": "connect", "native": "spice"}


@cache
def memory():
    store = SqlStore("sqlite://")
    store.open()
    return store.spice_sessions


class Table:
    """The real table of a memory database. It answers at once; a test may hold its answers back, or let it fail.

    Args:
        is_shared: whether another one has filled it already.

    Attributes:
        asked: names of the calls.
        held: names of those that are answered by `answer` alone.
        broken: names of those that fail.
    """

    def __init__(self, *, is_shared=False):
        self.real = memory()
        if not is_shared:
            self.real.purge(1 << 40)
        self.asked = []
        self.held = set()
        self.broken = set()
        self._waiting = []

    def __getattr__(self, name):
        return partial(self._ask, name)

    def _ask(self, name, *args, **kwargs):
        self.asked.append(name)
        if name in self.broken:
            return fail(StoreError("the table is down"))
        call = partial(getattr(self.real, name), *args, **kwargs)
        if name not in self.held:
            return maybeDeferred(call)
        self._waiting.append((Deferred(), call))
        return self._waiting[-1][0]

    def answer(self):
        """Do what was asked first, of what is held back."""
        waiting, call = self._waiting.pop(0)
        waiting.callback(call())

    def fail(self):
        self._waiting.pop(0)[0].errback(StoreError("the table is down"))

    def is_free(self, now=STARTED):
        """Whether the token has no session."""
        claimed = self.real.claim(TOKEN_HASH, "probe", "nobody", int(now), take_over=False)
        self.real.end(TOKEN_HASH, "probe")
        return claimed is not None


class Keys:
    """Hands out the one key of the samples."""

    def take(self):
        return samples.KEY


class FakeTls:
    """Says which side it was asked for."""

    def side(self, name, subject=None):
        return f"for {subject or name}"


@cache
def ticket(password=TOKEN):
    """What a client answers the link reply with."""
    return samples.MECHANISM + seal(Secret(password), samples.PUBLIC_KEY)


def error_reply(error):
    """A link reply that refuses."""
    return (
        b"REDQ"  # magic
        b"\x02\x00\x00\x00\x02\x00\x00\x00"  # version
        b"\xb2\x00\x00\x00" + error.to_bytes(4, "little") + bytes(174)  # size  # no key, no capabilities
    )


def result(error):
    return error.to_bytes(4, "little")


class SpiceClient(SecuringStream):
    """A viewer's stream, by one of the ways in."""

    token_inside = False

    def __init__(self, way_in, *, inside_tls=False):
        super().__init__()
        self.greets_at_once = way_in != "tunnel"
        self.token_inside = way_in == "native"
        self.inside_tls = inside_tls


class Link:
    """One link of a viewer, and what becomes of it.

    Args:
        asked: the link message, as bytes.
        token: that the client brings, wherever its way in wants it.
    """

    def __init__(self, bench, way_in, asked, *, token=TOKEN, inside_tls=False, **request):
        self.bench = bench
        self.asked = asked
        self.token = token
        self.client = SpiceClient(way_in, inside_tls=inside_tls)
        self.target = SecuringStream()
        known = {"way_in": WAYS_IN[way_in], "token": None if way_in == "native" else token}
        bench.visits.open(console_request(**known | request), self.client, kind=SpiceVisit)

    def say_link(self):
        self.client.deliver(self.asked)

    def say_ticket(self):
        self.client.deliver(ticket(self.token))

    def authorise(self, **fields):
        self.bench.authorise(**{"token_hash": hash_token(self.token)} | fields)

    def connect(self):
        self.bench.dialler.waiting.callback(self.target)

    def reply(self):
        if self.target.sides and not self.target.securing.called:
            self.target.secured()
        self.target.deliver(samples.REPLY_MAIN)

    def accept(self):
        self.target.deliver(samples.OK)

    def walk(self, steps):
        for _, step in steps:
            step(self)
        return self

    @property
    def farewell(self):
        return self.client.farewell

    @property
    def is_over(self):
        return any(not isinstance(said, str) for said in self.client.said)

    def assert_over(self, reason):
        """It was ended for this reason, and its connections are let go."""
        assert self.farewell.reason is reason, self.farewell.detail
        assert self.client.on_end is None
        assert self.client.producer is None
        assert self.target.on_end is None
        assert self.target.producer is None


SAYS_LINK = ("the client links", Link.say_link)
GIVES_TICKET = ("the client gives its ticket", Link.say_ticket)
AUTHORISED = ("the store answers", Link.authorise)
CONNECTED = ("the target connects", Link.connect)
REPLIES = ("the target replies", Link.reply)
ACCEPTS = ("the target accepts", Link.accept)
LOGIN = [CONNECTED, REPLIES, ACCEPTS]

MAIN_STEPS = {
    "browser": [SAYS_LINK, AUTHORISED, *LOGIN, GIVES_TICKET],
    "tunnel": [AUTHORISED, SAYS_LINK, *LOGIN, GIVES_TICKET],
    "native": [SAYS_LINK, GIVES_TICKET, AUTHORISED, *LOGIN],
}
CHANNEL_STEPS = {way: [step for step in steps if step is not AUTHORISED] for way, steps in MAIN_STEPS.items()}


class SpiceBench(Bench):
    """Visits of SPICE viewers that come by one way in.

    Args:
        spice: fields of `SpiceRules`.
        beside: another process with the same table and clock, which may step.

    Attributes:
        steps: seconds that the wall clock was set forward by, of all processes; what `clock` measures goes on.
    """

    def __init__(self, way_in="browser", *, spice=None, beside=None, **rules):
        self.way_in = way_in
        self.steps = beside.steps if beside is not None else []
        self.table = Table(is_shared=beside is not None)
        self._spice_rules = SpiceRules(**spice or {})
        super().__init__(clock=beside and beside.clock, **rules)

    def spice_surroundings(self):
        self.sessions = SpiceSessions(self.table, self.clock, lambda: STARTED + self.clock.seconds() + sum(self.steps))
        return SpiceSurroundings(self._spice_rules, self.sessions, Keys(), FakeTls())

    @property
    def limits(self):
        return self.visits._surroundings.limits

    def authorise(self, **fields):
        self.store.waiting.callback(console_token(**{"console_type": "spice-html5"} | fields))

    def ask(self, channel=(MAIN, 0), connection_id=0, caps=CAPS, *, asked=None, **fields):
        """A client that wants a channel, and has said nothing yet."""
        return Link(self, self.way_in, asked or LinkMess(connection_id, *channel, caps).pack(), **fields)

    def main(self, *, begun=True, grant=None, stored=None, **fields):
        """Main, as it relays; once it has `begun`, it knows its session's id.

        Args:
            stored: fields of the token in the store.
        """
        link = self.ask(**fields)
        for step in MAIN_STEPS[self.way_in]:
            if step is AUTHORISED:
                link.authorise(**{"grant": grant} if grant else {}, **stored or {})
            else:
                step[1](link)
        if begun:
            link.target.deliver(INIT)
        self.clear(link)
        return link

    def join(self, channel=(INPUTS, 0), **stored):
        """A channel of a session whose main is in another process, as it relays."""
        link = self.ask(channel, SESSION_ID)
        for step in MAIN_STEPS[self.way_in]:
            if step is AUTHORISED:
                link.authorise(**stored)
            else:
                step[1](link)
        self.clear(link)
        return link

    def channel(self, channel=(INPUTS, 0), connection_id=SESSION_ID, **fields):
        """Another channel of main's session, as it relays."""
        link = self.ask(channel, connection_id, **fields).walk(CHANNEL_STEPS[self.way_in])
        self.clear(link)
        return link

    def clear(self, link):
        assert not link.is_over, link.farewell.detail
        link.client.take()
        link.target.take()

    def assert_nothing_left(self):
        self.clock.advance(LOOK_S)  # sessions are looked for once more
        assert not len(self.visits)
        assert self.clock.getDelayedCalls() == []
        self.limits.check(SOURCE)
        assert not self.sessions.has(TOKEN_HASH, NETWORK)
        assert self.table.is_free(STARTED + self.clock.seconds() + sum(self.steps))
