"""A machine that moves while its console is open: what its viewer is told, and where it finds the machine again."""

import pytest

from rfbproxy.consoleauth import Grant
from rfbproxy.reasons import CloseReason
from rfbproxy.session.spice_sessions import RETURN_S
from rfbproxy.spice import Destination
from rfbproxy.spice.constants import MsgMain
from rfbproxy.spice.messages import SAYS_NOTHING, message
from rfbproxy.target.dial import _unreachable
from tests.cuts import segmentations
from tests.session.fakes import STARTED, TOKEN
from tests.session.spice_fakes import (
    AUTHORISED,
    CONNECTED,
    INPUTS,
    MAIN_STEPS,
    SAYS_LINK,
    SESSION_ID,
    WAYS_IN,
    SpiceBench,
)

INSIDE = b"compute2.internal"
PUBLIC = Destination("console.example", 5900, 5901, "CN=console.example")
SUBJECT = "CN=console.example"
SWITCH = message(MsgMain.MIGRATE_SWITCH_HOST, Destination(INSIDE.decode(), 5910, 5911, "CN=compute2").pack())
RULES = {"public": PUBLIC, "subject": SUBJECT}
every_way_in = pytest.mark.parametrize("way_in", WAYS_IN)


def switched(destination):
    return message(MsgMain.MIGRATE_SWITCH_HOST, destination.pack())


def moved(way_in, *, switch=SWITCH, spice=RULES, **stored):
    """A viewer whose machine has gone, and which has left."""
    bench = SpiceBench(way_in, spice=spice)
    main = bench.main(stored=stored)
    main.target.deliver(switch)
    main.client.deliver_lost()
    return bench


def return_to_dial(bench):
    """Main of the same viewer, up to where its target is dialled."""
    steps = [step for step in MAIN_STEPS[bench.way_in] if step is not AUTHORISED]
    return bench.ask().walk(steps[: steps.index(CONNECTED)])


def return_to(bench, **request):
    """Main of the same viewer, which comes again; the store is not there for it."""
    link = bench.ask(**request)
    for step in MAIN_STEPS[bench.way_in]:
        if step is not AUTHORISED and not link.is_over:
            step[1](link)
    return link


# What the viewer is told


@pytest.mark.parametrize(
    ("way_in", "fields", "spice", "told"),
    [
        pytest.param("native", {}, RULES, switched(PUBLIC), id="the proxy's own place"),
        pytest.param("native", {}, {}, SAYS_NOTHING, id="nothing, where it has none"),
        pytest.param("tunnel", {}, RULES, switched(Destination(TOKEN, 5900, 0, SUBJECT)), id="its token"),
        pytest.param(
            "tunnel",
            {"inside_tls": True},
            RULES,
            switched(Destination(TOKEN, 0, 5900, SUBJECT)),
            id="its token, for TLS",
        ),
        pytest.param("tunnel", {}, {}, switched(Destination(TOKEN, 5900, 0)), id="its token without a subject"),
        pytest.param("browser", {}, RULES, SAYS_NOTHING, id="nothing, as a browser cannot follow"),
    ],
)
def test_it_is_told_where_the_proxy_is_and_never_where_the_machine_is(way_in, fields, spice, told):
    before, after = message(106, b"before"), message(106, b"after")
    for segments in segmentations(before + SWITCH + after):
        bench = SpiceBench(way_in, spice=spice)
        main = bench.main(**fields)
        for segment in segments:
            main.target.deliver(segment)
        heard = main.client.take()
        assert heard == before + told + after, "one message for one"
        assert INSIDE not in heard
        assert not main.is_over, "it leaves by itself"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x0c\x17\0\0" + b"\0\0\0\0\x14\0\0\0" + bytes(8), id="no host"),
        pytest.param(b"\x0c\x17\0\0" + b"\x04\0\0\0\x14\0\0\0" + bytes(8) + b"host", id="no NUL"),
        pytest.param(b"\x0c\x17\0\0" + b"\x05\0\0\0\xff\0\0\0" + bytes(8) + b"host\0", id="outside"),
        pytest.param(b"", id="nothing"),
    ],
)
@every_way_in
def test_wire_S33_a_switch_that_cannot_be_ends_main_and_is_not_told(way_in, body):
    bench = SpiceBench(way_in, spice=RULES)
    main = bench.main()
    main.target.deliver(message(MsgMain.MIGRATE_SWITCH_HOST, body))
    assert main.client.take() == b""
    main.assert_over(CloseReason.PROTOCOL_ERROR)
    bench.assert_nothing_left()


def test_a_token_that_is_no_host_is_not_told_as_one(log):
    bench = SpiceBench("tunnel", spice=RULES)
    main = bench.main(token="tökén")
    main.target.deliver(SWITCH)
    assert main.client.take() == SAYS_NOTHING
    assert not main.is_over
    assert "tökén" not in "".join(map(repr, log))


def test_a_target_that_moves_is_logged_without_the_token(log):
    bench = moved("tunnel")
    bench.assert_nothing_left()
    assert TOKEN not in "".join(map(repr, log)) + repr(bench.record)


# Where it finds the machine


@every_way_in
def test_its_next_main_is_linked_to_the_new_place_and_so_are_its_channels(way_in):
    bench = moved(way_in)
    asked = list(bench.store.asked)
    link = return_to(bench)
    assert not link.is_over
    assert bench.store.asked == asked
    assert bench.dialler.asked == [("192.0.2.7", 5901), ("compute2.internal", 5910)]
    link.target.deliver(message(MsgMain.INIT, SESSION_ID.to_bytes(4, "little") + bytes(28)))
    bench.channel()
    assert bench.dialler.asked[2:] == [("compute2.internal", 5910)]
    link.client.deliver_lost()
    bench.clock.pump([0.25] * 5)
    assert [record.target for record in bench.audit.records] == ["192.0.2.7:5901", "compute2.internal:5910"]
    bench.assert_nothing_left()


@every_way_in
def test_even_before_the_first_main_has_ended(way_in):
    bench = SpiceBench(way_in, spice=RULES)
    first = bench.main()
    first.target.deliver(SWITCH)
    second = return_to(bench)
    assert not second.is_over, "it is no second main beside the first"
    assert not first.is_over
    first.client.deliver_lost()
    bench.clock.pump([0.25] * 5)
    assert not second.is_over


@every_way_in
def test_though_its_token_has_expired_since(way_in):
    bench = moved(way_in, expires=int(STARTED) + 5)
    bench.clock.pump([1.0] * (int(RETURN_S) - 1))
    link = return_to(bench)
    assert not link.is_over
    assert bench.dialler.asked[1:] == [("compute2.internal", 5910)]


@every_way_in
def test_but_not_for_ever(way_in):
    bench = moved(way_in, expires=int(STARTED) + 5)
    bench.clock.pump([1.0] * int(RETURN_S))
    steps = MAIN_STEPS[way_in]
    link = bench.ask().walk(steps[: steps.index(AUTHORISED)])
    link.authorise(expires=int(STARTED) + 5)
    bench.clock.advance(1)
    link.assert_over(CloseReason.TOKEN_EXPIRED)


@every_way_in
def test_and_once(way_in):
    bench = moved(way_in, expires=int(STARTED) + 5)
    bench.clock.pump([1.0] * 10)
    link = return_to(bench)
    link.target.deliver(message(MsgMain.INIT, SESSION_ID.to_bytes(4, "little") + bytes(28)))
    link.client.deliver_lost()
    bench.clock.advance(1)
    steps = MAIN_STEPS[way_in]
    again = bench.ask().walk(steps[: steps.index(AUTHORISED)])
    again.authorise(expires=int(STARTED) + 5)
    bench.clock.advance(1)
    again.assert_over(CloseReason.TOKEN_EXPIRED)


@every_way_in
def test_a_channel_that_still_wants_the_old_session_does_not_use_up_its_return(way_in):
    bench = moved(way_in, expires=int(STARTED) + 5)
    bench.clock.pump([1.0] * 10)
    late = bench.ask((INPUTS, 0), SESSION_ID).walk([SAYS_LINK])
    if way_in == "native":
        late.say_ticket()
    bench.clock.pump([0.25] * 10)
    if not late.is_over:
        late.authorise(expires=int(STARTED) + 5)
        bench.clock.pump([0.25] * 10)
    late.assert_over(CloseReason.PROTOCOL_ERROR)
    assert not return_to(bench).is_over


@every_way_in
def test_nor_does_a_target_that_is_not_there_yet(way_in):
    bench = moved(way_in, expires=int(STARTED) + 5)
    bench.clock.pump([1.0] * 10)
    first = return_to_dial(bench)
    bench.dialler.waiting.errback(_unreachable("compute2.internal:5910", "refused"))
    first.assert_over(CloseReason.TARGET_UNREACHABLE)
    assert not return_to(bench).is_over


@every_way_in
def test_a_moved_machine_that_has_only_tls(way_in):
    switch = switched(Destination("compute2.internal", 0, 5911, "CN=compute2"))
    bench = moved(way_in, switch=switch)
    link = return_to_dial(bench)
    assert bench.dialler.asked[1:] == [("compute2.internal", 5911)]
    link.connect()
    assert link.target.sides == ["for CN=compute2"]


@pytest.mark.parametrize(("tls_name", "side"), [(None, "for compute2.internal"), ("vm.example", "for vm.example")])
def test_without_a_subject_its_certificate_is_for_its_new_host(tls_name, side):
    bench = SpiceBench("browser")
    main = bench.main(grant=Grant(tls_name=tls_name))
    main.target.deliver(switched(Destination("compute2.internal", 0, 5911)))
    main.client.deliver_lost()
    link = return_to_dial(bench)
    link.connect()
    assert link.target.sides == [side]


def test_a_browser_that_returns_is_judged_by_its_origin():
    bench = moved("browser")
    link = bench.ask(origin="https://evil.example", host="console.example").walk([SAYS_LINK])
    link.assert_over(CloseReason.ORIGIN_REFUSED)
    assert len(bench.dialler.asked) == 1


def test_anybody_elses_token_returns_nowhere():
    bench = moved("browser")
    asked = len(bench.store.asked)
    bench.ask(token="9c2cd1e5-0000-4000-8000-000000000000").walk([SAYS_LINK])
    assert len(bench.store.asked) == asked + 1
