"""A machine that moves while its console is open: what its viewer is told, and where it finds the machine again."""

import pytest
from twisted.logger import formatEvent

from rfbproxy.consoleauth import Grant
from rfbproxy.errors import ConfigError
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
    GIVES_TICKET,
    INIT,
    INPUTS,
    LOGIN,
    MAIN_STEPS,
    SAYS_LINK,
    SESSION_ID,
    WAYS_IN,
    SpiceBench,
    error_reply,
)

INSIDE = b"compute2.internal"
PUBLIC = Destination("console.example", 5900, 5901, "CN=console.example")
SUBJECT = "CN=console.example"
SWITCH_IN_CLEAR = message(MsgMain.MIGRATE_SWITCH_HOST, Destination(INSIDE.decode(), 5910, 0).pack())
SWITCH = message(MsgMain.MIGRATE_SWITCH_HOST, Destination(INSIDE.decode(), 5910, 5911, "CN=compute2").pack())
RULES = {"public": lambda: PUBLIC, "subject": lambda: SUBJECT}
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


def return_to_dial(bench, *, stored=None):
    """Main of the same viewer, up to where its target is dialled.

    Args:
        stored: fields of its token, which the store is asked for; None: it is not, as the token has expired.
    """
    link = bench.ask()
    asked = len(bench.store.asked)
    steps = [step for step in MAIN_STEPS[bench.way_in] if step is not AUTHORISED]
    link.walk(steps[: steps.index(CONNECTED)])
    assert len(bench.store.asked) == asked + (stored is not None)
    if stored is not None:
        link.authorise(**stored)
    return link


def return_to(bench, *, stored=None):
    """Main of the same viewer, which comes again."""
    link = return_to_dial(bench, stored=stored)
    steps = [step for step in MAIN_STEPS[bench.way_in] if step is not AUTHORISED]
    for _, step in steps[steps.index(CONNECTED) :]:
        if not link.is_over:
            step(link)
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
    bench = moved(way_in, switch=SWITCH_IN_CLEAR)
    link = return_to(bench, stored={})
    assert not link.is_over
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
    second = return_to(bench, stored={})
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
    assert bench.dialler.asked[1:] == [("compute2.internal", 5911)]


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
    link = return_to_dial(bench, stored={})
    assert bench.dialler.asked[1:] == [("compute2.internal", 5911)]
    link.connect()
    assert link.target.sides == ["for CN=compute2"]


@pytest.mark.parametrize(
    ("tls_name", "host", "side"),
    [
        (None, "compute2.internal", "for compute2.internal"),
        ("vm.example", "compute2.internal", "for compute2.internal"),
        ("vm.example", "192.0.2.7", "for vm.example"),
    ],
)
def test_without_a_subject_its_certificate_is_for_its_new_host(tls_name, host, side):
    """The name that a token gives is of the host that it gives."""
    grant = Grant(tls_name=tls_name)
    bench = SpiceBench("browser")
    main = bench.main(grant=grant)
    main.target.deliver(switched(Destination(host, 0, 5911)))
    main.client.deliver_lost()
    link = return_to_dial(bench, stored={"grant": grant})
    link.connect()
    assert link.target.sides == [side]


SECURED = {
    "the operator's token": {"grant": Grant(host_subject="CN=node1"), "tls_port": 5902},
    "no port in clear": {"port": 0, "tls_port": 5902},
}


@pytest.mark.parametrize("name", SECURED)
@pytest.mark.parametrize("subject", ["CN=compute2", None])
@every_way_in
def test_what_was_inside_tls_does_not_leave_it(way_in, name, subject):
    """A target moves its own session, and does not choose who listens to it."""
    bench = moved(way_in, switch=switched(Destination("compute2.internal", 5910, 5911, subject)), **SECURED[name])
    link = return_to_dial(bench, stored=SECURED[name])
    assert bench.dialler.asked == [("192.0.2.7", 5902), ("compute2.internal", 5911)]
    link.connect()
    assert link.target.sides == [f"for {subject or 'compute2.internal'}"]


@pytest.mark.parametrize("name", SECURED)
@every_way_in
def test_where_there_is_none_it_is_not_reached_in_clear(way_in, name):
    bench = moved(way_in, switch=SWITCH_IN_CLEAR, **SECURED[name])
    link = return_to_dial(bench, stored=SECURED[name])
    link.assert_over(CloseReason.TARGET_AUTH_FAILED)
    assert bench.dialler.asked == [("192.0.2.7", 5902)]


def test_a_target_that_wanted_tls_moves_inside_it():
    bench = SpiceBench("browser")
    main = bench.ask().walk([SAYS_LINK])
    main.authorise(tls_port=5902)
    main.connect()
    main.target.deliver(error_reply(5))
    main.target = type(main.target)()
    main.walk([*LOGIN, GIVES_TICKET])
    main.target.deliver(INIT + switched(Destination("compute2.internal", 5910, 5911)))
    main.client.deliver_lost()
    return_to_dial(bench, stored={"tls_port": 5902})
    assert bench.dialler.asked[2:] == [("compute2.internal", 5911)]


@every_way_in
def test_it_moves_once(way_in):
    """That ends its main, so a second word of it is from nobody who can be followed."""
    bench = SpiceBench(way_in, spice=RULES)
    main = bench.main()
    main.target.deliver(SWITCH_IN_CLEAR)
    main.client.take()
    main.target.deliver(SWITCH)
    assert main.client.take() == b""
    main.assert_over(CloseReason.PROTOCOL_ERROR)
    return_to_dial(bench, stored={})
    assert bench.dialler.asked[1:] == [("compute2.internal", 5910)]


def test_a_certificate_that_cannot_be_read_leaves_the_viewer_where_it_is(log):
    def unreadable():
        raise ConfigError("the certificate is being replaced")

    bench = SpiceBench("native", spice={"public": unreadable})
    main = bench.main()
    main.target.deliver(SWITCH)
    assert main.client.take() == SAYS_NOTHING
    assert not main.is_over
    assert any("is being replaced" in (formatEvent(event) or "") for event in log)


def test_where_the_proxy_is_is_told_as_it_is_by_then():
    places = [PUBLIC, Destination("console.example", 5900, 5901, "CN=the next")]
    bench = SpiceBench("native", spice={"public": lambda: places[0]})
    main = bench.main()
    del places[0]
    main.target.deliver(SWITCH)
    assert main.client.take() == switched(places[0])


@every_way_in
def test_nobody_else_follows_its_viewer(way_in):
    bench = moved(way_in, expires=int(STARTED) + 5)
    bench.clock.pump([1.0] * 10)
    asked = len(bench.store.asked)
    bench.ask(source="203.0.113.1").walk([SAYS_LINK] + [GIVES_TICKET] * (way_in == "native"))
    assert len(bench.store.asked) == asked + 1


@pytest.mark.parametrize("expires_s", [5, 600])
def test_a_browser_that_returns_is_judged_by_its_origin(expires_s):
    bench = moved("browser", expires=int(STARTED) + expires_s)
    bench.clock.pump([1.0] * 10)
    link = bench.ask(origin="https://evil.example", host="console.example").walk([SAYS_LINK])
    link.assert_over(CloseReason.ORIGIN_REFUSED)
    assert len(bench.dialler.asked) == 1


def test_anybody_elses_token_returns_nowhere():
    bench = moved("browser")
    asked = len(bench.store.asked)
    bench.ask(token="9c2cd1e5-0000-4000-8000-000000000000").walk([SAYS_LINK])
    assert len(bench.store.asked) == asked + 1
