"""SPICE visits from the first byte to the audit record, by each way in, ended in every way at every step."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import formatEvent

from rfbproxy.consoleauth import Grant, hash_token
from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.secret import Secret
from rfbproxy.session.spice_sessions import LOOK_S, PATIENCE_S
from rfbproxy.session.visit import DENIAL_S
from rfbproxy.spice import Capabilities, LinkMess
from rfbproxy.spice.messages import message
from rfbproxy.target.dial import _unreachable
from tests.cuts import segmentations
from tests.session.fakes import STARTED, TOKEN
from tests.session.spice_fakes import (
    ACCEPTS,
    AUTHORISED,
    CAPS,
    CHANNEL_STEPS,
    CONNECTED,
    GIVES_TICKET,
    INIT,
    INPUTS,
    LOGIN,
    MAIN,
    MAIN_STEPS,
    SAYS_LINK,
    SESSION_ID,
    USBREDIR,
    SpiceBench,
    error_reply,
    result,
    ticket,
)
from tests.spice import samples

HANDSHAKE_TIMEOUT_S = 10.0
LAST_WORDS = message(106, b"last words")  # of a type that passes on every channel
WAYS_IN = list(MAIN_STEPS)
STORIES = {
    (way, kind): steps
    for kind, ways in (("main", MAIN_STEPS), ("channel", CHANNEL_STEPS))
    for way, steps in ways.items()
}
CASES = [
    pytest.param(story, count, id=f"{'-'.join(story)}, {count}, after {steps[count - 1][0] if count else 'nothing'}")
    for story, steps in STORIES.items()
    for count in range(len(steps) + 1)
]
BEFORE_RELAY = [case for case in CASES if case.values[1] < len(STORIES[case.values[0]])]
WITH_TARGET = [case for case in BEFORE_RELAY if CONNECTED in STORIES[case.values[0]][: case.values[1]]]


class Story:
    """One link that has come so far, and its main where it is another channel's."""

    def __init__(self, story, count, **options):
        self.way_in, self.kind = story
        self.steps = STORIES[story][:count]
        self.bench = SpiceBench(self.way_in, sessions=1, **options)
        self.main = None
        if self.kind == "main":
            self.link = self.bench.ask()
        else:
            self.main = self.bench.main()
            self.link = self.bench.ask((INPUTS, 0), SESSION_ID)
        self.link.walk(self.steps)
        self.heard = self.link.client.take()

    def has(self, step):
        return step in self.steps

    @property
    def has_key(self):
        """Whether the client was given the key for its ticket."""
        return self.has(SAYS_LINK) if self.way_in == "native" else self.has(ACCEPTS)

    @property
    def is_linked(self):
        return len(self.steps) == len(STORIES[self.way_in, self.kind])

    def told(self, error):
        """What SPICE has for a client that is refused now, for a reason that is not its password's."""
        return error_reply(error) if self.has(SAYS_LINK) and not self.has_key else b""

    def assert_over(self, reason):
        """It has left one record, unless it was a channel that is told of by its main; nothing else is left."""
        bench = self.bench
        self.link.assert_over(reason)
        assert self.link.target.said.count("close") == self.has(CONNECTED)
        records = list(bench.audit.records)
        has_record = self.kind == "main" or not self.is_linked
        assert [record.close_reason for record in records] == [reason.value] * has_record
        assert all(record.ended for record in records)
        if self.main is not None:
            if not self.main.is_over:
                assert len(bench.sessions.find(hash_token(TOKEN), SESSION_ID, "198.51.100.9").links) == 1
                self.main.client.deliver_lost()
            told = bench.audit.records[-1]
            assert told.channels == (["main", "inputs"] if self.is_linked else ["main"])
        bench.assert_nothing_left()


def test_the_whole_way_of_a_browser():
    bench = SpiceBench("browser")
    link = bench.ask(asked=samples.HTML5_MAIN)
    assert bench.store.asked == [], "first it must say what it wants"
    link.say_link()
    assert bench.store.asked == [TOKEN]
    link.authorise()
    assert bench.dialler.asked == [("192.0.2.7", 5901)]
    link.connect()
    assert link.target.take() == LinkMess(0, MAIN, 0, Capabilities((0x9,), (0x4,))).pack()
    link.reply()
    assert link.target.take().startswith(samples.MECHANISM)
    assert link.client.take() == b"", "success is not promised early"
    link.accept()
    (reply,) = [link.client.take()]
    assert reply[:20] == samples.REPLY_MAIN[:20]
    assert reply[20:182] == samples.PUBLIC_KEY
    assert reply[194:] == b"\x0b\0\0\0" + b"\0\0\0\0", "the target's real words, less migration"
    link.client.deliver(ticket("which nobody looks at"))
    assert link.client.take() == samples.OK
    assert link.target.take() == b""
    link.target.deliver(INIT)
    link.client.deliver(message(104))
    assert (link.client.take(), link.target.take()) == (INIT, message(104))
    bench.clock.advance(5)
    link.client.deliver_lost()
    bench.assert_nothing_left()
    record = bench.record
    assert (record.started, record.ended) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:25.000Z")
    assert (record.client, record.token) == ("198.51.100.9", hash_token(TOKEN)[:8])
    assert record.instance == "f0f0f0f0-0000-4000-8000-000000000000"
    assert (record.console_type, record.target, record.way_in) == ("spice-html5", "192.0.2.7:5901", "websocket")
    assert (record.client_security, record.target_security) == ("SPICE ticket", "SPICE ticket")
    assert (record.client_version, record.target_version) == (None, None)
    assert (record.bytes_to_client, record.bytes_to_target) == (len(INIT), len(message(104)))
    assert (record.channels, record.close_reason) == (["main"], "client-closed")


def test_the_whole_way_of_a_native_viewer():
    bench = SpiceBench("native")
    link = bench.ask(asked=samples.GTK_MAIN)
    link.say_link()
    reply = link.client.take()
    assert reply[194:] == b"\x0b\0\0\0" + b"\x06\0\0\0", "what every server announces, less migration"
    assert bench.store.asked == []
    link.say_ticket()
    assert bench.store.asked == [TOKEN]
    link.authorise()
    assert bench.dialler.asked == [("192.0.2.7", 5901)]
    link.walk(LOGIN[:-1])
    assert link.client.take() == b"", "success is not promised early"
    link.accept()
    assert link.client.take() == samples.OK
    link.client.deliver_lost()
    assert (bench.record.way_in, bench.record.client_security) == ("spice", "SPICE ticket")
    bench.assert_nothing_left()


def test_the_whole_way_inside_a_connect():
    bench = SpiceBench("tunnel")
    link = bench.ask()
    assert bench.store.asked == [TOKEN], "before it has said a word of SPICE"
    assert link.client.said == []
    link.authorise()
    assert link.client.said == ["accept"]
    assert bench.dialler.asked == []
    link.walk([SAYS_LINK, *LOGIN])
    assert link.client.take()[16:20] == samples.OK
    link.client.deliver(ticket("which nobody looks at"))
    assert link.client.take() == samples.OK
    link.client.deliver_lost()
    assert bench.record.way_in == "connect"
    bench.assert_nothing_left()


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_channel_joins_without_asking_the_store(way_in):
    bench = SpiceBench(way_in)
    main = bench.main()
    asked = list(bench.store.asked)
    link = bench.channel()
    assert bench.store.asked == asked
    link.client.deliver(message(101, b"key"))
    link.target.deliver(message(101, b"init"))
    assert (link.target.take(), link.client.take()) == (message(101, b"key"), message(101, b"init"))
    assert bench.dialler.asked == [("192.0.2.7", 5901)] * 2
    link.client.deliver_lost()
    assert bench.audit.records == [], "its main tells of it"
    main.client.deliver_lost()
    assert bench.record.channels == ["main", "inputs"]
    assert bench.record.bytes_to_client == len(INIT) + 6 + 4
    assert bench.record.bytes_to_target == 6 + 3
    bench.assert_nothing_left()


# Segments


@pytest.mark.parametrize("story", STORIES, ids="-".join)
def test_wire_S17_every_segmentation_of_the_client_comes_to_the_same(story):
    way_in, kind = story
    connection_id = 0 if kind == "main" else SESSION_ID
    asked = LinkMess(connection_id, MAIN if kind == "main" else INPUTS, 0, CAPS).pack()
    said = asked + ticket() + message(101, b"first")
    for segments in segmentations(said):
        bench = SpiceBench(way_in)
        if kind == "channel":
            bench.main()
        link = bench.ask(asked=asked)
        if way_in == "tunnel" and kind == "main":
            link.authorise()
        for segment in segments:
            link.client.deliver(segment)
        if way_in != "tunnel" and kind == "main":
            link.authorise()
        link.walk(LOGIN)
        assert link.client.take()[-4:] == samples.OK
        assert link.target.take().endswith(message(101, b"first")), "and nothing is lost"
        assert not link.is_over


@pytest.mark.parametrize("story", STORIES, ids="-".join)
def test_wire_S17_every_segmentation_of_the_target_comes_to_the_same(story):
    for segments in segmentations(samples.REPLY_MAIN + samples.OK + (INIT if story[1] == "main" else message(101))):
        at = Story(story, STORIES[story].index(CONNECTED) + 1)
        for segment in segments:
            at.link.target.deliver(segment)
        if story[0] != "native":
            at.link.say_ticket()
        assert at.link.client.take().endswith(INIT if story[1] == "main" else message(101))
        assert not at.link.is_over


def test_wire_S20_a_viewer_without_a_choice_of_login():
    bench = SpiceBench("native")
    link = bench.ask(caps=Capabilities((0x8,)))
    link.say_link()
    assert link.client.take()[194] == 0x0A, "is told of none"
    link.client.deliver(ticket()[4:])
    link.authorise()
    link.connect()
    assert link.target.take() == LinkMess(0, MAIN, 0, CAPS).pack(), "how to log in is the proxy's affair"
    link.reply()
    assert link.target.take().startswith(samples.MECHANISM)
    link.accept()
    assert link.client.take() == samples.OK


# The end at every moment


@pytest.mark.parametrize(("story", "count"), CASES)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_wire_S24_the_client_vanishes(story, count, how):
    at = Story(story, count)
    at.link.client.end(how)
    if at.is_linked and how == "eof":
        assert at.link.target.said == ["eof"], "a half-close travels through"
        at.link.target.deliver(LAST_WORDS)
        assert at.link.client.take() == LAST_WORDS
        at.link.target.deliver_eof()
    assert at.link.client.take() == b""
    dialling = not at.has(CONNECTED) and at.steps != [] and STORIES[story][count] is CONNECTED
    assert at.bench.dialler.cancelled == dialling
    at.assert_over(CloseReason.CLIENT_CLOSED)


@pytest.mark.parametrize(("story", "count"), WITH_TARGET)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_wire_S26_the_target_vanishes_in_the_handshake(story, count, how):
    at = Story(story, count)
    at.link.target.end(how)
    refuses = at.steps[-1][0] == "the target replies"  # it closed instead of answering the ticket
    reason = CloseReason.TARGET_AUTH_FAILED if refuses else CloseReason.TARGET_UNREACHABLE
    assert at.link.client.take() == at.told(1), "and never that its password is wrong"
    assert at.link.farewell.websocket_code == 1011
    at.assert_over(reason)


@pytest.mark.parametrize("story", STORIES, ids="-".join)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_the_target_closes_while_relaying(story, how):
    at = Story(story, len(STORIES[story]))
    at.link.target.deliver(LAST_WORDS)
    at.link.target.end(how)
    assert at.link.client.take() == LAST_WORDS
    assert "eof" in at.link.client.said
    if how == "eof":
        at.link.client.deliver_eof()
    assert at.link.farewell.websocket_code == 1000
    at.assert_over(CloseReason.TARGET_CLOSED)


@pytest.mark.parametrize(("story", "count"), CASES)
@pytest.mark.parametrize("reason", [CloseReason.SHUTDOWN, CloseReason.REVOKED])
def test_it_is_ended_from_outside(story, count, reason):
    at = Story(story, count)
    fired = []
    at.bench.visits.close_all(Refused(reason, "as the test wants")).addCallback(fired.append)
    at.bench.clock.advance(0.1)
    assert fired == [None], "main does not wait for links that have been told to end too"
    assert at.link.client.take() == at.told(1)
    assert at.link.farewell.reason is reason
    records = at.bench.audit.records
    assert {record.close_reason for record in records} == {reason.value}
    own = at.kind == "channel" and not at.is_linked
    assert len(records) == 1 + own
    at.bench.assert_nothing_left()


@pytest.mark.parametrize(("story", "count"), BEFORE_RELAY)
def test_nothing_more_comes(story, count):
    """Every step of the handshakes has its deadline; the dialler's own is tested with it."""
    at = Story(story, count)
    waits_for = STORIES[story][count]
    at.bench.clock.pump([0.5] * 19)
    assert not at.link.is_over
    at.bench.clock.advance(0.5)
    if waits_for is CONNECTED:
        assert not at.link.is_over
        return
    reasons = {SAYS_LINK: CloseReason.PROTOCOL_ERROR, GIVES_TICKET: CloseReason.PROTOCOL_ERROR}
    reason = reasons.get(waits_for, CloseReason.TARGET_UNREACHABLE)
    if waits_for is AUTHORISED:
        reason = CloseReason.INTERNAL
    assert at.link.client.take() == at.told(1)
    assert (at.link.farewell.websocket_code == 1002) == (reason is CloseReason.PROTOCOL_ERROR)
    at.assert_over(reason)


@pytest.mark.parametrize("way_in", WAYS_IN)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_a_client_that_is_gone_before_it_came(way_in, how):
    bench = SpiceBench(way_in)
    begin = bench.visits.open

    def leave_first(request, client, **options):
        client.end(how)
        begin(request, client, **options)

    bench.visits.open = leave_first
    link = bench.ask()
    if way_in == "tunnel":
        link.authorise()
    link.assert_over(CloseReason.CLIENT_CLOSED)
    bench.assert_nothing_left()


@pytest.mark.parametrize("story", STORIES, ids="-".join)
def test_a_client_that_leaves_while_it_is_told_of_success(story):
    at = Story(story, len(STORIES[story]) - 1)
    at.steps = STORIES[story]
    at.link.client.on_send = lambda data: at.link.client.deliver_lost()
    at.link.walk(at.steps[-1:])
    at.assert_over(CloseReason.CLIENT_CLOSED)


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_client_that_leaves_while_the_table_is_asked_leaves_no_session(way_in):
    bench = SpiceBench(way_in)
    bench.table.held = {"claim"}
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(CONNECTED)])
    assert bench.dialler.asked == []
    link.client.deliver_lost()
    assert bench.record.close_reason == "client-closed"
    assert not len(bench.visits)
    bench.table.answer()
    bench.assert_nothing_left()


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_table_that_does_not_answer_is_not_waited_for(way_in):
    bench = SpiceBench(way_in)
    bench.table.held = {"claim"}
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(CONNECTED)])
    bench.clock.advance(PATIENCE_S + HANDSHAKE_TIMEOUT_S)
    link.assert_over(CloseReason.INTERNAL)
    bench.table.answer()
    bench.assert_nothing_left()


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_table_that_fails(way_in):
    bench = SpiceBench(way_in)
    bench.table.broken = {"claim"}
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(CONNECTED)])
    link.assert_over(CloseReason.INTERNAL)
    bench.table.broken = set()
    bench.assert_nothing_left()


def test_a_fault_of_ours_is_internal_and_logged(failures):
    bench = SpiceBench("browser")
    link = bench.ask().walk([SAYS_LINK])
    bench.store.waiting.errback(ZeroDivisionError())
    assert link.client.take() == error_reply(1)
    link.assert_over(CloseReason.INTERNAL)
    assert failures.pop()["log_failure"].check(ZeroDivisionError)


# What is refused, and how it is said


@pytest.mark.parametrize("way_in", WAYS_IN)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, CloseReason.TOKEN_UNKNOWN),
        ({"expires": int(STARTED)}, CloseReason.TOKEN_EXPIRED),
        ({"console_type": "novnc"}, CloseReason.TOKEN_UNKNOWN),
    ],
)
def test_wire_S21_a_token_that_opens_nothing_here(way_in, answer, reason):
    bench = SpiceBench(way_in)
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(AUTHORISED)])
    link.client.take()
    if answer is None:
        bench.store.waiting.callback(None)
    else:
        bench.authorise(**answer)
    if way_in == "native":
        bench.clock.advance(DENIAL_S - 0.01)
        assert link.client.take() == b"", "it is denied no sooner, whatever is wrong with it"
        bench.clock.advance(0.01)
    assert link.client.take() == {"browser": error_reply(7), "tunnel": b"", "native": result(7)}[way_in]
    link.assert_over(reason)
    assert bench.dialler.asked == []
    assert bench.record.channels is None
    bench.assert_nothing_left()


WRONG_TICKETS = [
    pytest.param(samples.MECHANISM + bytes(128), id="zeros"),
    pytest.param(samples.MECHANISM + b"\xff" * 128, id="ones"),
    pytest.param(samples.MECHANISM + b"\x5a" * 127 + b"\0", id="wire_S22 ends in a zero"),
    pytest.param(ticket(""), id="wire_S23 empty"),
    pytest.param(ticket("tökén"), id="wire_S23 not ASCII"),
    pytest.param(ticket("7b1ad8a4-unknown"), id="an unknown token"),
]


@pytest.mark.parametrize("said", WRONG_TICKETS)
@pytest.mark.parametrize("answered_s", [0.0, 0.4])
@pytest.mark.parametrize("channel", [(MAIN, 0), (INPUTS, SESSION_ID)])
def test_wire_S21_S22_S23_a_wrong_ticket_is_denied_as_an_unknown_token_is(said, answered_s, channel):
    """On the same way, by the same answer and in the same time."""
    bench = SpiceBench("native")
    link = bench.ask((channel[0], 0), channel[1]).walk([SAYS_LINK])
    link.client.take()
    link.client.deliver(said)
    assert len(bench.store.asked) == 1
    bench.clock.advance(answered_s)
    bench.store.waiting.callback(None)
    bench.clock.advance(DENIAL_S - answered_s - 0.001)
    assert not link.is_over
    bench.clock.advance(0.002)
    assert link.client.take() == result(7)
    link.assert_over(CloseReason.TOKEN_UNKNOWN)
    bench.assert_nothing_left()


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_store_that_fails(way_in):
    bench = SpiceBench(way_in)
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(AUTHORISED)])
    link.client.take()
    bench.store.waiting.errback(StoreError("down"))
    assert link.client.take() == (error_reply(1) if way_in == "browser" else b"")
    link.assert_over(CloseReason.INTERNAL)


@pytest.mark.parametrize("way_in", ["browser", "tunnel"])
def test_origin_is_judged_before_the_store_is_asked(way_in):
    bench = SpiceBench(way_in)
    link = bench.ask(origin="https://evil.example", host="console.example")
    if way_in == "browser":
        link.say_link()
    assert link.client.take() == (error_reply(7) if way_in == "browser" else b"")
    assert bench.store.asked == []
    link.assert_over(CloseReason.ORIGIN_REFUSED)


@pytest.mark.parametrize("way_in", ["browser", "tunnel"])
def test_a_channel_is_judged_by_its_origin_too(way_in):
    bench = SpiceBench(way_in)
    main = bench.main()
    link = bench.ask((INPUTS, 0), SESSION_ID, origin="https://evil.example", host="console.example")
    link.say_link()
    assert link.client.take() == error_reply(7)
    link.assert_over(CloseReason.ORIGIN_REFUSED)
    assert len(bench.dialler.asked) == 1
    assert not main.is_over


@pytest.mark.parametrize("connection_id", [0, SESSION_ID + 1])
@pytest.mark.parametrize("way_in", WAYS_IN)
def test_wire_S16_a_session_that_is_not_the_tokens(way_in, connection_id):
    bench = SpiceBench(way_in)
    bench.main()
    link = bench.ask((INPUTS, 0), connection_id)
    link.say_link()
    if way_in == "native":
        assert link.client.take()[16:20] == samples.OK, "not before its ticket"
        link.say_ticket()
    link.authorise()
    assert link.client.take() == (result(8) if way_in == "native" else error_reply(8))
    assert link.farewell.websocket_code == 1002
    link.assert_over(CloseReason.PROTOCOL_ERROR)
    assert len(bench.dialler.asked) == 1


def test_wire_S16_before_the_ticket_nobody_learns_which_sessions_there_are():
    heard = set()
    for connection_id in (0, SESSION_ID, SESSION_ID + 1):
        bench = SpiceBench("native")
        bench.main()
        link = bench.ask((INPUTS, 0), connection_id).walk([SAYS_LINK])
        bench.clock.advance(1)
        heard.add(link.client.take())
    assert len(heard) == 1


@pytest.mark.parametrize("way_in", WAYS_IN)
@pytest.mark.parametrize("source", ["203.0.113.1", "2001:db8::1"])
def test_wire_S16_a_session_is_nobody_elses_whatever_token_he_has(way_in, source):
    bench = SpiceBench(way_in)
    bench.main()
    link = bench.ask((INPUTS, 0), SESSION_ID, source=source)
    if way_in == "tunnel":
        link.authorise()
    link.say_link()
    if way_in == "native":
        link.say_ticket()
    if way_in != "tunnel":
        link.authorise()
    link.assert_over(CloseReason.PROTOCOL_ERROR)
    assert len(bench.dialler.asked) == 1


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_wire_S15_main_inside_a_session_reaches_no_target(way_in):
    bench = SpiceBench(way_in)
    bench.main()
    link = bench.ask((MAIN, 0), SESSION_ID)
    link.say_link()
    assert link.client.take() == error_reply(8)
    assert link.farewell.websocket_code == 1002
    link.assert_over(CloseReason.PROTOCOL_ERROR)
    assert len(bench.dialler.asked) == 1


@pytest.mark.parametrize("channel_type", [0, 7, 12, 255])
def test_wire_S14_a_channel_that_cannot_be_reaches_no_store(channel_type):
    bench = SpiceBench("browser")
    link = bench.ask((channel_type, 0)).walk([SAYS_LINK])
    assert link.client.take() == error_reply(9)
    link.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.store.asked == []


@pytest.mark.parametrize("error", [7, 8, 9, 1])
@pytest.mark.parametrize("way_in", WAYS_IN)
def test_wire_S26_a_target_that_refuses_our_password_is_not_the_clients_affair(way_in, error):
    bench = SpiceBench(way_in)
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(ACCEPTS)])
    link.client.take()
    link.target.deliver(result(error))
    told = {7: 9}.get(error, error)
    if way_in == "native":
        assert link.client.take() == b"", "it would ask its user for another password, which changes nothing"
    else:
        assert link.client.take() == error_reply(told)
    link.assert_over(CloseReason.TARGET_AUTH_FAILED)
    bench.assert_nothing_left()


def test_a_target_that_cannot_be_reached():
    bench = SpiceBench("browser")
    link = bench.ask().walk([SAYS_LINK, AUTHORISED])
    bench.dialler.waiting.errback(_unreachable("192.0.2.7:5901", "refused"))
    assert link.client.take() == error_reply(1)
    assert bench.record.close_reason == "target-unreachable"
    bench.assert_nothing_left()


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({}, "192.0.2.7:5901"),
        ({"port": 0, "tls_port": 5902}, "192.0.2.7:5902"),
        ({"port": -1, "tls_port": 5902}, "192.0.2.7:5902"),
        ({"tls_port": 5902}, "192.0.2.7:5901"),
        ({"host": "2001:db8::7"}, "[2001:db8::7]:5901"),
        ({"host": "node\n1"}, "node\\n1:5901"),
    ],
)
def test_the_record_names_the_target(fields, target):
    bench = SpiceBench("browser")
    link = bench.ask().walk([SAYS_LINK])
    link.authorise(**fields)
    link.client.deliver_lost()
    assert bench.record.target == target


# Encryption


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("way_in", WAYS_IN)
def test_nova_W28_who_comes_in_clear_where_only_tls_is_allowed(way_in, encrypted):
    bench = SpiceBench(way_in, tls_only=True)
    link = bench.ask(encrypted=encrypted)
    if way_in != "tunnel":
        link.say_link()
    if encrypted:
        assert not link.is_over
        return
    assert link.client.take() == (error_reply(5) if way_in != "tunnel" else b"")
    assert bench.store.asked == []
    link.assert_over(CloseReason.TLS_REQUIRED)


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_where_native_viewers_must_use_tls_others_need_not(way_in):
    bench = SpiceBench(way_in, spice={"native_tls": True})
    link = bench.ask().walk([SAYS_LINK])
    assert link.is_over == (way_in == "native")
    if way_in == "native":
        assert link.client.take() == error_reply(5), "then it comes to the port for TLS by itself"
        assert bench.store.asked == []


@pytest.mark.parametrize(("tls_name", "side"), [(None, "for 192.0.2.7"), ("vm.example", "for vm.example")])
def test_targets_may_have_to_be_inside_tls(tls_name, side):
    bench = SpiceBench("browser", spice={"target_tls_only": True})
    link = bench.ask().walk([SAYS_LINK])
    link.authorise(tls_port=5902, grant=Grant(tls_name=tls_name))
    assert bench.dialler.asked == [("192.0.2.7", 5902)]
    link.connect()
    assert link.target.sides == [side]


def test_a_target_that_wants_tls_is_dialled_so_for_all_later_channels():
    bench = SpiceBench("browser")
    main = bench.ask().walk([SAYS_LINK])
    main.authorise(tls_port=5902)
    main.connect()
    main.target.deliver(error_reply(5))
    main.target = type(main.target)()
    main.connect()
    main.target.secured()
    main.walk([*LOGIN[1:], GIVES_TICKET])
    main.target.deliver(INIT)
    link = bench.ask((INPUTS, 0), SESSION_ID).walk([SAYS_LINK])
    assert bench.dialler.asked == [("192.0.2.7", 5901), ("192.0.2.7", 5902), ("192.0.2.7", 5902)]
    link.connect()
    assert link.target.sides == ["for 192.0.2.7"]


@pytest.mark.parametrize(
    ("grant", "side"), [(Grant(host_subject="CN=vm"), "for CN=vm"), (Grant(tls_name="vm.example"), "for vm.example")]
)
@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_token_that_says_whose_certificate_it_is_goes_inside_tls_at_once(way_in, grant, side):
    """Else whoever answers on the port in clear would be given its password."""
    bench = SpiceBench(way_in)
    main = bench.main(grant=grant, stored={"tls_port": 5902})
    channel = bench.channel()
    assert bench.dialler.asked == [("192.0.2.7", 5902)] * 2
    assert [link.target.sides for link in (main, channel)] == [[side]] * 2


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_without_a_tls_port_there_is_nothing_that_it_could_be_of(way_in):
    bench = SpiceBench(way_in)
    bench.main(grant=Grant(host_subject="CN=vm", tls_name="vm.example"))
    assert bench.dialler.asked == [("192.0.2.7", 5901)]


# What the relay does not let through


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        pytest.param(struct.pack("<HI", 101, 0xFFFFFFFF), b"", id="wire_S28 a body without end"),
        pytest.param(struct.pack("<QHII", 1, 101, 4, 0) + b"key!", message(1), id="wire_S29 a full header"),
        pytest.param(message(1000), b"", id="wire_S29 an implausible type"),
        pytest.param(message(8, b"list"), b"", id="wire_S30 a list"),
    ],
)
@pytest.mark.parametrize("way_in", WAYS_IN)
def test_wire_S28_S29_S30_a_client_that_breaks_its_channel_ends_it(way_in, said, passes):
    bench = SpiceBench(way_in)
    main = bench.main()
    link = bench.channel()
    link.client.deliver(message(101, b"good") + said)
    assert link.target.take() == message(101, b"good") + passes, "what came before goes on"
    assert link.farewell.websocket_code == 1002
    link.assert_over(CloseReason.PROTOCOL_ERROR)
    assert not main.is_over
    main.client.deliver_lost()
    bench.assert_nothing_left()


def test_wire_S30_a_target_that_breaks_its_channel():
    bench = SpiceBench("browser")
    main = bench.main()
    main.target.deliver(message(101) + message(8, b"list"))
    assert main.farewell.websocket_code == 1011
    main.assert_over(CloseReason.PROTOCOL_ERROR)
    assert bench.record.close_reason == "protocol-error"
    bench.assert_nothing_left()


def test_what_comes_early_is_judged_too():
    """Together with the ticket, before the target has accepted."""
    bench = SpiceBench("native")
    link = bench.ask().walk([SAYS_LINK])
    link.client.deliver(ticket() + message(8, b"list"))
    link.authorise()
    link.walk(LOGIN[:-1])
    link.target.take()
    link.accept()
    assert link.target.take() == b""
    link.assert_over(CloseReason.PROTOCOL_ERROR)
    bench.assert_nothing_left()


# Fuzzed legs


@given(st.sampled_from(WAYS_IN), st.sampled_from(["main", "channel"]), st.data())
def test_wire_P7_a_client_that_is_not_let_in_reaches_no_target(way_in, kind, data):
    """Whatever it says before its target has accepted, the target hears what the proxy says alone."""
    steps = STORIES[way_in, kind]
    at = Story((way_in, kind), data.draw(st.integers(0, steps.index(ACCEPTS))))
    own = at.link.target.take()
    at.link.client.deliver(data.draw(st.binary(min_size=1, max_size=300)))
    assert at.link.target.take() == b""
    assert ticket()[4:] not in own


@given(st.sampled_from(WAYS_IN), st.sampled_from(["main", "channel"]), st.data())
def test_wire_P7_a_target_that_has_not_accepted_reaches_no_client(way_in, kind, data):
    """Whatever it says, the client hears what the proxy says alone."""
    steps = STORIES[way_in, kind]
    at = Story((way_in, kind), data.draw(st.integers(steps.index(CONNECTED) + 1, steps.index(ACCEPTS))))
    said = data.draw(st.binary(min_size=1, max_size=300).filter(lambda said: not said.startswith(samples.OK)))
    at.link.target.deliver(said)
    refusals = {b"", *(answer(error) for answer in (error_reply, result) for error in (1, 8, 9))}
    assert at.link.client.take() in refusals


# Secrets


@pytest.mark.parametrize("story", STORIES, ids="-".join)
def test_no_secret_is_logged(story, log):
    way_in, kind = story
    bench = SpiceBench(way_in)
    main = bench.main(grant=Grant(password=Secret("swordfish")))
    link = main if kind == "main" else bench.channel()
    assert bench.sessions.find(hash_token(TOKEN), SESSION_ID, "198.51.100.9") is not None
    link.client.deliver(message(8, b"keystroke"))
    main.client.deliver_lost()
    bench.assert_nothing_left()
    told = "".join(f"{formatEvent(event)}{event!r}" for event in log) + repr(bench.audit.records)
    assert bench.audit.records[0].session in told
    sealed = repr(ticket()[4:40])[2:-1]
    for secret in (TOKEN, "swordfish", "keystroke", sealed, ticket()[4:].hex()):
        assert secret not in told


def test_a_wrong_ticket_is_not_logged_either(log):
    bench = SpiceBench("native")
    link = bench.ask().walk([SAYS_LINK])
    link.client.deliver(samples.MECHANISM + b"\x5a" * 128)
    bench.store.waiting.callback(None)
    bench.clock.advance(DENIAL_S)
    link.assert_over(CloseReason.TOKEN_UNKNOWN)
    assert "5a5a5a5a" not in "".join(f"{formatEvent(event)}{event!r}" for event in log) + repr(bench.record)


# The waiting room


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_main_gives_its_place_up_once_it_has_a_session(way_in):
    """Links without one are bounded in number; a good token is not enough, as it opens as many as one wants."""
    bench = SpiceBench(way_in)
    bench.table.held = {"claim"}
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(CONNECTED)])
    told = []
    link.client.on_authorised = lambda: told.append("in")
    assert not link.client.is_authorised
    bench.table.answer()
    assert link.client.is_authorised
    assert told == ["in"]


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_channel_gives_its_place_up_once_it_has_joined(way_in):
    bench = SpiceBench(way_in)
    bench.main()
    link = bench.ask((INPUTS, 0), SESSION_ID)
    steps = CHANNEL_STEPS[way_in]
    assert not link.client.is_authorised, "though its token has a session"
    link.walk(steps[: steps.index(CONNECTED)])
    assert link.client.is_authorised


@pytest.mark.parametrize("way_in", WAYS_IN)
@pytest.mark.parametrize("channel", [(INPUTS, SESSION_ID + 1), (USBREDIR, SESSION_ID)])
def test_one_that_is_refused_keeps_it_to_its_end(way_in, channel):
    bench = SpiceBench(way_in)
    bench.main()
    link = bench.ask((channel[0], 0), channel[1]).walk([SAYS_LINK])
    if way_in == "native":
        link.say_ticket()
    if not link.is_over:
        link.authorise()
    assert link.is_over
    assert not link.client.is_authorised


def test_sessions_are_looked_for_only_while_there_are_some():
    bench = SpiceBench("browser")
    main = bench.main()
    bench.clock.pump([LOOK_S] * 3)
    assert bench.table.asked.count("living") == 3
    main.client.deliver_lost()
    bench.assert_nothing_left()
