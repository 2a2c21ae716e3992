"""What one session knows of its links."""

import pytest

from rfbproxy.consoleauth import ChannelRow, Grant, Location
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.spice_entrance import LinkRefusal
from rfbproxy.session.spice_session import LINKS_LIMIT, SpiceSession, location_of
from rfbproxy.spice import USUAL_CHANNELS, ChannelType, LinkError, LinkMess
from tests.session.fakes import console_token
from tests.session.spice_fakes import DISPLAY, INPUTS, MAIN, USBREDIR

UNUSUAL = sorted(set(ChannelType) - USUAL_CHANNELS - {ChannelType.TUNNEL})


class FakeLink:
    def __init__(self, to_client=0, to_target=0):
        self.bytes = (to_client, to_target)
        self.ended = []
        self.noted = 0
        self.on_end = lambda: None

    def end(self, refused):
        self.ended.append(refused)
        self.on_end()

    def relayed(self):
        return self.bytes

    def note(self):
        self.noted += 1


def asked(channel_type, channel_id=0):
    return LinkMess(0, channel_type, channel_id)


def make_session(**grant):
    token = console_token(grant=Grant(**grant))
    return SpiceSession("0123456789abcdef", token, "192.0.2.1", location_of(token))


@pytest.fixture
def session():
    return make_session()


def refused(session, *channel):
    with pytest.raises(LinkRefusal) as caught:
        session.enter(FakeLink(), asked(*channel))
    assert caught.value.error is LinkError.CHANNEL_NOT_AVAILABLE
    return caught.value


def test_where_the_machine_is_comes_from_the_token():
    token = console_token(host="node1", port=0, tls_port=5901, grant=Grant(host_subject="CN=node1"))
    assert location_of(token) == Location("node1", 0, 5901, "CN=node1")


# Which links there may be


@pytest.mark.parametrize("channel_type", sorted(USUAL_CHANNELS))
def test_picture_keys_and_sound_are_allowed_unsaid(session, channel_type):
    link = FakeLink()
    session.enter(link, asked(channel_type))
    assert session.links == [link]


@pytest.mark.parametrize("channel_type", UNUSUAL)
def test_all_else_is_refused_unless_the_token_allows_it(channel_type):
    session = make_session()
    refusal = refused(session, channel_type)
    assert refusal.reason is CloseReason.POLICY
    assert channel_type.name.lower() in refusal.detail
    assert session.links == []
    make_session(allow_channels=(channel_type.name.lower(),)).enter(FakeLink(), asked(channel_type))


@pytest.mark.parametrize("allowed", [(), ("webdav",), ("record", "smartcard")])
def test_a_token_allows_what_it_names_and_nothing_beside(allowed):
    session = make_session(allow_channels=allowed)
    assert refused(session, USBREDIR).reason is CloseReason.POLICY
    session.enter(FakeLink(), asked(MAIN))


@pytest.mark.parametrize("word", ["tunnel", "Tunnel"])
def test_what_is_never_linked_cannot_be_allowed(word):
    assert refused(make_session(allow_channels=(word,)), ChannelType.TUNNEL).reason is CloseReason.POLICY


@pytest.mark.parametrize("word", ["video", "", "9"])
def test_a_word_that_nobody_knows_allows_nothing(word):
    """A token may be from another version, or written by hand."""
    session = make_session(allow_channels=(word, "usbredir"))
    session.enter(FakeLink(), asked(USBREDIR))
    assert refused(session, ChannelType.WEBDAV).reason is CloseReason.POLICY


def test_a_channel_is_linked_once_at_a_time(session):
    first = FakeLink()
    session.enter(first, asked(DISPLAY))
    session.enter(FakeLink(), asked(DISPLAY, 1))
    session.enter(FakeLink(), asked(INPUTS))
    assert refused(session, DISPLAY).reason is CloseReason.LIMIT
    assert refused(session, DISPLAY, 1).reason is CloseReason.LIMIT
    session.leave(first)
    session.enter(FakeLink(), asked(DISPLAY))


def test_there_are_only_so_many_links(session):
    links = [FakeLink() for _ in range(LINKS_LIMIT)]
    for channel_id, link in enumerate(links):
        session.enter(link, asked(DISPLAY, channel_id))
    assert refused(session, INPUTS).reason is CloseReason.LIMIT
    session.leave(links[7])
    session.enter(FakeLink(), asked(INPUTS))
    assert len(session.links) == LINKS_LIMIT


# What they are called, and what they relay


@pytest.mark.parametrize(
    ("channel", "name"),
    [((MAIN,), "main"), ((DISPLAY, 0), "display"), ((DISPLAY, 3), "display:3"), ((USBREDIR, 255), "usbredir:255")],
)
def test_channels_have_names(session, channel, name):
    assert session.linked(asked(*channel)) == name
    assert session.channels == [name]


def test_each_is_named_once_in_the_order_of_their_links(session):
    for channel in [(MAIN,), (INPUTS,), (DISPLAY, 1), (DISPLAY,), (INPUTS,), (DISPLAY, 1)]:
        session.linked(asked(*channel))
    assert session.channels == ["main", "inputs", "display:1", "display"]


def test_a_link_that_only_wants_to_be_one_is_not_named(session):
    session.enter(FakeLink(), asked(DISPLAY))
    assert session.channels == []


def test_bytes_of_all_links_are_told_of_those_that_live_and_those_that_have_ended(session):
    main, display = FakeLink(1, 10), FakeLink(200, 3000)
    assert session.relayed() == (0, 0)
    session.enter(main, asked(MAIN))
    session.enter(display, asked(DISPLAY))
    assert session.relayed() == (201, 3010)
    session.leave(display)
    display.bytes = (9999, 9999)
    main.bytes = (5, 20)
    assert session.relayed() == (205, 3020)
    session.leave(main)
    assert session.relayed() == (205, 3020)
    assert session.links == []


def test_who_never_was_a_link_leaves_nothing_and_nobody_leaves_twice(session):
    stranger, link = FakeLink(7, 7), FakeLink(1, 2)
    session.enter(link, asked(MAIN))
    for _ in range(2):
        session.leave(link)
        session.leave(stranger)
    assert session.relayed() == (1, 2)


def test_what_has_ended_lets_nobody_in(session):
    why = Refused(CloseReason.POLICY, "the test ends")
    session.end(why)
    session.end(Refused(CloseReason.SHUTDOWN, "too late to be why"))
    with pytest.raises(Refused) as caught:
        session.enter(FakeLink(), asked(MAIN))
    assert caught.value is why
    assert session.links == []


def test_what_links_elsewhere_relayed_counts_beside_those_that_are_here(session):
    session.enter(FakeLink(1, 10), asked(MAIN))
    assert session.relayed_everywhere() == (1, 10)
    for rows in ([ChannelRow("display", 100, 20), ChannelRow("inputs", 1, 2)], [ChannelRow("display", 101, 22)]):
        session.count_elsewhere(rows)
        assert session.relayed_everywhere() == (102, 32)
    assert session.relayed() == (1, 10)


# Whose certificate its target must show


@pytest.mark.parametrize(
    ("grant", "tls_port", "name", "must_be"),
    [
        ({}, 5902, "node1", False),
        ({"tls_name": "vm.example"}, 5902, "vm.example", True),
        ({"host_subject": "CN=vm"}, 5902, "node1", True),
        ({"tls_name": "vm.example"}, None, "vm.example", False),
        ({"host_subject": "CN=vm"}, None, "node1", False),
    ],
)
def test_a_token_that_says_whose_it_is_wants_to_see_it(grant, tls_port, name, must_be):
    token = console_token(host="node1", tls_port=tls_port, grant=Grant(**grant))
    session = SpiceSession("0123456789abcdef", token, "192.0.2.1", location_of(token))
    assert (session.certificate_name, session.must_be_secured) == (name, must_be)
    session.secured = True
    assert session.must_be_secured, "once its target was found to want it"


def test_the_name_that_it_says_is_not_that_of_another_host():
    token = console_token(host="node1", tls_port=5902, grant=Grant(tls_name="vm.example"))
    session = SpiceSession("0123456789abcdef", token, "192.0.2.1", Location("node2", 5901, 5902))
    assert (session.certificate_name, session.must_be_secured) == ("node2", True)


def test_all_links_are_ended_even_as_they_leave(session):
    why = Refused(CloseReason.POLICY, "the test ends")
    links = [FakeLink() for _ in range(3)]
    for channel_id, link in enumerate(links):
        link.on_end = lambda link=link: session.leave(link)
        session.enter(link, asked(DISPLAY, channel_id))
    session.end(why)
    assert [link.ended for link in links] == [[why]] * 3
    assert session.links == []
    session.end(why)
    assert [link.ended for link in links] == [[why]] * 3
