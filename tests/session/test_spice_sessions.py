"""All live sessions: begun, joined, taken over, moved and ended, as two processes that share a table see them."""

from math import ceil

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from rfbproxy.consoleauth import ChannelRow, Grant, Location
from rfbproxy.consoleauth.spice_sessions import LIVE_S
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.spice_sessions import (
    ELSEWHERE_S,
    FINISH_S,
    GRACE_S,
    KEEP_S,
    LOOK_S,
    LOOKS_MISSED,
    PATIENCE_S,
    RETURN_S,
    SHUTDOWN_S,
    SpiceSessions,
)
from rfbproxy.spice import LinkError, LinkMess
from tests.session.fakes import STARTED, console_token
from tests.session.spice_fakes import DISPLAY, INPUTS, MAIN, SESSION_ID, TOKEN_HASH, Table
from tests.session.test_spice_session import FakeLink

CLIENT, STRANGER = "192.0.2.1", "203.0.113.1"
NODE2 = Location("node2", 0, 5901, "CN=node2")
ENDED = Refused(CloseReason.CLIENT_CLOSED, "the test ends")
CLOSING = Refused(CloseReason.SHUTDOWN, "the test ends")


class Process:
    """One proxy, whose clock and table it shares with others.

    Attributes:
        steps: seconds that the wall clock was set forward by.
    """

    def __init__(self, clock=None, table=None, steps=None):
        self.clock = clock or Clock()
        self.table = table or Table()
        self.steps = [] if steps is None else steps
        self.sessions = SpiceSessions(self.table, self.clock, self.wall_clock)
        self.wanted = True
        self.mains = {}

    def other(self):
        return Process(self.clock, Table(is_shared=True), self.steps)

    def wall_clock(self):
        return STARTED + self.clock.seconds() + sum(self.steps)

    def wait(self, coroutine):
        outcome = []
        Deferred.fromCoroutine(coroutine).addBoth(lambda got: outcome.append(getattr(got, "value", got)))
        return outcome

    def beginning(self, id_="a", *, client=CLIENT, take_over=False, **token):
        return self.wait(
            self.sessions.begin(id_, console_token(**token), client, take_over=take_over, is_wanted=lambda: self.wanted)
        )

    def begin(self, id_="a", **options):
        """A session whose main is linked, and knows its id."""
        (session,) = self.beginning(id_, **options)
        assert session.id == id_
        self.mains[id_] = FakeLink()
        session.enter(self.mains[id_], LinkMess(0, MAIN, 0))
        self.sessions.told_id(session, SESSION_ID)
        return session

    def joining(self, connection_id=SESSION_ID, *, client=CLIENT, **token):
        return self.wait(self.sessions.join(console_token(**token), connection_id, client))

    def join(self, channel=(INPUTS, 0), **options):
        """A link of a session whose main is elsewhere."""
        (session,) = self.joining(**options)
        link = FakeLink()
        session.enter(link, LinkMess(SESSION_ID, *channel))
        self.sessions.note(session, f"link {channel[0]:d}", "inputs", (0, 0))
        return session, link

    def finish(self, session, why=ENDED):
        session.leave(self.mains[session.id])
        return self.wait(self.sessions.finish(session, why))

    def advance(self, seconds):
        """Pass time as it passes: in small steps."""
        self.clock.pump([1 / 16] * ceil(seconds * 16))

    @property
    def now(self):
        return int(self.wall_clock())


@pytest.fixture
def here():
    return Process()


@pytest.fixture
def there(here):
    return here.other()


def refused(outcome, reason, error=None):
    (refusal,) = outcome
    assert isinstance(refusal, Refused), refusal
    assert refusal.reason is reason
    assert getattr(refusal, "error", None) is error
    return refusal


def assert_quiet(*processes):
    """Nobody has a session any more, and so nobody looks at the table."""
    processes[0].advance(LOOK_S)
    assert processes[0].clock.getDelayedCalls() == []


# Beginning


def test_a_session_begins_where_its_token_says(here):
    (session,) = here.beginning(port=0, tls_port=5901, grant=Grant(host_subject="CN=node1"))
    assert (session.id, session.client, session.connection_id) == ("a", CLIENT, None)
    assert session.location == Location("192.0.2.7", 0, 5901, "CN=node1")
    assert not session.is_elsewhere
    assert here.sessions.has(TOKEN_HASH, CLIENT)
    assert not here.sessions.has(TOKEN_HASH, STRANGER)
    assert not here.sessions.has("b" * 64, CLIENT)


def test_it_is_found_by_its_id_once_the_target_has_told_that(here):
    (session,) = here.beginning()
    for guess in (0, SESSION_ID):
        assert here.sessions.find(TOKEN_HASH, guess, CLIENT) is None
    here.sessions.told_id(session, SESSION_ID)
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is session
    assert here.table.real.find(TOKEN_HASH, SESSION_ID, here.now).session == "a", "by other processes too"


@pytest.mark.parametrize(
    ("token_hash", "connection_id", "client"),
    [
        (TOKEN_HASH, SESSION_ID, STRANGER),
        (TOKEN_HASH, SESSION_ID + 1, CLIENT),
        (TOKEN_HASH, 0, CLIENT),
        ("b" * 64, SESSION_ID, CLIENT),
    ],
)
def test_wire_S16_token_id_and_client_must_all_be_the_sessions(here, token_hash, connection_id, client):
    here.begin()
    assert here.sessions.find(token_hash, connection_id, client) is None


def test_a_table_that_fails_begins_nothing(here):
    here.table.broken = {"claim"}
    refusal = refused(here.beginning(), CloseReason.INTERNAL)
    assert "the table is down" in refusal.detail
    assert not here.sessions.has(TOKEN_HASH, CLIENT)
    assert here.clock.getDelayedCalls() == []


def test_a_claim_that_nobody_waits_for_any_more_is_taken_back(here):
    here.table.held = {"claim"}
    outcome = here.beginning()
    here.wanted = False
    here.table.answer()
    refused(outcome, CloseReason.CLIENT_CLOSED)
    assert not here.sessions.has(TOKEN_HASH, CLIENT)
    assert here.table.is_free()


def test_a_claim_that_is_taken_back_in_vain_is_logged(here, log):
    here.table.held = {"claim"}
    here.table.broken = {"end"}
    here.beginning()
    here.wanted = False
    here.table.answer()
    assert any("SPICE sessions are not shared: the table is down" in (formatEvent(event) or "") for event in log)


# A second main


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("client", [CLIENT, STRANGER])
def test_wire_S34_a_second_main_is_refused_once_the_first_had_time_to_end(here, there, where, client):
    first = here.begin()
    second = here if where == "here" else there
    outcome = second.beginning("b", client=client)
    second.advance(PATIENCE_S - 0.1)
    assert outcome == []
    second.advance(0.35)
    refused(outcome, CloseReason.POLICY, LinkError.PERMISSION_DENIED)
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is first
    assert here.mains["a"].ended == []
    here.finish(first)
    assert_quiet(here)


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_viewer_that_comes_again_as_it_leaves_is_waited_for(here, there, where):
    first = here.begin()
    second = here if where == "here" else there
    outcome = second.beginning("b")
    second.advance(PATIENCE_S / 2)
    assert outcome == []
    here.finish(first)
    second.advance(0.3)
    assert outcome[0].id == "b"


def test_who_leaves_while_it_waits_is_not_waited_for(here):
    here.begin()
    outcome = here.beginning("b")
    here.wanted = False
    here.advance(0.3)
    assert len(outcome) == 1
    assert here.table.asked.count("claim") == 1


@pytest.mark.parametrize("where", ["here", "there"])
def test_wire_S34_a_second_main_takes_over_where_it_may(here, there, where):
    first = here.begin()
    display = FakeLink()
    first.enter(display, LinkMess(SESSION_ID, DISPLAY, 0))
    second = here if where == "here" else there
    outcome = second.beginning("b", client=STRANGER, take_over=True)
    assert outcome[0].id == "b", "at once"
    second.advance(LOOK_S)
    for link in (here.mains["a"], display):
        (ended,) = link.ended
        assert ended.reason is CloseReason.POLICY
        assert "taken over" in ended.detail
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is None
    assert second.sessions.has(TOKEN_HASH, STRANGER)
    first.leave(display)
    here.finish(first)
    assert second.sessions.has(TOKEN_HASH, STRANGER), "what the first one says as it ends changes nothing"
    assert not second.table.is_free(second.now)


def test_who_takes_over_ends_the_first_once_the_table_has_let_it(here):
    first = here.begin()
    here.table.held = {"claim"}
    outcome = here.beginning("b", take_over=True)
    assert here.mains["a"].ended == []
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is first
    here.table.answer()
    assert len(here.mains["a"].ended) == 1
    assert outcome[0].id == "b"
    here.finish(first)
    assert here.sessions.has(TOKEN_HASH, CLIENT)
    assert not here.table.is_free()


def test_a_take_over_that_the_table_fails_ends_nobody(here):
    first = here.begin()
    here.table.broken = {"claim"}
    refused(here.beginning("b", take_over=True), CloseReason.INTERNAL)
    assert here.mains["a"].ended == []
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is first
    here.finish(first)
    here.table.broken = set()
    assert here.beginning("c")[0].id == "c"


@pytest.mark.parametrize("is_first_there", [False, True])
def test_of_mains_that_take_over_at_once_the_last_is_left_alone(here, is_first_there):
    """Of all that the table was asked for at once, exactly one session is tracked, kept and joined."""
    if is_first_there:
        here.begin("0")
    here.table.held = {"claim"}
    outcomes = {id_: here.beginning(id_, take_over=True) for id_ in "abc"}
    assert here.table.asked.count("claim") == 1 + is_first_there, "one after the other"
    for id_, outcome in outcomes.items():
        here.table.answer()
        (session,) = outcome
        here.mains[id_] = FakeLink()
        session.enter(here.mains[id_], LinkMess(0, MAIN, 0))
    here.table.held = set()
    assert {id_: len(main.ended) for id_, main in here.mains.items() if main.ended} == dict.fromkeys(
        ["0", "a", "b"] if is_first_there else ["a", "b"], 1
    )
    here.sessions.told_id(outcomes["c"][0], SESSION_ID)
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is outcomes["c"][0]
    assert here.table.real.find(TOKEN_HASH, SESSION_ID, here.now).session == "c"
    for id_ in "abc":
        here.finish(outcomes[id_][0])
    assert here.table.is_free()
    assert_quiet(here)


def test_who_is_taken_over_before_its_main_is_there_is_ended_all_the_same(here):
    here.table.held = {"claim"}
    outcomes = [here.beginning(id_, take_over=True) for id_ in "ab"]
    here.table.held = set()  # the second is answered while the first is still being told of its own
    here.table.answer()
    (first,), (second,) = outcomes
    with pytest.raises(Refused, match="taken over"):
        first.enter(FakeLink(), LinkMess(0, MAIN, 0))
    second.enter(FakeLink(), LinkMess(0, MAIN, 0))


def test_of_mains_that_come_at_once_the_first_is_left_where_none_takes_over(here):
    here.table.held = {"claim"}
    outcomes = [here.beginning(id_) for id_ in "ab"]
    here.table.answer()
    here.table.held = set()
    here.advance(PATIENCE_S + 0.3)
    assert outcomes[0][0].id == "a"
    refused(outcomes[1], CloseReason.POLICY, LinkError.PERMISSION_DENIED)
    assert here.table.asked.count("claim") == 1


# Joining


def test_a_link_joins_a_session_whose_main_is_in_another_process(here, there):
    here.begin()
    (session,) = there.joining()
    assert (session.id, session.client, session.connection_id) == ("a", CLIENT, SESSION_ID)
    assert session.is_elsewhere
    assert session.location == Location("192.0.2.7", 5901)
    assert there.joining() == [session], "all of its links join the same one"


def test_wire_S16_nobody_joins_from_elsewhere(here, there):
    here.begin()
    refusal = refused(there.joining(client=STRANGER), CloseReason.PROTOCOL_ERROR, LinkError.BAD_CONNECTION_ID)
    assert refusal.websocket_code == 1002
    assert there.table.asked == ["find"], "and is not kept waiting"


@pytest.mark.parametrize("connection_id", [0, SESSION_ID + 1])
def test_wire_S16_an_id_that_is_no_sessions_is_waited_for_a_while(here, there, connection_id):
    """Its main may have been told of it just now, and its process not have said so yet."""
    here.begin()
    outcome = there.joining(connection_id)
    there.advance(PATIENCE_S - 0.1)
    assert outcome == []
    there.advance(0.35)
    refused(outcome, CloseReason.PROTOCOL_ERROR, LinkError.BAD_CONNECTION_ID)


@pytest.mark.parametrize("connection_id", [0, SESSION_ID + 1])
def test_wire_S16_but_not_where_main_is_in_this_process(here, connection_id):
    here.begin()
    refused(here.joining(connection_id), CloseReason.PROTOCOL_ERROR, LinkError.BAD_CONNECTION_ID)


def test_a_link_that_comes_before_the_table_knows_the_id_joins_once_it_does(here, there):
    (session,) = here.beginning()
    outcome = there.joining()
    there.advance(1.0)
    assert outcome == []
    here.sessions.told_id(session, SESSION_ID)
    there.advance(0.3)
    assert outcome[0].id == "a"


def test_another_tokens_session_is_not_joined(here, there):
    here.begin()
    outcome = there.joining(token_hash="b" * 64)
    there.advance(PATIENCE_S + 0.3)
    refused(outcome, CloseReason.PROTOCOL_ERROR, LinkError.BAD_CONNECTION_ID)


def test_a_table_that_fails_lets_nobody_join(here, there):
    here.begin()
    there.table.broken = {"find"}
    refused(there.joining(), CloseReason.INTERNAL)


def test_links_that_join_at_once_are_one_session(here, there):
    here.begin()
    there.table.held = {"find"}
    outcomes = [there.joining(), there.joining()]
    there.table.answer()
    there.table.answer()
    assert outcomes[0][0] is outcomes[1][0]


# What a process looks for


@pytest.mark.parametrize("who_fails", [None, "keep", "living"])
def test_a_session_is_kept_for_as_long_as_it_lives(here, there, who_fails):
    session = here.begin()
    if who_fails:
        here.table.broken = {who_fails}
        here.advance(LIVE_S - 5)
        here.table.broken = set()
    here.advance(3 * LIVE_S)
    assert here.mains["a"].ended == []
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is session
    assert not here.table.is_free(here.now)


@pytest.mark.parametrize("outage_s", range(LIVE_S + 1, LIVE_S + 2 * KEEP_S))
def test_a_table_that_was_down_for_longer_than_claims_live_ends_no_session(here, outage_s):
    session = here.begin()
    here.table.broken = {"keep", "living"}
    here.advance(outage_s)
    here.table.broken = set()
    here.advance(LIVE_S)
    assert here.mains["a"].ended == []
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is session
    assert not here.table.is_free(here.now)


def test_nor_does_a_machine_that_slept(here):
    session = here.begin()
    here.advance(3.0)
    here.clock.advance(10 * LIVE_S)
    here.advance(LIVE_S)
    assert here.mains["a"].ended == []
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is session


def test_the_table_is_written_to_seldom(here):
    here.begin()
    here.advance(60.0)
    assert here.table.asked.count("living") == round(60 / LOOK_S)
    assert here.table.asked.count("keep") <= 1 + 60 // KEEP_S


def test_looks_that_fail_are_logged_and_go_on(here, log):
    here.begin()
    here.table.broken = {"living"}
    here.advance(3 * LOOK_S)
    told = [formatEvent(event) for event in log if "cannot be looked after" in (formatEvent(event) or "")]
    assert len(told) == 3
    assert here.mains["a"].ended == []


def test_without_sessions_nobody_looks(here, there):
    here.finish(here.begin())
    assert_quiet(here, there)
    asked = len(here.table.asked)
    here.advance(10 * LOOK_S)
    assert len(here.table.asked) == asked
    here.begin("b")
    here.advance(LOOK_S)
    assert here.table.asked[-2:] == ["living", "channels"], "and then they look again"


def test_a_session_that_ended_while_the_table_was_asked_is_not_ended_again(here):
    session = here.begin()
    display = FakeLink()
    session.enter(display, LinkMess(SESSION_ID, DISPLAY, 0))
    here.table.held = {"living"}
    here.advance(LOOK_S)
    here.finish(session)
    here.begin("b")
    here.table.answer()
    assert display.ended == [], "its other links have their moment"
    assert here.mains["b"].ended == [], "and one that began meanwhile has its life"


def test_wire_S34_links_elsewhere_end_once_main_has(here, there):
    session = here.begin()
    joined, link = there.join()
    there.advance(2 * LOOK_S)
    assert link.ended == []
    here.finish(session)
    there.advance(LOOK_S)
    assert link.ended == [], "perhaps its process is about to keep it"
    there.advance(LOOK_S)
    (ended,) = link.ended
    assert ended.reason is CloseReason.CLIENT_CLOSED
    joined.leave(link)
    there.sessions.note(joined, "link 3", "inputs", (1, 2))
    here.advance(ELSEWHERE_S)
    assert_quiet(here, there)


def test_a_joined_session_is_forgotten_with_its_last_link(here, there):
    here.begin()
    joined, link = there.join()
    joined.leave(link)
    there.sessions.note(joined, "link 3", "inputs", (1, 2))
    assert there.joining()[0] is not joined
    there.advance(LOOK_S)


# The end of main


def test_main_alone_is_finished_at_once(here):
    session = here.begin()
    assert here.finish(session) == [[]]
    assert not here.sessions.has(TOKEN_HASH, CLIENT)
    assert here.table.is_free()


def test_wire_S34_other_links_have_a_moment_to_end_by_themselves(here):
    """Their target closes them as it closes main; what it says in that moment still arrives."""
    session = here.begin()
    display, inputs = FakeLink(), FakeLink()
    for channel, link in ((DISPLAY, display), (INPUTS, inputs)):
        session.enter(link, LinkMess(SESSION_ID, channel, 0))
    inputs.on_end = lambda: session.leave(inputs)
    outcome = here.finish(session)
    assert here.table.is_free(), "the token is free at once"
    here.advance(GRACE_S / 2)
    session.leave(display)
    assert (outcome, inputs.ended) == ([], [])
    here.advance(GRACE_S / 2 + 0.1)
    assert outcome == [[]]
    assert inputs.ended == [ENDED]
    assert display.ended == []


def test_without_links_nobody_waits_for_the_whole_grace(here):
    session = here.begin()
    display = FakeLink()
    session.enter(display, LinkMess(SESSION_ID, DISPLAY, 0))
    outcome = here.finish(session)
    session.leave(display)
    here.advance(0.1)
    assert outcome == [[]]


def test_nobody_joins_a_session_whose_main_has_ended(here, there):
    session = here.begin()
    session.enter(FakeLink(), LinkMess(SESSION_ID, DISPLAY, 0))
    here.finish(session)
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is None
    outcome = there.joining()
    there.advance(PATIENCE_S + 0.3)
    refused(outcome, CloseReason.PROTOCOL_ERROR, LinkError.BAD_CONNECTION_ID)


def test_what_links_elsewhere_relayed_is_told_once_they_have_ended(here, there):
    session = here.begin()
    joined, link = there.join()
    outcome = here.finish(session)
    assert outcome == []
    there.advance(LOOK_S * LOOKS_MISSED)
    assert len(link.ended) == 1
    joined.leave(link)
    there.sessions.note(joined, "link 3", "inputs", (100, 20))
    assert outcome == []
    there.advance(ELSEWHERE_S - LOOK_S * LOOKS_MISSED)
    (rows,) = outcome
    assert ChannelRow("inputs", 100, 20) in rows
    assert sum(row.bytes_to_client for row in rows) == 100, "counted once"
    assert here.table.real.take_channels("a") == []


def test_a_link_elsewhere_that_had_ended_before_is_told_too(here, there):
    session = here.begin()
    joined, link = there.join()
    joined.leave(link)
    there.sessions.note(joined, "link 3", "inputs", (100, 20))
    outcome = here.finish(session)
    here.advance(ELSEWHERE_S)
    assert outcome == [[ChannelRow("inputs", 100, 20)]]


def test_a_link_elsewhere_that_was_never_linked_is_not_told(here, there):
    session = here.begin()
    (joined,) = there.joining()
    there.sessions.note(joined, "link 3", None, (0, 0))
    assert here.finish(session) == [[]]
    assert "note_channel" not in there.table.asked


def test_links_of_this_process_are_not_written_down(here):
    session = here.begin()
    here.sessions.note(session, "link 3", "inputs", (1, 2))
    assert "note_channel" not in here.table.asked


@pytest.mark.parametrize("call", ["end", "channels", "take_channels"])
def test_a_table_that_fails_then_knows_of_no_links_elsewhere(here, there, call, log):
    session = here.begin()
    there.join()
    here.table.broken = {call}
    outcome = here.finish(session)
    here.advance(ELSEWHERE_S if call == "take_channels" else 0)
    assert outcome == [[]]
    assert any("channels elsewhere are unknown" in (formatEvent(event) or "") for event in log)


@pytest.mark.parametrize("call", ["begin", "note_channel"])
def test_a_table_that_fails_to_learn_something_ends_nothing(here, there, call, log):
    here.table.broken = there.table.broken = {call}
    session = here.begin()
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is session
    if call == "note_channel":
        there.join()
    assert any("SPICE sessions are not shared" in (formatEvent(event) or "") for event in log)


# A machine that moves


def test_the_next_session_begins_where_the_machine_has_gone(here, there):
    first = here.begin()
    here.sessions.moved(first, NODE2)
    assert here.mains["a"].ended == [], "the viewer leaves by itself"
    (second,) = there.beginning("b")
    assert second.location == NODE2
    there.sessions.told_id(second, SESSION_ID)
    assert here.joining()[0].location == NODE2, "and so do its links, wherever they come in"
    here.finish(first)
    assert not here.table.is_free(), "the second one has the token"


def test_it_is_no_second_session_beside_the_first(here):
    first = here.begin()
    here.sessions.moved(first, NODE2)
    assert here.beginning("b")[0].location == NODE2
    assert here.mains["a"].ended == []
    assert here.finish(first) == [[]]
    assert here.sessions.has(TOKEN_HASH, CLIENT)


def test_a_session_that_comes_before_the_table_has_learnt_it_waits(here):
    first = here.begin()
    here.table.held = {"move"}
    here.sessions.moved(first, NODE2)
    outcome = here.beginning("b")
    assert outcome == []
    here.table.answer()
    here.advance(0.3)
    assert outcome[0].location == NODE2


def test_a_viewer_returns_though_its_token_has_expired_since(here):
    first = here.begin(expires=int(STARTED) + 1)
    here.sessions.moved(first, NODE2)
    here.advance(RETURN_S - 0.1)
    assert here.sessions.returning(TOKEN_HASH, CLIENT).token is first.token
    assert here.beginning("b")[0].location == NODE2


def test_it_returns_once_and_may_try_more_often(here):
    here.sessions.moved(here.begin(), NODE2)
    assert here.sessions.returning("b" * 64, CLIENT) is None
    for _ in range(3):
        assert here.sessions.returning(TOKEN_HASH, CLIENT) is not None
    here.begin("b")
    assert here.sessions.returning(TOKEN_HASH, CLIENT) is None


def test_viewers_that_never_return_are_forgotten(here):
    for digit in "0123456789":
        here.sessions.moved(here.begin(digit, token_hash=digit * 64), NODE2)
        here.advance(RETURN_S / 2)
    assert len(here.sessions._returns) <= 2


def test_and_not_for_ever(here):
    here.sessions.moved(here.begin(), NODE2)
    here.advance(RETURN_S)
    assert here.sessions.returning(TOKEN_HASH, CLIENT) is None


def test_where_the_machine_is_stays_known_while_the_token_lives(here):
    here.sessions.moved(here.begin(expires=int(STARTED) + 3000), NODE2)
    here.clock.advance(2990)
    assert here.beginning("b")[0].location == NODE2


def test_a_machine_may_move_on(here):
    here.sessions.moved(here.begin(), NODE2)
    here.sessions.moved(here.begin("b"), Location("node3", 5900))
    assert here.beginning("c")[0].location == Location("node3", 5900)


def test_links_elsewhere_end_with_the_move(here, there):
    here.begin()
    _, link = there.join()
    here.sessions.moved(here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT), NODE2)
    there.advance(LOOK_S * LOOKS_MISSED)
    assert len(link.ended) == 1


# Outages, and clocks that are set


def begin_and_join(here, there):
    session = here.begin()
    joined, link = there.join()
    here.advance(2 * LOOK_S)
    return session, joined, link


def assert_lives_on(here, there, session, link):
    here.advance(LIVE_S)
    assert here.mains["a"].ended == []
    assert link.ended == []
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is session
    assert here.table.real.find(TOKEN_HASH, SESSION_ID, here.now).session == "a"
    assert there.joining()[0].id == "a"


@pytest.mark.parametrize("outage_s", range(LIVE_S - 1, LIVE_S + KEEP_S + 1))
@pytest.mark.parametrize("later_s", [0.0, 0.5])
def test_a_table_that_was_down_ends_no_link_elsewhere(here, there, outage_s, later_s):
    """Whichever process finds the table again first, be it the one that keeps nothing."""
    here.begin()
    here.advance(later_s)
    _, link = there.join()
    here.table.broken = there.table.broken = {"keep", "living", "channels"}
    here.advance(outage_s)
    there.table.broken = set()
    here.advance(LOOK_S / 2)
    here.table.broken = set()
    assert_lives_on(here, there, here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT), link)


@pytest.mark.parametrize("step_s", [-10 * LIVE_S, -LIVE_S, -1, 1, LIVE_S, LIVE_S + 1, 10 * LIVE_S])
def test_nor_does_a_wall_clock_that_is_set(here, there, step_s):
    session, _, link = begin_and_join(here, there)
    here.steps.append(step_s)
    assert_lives_on(here, there, session, link)


def test_one_that_is_set_back_keeps_nobody_for_longer(here, there):
    begin_and_join(here, there)
    here.steps.append(-10 * LIVE_S)
    here.advance(2 * LOOK_S)
    here.sessions.stop()
    here.advance(LIVE_S + 1)
    assert here.table.is_free(here.now)


def test_one_look_that_misses_a_session_is_forgotten_by_the_next_that_sees_it(here, there):
    _, _, link = begin_and_join(here, there)
    living = there.table.living
    for misses in [True, False] * 5:
        there.table.living = (lambda *_: succeed(frozenset())) if misses else living
        here.advance(LOOK_S)
    assert link.ended == []


def test_a_fault_of_ours_in_a_look_is_logged_and_looks_go_on(here, failures):
    session = here.begin()
    here.table.living = lambda *_: 1 / 0
    here.advance(LOOK_S)
    assert failures.pop()["log_failure"].check(ZeroDivisionError)
    del here.table.living
    here.advance(3 * LIVE_S)
    assert here.sessions.find(TOKEN_HASH, SESSION_ID, CLIENT) is session
    assert not here.table.is_free(here.now)


# What links elsewhere relay


def test_what_links_elsewhere_relay_is_known_while_they_do(here, there):
    session, joined, link = begin_and_join(here, there)
    assert session.relayed_everywhere() == (0, 0)
    here.mains["a"].bytes = (3, 4)
    there.sessions.note(joined, "link 3", "inputs", (100, 20))
    here.advance(LOOK_S)
    assert session.relayed_everywhere() == (103, 24)
    assert session.relayed() == (3, 4)
    there.sessions.note(joined, "link 3", "inputs", (200, 20))
    here.advance(LOOK_S)
    assert session.relayed_everywhere() == (203, 24), "what is told is the sum, and not more of it"
    assert link.noted > 0, "they are asked to tell of it"


# The order of things


def test_a_move_and_the_end_happen_in_order_even_if_the_table_answers_late(here):
    first = here.begin()
    here.table.held = {"move", "end"}
    here.sessions.moved(first, NODE2)
    outcome = here.finish(first)
    assert "end" not in here.table.asked, "it waits for its turn"
    here.table.answer()
    assert here.table.asked[-1] == "end"
    assert outcome == []
    here.table.answer()
    assert outcome == [[]]
    assert here.table.real.claim(TOKEN_HASH, "b", CLIENT, here.now, take_over=False).moved_to == NODE2


def test_so_do_the_begin_and_the_move(here):
    here.table.held = {"begin"}
    first = here.begin()
    here.sessions.moved(first, NODE2)
    assert "move" not in here.table.asked
    here.table.answer()
    assert here.table.asked[-1] == "move"
    assert here.table.real.find(TOKEN_HASH, SESSION_ID, here.now) is None, "nobody joins what has moved"
    assert here.finish(first) == [[]]


def test_what_fails_holds_up_nothing_that_follows(here, log):
    here.table.broken = {"begin", "move"}
    first = here.begin()
    here.sessions.moved(first, NODE2)
    assert here.finish(first) == [[]]
    assert sum("SPICE sessions are not shared" in (formatEvent(event) or "") for event in log) == 2
    assert here.table.is_free()


def test_other_tokens_do_not_wait(here):
    here.table.held = {"claim"}
    assert here.beginning("a") == []
    here.table.held = set()
    assert here.beginning("b", token_hash="b" * 64)[0].id == "b"
    here.table.answer()


# A table that hangs


@pytest.mark.parametrize(("why", "deadline_s"), [(ENDED, FINISH_S), (CLOSING, SHUTDOWN_S)])
@pytest.mark.parametrize("call", ["end", "channels", "take_channels"])
def test_a_table_that_hangs_is_not_waited_for_once_main_has_ended(here, there, call, why, deadline_s, log):
    session, _, _ = begin_and_join(here, there)
    display = FakeLink()
    session.enter(display, LinkMess(SESSION_ID, DISPLAY, 0))
    here.table.held = {call}
    outcome = here.finish(session, why)
    here.advance(deadline_s - 0.1)
    assert outcome == []
    here.advance(0.2)
    assert outcome == [[]]
    assert display.ended == [why]
    assert not here.sessions.has(TOKEN_HASH, CLIENT)
    assert any("channels elsewhere are unknown" in (formatEvent(event) or "") for event in log)
    here.table.answer()


def test_nor_are_those_that_wait_for_their_turn(here):
    here.table.held = {"begin"}
    session = here.begin()
    outcome = here.finish(session)
    here.advance(FINISH_S + 0.1)
    assert outcome == [[]]
    here.table.answer()


def test_where_the_service_ends_nobody_waits_for_links_elsewhere(here, there):
    session, joined, _ = begin_and_join(here, there)
    there.sessions.note(joined, "link 3", "inputs", (100, 20))
    outcome = here.finish(session, CLOSING)
    here.clock.advance(0)
    assert outcome == [[ChannelRow("inputs", 100, 20)]]


def test_who_has_stopped_looks_no_more(here, there):
    begin_and_join(here, there)
    here.sessions.stop()
    there.sessions.stop()
    assert here.clock.getDelayedCalls() == []
    here.sessions.stop()


# Who follows


def test_nobody_else_follows_a_viewer(here):
    here.sessions.moved(here.begin(), NODE2)
    assert here.sessions.returning(TOKEN_HASH, STRANGER) is None
    following = here.sessions.returning(TOKEN_HASH, CLIENT)
    assert (following.client, following.location) == (CLIENT, NODE2)


@pytest.mark.parametrize("broken", [set(), {"move"}])
def test_it_follows_though_the_table_has_not_learnt_where(here, broken):
    first = here.begin()
    here.table.broken = broken
    here.sessions.moved(first, NODE2)
    here.finish(first)
    assert here.beginning("b")[0].location == NODE2
