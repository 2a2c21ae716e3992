"""Both pumps, at random: sizes, pauses, half-closes and cuts; whatever happens, what comes is what was sent."""

import hashlib

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet.pollreactor import PollReactor

from rfbproxy.reasons import CloseReason
from rfbproxy.transport import TransportStream
from tests.client.frames import PING, closing, frame
from tests.session.wires import FAMILIES, WAYS, Session, World

TARGET_CLOSED = closing(1000, CloseReason.TARGET_CLOSED.sentence)
SIZES = st.one_of(
    st.integers(0, 300), st.sampled_from([4096, 65535, 65536, 65537, 131072]), st.integers(50_000, 1_500_000)
)
SIDES = st.sampled_from(["client", "target"])
STEPS = st.one_of(
    st.tuples(st.just("say"), SIDES, SIZES),
    st.tuples(st.just("stop reading"), SIDES, st.none()),
    st.tuples(st.just("read on"), SIDES, st.none()),
    st.tuples(st.just("wait"), SIDES, st.integers(1, 10)),
    st.tuples(st.just("ping"), st.just("client"), st.none()),
)
LAST = st.sampled_from(["nothing", "half-close", "cut", "stop"])


def bytes_of(name, count, size):
    """Bytes that are nowhere else the same."""
    start = hashlib.sha256(f"{name} {count}".encode()).digest()
    return (start * (size // len(start) + 1))[:size]


class Story:
    """One session, whose peers do what they are told."""

    def __init__(self, world, way, family):
        self.world = world
        self.way = way
        self.family = family
        self.session = Session(world, way, family)
        self.sent = {"client": b"", "target": b""}

    def peer(self, side):
        return getattr(self.session, side)

    def heard(self, side):
        return self.peer("target" if side == "client" else "client").heard

    def do(self, what, side, value):
        peer = self.peer(side)
        if what == "say" and value:
            data = bytes_of(side, len(self.sent[side]), value)
            peer.say(data)
            self.sent[side] += data
        elif what == "ping" and self.way == "websocket":
            peer.say_raw(frame(b"there?", opcode=PING))
        elif what in ("stop reading", "read on"):
            peer.reading = what == "read on"
        self.world.turn(value if what == "wait" else 1)

    def end(self, how, side):
        """End it; what came is the beginning of what was sent, and all of it where nobody cut anything off."""
        for one in ("client", "target"):
            self.peer(one).reading = True
        if how == "cut":
            self.peer(side).reset_connection()
            if self.family == "unix":  # which knows no reset: the other one sees an end, and leaves too
                self.peer("target" if side == "client" else "client").reset_connection()
            assert self.session.fate is not None
        elif how == "stop":
            self.session.relay.stop()
            self.world.settle()
        else:
            for one in ("client", "target"):
                self.world.until(lambda one=one: len(self.heard(one)) >= len(self.sent[one]), "all of it")
        for one in ("client", "target"):
            got = self.heard(one)
            assert got == self.sent[one][: len(got)]
            assert how in ("cut", "stop") or len(got) == len(self.sent[one])
        if how == "half-close":
            self.half_close(side)

    def half_close(self, side):
        other = "target" if side == "client" else "client"
        self.peer(side).half_close()
        if self.way == "websocket":
            if side == "target":  # the client is told by a close frame, and leaves
                self.world.until(lambda: self.session.client.frames[-1:] == [TARGET_CLOSED], "the close frame")
                self.peer(other).half_close()
        else:
            self.world.until(lambda: self.peer(other).ended, "the end")
            if not self.world.encrypted:  # TLS has no halves
                self.do("say", other, 70_000)
                self.world.until(lambda: len(self.heard(other)) == len(self.sent[other]), "the rest")
                assert self.heard(other) == self.sent[other]
                self.peer(other).half_close()
        assert self.session.fate is not None


@pytest.mark.parametrize("encrypted", [(), ("client", "target")], ids=["clear", "tls"])
@pytest.mark.parametrize("pump", ["sockets", "transports"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", WAYS)
@settings(
    max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, max_size=25), last=LAST, side=SIDES)
def test_what_comes_is_what_was_sent(encrypted, pump, family, way, steps, last, side):
    with pytest.MonkeyPatch.context() as patch:
        if pump == "transports":
            patch.setattr(TransportStream, "has_socket", False)
        world = World(PollReactor, encrypted)
        story = Story(world, way, family)
        assert story.session.is_pumped is (pump == "sockets")
        try:
            for step in steps:
                story.do(*step)
            story.end(last, side)
        finally:
            world.close()
