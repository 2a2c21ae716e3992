import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.secret import Secret
from rfbproxy.spice import (
    Capabilities,
    ClientLink,
    LinkAccepted,
    LinkError,
    LinkMess,
    LinkRefused,
    LinkReplied,
    NeedSecured,
    for_target,
)
from rfbproxy.wire import EndOfStream
from tests.cuts import feed, run
from tests.spice.samples import DENIED, KEY, MECHANISM, OK, PUBLIC_KEY, REPLY_MAIN, REPLY_NEED_SECURED

PASSWORD = Secret("swordfish")
MAIN = LinkMess(0, 1, 0, for_target(1, Capabilities((0xD,), (0xF,))))
CAPS = Capabilities((0xB,), (0x9,))


def reply(*, magic=b"REDQ", major=2, size=None, error=0, key=PUBLIC_KEY, common=(0xB,), channel=(), offset=178):
    body = (
        struct.pack("<I", error)
        + key  # pub_key
        + struct.pack("<III", len(common), len(channel), offset)
        + struct.pack(f"<{len(common) + len(channel)}I", *common, *channel)
    )
    return magic + struct.pack("<III", major, 2, len(body) if size is None else size) + body


def client(password=PASSWORD, mess=MAIN):
    return lambda: ClientLink(mess, password)


class Sealing:
    """A machine that shows what is inside its ticket, which differs every time."""

    def __init__(self, machine):
        self.machine = machine

    def data_to_send(self):
        data = self.machine.data_to_send()
        return data[:-128] + KEY._decrypt(data[-128:]) if len(data) in (128, len(MECHANISM) + 128) else data

    def __getattr__(self, name):
        return getattr(self.machine, name)


def linking(password=PASSWORD, mess=MAIN):
    return lambda: Sealing(ClientLink(mess, password))


def test_the_link_message_goes_out_at_once():
    assert ClientLink(MAIN).data_to_send() == bytes.fromhex(
        "52454451"  # magic
        "02000000"  # major
        "02000000"  # minor
        "1a000000"  # size
        "00000000"  # connection_id
        "01"  # channel_type: main
        "00"  # channel_id
        "01000000"  # num_common_caps
        "01000000"  # num_channel_caps
        "12000000"  # caps_offset
        "09000000"  # PROTOCOL_AUTH_SELECTION, MINI_HEADER
        "06000000"  # NAME_AND_UUID, AGENT_CONNECTED_TOKENS
    )


@pytest.mark.parametrize("password", [PASSWORD, Secret("x" * 59), Secret(""), None])
def test_a_ticket_is_accepted(password):
    outcome = run(linking(password), REPLY_MAIN + OK, trailing=b"\x67\x00\x20\x00\x00\x00")
    assert outcome.events == (LinkReplied(CAPS), LinkAccepted())
    assert outcome.sent == MAIN.pack() + MECHANISM + (password or Secret("")).reveal().encode() + b"\0"
    assert outcome.finished


def test_a_target_without_a_choice_of_login_gets_the_ticket_at_once():
    outcome = run(linking(), reply(common=(0xA,)) + OK, trailing=b"\x67")
    assert outcome.sent == MAIN.pack() + b"swordfish\0"


def test_and_so_does_one_that_was_not_told_of_ours():
    mess = LinkMess(7, 3, 0, Capabilities((0x8,)))
    assert run(linking(mess=mess), reply() + OK).sent == mess.pack() + b"swordfish\0"


def test_a_gap_before_the_capabilities():
    body = reply(offset=182)
    with_gap = body[:-4] + b"\xff" * 4 + body[-4:]
    with_gap = with_gap[:12] + struct.pack("<I", len(with_gap) - 16) + with_gap[16:]
    assert run(linking(), with_gap + OK).events[0] == LinkReplied(Capabilities((0xB,)))


def test_need_secured_is_told_apart():
    outcome = run(client(), REPLY_NEED_SECURED)
    assert outcome.error == (NeedSecured, "target refuses the link with error NEED_SECURED (5)")
    assert outcome.sent == MAIN.pack()


TOLD = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 9, 8: 8, 9: 9, 77: 1}


@pytest.mark.parametrize("number", TOLD)
@pytest.mark.parametrize(
    ("before", "of"),
    [(b"", "link"), (REPLY_MAIN, "ticket"), (REPLY_MAIN, "result")],
    ids=["in the reply", "in a second reply (wire_S27)", "as the result (wire_S26)"],
)
def test_an_error_and_what_the_client_hears_of_it(before, of, number):
    said = struct.pack("<I", number) if of == "result" else reply(error=number, key=bytes(162), common=(), offset=0)
    machine = ClientLink(MAIN, PASSWORD)
    with pytest.raises(LinkRefused) as raised:
        machine.receive_data(before + said)
    assert raised.value.error == number
    assert raised.value.told_client == TOLD[number] != LinkError.PERMISSION_DENIED
    assert run(linking(), before + said).error[0] is (NeedSecured if number == 5 else LinkRefused)


def test_wire_S26_our_password_is_wrong():
    outcome = run(linking(), REPLY_MAIN + DENIED)
    assert outcome.error == (LinkRefused, "target refuses the ticket with error PERMISSION_DENIED (7)")
    assert "swordfish" not in outcome.error[1]


def test_an_error_without_a_name():
    assert run(client(), reply(error=77)).error[1].endswith("with error 77")


BROKEN = {
    "wire_S25 a size of 100": reply(size=100),
    "wire_S25 a size of 2 GiB": reply(size=1 << 31),
    "a size of 4097": reply(size=4097),
    "wire_S25 another magic": reply(magic=b"RFB "),
    "another major": reply(major=1),
    "a size of words that are not there": reply()[:12] + struct.pack("<I", 178) + reply()[16:-4],
    "an offset inside the reply": reply(offset=0),
    "wire_S25 a zero key": reply(key=bytes(162)),
    "wire_S25 another key": reply(key=PUBLIC_KEY[:1] + b"\x82" + PUBLIC_KEY[2:]),
    "without mini headers": reply(common=(0x3,)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken(name):
    outcome = run(client(), BROKEN[name])
    assert issubclass(outcome.error[0], RemoteProtocolError)
    assert outcome.events == ()
    assert outcome.sent == MAIN.pack()


@pytest.mark.parametrize(
    "second", [reply(size=17), reply(size=5000), reply(major=9)], ids=["short", "long", "another version"]
)
def test_wire_S27_a_broken_second_reply(second):
    outcome = run(linking(), REPLY_MAIN + second)
    assert issubclass(outcome.error[0], RemoteProtocolError)
    assert outcome.events == (LinkReplied(CAPS),)


def test_sasl_alone_is_refused_clearly():
    """With a key of zeros, as spice-server sends it then."""
    outcome = run(client(), reply(common=(0xD,), key=bytes(162)))
    assert outcome.error == (SecurityFailure, "target wants a login by SASL, spoken is the ticket alone")


def test_a_password_that_no_target_can_be_told():
    outcome = run(client(Secret("x" * 60)), REPLY_MAIN)
    assert outcome.error[0] is SecurityFailure
    assert "longer than 59 bytes" in outcome.error[1]


@pytest.mark.parametrize("said", [b"", b"RED", REPLY_MAIN[:-1]])
def test_a_target_that_closes_before_its_reply(said):
    assert run(client(), said, eof=True).error[0] is EndOfStream


@pytest.mark.parametrize("said", [b"", b"\0\0\0", b"REDQ", reply(error=3)[:-1]])
def test_wire_S26_a_target_that_closes_instead_of_answering(said):
    outcome = run(linking(), REPLY_MAIN + said, eof=True)
    assert outcome.error == (SecurityFailure, "target closed instead of answering the ticket")


def test_an_end_after_the_link_is_no_matter():
    assert run(linking(), REPLY_MAIN + OK, eof=True).error is None


def test_the_password_does_not_print_itself():
    machine = ClientLink(MAIN, PASSWORD)
    assert "swordfish" not in repr(vars(machine))


STARTS = st.sampled_from([b"", REPLY_MAIN[:16], REPLY_MAIN[:-8], REPLY_MAIN, REPLY_MAIN + b"REDQ", REPLY_MAIN + OK])


@settings(max_examples=300, deadline=None)
@given(STARTS, st.binary(max_size=200), st.data())
def test_P1_P3_P5_any_bytes_in_any_segmentation(start, noise, data):
    said = start + noise
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    whole = feed(linking()(), [said])
    cut = feed(linking()(), [said[a:b] for a, b in pairwise([0, *cuts, len(said)])])
    assert cut.told_apart == whole.told_apart
    assert len(whole.sent) <= len(MAIN.pack()) + 4 + 128


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(REPLY_MAIN) - 1), st.binary(min_size=1, max_size=30))
def test_P5_any_damage_to_a_reply(at, damage):
    feed(client()(), [(REPLY_MAIN[:at] + damage + REPLY_MAIN[at + len(damage) :])[: len(REPLY_MAIN)] + OK])
