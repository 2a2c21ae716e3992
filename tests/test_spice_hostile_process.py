"""Hostile clients and targets against the real `twistd consoleproxy`, while another SPICE session lives beside them."""

import contextlib
import os
import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rfbproxy.consoleauth import hash_token
from rfbproxy.reasons import CloseReason
from rfbproxy.spice import Capabilities, LinkError, LinkRefused
from rfbproxy.spice.link_messages import LinkReply
from rfbproxy.spice.messages import message
from tests.peers import take, target
from tests.proxy_process import until
from tests.spice.samples import KEY, MECHANISM, OK
from tests.spice_peers import (
    DISPLAY,
    ECHOED,
    INPUTS,
    SERVER_CAPS,
    Link,
    Socket,
    link_error,
    main_init,
    spice_target,
)
from tests.spice_process import PASSWORD, WAYS_IN, bystander, spice_running

HANDSHAKE_S = 2
FEW_FILES = 24  # those of threads of the store's, and what just comes and goes
LITTLE_KIB = 16 * 1024


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with spice_running(tmp_path_factory.mktemp("hostile"), f"handshake_timeout_s = {HANDSHAKE_S}\n") as started:
        yield started


@pytest.fixture(scope="module")
def machine():
    with spice_target(password=PASSWORD) as (_, listening):
        yield listening


@pytest.fixture(scope="module")
def living(proxy):
    with bystander(proxy) as beside:
        yield beside


@pytest.fixture(autouse=True)
def undisturbed(living):
    yield
    living.is_served()


@pytest.fixture
def steady(proxy):
    """All files are closed again afterwards, and memory stays what it was."""
    files, memory = proxy.open_files, proxy.memory_kib
    yield
    until(lambda: proxy.open_files <= files + FEW_FILES, "all connections to be closed")
    assert proxy.memory_kib < memory + LITTLE_KIB


# Clients


def link(size=18, *, magic=b"REDQ", major=2, connection_id=0, kind=1, common=0, channel=0, offset=18, words=b""):
    """A link message of which every field may be wrong."""
    header = magic + struct.pack("<III", major, 2, size)
    return header + struct.pack("<IBBIII", connection_id, kind, 0, common, channel, offset) + words


WRONG_LINKS = {
    "S3 magic": (link(magic=b"REDX"), 2),
    "S4 major 1": (link(major=1), 4),
    "S4 major 3": (link(major=3), 4),
    "S4 major 0": (link(major=0), None),
    "S6 size 17": (link(17), 3),
    "S7 size 4097": (link(4097), 3),
    "S7 size 4 GiB": (link(0xFFFFFFFF), 3),
    "S8 no words": (link(18, common=1), 3),
    "S9 a sum that wraps": (link(18, common=0xFFFFFFFF, channel=1), 3),
    "S10 offset 4 GiB": (link(22, common=1, offset=0xFFFFFFF0, words=bytes(4)), 3),
    "S11 words in the message": (link(22, common=1, offset=4, words=bytes(4)), 3),
    "S14 channel 0": (link(22, kind=0, common=1, words=b"\x09\0\0\0"), 9),
    "S14 channel 255": (link(22, kind=255, common=1, words=b"\x09\0\0\0"), 9),
    "S15 a migration's main": (link(22, connection_id=0x1001, common=1, words=b"\x09\0\0\0"), 8),
    "no mini headers": (link(22, common=1, words=b"\x01\0\0\0"), 4),
}


@pytest.mark.parametrize(("said", "error"), WRONG_LINKS.values(), ids=WRONG_LINKS)
@pytest.mark.parametrize("way_in", ["websocket", "spice"])
def test_wire_S3_to_S15_links_that_cannot_be(proxy, machine, way_in, said, error):
    """The target is never contacted, though the token is good."""
    connections = machine.connections
    client = proxy.come(proxy.token(machine.port), way_in)
    client.send(said)
    if error is not None:
        assert link_error(client) == error
    assert client.until_close() == b""
    if way_in == "websocket":
        assert (client.close_code, client.close_reason) == (1002, CloseReason.PROTOCOL_ERROR.sentence)
    assert machine.connections == connections


@pytest.mark.parametrize("mechanism", [0, 2, 3, 0xFFFFFFFF])
@pytest.mark.parametrize("way_in", ["websocket", "spice"])
def test_wire_S19_another_login(proxy, machine, way_in, mechanism):
    token = proxy.token(machine.port)
    client = proxy.come(token, way_in)
    client.send(Link(client).asked.pack())
    reply = client.receive(16)
    client.receive(struct.unpack("<I", reply[12:])[0])
    client.send(struct.pack("<I", mechanism) + bytes(128))
    assert link_error(client) is LinkError.INVALID_DATA
    assert client.until_close() == b""


@pytest.mark.parametrize("half_closes", [False, True])
def test_wire_S1_S24_links_that_stop_halfway(proxy, machine, steady, half_closes):
    """Each is dropped in time, without a word."""
    whole = Link(None).asked.pack() + MECHANISM + bytes(128)
    stops = [1, 4, 15, 16, 20, len(whole) - 132, len(whole) - 128, len(whole) - 1]
    begun, clients = time.monotonic(), {}
    for number, way_in in enumerate(WAYS_IN):
        for stop in stops:
            source = f"127.{1 + half_closes}.{number}.{stop}"
            clients[source] = proxy.come(proxy.token(machine.port), way_in, source=source)
            clients[source].send(whole[:stop])
            if half_closes:
                clients[source].sock.shutdown(socket.SHUT_WR)
    for source, client in clients.items():
        client.until_close()
        client.sock.close()
        reason = "client-closed" if half_closes else "protocol-error"
        assert proxy.record(client=source)["close_reason"] == reason
    assert time.monotonic() - begun < HANDSHAKE_S + 10


def test_wire_S17_a_native_viewer_byte_by_byte(proxy, machine):
    token = proxy.token(machine.port)
    client = proxy.come(token, "spice")
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    send = client.send
    client.send = lambda data: [send(data[i : i + 1]) for i in range(len(data))]
    main = Link(client).open(token)
    assert main.hear()[0] == 103
    client.sock.close()


@pytest.mark.parametrize("way_in", ["websocket", "connect"])
def test_bytes_ahead_of_an_answer_are_not_kept(proxy, way_in, steady):
    """While the target has not answered: they end the visit, or wait outside."""
    with target(hear_out) as server:
        token = proxy.token(server.port)
        memory = proxy.memory_kib
        client = proxy.come(token, way_in)
        client.send(Link(client).asked.pack())
        client.sock.settimeout(0.5)
        with contextlib.suppress(OSError):
            while True:
                client.send(bytes(65536))
        assert proxy.memory_kib < memory + LITTLE_KIB
        client.sock.close()
        assert proxy.record(token)["close_reason"] in ("protocol-error", "target-unreachable", "client-closed")


GARBAGE = {
    "S28 4 GiB": struct.pack("<HI", 101, 0xFFFFFFFF),
    "S29 a full header": struct.pack("<QHII", 1, 101, 4, 0) + bytes(4),
    "S29 type 1000": struct.pack("<HI", 1000, 0),
    "S30 a list": message(8, struct.pack("<HI", 1, 0)),
    "noise": random.Random(1).randbytes(65536),
    "zeros": bytes(65536),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_wire_S28_S29_S30_garbage_on_a_channel_ends_that_channel(proxy, machine, garbage):
    token = proxy.token(machine.port)
    with proxy.view(token) as viewer:
        viewer.link((DISPLAY, 0))
        broken = viewer.link((INPUTS, 0))
        broken.peer.send(garbage)
        broken.peer.until_close()
        assert (broken.peer.close_code, broken.peer.close_reason) == (1002, CloseReason.PROTOCOL_ERROR.sentence)
        viewer.links[0].echo()
    assert proxy.record(token)["close_reason"] == "client-closed"


@pytest.mark.parametrize(
    "said",
    [
        message(107, bytes(2049)),
        message(107, struct.pack("<IIQI", 2, 6, 0, 0)),
        message(107, bytes(19)),
        *list(GARBAGE.values())[:4],
    ],
)
def test_wire_S31_what_breaks_main_ends_its_session(proxy, machine, said):
    token = proxy.token(machine.port)
    with proxy.view(token) as viewer:
        viewer.link()
        viewer.main.peer.send(said)
        viewer.main.peer.until_close()
        assert viewer.main.peer.close_code == 1002
        viewer.links[0].peer.until_close()
    assert proxy.record(token)["close_reason"] == "protocol-error"


def test_a_session_has_so_many_links(proxy, steady):
    """Those that say no more count too, until they are dropped in time, at the target as well."""
    with spice_target(password=PASSWORD) as (_, listening):
        token = proxy.token(listening.port)
        with proxy.view(token) as viewer:
            for number in range(55):
                viewer.link((DISPLAY, number))
            silent = [viewer.ask((DISPLAY, number)) for number in range(55, 63)]
            for one in silent:
                one.peer.send(one.asked.pack())
                assert one.peer.receive(20)[16:] == OK
            connections = listening.connections
            for number in range(63, 80):
                assert viewer.ask((DISPLAY, number)).refused() is LinkError.CHANNEL_NOT_AVAILABLE
            assert listening.connections == connections
            for one in silent:
                one.peer.until_close()
            assert viewer.ask((DISPLAY, 80)).open()
            viewer.links[0].echo()
        until(lambda: len(ended(proxy, token)) == 1 + 8 + 17, "all records")
        assert ended(proxy, token).count("limit") == 17
        assert len(proxy.record(token, close_reason="client-closed")["channels"]) == 57


def ended(proxy, token):
    """How visits of a token ended."""
    return [record["close_reason"] for record in proxy.records if record["token"] == hash_token(token)[:8]]


def test_many_viewers_at_once_with_one_token(proxy, steady):
    with spice_target(password=PASSWORD) as (_server, listening):
        token = proxy.token(listening.port)
        links = [Link(proxy.come(token)) for _ in range(40)]

        def outcome(link):
            try:
                link.open()
            except LinkRefused as refused:
                return refused.error
            return 0

        with ThreadPoolExecutor(len(links)) as pool:
            assert sorted(pool.map(outcome, links)) == [0] + [LinkError.PERMISSION_DENIED] * (len(links) - 1)
        assert listening.connections == 1
        for one in links:
            one.peer.sock.close()


def test_strangers_are_pushed_out_by_their_own_kind(tmp_path, machine):
    """With deadlines far away: at no stage without a good token are there more than may wait."""
    most = 40
    options = f"max_unauthenticated_per_source = {most}\nhandshake_timeout_s = 60\n"
    stages = [b"", b"RED", Link(None).asked.pack(), Link(None).asked.pack() + MECHANISM + bytes(127)]
    with spice_running(tmp_path, options) as proxy, bystander(proxy) as beside:
        token = proxy.token(machine.port)
        with proxy.view(token, "spice", source="127.0.0.9") as viewer:
            files, memory = proxy.open_files, proxy.memory_kib
            strangers = []
            for number in range(400):
                strangers.append(Socket(proxy.native_port, source="127.0.0.9"))
                strangers[-1].send(stages[number % len(stages)])
                if number % 100 == 0:
                    beside.is_served()
            until(lambda: proxy.open_files <= files + most + FEW_FILES, "those who are too many to be dropped")
            assert proxy.memory_kib < memory + LITTLE_KIB
            viewer.link()
            with proxy.view(proxy.token(machine.port), "spice", source="127.0.0.9") as another:
                another.link()
            for one in strangers:
                one.sock.close()
            until(lambda: proxy.open_files <= files + FEW_FILES, "all to be closed")
            assert {record["close_reason"] for record in proxy.records} >= {"limit", "client-closed"}


# Clients and targets that do not read


def flood(sent):
    """What a channel does that sends without end, and counts in `sent`."""
    piece = message(ECHOED, bytes(60_000)) * 4

    def script(sock):
        while True:
            sock.sendall(piece)
            sent[sock] = sent.get(sock, 0) + len(piece)

    return script


def stalled(sent, count):
    """Whether all of `count` senders have come to a halt."""
    if len(sent) < count:
        return False
    before = sum(sent.values())
    time.sleep(0.5)  # is the condition: nothing is sent for so long
    return sum(sent.values()) == before


@pytest.mark.parametrize("way_in", ["websocket", "spice"])
def test_a_client_that_does_not_read_stops_its_target(proxy, living, way_in, steady):
    sent, count = {}, 8
    with spice_target(password=PASSWORD, channel=flood(sent)) as (_, listening):
        token = proxy.token(listening.port)
        with proxy.view(token, way_in) as viewer:
            memory = proxy.memory_kib
            for number in range(count):
                viewer.links.append(viewer.ask((DISPLAY, number)).open(token))
            until(lambda: stalled(sent, count), "the target to be stopped")
            grown = proxy.memory_kib - memory
            assert grown < LITTLE_KIB
            living.is_served()


def test_main_closes_beside_a_client_that_does_not_read(proxy, steady):
    """The target is let go at once, and the client soon."""
    sent, gone = {}, threading.Event()

    def script(sock):
        with contextlib.suppress(OSError):
            flood(sent)(sock)
        gone.set()

    with spice_target(password=PASSWORD, channel=script, lets_channels_live=True) as (_, listening):
        token = proxy.token(listening.port)
        with proxy.view(token, "spice") as viewer:
            files = proxy.open_files
            viewer.links.append(viewer.ask((DISPLAY, 0)).open(token))
            until(lambda: stalled(sent, 1), "the target to be stopped")
            viewer.main.peer.sock.close()
            assert gone.wait(5)
            assert proxy.record(token)["channels"] == ["main", "display"]
            until(lambda: proxy.open_files < files, "all connections to be dropped", 10)


def test_clients_that_do_not_read_do_not_hold_a_shutdown_up(tmp_path):
    sent = {}
    with (
        spice_running(tmp_path, "drain_timeout_s = 1\n") as proxy,
        spice_target(password=PASSWORD, channel=flood(sent)) as (_, listening),
    ):
        token = proxy.token(listening.port)
        with proxy.view(token) as viewer:
            viewer.links.append(viewer.ask((DISPLAY, 0)).open())
            until(lambda: stalled(sent, 1), "the target to be stopped")
            begun = time.monotonic()
            assert proxy.stop() == 0
            assert time.monotonic() - begun < 10
        record = proxy.record(token)
        assert (record["close_reason"], record["channels"]) == ("shutdown", ["main", "display"])


def test_a_target_that_does_not_read_stops_its_client(proxy, living, steady):
    released = threading.Event()
    with spice_target(password=PASSWORD, channel=lambda _: released.wait(20)) as (_, listening):
        token = proxy.token(listening.port)
        with proxy.view(token, "spice") as viewer:
            memory = proxy.memory_kib
            inputs = viewer.ask((INPUTS, 0)).open(token)
            viewer.links.append(inputs)
            inputs.peer.sock.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                while True:
                    inputs.peer.send(message(ECHOED, bytes(2000)) * 100)
            assert proxy.memory_kib - memory < LITTLE_KIB
            living.is_served()
            released.set()


def test_a_flood_that_is_read_leaves_room_for_others(proxy, living, steady):
    sent = {}
    with spice_target(password=PASSWORD, channel=flood(sent)) as (_, listening):
        token = proxy.token(listening.port)
        with proxy.view(token, "spice") as viewer:
            memory = proxy.memory_kib
            for number in range(3):
                viewer.links.append(viewer.ask((DISPLAY, number)).open(token))
                threading.Thread(target=hear_out, args=(viewer.links[-1].peer.sock,), daemon=True).start()
            begun = time.monotonic()
            while time.monotonic() - begun < 1:
                living.is_served()
            assert proxy.memory_kib - memory < LITTLE_KIB
            assert sum(sent.values()) > 1 << 20


# Targets in the handshake


def hear_link(sock):
    header = take(sock, 16)
    take(sock, struct.unpack("<I", header[12:])[0])


def hear_out(sock):
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


def answering(*answers, then=hear_out):
    """A target that says `answers` after the link message, after the ticket, and then."""

    def script(sock):
        hear_link(sock)
        for number, answer in enumerate(answers):
            if number == 1:
                take(sock, 4 + 128)
            sock.sendall(answer)
        then(sock)

    return script


def endless(piece):
    def script(sock):
        while True:
            sock.sendall(piece)

    return script


def close_at_once(sock):
    return None


GOOD = LinkReply(0, KEY.public_key, SERVER_CAPS).pack()
HANDSHAKES = {
    "S25 reply of 2 GiB": (answering(b"REDQ" + struct.pack("<III", 2, 2, 1 << 31)), "protocol-error", 1),
    "S25 reply of 2 GiB that comes": (
        answering(b"REDQ" + struct.pack("<III", 2, 2, 1 << 31), then=endless(bytes(65536))), "protocol-error", 1),
    "S25 reply of 100": (answering(b"REDQ" + struct.pack("<III", 2, 2, 100) + bytes(100)), "protocol-error", 1),
    "S25 magic": (answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "protocol-error", 1),
    "RFB": (answering(b"RFB 003.008\n" + bytes(8)), "protocol-error", 1),
    "S25 a key of zeros": (answering(LinkReply(0, bytes(162), SERVER_CAPS).pack()), "protocol-error", 1),
    "S25 a key that is cut": (
        answering(LinkReply(0, b"\x30\x82\x01\x22" + os.urandom(158), SERVER_CAPS).pack()), "protocol-error", 1),
    "words outside": (answering(GOOD[:-12] + struct.pack("<I", 1 << 31) + bytes(8)), "protocol-error", 1),
    "no mini headers": (answering(LinkReply(0, KEY.public_key, Capabilities((3,), ())).pack()), "protocol-error", 1),
    "SASL alone": (answering(LinkReply(0, KEY.public_key, Capabilities((0xD,), ())).pack()), "target-auth-failed", 1),
    "error 9": (answering(LinkReply(9).pack()), "target-auth-failed", 9),
    "error 4 G": (answering(LinkReply(0xFFFFFFFF).pack()), "target-auth-failed", 1),
    "S26 result 7": (answering(GOOD, b"\7\0\0\0"), "target-auth-failed", 9),
    "S26 end after the ticket": (answering(GOOD, b"", then=close_at_once), "target-auth-failed", 1),
    "S27 a second reply": (answering(GOOD, LinkReply(3).pack()), "target-auth-failed", 1),
    "S27 a second reply of 2 GiB": (answering(GOOD, b"REDQ" + struct.pack("<III", 2, 2, 1 << 31)), "protocol-error", 1),
    "endless result": (answering(GOOD, b"", then=endless(b"\xff" * 65536)), "target-auth-failed", 1),
    "end": (close_at_once, "target-unreachable", 1),
    "end after half a reply": (answering(GOOD[:100], then=close_at_once), "target-unreachable", 1),
    "silence": (hear_out, "target-unreachable", 1),
    "silence after half a reply": (answering(GOOD[:100]), "target-unreachable", 1),
    "silence after the ticket": (answering(GOOD, b""), "target-unreachable", 1),
    "silence in the result": (answering(GOOD, b"\0\0\0"), "target-unreachable", 1),
}  # fmt: skip


def test_wire_S25_S26_S27_targets_that_break_the_handshake(proxy, living, steady):
    """All at once: each ends with its reason, and the client is told in SPICE, but never of a wrong password."""
    with contextlib.ExitStack() as stack:
        begun, asked = time.monotonic(), {}
        for name, (script, *_) in HANDSHAKES.items():
            token = proxy.token(stack.enter_context(target(script)).port)
            asked[name] = Link(proxy.come(token)), token
            asked[name][0].peer.send(asked[name][0].asked.pack())
        living.is_served()
        for name, (one, token) in asked.items():
            _, reason, error = HANDSHAKES[name]
            assert link_error(one.peer) == error, name
            one.peer.until_close()
            assert one.peer.close_reason == CloseReason(reason).sentence, name
            assert one.peer.close_code == 1011, name
            assert proxy.record(token)["close_reason"] == reason, name
            one.peer.sock.close()
        assert time.monotonic() - begun < HANDSHAKE_S + 10


def test_the_same_targets_and_native_viewers(proxy, steady):
    """Who has given a ticket hears of what its user could not change nothing but the end."""
    with contextlib.ExitStack() as stack:
        asked = {}
        for name, (script, *_) in HANDSHAKES.items():
            token = proxy.token(stack.enter_context(target(script)).port)
            asked[name] = Link(proxy.come(token, "spice")).give_ticket(token), token
        for name, (one, token) in asked.items():
            _, reason, _ = HANDSHAKES[name]
            assert one.peer.until_close() == b"", name
            assert proxy.record(token)["close_reason"] == reason, name
            one.peer.sock.close()


# Targets in a session


def saying(said, then=hear_out):
    return answering(GOOD, OK, b"", said, then=then)


INIT = main_init(0x1001)
SESSIONS = {
    "4 GiB": struct.pack("<HI", 105, 0xFFFFFFFF),
    "type 0": bytes(6),
    "type 1000": struct.pack("<HI", 1000, 0),
    "S30 a list": message(8, struct.pack("<HI", 1, 0)),
    "a session id of 0": main_init(0),
    "INIT of 31 bytes": message(103, bytes([1]) * 31),
    "INIT of 33 bytes": message(103, bytes([1]) * 33),
    "two sessions": INIT + main_init(0x1002),
    "S32 4 G channels": INIT + message(104, struct.pack("<I", 0xFFFFFFFF)),
    "S32 more than there are": INIT + message(104, struct.pack("<IBB", 2, 2, 0)),
    "S32 less than there are": INIT + message(104, struct.pack("<IBBBB", 1, 2, 0, 3, 0)),
    "S32 300 channels": INIT + message(104, struct.pack("<I", 300) + bytes(600)),
    "S33 no host": INIT + message(111, struct.pack("<HHIIII", 1, 2, 0, 20, 0, 0)),
    "S33 a host outside": INIT + message(111, struct.pack("<HHIIII", 1, 2, 5, 4096, 0, 0) + b"host\0"),
    "S33 no NUL": INIT + message(111, struct.pack("<HHIIII", 1, 2, 4, 20, 0, 0) + b"host"),
    "S31 AGENT_DATA of 2049": INIT + message(109, bytes(2049)),
}


@pytest.mark.parametrize("said", SESSIONS.values(), ids=SESSIONS)
def test_wire_S32_S33_targets_that_break_a_session(proxy, said):
    with target(saying(said)) as server:
        token = proxy.token(server.port)
        one = Link(proxy.come(token)).open()
        one.peer.until_close()
        assert (one.peer.close_code, one.peer.close_reason) == (1011, CloseReason.PROTOCOL_ERROR.sentence)
        record = proxy.record(token)
        assert (record["close_reason"], record["channels"]) == ("protocol-error", ["main"])


def test_zeros_without_end_after_a_good_result(proxy, steady):
    with target(saying(b"", then=endless(bytes(65536)))) as server:
        token = proxy.token(server.port)
        with contextlib.suppress(AssertionError):
            Link(proxy.come(token)).open()
        assert proxy.record(token)["close_reason"] == "protocol-error"


def test_a_message_whose_body_never_ends_is_held_by_nobody(proxy, living, steady):
    """An allowed size, in pieces: what came is passed on, and nothing waits for the rest."""

    def script(sock):
        hear_link(sock)
        sock.sendall(GOOD)
        take(sock, 132)
        sock.sendall(OK + INIT + struct.pack("<HI", 4, 200_000) + bytes(100_000))
        hear_out(sock)

    with target(script) as server:
        token = proxy.token(server.port)
        one = Link(proxy.come(token)).open()
        assert one.hear()[0] == 103
        assert len(one.peer.receive(6 + 100_000)) == 100_006
        one.peer.sock.close()
