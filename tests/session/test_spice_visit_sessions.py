"""The links of one SPICE session: what they share, what is told of them, and how they end together."""

import pytest

from rfbproxy.consoleauth import Grant
from rfbproxy.consoleauth.spice_sessions import LIVE_S
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.spice_session import LINKS_LIMIT
from rfbproxy.session.spice_sessions import ELSEWHERE_S, FINISH_S, GRACE_S, LOOK_S, LOOKS_MISSED, PATIENCE_S, SHUTDOWN_S
from rfbproxy.spice import ChannelType
from rfbproxy.spice.messages import message
from tests.session.fakes import STARTED
from tests.session.spice_fakes import (
    AUTHORISED,
    CONNECTED,
    DISPLAY,
    GIVES_TICKET,
    INIT,
    INPUTS,
    LOGIN,
    MAIN_STEPS,
    SAYS_LINK,
    SESSION_ID,
    SOURCE,
    TOKEN_HASH,
    USBREDIR,
    WAYS_IN,
    SpiceBench,
    error_reply,
    result,
)

every_way_in = pytest.mark.parametrize("way_in", WAYS_IN)
OTHER_TOKEN = "9c2cd1e5-0000-4000-8000-000000000000"


def refused_in(way_in, error):
    """What a client is told that is refused once its token is good, and before its target is dialled."""
    return result(error) if way_in == "native" else error_reply(error)


def up_to_dial(bench, channel=(INPUTS, 0), connection_id=SESSION_ID, **fields):
    """A channel that has said all that it says before its target is dialled."""
    link = bench.ask(channel, connection_id, **fields).walk([SAYS_LINK])
    if bench.way_in == "native":
        link.client.take()
        link.say_ticket()
    return link


# The record


@every_way_in
def test_one_record_tells_of_all_links_with_the_sums_of_their_bytes(way_in):
    bench = SpiceBench(way_in)
    main = bench.main()
    links = [bench.channel(channel) for channel in [(DISPLAY, 0), (INPUTS, 0), (DISPLAY, 1)]]
    for count, link in enumerate(links, 1):
        link.client.deliver(message(101, bytes(count)))
        link.target.deliver(message(103, bytes(10 * count)))
    links[0].client.deliver_lost()
    bench.channel((DISPLAY, 0)).target.deliver(message(103, bytes(1000)))
    bench.clock.advance(GRACE_S)
    main.client.deliver_lost()
    bench.clock.advance(GRACE_S + 0.1)
    assert bench.record.channels == ["main", "display", "inputs", "display:1"]
    assert bench.record.bytes_to_target == 3 * 6 + 1 + 2 + 3
    assert bench.record.bytes_to_client == len(INIT) + 3 * 6 + 10 + 20 + 30 + 6 + 1000
    assert bench.record.close_reason == "client-closed"
    bench.assert_nothing_left()


@every_way_in
def test_a_link_that_ends_leaves_no_record_and_ends_nothing_else(way_in):
    bench = SpiceBench(way_in)
    main, inputs = bench.main(), bench.channel()
    display = bench.channel((DISPLAY, 0))
    inputs.target.deliver_eof()
    inputs.client.deliver_eof()
    inputs.assert_over(CloseReason.TARGET_CLOSED)
    assert bench.audit.records == []
    assert not main.is_over
    assert not display.is_over
    bench.channel()
    display.client.deliver_lost()
    main.client.deliver_lost()
    bench.clock.advance(GRACE_S + 0.1)
    assert bench.record.channels == ["main", "inputs", "display"]
    bench.assert_nothing_left()


@every_way_in
def test_a_link_that_is_refused_leaves_its_own(way_in):
    bench = SpiceBench(way_in)
    main = bench.main()
    link = up_to_dial(bench)
    link.walk(LOGIN[:2])
    link.target.deliver(result(9))
    own = bench.record
    assert (own.close_reason, own.channels) == ("target-auth-failed", None)
    assert (own.token, own.target, own.way_in) == (TOKEN_HASH[:8], "192.0.2.7:5901", WAYS_IN[way_in])
    main.client.deliver_lost()
    told = bench.audit.records[1]
    assert told.channels == ["main"], "it was none of the session's channels"
    assert told.session != own.session
    bench.assert_nothing_left()


# What a token allows


@every_way_in
@pytest.mark.parametrize("channel", [USBREDIR, ChannelType.WEBDAV, ChannelType.SMARTCARD, ChannelType.RECORD])
def test_what_reaches_into_the_users_machine_is_refused_unless_the_token_allows_it(way_in, channel):
    bench = SpiceBench(way_in)
    bench.main()
    link = up_to_dial(bench, (channel, 0))
    assert link.client.take() == refused_in(way_in, 9)
    link.assert_over(CloseReason.POLICY)
    assert len(bench.dialler.asked) == 1, "its target hears nothing of it"
    assert bench.record.close_reason == "policy"


@every_way_in
def test_a_token_that_allows_usbredir(way_in):
    bench = SpiceBench(way_in)
    bench.main(grant=Grant(allow_channels=("usbredir",)))
    bench.channel((USBREDIR, 0))
    bench.channel((USBREDIR, 1))
    refused = up_to_dial(bench, (ChannelType.WEBDAV, 0))
    refused.assert_over(CloseReason.POLICY)


@pytest.mark.parametrize(("allowed", "kept"), [((), b"\x02\0\0\0\x02\0\x03\0"), (("usbredir",), None)])
def test_the_viewer_hears_of_channels_that_it_may_link_alone(allowed, kept):
    listed = b"\x03\0\0\0" + b"\x02\0" + b"\x09\0" + b"\x03\0"
    bench = SpiceBench("browser")
    main = bench.main(grant=Grant(allow_channels=allowed))
    main.target.deliver(message(104, listed))
    assert main.client.take() == message(104, kept or listed)


@every_way_in
def test_a_channel_is_linked_once_at_a_time(way_in):
    bench = SpiceBench(way_in)
    bench.main()
    first = bench.channel()
    link = up_to_dial(bench)
    assert link.client.take() == refused_in(way_in, 9)
    link.assert_over(CloseReason.LIMIT)
    assert not first.is_over
    first.client.deliver_lost()
    bench.channel()


# Limits


@every_way_in
def test_limits_count_sessions_and_not_links(way_in):
    bench = SpiceBench(way_in, sessions=1, sessions_per_source=1)
    main = bench.main()
    for channel_id in range(LINKS_LIMIT - 1):
        bench.channel((DISPLAY, channel_id))
    steps = MAIN_STEPS[way_in]
    link = bench.ask(token=OTHER_TOKEN)
    for step in steps[: steps.index(CONNECTED)]:
        if not link.is_over:
            step[1](link)
    link.assert_over(CloseReason.LIMIT)
    main.client.deliver_lost()
    bench.clock.advance(GRACE_S)
    bench.assert_nothing_left()


@every_way_in
def test_a_full_house_is_told_before_the_token_is_looked_up_where_that_can_be(way_in):
    bench = SpiceBench(way_in, sessions=1)
    bench.main()
    asked = len(bench.store.asked)
    link = bench.ask(token=OTHER_TOKEN)
    if way_in == "tunnel":
        link.authorise()
    link.say_link()
    if way_in == "native":
        link.client.take()
        link.say_ticket()
    assert link.client.take() == {"browser": error_reply(1), "tunnel": error_reply(1), "native": b""}[way_in]
    link.assert_over(CloseReason.LIMIT)
    assert len(bench.store.asked) == asked + (way_in == "tunnel")


# A second main


@every_way_in
def test_wire_S34_a_second_main_is_refused(way_in):
    bench = SpiceBench(way_in)
    main, inputs = bench.main(), bench.channel()
    steps = MAIN_STEPS[way_in]
    link = bench.ask()
    if way_in == "tunnel":
        assert link.client.said == ["accept"], "its token has a session, so it is good"
        steps = [step for step in steps if step is not AUTHORISED]
        link.say_link()
        link.authorise()
    else:
        link.walk(steps[: steps.index(CONNECTED)])
    if way_in == "native":
        link.client.take()
    bench.clock.pump([0.25] * 7)
    assert not link.is_over, "perhaps the first is just ending"
    bench.clock.pump([0.25] * 2)
    told = link.client.take()
    assert told == refused_in(way_in, 7)
    link.assert_over(CloseReason.POLICY)
    assert len(bench.dialler.asked) == 2
    assert not main.is_over
    assert not inputs.is_over
    assert bench.record.channels is None


@every_way_in
def test_wire_S34_or_takes_over(way_in):
    bench = SpiceBench(way_in, spice={"take_over": True})
    first, inputs = bench.main(), bench.channel()
    second = bench.ask()
    if way_in == "tunnel":
        second.say_link()
        second.authorise()
    else:
        second.walk(MAIN_STEPS[way_in][: MAIN_STEPS[way_in].index(CONNECTED)])
    for link in (first, inputs):
        link.assert_over(CloseReason.POLICY)
    assert not second.is_over
    second.walk(LOGIN)
    if way_in != "native":
        second.say_ticket()
    second.target.deliver(INIT)
    bench.clock.advance(GRACE_S)
    assert bench.record.close_reason == "policy"
    assert bench.record.channels == ["main", "inputs"]
    assert not second.is_over, "and nothing of the first one's end touches it"
    bench.channel()
    second.client.deliver_lost()
    bench.clock.advance(GRACE_S + 0.1)
    bench.assert_nothing_left()


@every_way_in
def test_wire_S34_of_two_that_take_over_at_once_one_session_is_left(way_in):
    bench = SpiceBench(way_in, spice={"take_over": True})
    bench.table.held = {"claim"}
    steps = MAIN_STEPS[way_in]
    links = [bench.ask().walk(steps[: steps.index(CONNECTED)]) for _ in range(2)]
    bench.table.answer()
    assert bench.dialler.asked == [("192.0.2.7", 5901)]
    bench.table.answer()
    links[0].assert_over(CloseReason.POLICY)
    assert bench.record.close_reason == "policy"
    second = links[1].walk(LOGIN)
    if way_in != "native":
        second.say_ticket()
    second.target.deliver(INIT)
    bench.clear(second)
    bench.channel()
    assert len(bench.sessions.find(TOKEN_HASH, SESSION_ID, SOURCE).links) == 2
    bench.clock.pump([LOOK_S] * (LIVE_S + 1))
    assert not second.is_over
    assert not bench.table.is_free(STARTED + bench.clock.seconds())
    second.client.deliver_lost()
    bench.clock.advance(GRACE_S + 0.1)
    bench.assert_nothing_left()


@every_way_in
def test_of_two_at_once_the_first_is_left_where_none_may_take_over(way_in):
    bench = SpiceBench(way_in)
    bench.table.held = {"claim"}
    steps = MAIN_STEPS[way_in]
    first, second = [bench.ask().walk(steps[: steps.index(CONNECTED)]) for _ in range(2)]
    bench.table.answer()
    bench.clock.pump([0.25] * 9)
    second.assert_over(CloseReason.POLICY)
    assert not first.is_over
    assert len(bench.dialler.asked) == 1


# The end together


@every_way_in
@pytest.mark.parametrize("how", ["the client", "the target", "its protocol"])
def test_wire_S34_main_ends_all_links_within_the_grace(way_in, how):
    bench = SpiceBench(way_in)
    main = bench.main()
    links = [bench.channel(channel) for channel in [(DISPLAY, 0), (INPUTS, 0), (DISPLAY, 1)]]
    dialling = up_to_dial(bench, (ChannelType.CURSOR, 0))
    if how == "the client":
        main.client.deliver_lost()
    elif how == "the target":
        main.target.deliver_lost()
    else:
        main.client.deliver(message(8))
    assert [link.is_over for link in links] == [False] * 3, "their target may have something to say yet"
    links[0].target.deliver(message(103, b"last words"))
    assert links[0].client.take() == message(103, b"last words")
    bench.clock.pump([0.25] * 5)
    for link in [*links, dialling]:
        link.assert_over(main.farewell.reason)
        assert link.target.said == (["close"] if link is not dialling else [])
    assert bench.dialler.cancelled
    assert sorted(record.channels is None for record in bench.audit.records) == [False, True]
    assert bench.audit.records[-1].bytes_to_client == len(INIT) + 6 + len(b"last words")
    bench.assert_nothing_left()


@every_way_in
def test_wire_S34_a_channel_that_comes_too_late_is_no_ones(way_in):
    bench = SpiceBench(way_in)
    main = bench.main()
    display = bench.channel((DISPLAY, 0))
    main.client.deliver_lost()
    assert not display.is_over
    link = bench.ask((INPUTS, 0), SESSION_ID)
    if way_in == "tunnel":
        link.authorise()
    link.say_link()
    if way_in == "native":
        link.say_ticket()
    if way_in != "tunnel":
        link.authorise()
    bench.clock.pump([0.25] * 10)
    link.assert_over(CloseReason.PROTOCOL_ERROR)
    assert link.client.take()[-194:] == error_reply(8) if way_in != "native" else result(8)
    bench.assert_nothing_left()


@pytest.mark.parametrize(
    ("rules", "grant", "limit_s"),
    [
        ({"session_limit_s": 60.0}, Grant(), 60),
        ({"session_limit_s": 60.0}, Grant(time_limit_s=20), 20),
        ({"enforce_session_timeout": True}, Grant(), 600),
    ],
)
def test_nova_W22_the_time_limit_is_the_sessions(rules, grant, limit_s):
    bench = SpiceBench("browser", **rules)
    main = bench.main(grant=grant)
    bench.clock.advance(limit_s / 2)
    inputs = bench.channel()
    bench.clock.advance(limit_s / 2 - 1)
    assert not main.is_over
    bench.clock.advance(1)
    main.assert_over(CloseReason.TIME_LIMIT)
    bench.clock.pump([0.25] * 5)
    inputs.assert_over(CloseReason.TIME_LIMIT)
    assert bench.record.close_reason == "time-limit"
    bench.assert_nothing_left()


def test_a_session_is_idle_when_all_its_channels_are():
    bench = SpiceBench("browser", idle_timeout_s=30.0)
    main, inputs = bench.main(), bench.channel()
    for speaker in [inputs.client, inputs.target, main.client, main.target] * 2:
        bench.clock.pump([1.0] * 28)
        speaker.deliver(message(106))
    bench.clock.pump([1.0] * 28)
    assert not main.is_over
    bench.clock.pump([1.0] * 6)
    main.assert_over(CloseReason.IDLE)
    inputs.assert_over(CloseReason.IDLE)
    assert bench.record.close_reason == "idle"
    bench.assert_nothing_left()


def test_a_channel_that_ended_is_not_taken_for_one_that_speaks():
    bench = SpiceBench("browser", idle_timeout_s=30.0)
    main, inputs = bench.main(), bench.channel()
    inputs.client.deliver(message(106))
    bench.clock.pump([1.0] * 20)
    inputs.client.deliver_lost()
    bench.clock.pump([1.0] * 13)
    main.assert_over(CloseReason.IDLE)


@every_way_in
def test_an_expired_token_ends_no_session_and_keeps_no_channel_out(way_in):
    bench = SpiceBench(way_in)
    main = bench.main(stored={"expires": int(STARTED) + 10})
    bench.clock.pump([1.0] * 100)
    bench.channel()
    assert not main.is_over


@every_way_in
def test_a_session_is_not_idle_while_a_channel_elsewhere_is_not(way_in):
    here, main, there = elsewhere(way_in, idle_timeout_s=30.0)
    link = there.join()
    for speaker in [link.client, link.target] * 3:
        here.clock.pump([1.0] * 26)
        speaker.deliver(message(106))
    assert not main.is_over
    here.clock.pump([1.0] * 36)
    main.assert_over(CloseReason.IDLE)
    link.assert_over(CloseReason.CLIENT_CLOSED)


@every_way_in
def test_a_full_house_has_room_again_as_soon_as_main_has_ended(way_in):
    """Whatever the table does: the record waits for it, and nobody else."""
    bench = SpiceBench(way_in, sessions=1, sessions_per_source=1)
    main = bench.main()
    bench.table.held = {"end"}
    main.client.deliver_lost()
    bench.limits.check(SOURCE)
    assert bench.audit.records == []
    bench.clock.pump([0.25] * round(FINISH_S / 0.25))
    assert bench.record.close_reason == "client-closed"
    assert bench.record.channels == ["main"]
    assert not len(bench.visits)
    bench.table.answer()
    bench.assert_nothing_left()


def test_a_service_that_stops_does_not_wait_for_a_table_that_hangs():
    bench = SpiceBench("browser")
    bench.main()
    bench.table.held = {"end"}
    fired = []
    bench.visits.close_all(Refused(CloseReason.SHUTDOWN, "the test ends")).addCallback(fired.append)
    bench.clock.advance(SHUTDOWN_S)
    assert fired == [None]
    assert bench.record.close_reason == "shutdown"
    bench.table.answer()


def test_deadlines_end_with_main():
    bench = SpiceBench("browser", idle_timeout_s=30.0, session_limit_s=60.0)
    bench.main().client.deliver_lost()
    bench.assert_nothing_left()


# Links whose main is in another process


def elsewhere(way_in, **options):
    """Main here, and another process that its links may come to."""
    here = SpiceBench(way_in, **options)
    return here, here.main(), SpiceBench(way_in, beside=here)


@every_way_in
def test_a_link_joins_its_session_from_another_process_and_is_told_of_by_main(way_in):
    here, main, there = elsewhere(way_in)
    link = there.join()
    assert there.dialler.asked == [("192.0.2.7", 5901)]
    link.client.deliver(message(101, b"key"))
    link.target.deliver(message(101, b"init"))
    link.client.deliver_lost()
    assert there.audit.records == []
    main.client.deliver_lost()
    here.clock.pump([0.25] * round((ELSEWHERE_S + 0.25) / 0.25))
    assert here.record.channels == ["main", "inputs"]
    assert (here.record.bytes_to_client, here.record.bytes_to_target) == (len(INIT) + 6 + 4, 6 + 3)
    there.assert_nothing_left()
    here.assert_nothing_left()


@every_way_in
def test_wire_S34_it_ends_with_main_and_its_last_bytes_are_counted(way_in):
    here, main, there = elsewhere(way_in)
    link = there.join()
    link.client.deliver(message(101, b"key"))
    main.client.deliver_lost()
    here.clock.pump([LOOK_S] * LOOKS_MISSED)
    link.assert_over(CloseReason.CLIENT_CLOSED)
    assert here.audit.records == [], "main waits for what it has counted"
    here.clock.pump([LOOK_S] * 2)
    assert here.record.channels == ["main", "inputs"]
    assert here.record.bytes_to_target == 6 + 3
    assert there.audit.records == []


@pytest.mark.parametrize("way_in", ["browser", "native"])
def test_it_joins_though_its_token_has_expired_since(way_in):
    _, _, there = elsewhere(way_in)
    there.join(expires=int(STARTED) - 10)


@every_way_in
def test_one_that_is_refused_there_leaves_its_own_record(way_in):
    here, main, there = elsewhere(way_in)
    link = there.ask((USBREDIR, 0), SESSION_ID)
    for step in MAIN_STEPS[way_in]:
        if step not in (*LOGIN, GIVES_TICKET) or (way_in == "native" and step is GIVES_TICKET):
            step[1](link)
    link.assert_over(CloseReason.POLICY)
    assert there.record.close_reason == "policy"
    main.client.deliver_lost()
    assert here.record.channels == ["main"]
    there.assert_nothing_left()


@every_way_in
def test_one_that_leaves_while_it_joins_leaves_nothing(way_in):
    _, main, there = elsewhere(way_in)
    there.table.held = {"find"}
    steps = MAIN_STEPS[way_in]
    link = there.ask((INPUTS, 0), SESSION_ID).walk(steps[: steps.index(CONNECTED)])
    link.client.deliver_lost()
    link.assert_over(CloseReason.CLIENT_CLOSED)
    there.table.answer()
    main.client.deliver_lost()
    there.assert_nothing_left()


@every_way_in
def test_wire_S34_a_viewer_in_another_process_takes_over(way_in):
    here, main, _ = elsewhere(way_in)
    inputs = here.channel()
    there = SpiceBench(way_in, beside=here, spice={"take_over": True})
    second = there.main()
    here.clock.advance(LOOK_S)
    for link in (main, inputs):
        link.assert_over(CloseReason.POLICY)
    here.clock.pump([0.25] * 5)
    assert here.record.channels == ["main", "inputs"]
    assert not second.is_over


@every_way_in
def test_a_link_there_does_not_wait_for_main_as_main_does_for_it(way_in):
    """The record of main waits for what links elsewhere have relayed, but where the service stops."""
    here, _, there = elsewhere(way_in)
    link = there.join()
    link.client.deliver(message(101, b"key"))
    there.clock.advance(LOOK_S)
    fired = []
    here.visits.close_all(Refused(CloseReason.SHUTDOWN, "the test ends")).addCallback(fired.append)
    here.clock.advance(0.1)
    assert fired == [None]
    assert here.record.channels == ["main", "inputs"]
    assert here.record.bytes_to_target == 6 + 3, "as far as it was told"
    assert there.audit.records == []


@every_way_in
@pytest.mark.parametrize("outage_s", [LIVE_S // 2, LIVE_S + 1, 3 * LIVE_S])
def test_neither_ends_with_an_outage_of_the_table(way_in, outage_s):
    here, main, there = elsewhere(way_in)
    link = there.join()
    for bench in (here, there):
        bench.table.broken = {"keep", "living", "channels", "note_channel"}
    here.clock.pump([0.25] * 4 * outage_s)
    link.client.deliver(message(101, b"key"))
    there.table.broken = set()
    here.clock.pump([0.25] * 3)
    here.table.broken = set()
    here.clock.pump([0.25] * 4 * LIVE_S)
    assert not main.is_over
    assert not link.is_over
    there.join((DISPLAY, 0))
    main.client.deliver_lost()
    here.clock.pump([0.25] * 14)
    assert sorted(here.record.channels) == ["display", "inputs", "main"]
    assert here.record.bytes_to_target == 6 + 3


@every_way_in
@pytest.mark.parametrize("step_s", [-3600, -LIVE_S, LIVE_S + 1, 3600])
def test_nor_with_a_clock_that_is_set(way_in, step_s):
    here, main, there = elsewhere(way_in)
    link = there.join()
    here.clock.pump([0.25] * 9)
    here.steps.append(step_s)
    here.clock.pump([0.25] * 4 * LIVE_S)
    assert not main.is_over
    assert not link.is_over
    main.client.deliver_lost()
    here.clock.pump([0.25] * 14)
    link.assert_over(CloseReason.CLIENT_CLOSED)
    here.assert_nothing_left()


@every_way_in
def test_it_is_not_waited_for_by_one_whose_table_hangs(way_in):
    """A link that would join is refused in time, and nothing is left of it."""
    _, _, there = elsewhere(way_in)
    there.table.held = {"find"}
    steps = MAIN_STEPS[way_in]
    link = there.ask((INPUTS, 0), SESSION_ID).walk(steps[: steps.index(CONNECTED)])
    there.clock.advance(PATIENCE_S + 10)
    link.assert_over(CloseReason.INTERNAL)
    assert not len(there.visits)
