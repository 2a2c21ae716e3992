import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError
from rfbproxy.spice import Capabilities, LinkError, LinkMess, LinkRequested, ServerLink, TicketGiven, announced
from rfbproxy.spice.link import EARLY_LIMIT
from rfbproxy.spice.link_messages import LinkReply
from rfbproxy.wire import EndOfStream
from tests.cuts import feed, run
from tests.spice.samples import (
    DENIED,
    GTK_MAIN,
    HTML5_INPUTS,
    HTML5_MAIN,
    HTML5_TICKET,
    KEY,
    MECHANISM,
    OK,
    PUBLIC_KEY,
    TICKET,
)

TOKEN = "0f9c1c1e-6f0b-4b0e-9a5e-0123456789ab"


def link(
    *,
    magic=b"REDQ",
    major=2,
    minor=2,
    size=None,
    connection_id=0,
    channel_type=1,
    channel_id=0,
    num_common=1,
    num_channel=0,
    offset=18,
    rest=b"\x09\x00\x00\x00",
):
    body = (
        struct.pack("<I", connection_id)
        + bytes([channel_type, channel_id])
        + struct.pack("<III", num_common, num_channel, offset)
        + rest  # capabilities
    )
    return magic + struct.pack("<III", major, minor, len(body) if size is None else size) + body


def error(number):
    """A link reply that says no more than that, as spice-server sends it."""
    return (
        b"REDQ\x02\x00\x00\x00\x02\x00\x00\x00"  # magic, major, minor
        + b"\xb2\x00\x00\x00"  # size: 178
        + bytes([number, 0, 0, 0])  # error
        + bytes(162 + 12)  # public key, number of capabilities, offset
    )


class Answering:
    """A machine that answers a link, and judges the ticket as a session would."""

    def __init__(self, caps=None, verdict=None):
        self.machine = ServerLink()
        self.caps = caps
        self.verdict = verdict
        self.kept = []

    def receive_data(self, data):
        self.kept += self.machine.receive_data(data)
        self.answer()
        return self.events()

    def answer(self):
        for event in list(self.kept):
            if isinstance(event, LinkRequested) and self.machine._reply is None:
                self.machine.offer(PUBLIC_KEY, self.caps or announced(event.link.channel_type))
                self.kept += self.machine.events()
                return self.answer()
            if isinstance(event, TicketGiven):
                password = KEY.open(event.ticket)
                if self.verdict is not None:
                    self.machine.refuse(self.verdict)
                elif password is not None and password.reveal() == TOKEN:
                    self.machine.accept()
                else:
                    self.machine.refuse(LinkError.PERMISSION_DENIED)
        return None

    def receive_eof(self):
        return self.machine.receive_eof()

    def events(self):
        kept, self.kept = self.kept, []
        return kept + self.machine.events()

    def __getattr__(self, name):
        return getattr(self.machine, name)


def reply(channel_type=1, caps=None):
    return LinkReply(0, PUBLIC_KEY, caps or announced(channel_type)).pack()


@pytest.mark.parametrize(
    ("mess", "channel_type", "connection_id"),
    [(GTK_MAIN, 1, 0), (HTML5_MAIN, 1, 0), (HTML5_INPUTS, 3, 0x12345678)],
)
def test_wire_S17_a_viewer_links_a_channel(mess, channel_type, connection_id):
    outcome = run(Answering, mess + MECHANISM + TICKET, trailing=b"\x01\x00\x00\x00\x00\x00")
    requested, given = outcome.events
    assert (requested.link.connection_id, requested.link.channel_type) == (connection_id, channel_type)
    assert given == TicketGiven(TICKET)
    assert outcome.sent == reply(channel_type) + OK
    assert outcome.finished


def test_wire_S22_a_ticket_of_spice_html5_that_lost_its_leading_zero():
    assert run(Answering, HTML5_MAIN + MECHANISM + HTML5_TICKET).sent == reply() + OK


def test_wire_S20_a_client_without_a_choice_of_login_sends_its_ticket_at_once():
    mess = link(rest=b"\x08\x00\x00\x00")  # MINI_HEADER alone
    outcome = run(Answering, mess + TICKET, trailing=b"\x01\x00")
    assert outcome.sent == reply(caps=Capabilities((0xA,), announced(1).channel)) + OK


def test_nothing_is_answered_before_the_holder_says_so():
    outcome = run(ServerLink, GTK_MAIN)
    assert outcome.events == (LinkRequested(LinkMess(0, 1, 0, Capabilities((0xD,), (0xF,)))),)
    assert outcome.sent == b""
    assert not outcome.finished


BROKEN = {
    "wire_S02 an HTTP request": (b"GET / HTTP/1.1\r\n", 2),
    "wire_S03 another magic": (link(magic=b"REDX"), 2),
    "wire_S04 major 1": (link(major=1), 4),
    "wire_S04 major 3": (link(major=3), 4),
    "wire_S06 a size of 17": (link(size=17), 3),
    "wire_S07 a size of 4097": (link(size=4097), 3),
    "wire_S07 a size of 4 GiB": (link(size=0xFFFFFFFF), 3),
    "wire_S08 capabilities that are not there": (link(rest=b""), 3),
    "wire_S09 a sum that wraps": (link(num_common=0xFFFFFFFF, num_channel=1), 3),
    "too many words": (link(num_common=1025, rest=bytes(4 * 1000)), 3),
    "wire_S10 an offset of 4 GiB": (link(offset=0xFFFFFFF0), 3),
    "wire_S11 an offset inside the message": (link(offset=4), 3),
    "an offset that leaves no room": (link(offset=19), 3),
    "wire_S14 type 0": (link(channel_type=0), 9),
    "wire_S14 tunnel": (link(channel_type=7), 9),
    "wire_S14 type 12": (link(channel_type=12), 9),
    "wire_S14 type 255": (link(channel_type=255), 9),
    "wire_S15 main inside a session": (link(connection_id=1), 8),
    "without mini headers": (link(rest=b"\x01\x00\x00\x00"), 4),
    "wire_S12 without capabilities": (link(num_common=0, offset=0xDEAD), 4),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_answered_with_its_error(name):
    sent, number = BROKEN[name]
    outcome = run(ServerLink, sent)
    assert issubclass(outcome.error[0], RemoteProtocolError)
    assert outcome.events == ()
    assert outcome.sent == error(number)


def test_wire_S04_major_0_is_not_answered():
    outcome = run(ServerLink, link(major=0))
    assert "SPICE 0, spoken is 2" in outcome.error[1]
    assert outcome.sent == b""


ODD = {
    "wire_S05 any minor": (link(minor=99), Capabilities((9,), ())),
    "wire_S12 an offset of nothing": (link(rest=b"\x09\x00\x00\x00", num_channel=0), Capabilities((9,), ())),
    "wire_S13 a gap": (link(offset=22, rest=b"\xff" * 4 + b"\x09\x00\x00\x00"), Capabilities((9,), ())),
    "wire_S18 bytes behind": (link(rest=b"\x09\x00\x00\x00" + b"\xff" * 99), Capabilities((9,), ())),
    "the longest": (link(rest=b"\x09" + bytes(4096 - 19), num_common=1019), Capabilities((9, *[0] * 1018), ())),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_accepted(name):
    sent, caps = ODD[name]
    outcome = run(Answering, sent + MECHANISM + TICKET, trailing=b"\x03\x00")
    assert outcome.events[0] == LinkRequested(LinkMess(0, 1, 0, caps))
    assert outcome.sent == reply() + OK
    assert outcome.events[0].link.pack()[34:38] == b"\x09\x00\x00\x00", "not as if its offset were 18"


@pytest.mark.parametrize("mechanism", [0, 2, 3, 0xFFFFFFFF])
def test_wire_S19_another_mechanism(mechanism):
    outcome = run(Answering, HTML5_MAIN + struct.pack("<I", mechanism) + TICKET)
    assert outcome.error == (
        RemoteProtocolError,
        f"client chose auth mechanism {mechanism}, offered was 1, the ticket",
    )
    assert outcome.sent == reply() + error(3)


@pytest.mark.parametrize("ticket", [bytes(128), b"\xff" * 128, bytes(range(128)), bytes(range(1, 128)) + b"\0"])
def test_wire_S21_S22_a_wrong_ticket(ticket):
    outcome = run(Answering, HTML5_MAIN + MECHANISM + ticket)
    assert outcome.sent == reply() + DENIED
    assert outcome.finished
    assert outcome.error is None


def test_wire_S16_another_session_is_refused_after_the_ticket():
    outcome = run(lambda: Answering(verdict=LinkError.BAD_CONNECTION_ID), link(channel_type=3) + MECHANISM + TICKET)
    assert outcome.sent == reply(3) + b"\x08\x00\x00\x00"


@pytest.mark.parametrize("verdict", [LinkError.NEED_SECURED, LinkError.INVALID_DATA, LinkError.ERROR])
def test_an_error_of_replies_is_no_result(verdict):
    outcome = run(lambda: Answering(verdict=verdict), HTML5_MAIN + MECHANISM + TICKET)
    assert outcome.sent == reply() + b"\x01\x00\x00\x00"


@pytest.mark.parametrize(
    "sent",
    [b"R", b"REDQ", GTK_MAIN[:-1], GTK_MAIN + MECHANISM[:3], GTK_MAIN + MECHANISM + TICKET[:127]],
    ids=["wire_S01", "a magic", "a byte less", "half a mechanism", "wire_S24"],
)
def test_a_client_that_closes_early_is_not_answered(sent):
    outcome = run(Answering, sent, eof=True)
    assert outcome.error[0] is EndOfStream
    assert outcome.sent in (b"", reply())


@pytest.mark.parametrize("number", list(LinkError)[1:])
def test_a_link_is_refused_by_a_reply(number):
    machine = ServerLink()
    machine.receive_data(GTK_MAIN)
    machine.refuse(number)
    machine.refuse(LinkError.ERROR)
    assert machine.data_to_send() == error(number)
    assert machine.finished
    with pytest.raises(LocalProtocolError):
        machine.offer(PUBLIC_KEY, announced(1))


def test_a_refusal_waits_until_the_client_has_said_what_it_wants():
    machine = ServerLink()
    machine.refuse(LinkError.NEED_SECURED)
    assert machine.data_to_send() == b""
    machine.receive_data(GTK_MAIN)
    assert machine.data_to_send() == error(5)


def test_a_refusal_between_reply_and_ticket_waits_for_the_ticket():
    machine = ServerLink()
    machine.receive_data(GTK_MAIN)
    machine.offer(PUBLIC_KEY, announced(1))
    machine.refuse(LinkError.CHANNEL_NOT_AVAILABLE)
    assert machine.data_to_send() == reply()
    assert machine.receive_data(MECHANISM + TICKET) == []
    assert machine.data_to_send() == b"\x09\x00\x00\x00"
    with pytest.raises(LocalProtocolError):
        machine.accept()


def test_out_of_turn():
    machine = ServerLink()
    with pytest.raises(LocalProtocolError):
        machine.offer(PUBLIC_KEY, announced(1))
    machine.receive_data(GTK_MAIN)
    with pytest.raises(LocalProtocolError):
        machine.accept()
    machine.offer(PUBLIC_KEY, announced(1))
    with pytest.raises(LocalProtocolError):
        machine.offer(PUBLIC_KEY, announced(1))
    with pytest.raises(LocalProtocolError):
        machine.accept()
    machine.receive_data(MECHANISM + TICKET)
    machine.accept()
    machine.refuse(LinkError.ERROR)
    assert machine.data_to_send() == reply() + OK
    with pytest.raises(LocalProtocolError):
        machine.accept()


@pytest.mark.parametrize("sent", [GTK_MAIN, GTK_MAIN + MECHANISM + TICKET])
def test_P4_what_comes_ahead_of_the_answer_is_bounded(sent):
    machine = ServerLink()
    machine.receive_data(GTK_MAIN)
    if sent != GTK_MAIN:
        machine.offer(PUBLIC_KEY, announced(1))
        machine.receive_data(MECHANISM + TICKET)
    machine.receive_data(bytes(EARLY_LIMIT))
    with pytest.raises(RemoteProtocolError, match="client sent 4097 bytes ahead, allowed are 4096"):
        machine.receive_data(b"\0")


def test_what_came_ahead_is_handed_on():
    machine = ServerLink()
    machine.receive_data(GTK_MAIN)
    machine.offer(PUBLIC_KEY, announced(1))
    machine.receive_data(MECHANISM + TICKET + bytes(EARLY_LIMIT))
    machine.accept()
    assert machine.unread() == bytes(EARLY_LIMIT)


def test_a_ticket_does_not_print_itself():
    assert repr(TicketGiven(TICKET)) == "TicketGiven()"


STARTS = st.sampled_from(
    [b"", b"RED", GTK_MAIN[:16], GTK_MAIN, HTML5_MAIN + MECHANISM, HTML5_MAIN + MECHANISM + TICKET]
)


@settings(max_examples=300, deadline=None)
@given(STARTS, st.binary(max_size=200), st.data())
def test_P1_P3_P5_P7_any_bytes_in_any_segmentation(start, noise, data):
    sent = start + noise
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    whole = feed(Answering(), [sent])
    cut = feed(Answering(), [sent[a:b] for a, b in pairwise([0, *cuts, len(sent)])])
    assert cut.told_apart == whole.told_apart
    assert len(whole.sent) <= len(sent) + 2 * 202 + 4
    accepted = whole.error is None and whole.finished and whole.sent.endswith(OK)
    assert accepted == sent.startswith(HTML5_MAIN + MECHANISM + TICKET)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=16, max_size=60))
def test_P5_any_link_message(body):
    feed(Answering(), [b"REDQ" + struct.pack("<III", 2, 2, len(body)) + body + MECHANISM + bytes(128)])
