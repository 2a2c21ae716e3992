import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfbproxy.spice import USUAL_CHANNELS, ChannelType, Destination, Policy, client_messages, target_messages
from rfbproxy.spice.agent import NO_MESSAGE
from rfbproxy.spice.constants import AgentMessage, Msg, Msgc, MsgcMain, MsgMain
from rfbproxy.spice.messages import SAYS_NOTHING, message
from tests.spice.streams import frames, run
from tests.spice.test_agent import announced, head, said
from tests.spice.test_migration import BROKEN as BROKEN_SWITCHES
from tests.spice.test_migration import SUBJECT, switch

USUAL = Policy()
PUBLIC = Destination("console.example.org", 0, 6083, "CN=console.example.org")


def init(session_id=0x12345678, *, size=32):
    body = struct.pack(
        "<8I",
        session_id,
        1,  # display_channels_hint
        3,  # supported_mouse_modes
        1,  # current_mouse_mode
        1,  # agent_connected
        10,  # agent_tokens
        0,  # multi_media_time
        0,  # ram_hint
    )
    return message(MsgMain.INIT, (body + bytes(8))[:size])


def channels_list(*listed, count=None, rest=b""):
    body = struct.pack("<I", len(listed) if count is None else count) + b"".join(map(bytes, listed)) + rest
    return message(MsgMain.CHANNELS_LIST, body)


def run_target(stream, policy=USUAL, *, switched=lambda _: None):
    """What comes of a target's main: bytes, error, and the session ids of one run."""
    begun = []

    def make():
        begun.clear()
        return target_messages(ChannelType.MAIN, policy, session_begun=begun.append, host_switched=switched)

    out, error = run(make, stream)
    return out, error, begun


def run_client(stream, policy=USUAL):
    return run(lambda: client_messages(ChannelType.MAIN, policy), stream)


def test_the_session_id_is_learnt():
    stream = message(Msg.PING, bytes(12)) + init() + message(MsgMain.MOUSE_MODE, b"\x03\0\x01\0")
    assert run_target(stream) == (stream, None, [0x12345678])


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (init(0), "begins a session, 0, in 32 bytes"),
        (init(size=31), "in 31 bytes"),
        (init(size=3), "in 3 bytes"),
        (init(size=33), "33 bytes, allowed are 32"),
        (init() + init(7), "begins a second session, 7"),
    ],
)
def test_a_session_that_cannot_be(stream, words):
    _, error, _ = run_target(stream)
    assert words in error


QEMU_LIST = (
    (1, 0),
    (6, 0),
    (5, 0),
    (2, 0),
    (2, 1),
    (4, 0),
    (3, 0),
    (9, 0),
    (9, 1),
    (10, 0),
    (11, 0),
    (8, 0),
    (7, 0),
    (77, 3),
)


@pytest.mark.parametrize(
    ("channels", "kept"),
    [
        (USUAL_CHANNELS, ((1, 0), (5, 0), (2, 0), (2, 1), (4, 0), (3, 0))),
        (frozenset({ChannelType.USBREDIR}), ((9, 0), (9, 1))),
        (frozenset(ChannelType), QEMU_LIST[:-2]),
        (frozenset(), ()),
    ],
)
def test_the_list_of_channels_is_pruned(channels, kept):
    stream = init() + channels_list(*QEMU_LIST) + message(Msg.PING, bytes(12))
    expected = init() + channels_list(*kept) + message(Msg.PING, bytes(12))
    assert run_target(stream, Policy(channels)) == (expected, None, [0x12345678])


@pytest.mark.parametrize("count", [0, 1, 256])
def test_wire_S32_any_number_of_channels(count):
    stream = channels_list(*[(2, number) for number in range(count)])
    assert run_target(stream) == (stream, None, [])


@pytest.mark.parametrize(
    "stream",
    [
        channels_list((2, 0), count=0xFFFFFFFF),
        channels_list((2, 0), count=0),
        channels_list((2, 0), count=2),
        channels_list((2, 0), rest=b"\x03"),
        channels_list(*[(2, 0)] * 257),
        message(MsgMain.CHANNELS_LIST, b"\0\0\0"),
        message(MsgMain.CHANNELS_LIST),
    ],
)
def test_wire_S32_a_list_that_cannot_be(stream):
    out, error, _ = run_target(init() + stream)
    assert out == init()
    assert "target lists" in error or "allowed are 516" in error


def test_a_switch_of_hosts_names_this_program():
    asked = []

    def switched(destination):
        asked.append(destination)
        return PUBLIC

    body = switch(subject=SUBJECT.encode() + b"\0")
    out, error, _ = run_target(init() + message(MsgMain.MIGRATE_SWITCH_HOST, body) + init()[:3], switched=switched)
    assert error is None
    assert frames(out)[1:] == [(MsgMain.MIGRATE_SWITCH_HOST, PUBLIC.pack())]
    assert set(asked) == {Destination("compute2.internal", 5901, 5902, SUBJECT)}
    assert b"compute2" not in out


def test_a_switch_of_hosts_that_is_not_followed_is_not_told():
    stream = message(MsgMain.MIGRATE_SWITCH_HOST, switch()) + init()
    assert run_target(stream) == (SAYS_NOTHING + init(), None, [0x12345678])


@pytest.mark.parametrize("name", BROKEN_SWITCHES)
def test_wire_S33_a_switch_that_cannot_be(name):
    stream = init() + message(MsgMain.MIGRATE_SWITCH_HOST, BROKEN_SWITCHES[name])
    out, error, _ = run_target(stream, switched=lambda _: PUBLIC)
    assert out == init()
    assert error.startswith("target switches to a") or "due are at least 20" in error


def test_wire_S33_a_switch_that_is_too_long():
    out, error, _ = run_target(init() + message(MsgMain.MIGRATE_SWITCH_HOST, switch(rest=bytes(4096))))
    assert out == init()
    assert "allowed are 4096" in error


MIGRATION = [101, 102, 112, 116, 117, 118]


@pytest.mark.parametrize("kind", MIGRATION)
@pytest.mark.parametrize("body", [b"", switch(), switch() + b"\x03\0\0\0", switch(host_size=0)], ids=len)
def test_wire_S33_migration_is_not_told(kind, body):
    stream = init() + message(kind, body) + message(Msg.PING, bytes(12))
    out, error, _ = run_target(stream)
    assert (out, error) == (init() + SAYS_NOTHING + message(Msg.PING, bytes(12)), None)


@pytest.mark.parametrize("kind", [102, 103, 109, 110, 111])
def test_nor_does_a_client_speak_of_it(kind):
    stream = message(MsgcMain.AGENT_START, b"\x0a\0\0\0") + message(kind, b"\x01\0\0\0") + message(Msgc.ACK)
    out = message(MsgcMain.AGENT_START, b"\x0a\0\0\0") + message(Msgc.ACK)
    assert run_client(stream) == (out, None)


NAME = message(MsgMain.NAME, b"\x12\0\0\0instance-00000001\0") + message(MsgMain.UUID, bytes(range(16)))


def test_the_name_passes_unless_it_may_not():
    assert run_target(init() + NAME) == (init() + NAME, None, [0x12345678])
    assert run_target(init() + NAME, Policy(name=False)) == (init() + SAYS_NOTHING * 2, None, [0x12345678])


NO_AGENT = Policy(clipboard=False, file_transfer=False)


def agent_data(*said_to_it, kind=MsgcMain.AGENT_DATA):
    return b"".join(message(kind, chunk) for chunk in said_to_it)


def test_the_agent_is_spoken_to():
    stream = agent_data(announced(0xFFFFFFFF), said(AgentMessage.CLIPBOARD, bytes(200)))
    assert run_client(stream) == (stream, None)
    blanked = agent_data(announced(0xFFFFFFFF & ~0x30468), head(NO_MESSAGE, 200) + bytes(200))
    assert run_client(stream, NO_AGENT) == (blanked, None)


def test_the_agent_speaks():
    stream = agent_data(
        announced(0xFFFF), head(AgentMessage.FILE_XFER_STATUS, 8) + bytes(4), bytes(4), kind=MsgMain.AGENT_DATA
    )
    assert run_target(stream) == (stream, None, [])
    blanked = agent_data(
        announced(0xFFFF & ~0x30468 | 0x2000), head(NO_MESSAGE, 8) + bytes(4), bytes(4), kind=MsgMain.AGENT_DATA
    )
    assert run_target(stream, NO_AGENT) == (blanked, None, [])


@pytest.mark.parametrize(
    "reset",
    [
        message(MsgMain.AGENT_DISCONNECTED, bytes(4)),
        message(MsgMain.AGENT_CONNECTED),
        message(MsgMain.AGENT_CONNECTED_TOKENS, b"\x0a\0\0\0"),
    ],
)
def test_an_agent_that_comes_or_goes_begins_anew(reset):
    half = agent_data(head(AgentMessage.CLIPBOARD, 5000), kind=MsgMain.AGENT_DATA)
    stream = half + reset + half
    assert run_target(stream) == (stream, None, [])
    _, error, _ = run_target(half + message(MsgMain.AGENT_TOKEN, bytes(4)) + half + agent_data(bytes(2049), kind=109))
    assert "type 109 and 2049 bytes, allowed are 2048" in error


def test_a_client_that_starts_the_agent_begins_anew():
    half = agent_data(head(AgentMessage.CLIPBOARD, 30))
    start = message(MsgcMain.AGENT_START, b"\x0a\0\0\0")
    assert run_client(half + start + half) == (half + start + half, None)
    _, error = run_client(half + half)
    assert error is None
    _, error = run_client(half + half + half)
    assert "where a message for the agent has 10 left" in error


@pytest.mark.parametrize("kind", [MsgMain.AGENT_DATA, MsgcMain.AGENT_DATA])
@pytest.mark.parametrize(
    "chunk", [bytes(2049), head(4, 0)[:19], said(4, protocol=7), head(4, 1) + bytes(2), b""], ids=len
)
def test_wire_S31_what_the_agent_is_not_sent(kind, chunk):
    stream = message(kind, chunk)
    error = run_target(stream)[1] if kind == MsgMain.AGENT_DATA else run_client(stream)[1]
    assert error


TARGET_MESSAGES = st.one_of(
    st.sampled_from([init(), channels_list(*QEMU_LIST), NAME, message(MsgMain.MIGRATE_SWITCH_HOST, switch())]),
    st.builds(message, st.integers(101, 118), st.binary(max_size=40)),
    st.builds(message, st.integers(1, 7), st.binary(max_size=40)),
    st.builds(said, st.integers(0, 16), st.binary(max_size=40)).map(lambda chunk: message(109, chunk)),
)
NOISE = st.binary(max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(TARGET_MESSAGES, max_size=8), NOISE)
def test_P1_P5_P6_any_main_keeps_its_count_and_names_no_host(sent, noise):
    whole = b"".join(sent)
    out, error, _ = run_target(whole, NO_AGENT, switched=lambda _: PUBLIC)
    assert b"compute2.internal" not in out
    assert not {kind for kind, _ in frames(out)} & set(MIGRATION)
    if error is None:
        assert len(frames(out)) == len(frames(whole))
    longer, _, _ = run_target(whole + noise, NO_AGENT, switched=lambda _: PUBLIC)
    assert longer.startswith(out)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(TARGET_MESSAGES, NOISE, st.just(agent_data(announced(7)))), max_size=8))
def test_P1_P3_P5_any_client_is_passed_on_or_breaks_the_protocol(sent):
    stream = b"".join(sent)
    out, _ = run_client(stream, NO_AGENT)
    assert len(out) <= len(stream)
    assert not {kind for kind, _ in frames(out)} & {102, 103, 109, 110, 111}
