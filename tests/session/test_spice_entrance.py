"""A SPICE client at the door: what it is told, and where in its link it can be told."""

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rfbproxy.errors import LocalProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.spice_entrance import LinkRefusal, SpiceEntrance
from rfbproxy.session.steps import Steps
from rfbproxy.spice import LinkError, LinkMess, TicketKey
from rfbproxy.spice.capabilities import Capabilities
from tests.cuts import segmentations
from tests.session.spice_fakes import CAPS, MAIN, Keys, SpiceClient, error_reply, result, ticket
from tests.spice import samples

TIMEOUT_S = 10.0
LINK = LinkMess(0, MAIN, 0, CAPS).pack()
RANDOM = bytes.fromhex("5a" * 127)
OTHER_KEY = TicketKey(generate_private_key(65537, 1024))


class Door:
    """One entrance and the client that stands there."""

    def __init__(self, way_in="native"):
        self.clock = Clock()
        self.steps = Steps(self.clock)
        self.client = SpiceClient(way_in)
        self.entrance = SpiceEntrance(self.client, self.steps, Keys(), TIMEOUT_S)

    def wait(self, coroutine):
        outcome = []
        Deferred.fromCoroutine(coroutine).addBoth(lambda got: outcome.append(getattr(got, "value", got)))
        return outcome

    def link(self, *segments):
        outcome = self.wait(self.entrance.link())
        for segment in segments or [LINK]:
            self.client.deliver(segment)
        return outcome

    def ticket(self, *segments, caps=CAPS):
        outcome = self.wait(self.entrance.ticket(caps))
        for segment in segments:
            self.client.deliver(segment)
        return outcome


def at(moment):
    """A client that has come so far, and has heard what is due by then."""
    door = Door()
    if moment != "before its link":
        door.link()
    if moment in ("with the key", "after its ticket"):
        door.ticket(*[ticket()] if moment == "after its ticket" else [])
    door.client.take()
    return door


# The way in


@pytest.mark.parametrize("asked", [samples.GTK_MAIN, samples.HTML5_MAIN, samples.HTML5_INPUTS])
def test_wire_S17_it_is_let_in_in_every_segmentation(asked):
    answers = set()
    for segments in segmentations(asked + ticket("swordfish") + b"first message"):
        door = Door()
        (mess,) = door.link(*segments)
        assert mess == LinkMess.parse(asked[16:])
        assert door.client.take() == b"", "nothing is answered before it is offered a key"
        assert door.ticket() == ["swordfish"]
        answers.add(door.client.take())
        door.entrance.accept()
        assert door.client.take() == samples.OK
        assert bytes(door.client._buffer) == b"first message"
        assert door.client.said == []
    (answer,) = answers
    assert answer.startswith(b"REDQ")
    assert answer[16:20] == bytes(4)
    assert answer[20:182] == samples.PUBLIC_KEY


def test_success_is_not_told_before_it_is_accepted():
    door = Door()
    door.link()
    door.ticket()
    door.client.take()
    door.client.deliver(ticket())
    assert door.client.take() == b""


def test_a_client_is_not_accepted_without_its_ticket():
    door = at("with the key")
    with pytest.raises(LocalProtocolError):
        door.entrance.accept()
    assert door.client.take() == b""


def test_what_the_client_is_told_of_its_target_is_passed():
    door = Door()
    door.link()
    door.ticket(caps=Capabilities((0xB,), (0x1052,)))
    assert door.client.take()[-8:] == b"\x0b\x00\x00\x00\x52\x10\x00\x00"


def test_wire_S20_a_client_without_a_choice_of_login_gives_its_ticket_at_once():
    door = Door()
    door.link(LinkMess(0, MAIN, 0, Capabilities((0x8,))).pack())
    assert door.ticket(ticket("swordfish")[4:]) == ["swordfish"]
    assert not door.client.take()[194] & 1, "and hears of no choice"


# Tickets


def test_wire_S22_a_ticket_of_spice_html5_is_repaired():
    door = Door()
    door.link()
    (password,) = door.ticket(samples.MECHANISM + samples.HTML5_TICKET)
    assert password == samples.KEY.open(samples.HTML5_TICKET_REPAIRED).reveal()
    assert len(password) == 36


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(bytes(128), id="wire_S21 zeros"),
        pytest.param(b"\xff" * 128, id="wire_S21 ones"),
        pytest.param(RANDOM + b"\x01", id="wire_S21 random"),
        pytest.param(RANDOM + b"\x00", id="wire_S22 random, ending in a zero"),
        pytest.param(RANDOM[2:] + b"\x00\x00\x00", id="wire_S22 random, ending in zeros"),
        pytest.param(ticket("tökén")[4:], id="wire_S23 not ASCII"),
        pytest.param(ticket("")[4:], id="wire_S23 empty"),
    ],
)
def test_wire_S21_S22_S23_a_wrong_ticket_becomes_a_password_that_nobody_has(wrong):
    """Which is looked up as every other, so that nobody learns from the answer or its time what was wrong."""
    door = Door()
    door.link()
    (password,) = door.ticket(samples.MECHANISM + wrong)
    assert password == wrong.hex()
    assert len(password) > 59, "longer than any password of SPICE"


def test_wire_S21_a_ticket_for_another_key_is_wrong():
    sealed = ticket()[4:]
    door = Door()
    door.entrance._keys.take = lambda: OTHER_KEY
    door.link()
    assert door.ticket(samples.MECHANISM + sealed) == [sealed.hex()]


# What breaks the protocol


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", error_reply(2), id="wire_S2 HTTP"),
        pytest.param(b"REDX" + LINK[4:], error_reply(2), id="wire_S3 another magic"),
        pytest.param(LINK[:4] + b"\x01" + LINK[5:], error_reply(4), id="wire_S4 version 1"),
        pytest.param(LINK[:4] + b"\x00" + LINK[5:], b"", id="wire_S4 version 0"),
        pytest.param(LINK[:12] + b"\x11" + LINK[13:], error_reply(3), id="wire_S6 too short"),
        pytest.param(LINK[:12] + b"\xff\xff\xff\xff" + LINK[16:], error_reply(3), id="wire_S7 too long"),
        pytest.param(LinkMess(0, 7, 0, CAPS).pack(), error_reply(9), id="wire_S14 a tunnel"),
        pytest.param(LinkMess(0, 12, 0, CAPS).pack(), error_reply(9), id="wire_S14 no channel at all"),
        pytest.param(LinkMess(5, MAIN, 0, CAPS).pack(), error_reply(8), id="wire_S15 main inside a session"),
    ],
)
def test_wire_S2_to_S15_a_link_that_cannot_be_is_answered_as_spice_server_does(said, answer):
    for segments in segmentations(said):
        door = Door()
        (refused,) = door.link(*segments)
        assert (refused.reason, refused.websocket_code) == (CloseReason.PROTOCOL_ERROR, 1002)
        door.entrance.refuse(refused)
        assert door.client.take() == answer
        assert door.client.said == [refused]


@pytest.mark.parametrize("mechanism", [0, 2, 3, 0xFFFFFFFF])
def test_wire_S19_another_login_is_answered_alike_in_every_segmentation(mechanism):
    """Also where it came together with the link, before there was a key for it."""
    answers = set()
    for segments in segmentations(LINK + mechanism.to_bytes(4, "little") + bytes(128)):
        door = Door()
        door.link(*segments)
        (refused,) = door.ticket()
        assert (refused.reason, refused.websocket_code) == (CloseReason.PROTOCOL_ERROR, 1002)
        door.entrance.refuse(refused)
        answers.add(door.client.take())
    for moment in range(1, 5):
        door = Door()
        door.link(LINK)
        said = mechanism.to_bytes(4, "little")
        (refused,) = door.ticket(said[:moment], said[moment:])
        door.entrance.refuse(refused)
        answers.add(door.client.take())
    (answer,) = answers
    assert answer[16:20] == bytes(4)
    assert answer[-194:] == error_reply(3), "a second reply, as spice-server sends it"


@pytest.mark.parametrize("moment", ["before its link", "with the key"])
def test_a_client_that_says_nothing_more_is_too_slow(moment):
    door = at("after its link" if moment == "with the key" else moment)
    outcome = door.wait(door.entrance.link()) if moment == "before its link" else door.ticket()
    door.clock.advance(TIMEOUT_S - 0.01)
    assert outcome == []
    door.clock.advance(0.01)
    (refused,) = outcome
    assert (refused.reason, refused.websocket_code) == (CloseReason.PROTOCOL_ERROR, 1002)
    assert "too slow" in refused.detail
    door.steps.stop()
    assert door.clock.getDelayedCalls() == []


def test_wire_S1_one_that_drips_is_given_no_more_time():
    door = Door()
    outcome = door.link(LINK[:1])
    for byte in LINK[1:20]:
        door.clock.advance(TIMEOUT_S / 20)
        door.client.deliver(bytes([byte]))
    assert outcome == []
    door.clock.advance(TIMEOUT_S / 20)
    assert "too slow" in outcome[0].detail


@pytest.mark.parametrize("size", [0, 1, 15, 16, len(LINK) - 1, len(LINK), len(LINK) + 4, len(LINK) + 4 + 127])
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_wire_S24_a_client_that_leaves_before_its_ticket_is_whole_is_told_nothing(size, how):
    said = (LINK + ticket())[:size]
    door = Door()
    outcome = door.link(said) if said else door.wait(door.entrance.link())
    if size >= len(LINK):
        outcome = door.ticket()
    door.client.take()
    door.client.end(how)
    (refused,) = outcome
    assert refused.reason is CloseReason.CLIENT_CLOSED
    door.entrance.refuse(refused)
    assert door.client.take() == b""
    assert door.client.said == [refused]


# What is told of each reason

MAPPED = {
    CloseReason.TOKEN_UNKNOWN: 7,
    CloseReason.TOKEN_EXPIRED: 7,
    CloseReason.ORIGIN_REFUSED: 7,
    CloseReason.TLS_REQUIRED: 5,
}


@pytest.mark.parametrize("reason", CloseReason)
def test_before_it_has_a_key_a_client_is_told_in_the_link_reply(reason):
    refused = Refused(reason, "for the log")
    door = at("after its link")
    door.entrance.refuse(refused)
    assert door.client.take() == error_reply(MAPPED.get(reason, 1))
    assert door.client.said == [refused], "and by its way in"


@pytest.mark.parametrize("reason", CloseReason)
def test_after_its_ticket_it_is_told_that_its_password_is_wrong_only_if_it_is(reason):
    """It takes any other error for that, and asks its user again."""
    refused = Refused(reason, "for the log")
    door = at("after its ticket")
    door.entrance.refuse(refused)
    assert door.client.take() == (result(7) if MAPPED.get(reason) == 7 else b"")
    assert door.client.said == [refused]


@pytest.mark.parametrize("reason", CloseReason)
@pytest.mark.parametrize("moment", ["before its link", "with the key"])
def test_at_other_moments_spice_has_no_word(reason, moment):
    refused = Refused(reason, "for the log")
    door = at(moment)
    door.entrance.refuse(refused)
    assert door.client.take() == b""
    assert door.client.said == [refused]


@pytest.mark.parametrize("error", set(LinkError) - {LinkError.OK})
def test_a_refusal_may_bring_its_own_word(error):
    refused = LinkRefusal(CloseReason.POLICY, error, "for the log")
    door = at("after its link")
    door.entrance.refuse(refused)
    assert door.client.take() == error_reply(error)
    door = at("after its ticket")
    door.entrance.refuse(refused)
    assert door.client.take() == (result(error) if error in (7, 8, 9) else b"")


@pytest.mark.parametrize("moment", ["before its link", "after its link", "with the key", "after its ticket"])
def test_one_that_left_is_told_nothing(moment):
    door = at(moment)
    door.client.deliver_lost()
    door.entrance.refuse(Refused(CloseReason.TOKEN_UNKNOWN, "for the log"))
    assert door.client.take() == b""


def test_the_ticket_is_in_no_text(log):
    door = Door()
    door.link()
    door.ticket(ticket("swordfish"))
    assert "swordfish" not in repr(vars(door.entrance)) + "".join(map(repr, log))


@given(st.binary(max_size=400), st.booleans(), st.integers(0, 400))
def test_wire_P3_P5_whatever_comes_ends_in_a_refusal_or_waits(said, after_link, cut):
    door = Door()
    if after_link:
        door.link()
    outcome = door.ticket() if after_link else door.wait(door.entrance.link())
    door.client.take()
    for segment in (said[:cut], said[cut:]):
        if segment:
            door.client.deliver(segment)
    if outcome and isinstance(outcome[0], Refused):
        door.entrance.refuse(outcome[0])
        assert door.client.take() in (b"", error_reply(2), error_reply(3), error_reply(4))
    else:
        assert door.client.take() == b"", "nothing is said to half a message"
    assert not any(isinstance(got, Exception) and not isinstance(got, Refused) for got in outcome)
    door.steps.end(Refused(CloseReason.SHUTDOWN, "the test ends"))
    door.steps.stop()
    assert door.clock.getDelayedCalls() == []
