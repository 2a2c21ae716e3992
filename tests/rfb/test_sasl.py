from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import NothingInCommon, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.credentials import Credentials
from rfbproxy.rfb.sasl import MECHANISMS, sasl_client, sasl_server
from rfbproxy.rfb.scram import ScramClient, ScramServer
from rfbproxy.secret import Secret
from rfbproxy.wire import Conversation, EndOfStream
from tests.cuts import run

SHA_256, SHA_1, PLAIN = MECHANISMS
USER = Credentials("user", Secret("swordfish"))
COMPLETE, MORE = b"\x01", b"\x00"
NOTHING = b"\x00\x00\x00\x00"  # no data
EMPTY = b"\x00\x00\x00\x01\x00"  # empty data


def fixed(size):
    return bytes(range(size))


NONCE = b64encode(fixed(18))
SALT = fixed(16)


def counted(data):
    return len(data).to_bytes(4, "big") + data


def data(data):
    return counted(data + b"\0")


class Client(Conversation):
    def __init__(self, credentials=USER, *, encrypted=True):
        self.arguments = credentials, encrypted
        super().__init__()

    def _converse(self):
        credentials, encrypted = self.arguments
        self._event((yield from sasl_client(self._reader, self._send, credentials, encrypted=encrypted, random=fixed)))


class Server(Conversation):
    def __init__(self, credentials=USER, *, mechanisms=MECHANISMS):
        self.arguments = credentials, mechanisms
        super().__init__()

    def _converse(self):
        credentials, mechanisms = self.arguments
        self._event(
            (yield from sasl_server(self._reader, self._send, credentials, mechanisms=mechanisms, random=fixed))
        )


def exchange(mechanism, credentials=USER):
    """What SCRAM's two sides say to each other here."""
    client, server = ScramClient(mechanism, credentials, NONCE), ScramServer(mechanism, credentials, NONCE, SALT)
    first = client.first()
    challenge = server.challenge(first)
    final = client.answer(challenge)
    return first, challenge, final, server.verdict(final)


FIRST, CHALLENGE, FINAL, OUTCOME = exchange(SHA_256)


def to_the_challenge(challenge=CHALLENGE, mechlist=b"SCRAM-SHA-256"):
    return (
        counted(mechlist)  # mechlist
        + data(challenge)  # data
        + MORE  # complete
    )


@pytest.mark.parametrize("mechanism", [SHA_256, SHA_1])
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_client_by_scram(mechanism, encrypted):
    first, challenge, final, outcome = exchange(mechanism)
    said = to_the_challenge(challenge, mechanism.encode()) + data(outcome) + COMPLETE
    ran = run(lambda: Client(encrypted=encrypted), said, trailing=b"\x00\x00\x00\x00")
    assert ran.events == (mechanism,)
    assert ran.sent == (
        counted(mechanism.encode())  # mechname
        + data(first)
        + data(final)
    )


@pytest.mark.parametrize("mechanism", [SHA_256, SHA_1])
def test_a_server_that_ends_after_its_last_word_is_answered(mechanism):
    first, challenge, final, outcome = exchange(mechanism)
    said = (
        to_the_challenge(challenge, mechanism.encode())
        + data(outcome)
        + MORE
        + NOTHING  # the answer to an empty message
        + COMPLETE
    )
    ran = run(Client, said, trailing=b"\x00\x00\x00\x00")
    assert ran.events == (mechanism,)
    assert ran.sent == counted(mechanism.encode()) + data(first) + data(final) + NOTHING


def test_a_client_by_plain():
    said = counted(b"GSSAPI,PLAIN,ANONYMOUS") + NOTHING + COMPLETE
    ran = run(Client, said, trailing=b"\x00\x00\x00\x00")
    assert ran.events == ("PLAIN",)
    assert ran.sent == (
        b"\x00\x00\x00\x05PLAIN"  # mechname
        b"\x00\x00\x00\x10"  # 15 bytes and their NUL
        b"\0user\0swordfish"  # no authzid, authcid, passwd
        b"\0"
    )


@pytest.mark.parametrize(
    ("mechlist", "encrypted", "chosen"),
    [
        (b"PLAIN,SCRAM-SHA-1,SCRAM-SHA-256", True, SHA_256),  # our order, never the target's
        (b"PLAIN,SCRAM-SHA-1,SCRAM-SHA-512", True, SHA_1),
        (b"PLAIN,SCRAM-SHA-1", False, SHA_1),
        (b"SCRAM-SHA-256-PLUS,PLAIN", True, PLAIN),  # a name is the whole name
        (b",,PLAIN,PLAIN", True, PLAIN),
        (b"x" * 294 + b",PLAIN", True, PLAIN),
    ],
)
def test_the_best_mechanism_is_chosen(mechlist, encrypted, chosen):
    ran = run(lambda: Client(encrypted=encrypted), counted(mechlist))
    assert ran.sent.startswith(counted(chosen.encode()))
    assert ran.error is None


@pytest.mark.parametrize(
    ("mechlist", "encrypted", "told"),
    [
        (b"GSSAPI", True, "'GSSAPI', allowed are [SCRAM-SHA-256, SCRAM-SHA-1, PLAIN]"),
        (b"PLAIN,GSSAPI", False, "'PLAIN,GSSAPI', allowed are [SCRAM-SHA-256, SCRAM-SHA-1]; PLAIN takes TLS"),
        (b"plain", True, "'plain'"),
        (b"PLAINX", True, "'PLAINX'"),
        (b"\x1b[31m\r\n\xff", True, r"'\x1b[31m\r\n\xff'"),
    ],
)
def test_no_mechanism_in_common(mechlist, encrypted, told):
    ran = run(lambda: Client(encrypted=encrypted), counted(mechlist))
    assert ran.error[0] is NothingInCommon
    assert f"target offers SASL mechanisms {told}" in ran.error[1]
    assert ran.sent == b""


@pytest.mark.parametrize("length", [0, 301, 2 << 20, 0xFFFFFFFF])
def test_wire_R21_a_mechanism_list_of_nothing_or_of_too_much(length):
    ran = run(Client, length.to_bytes(4, "big"))  # judged by its length alone
    assert ran.error == (
        RemoteProtocolError,
        f"target's SASL mechanism list is {length} bytes long, allowed are 1..300",
    )
    assert ran.sent == b""


@pytest.mark.parametrize(
    ("credentials", "lacking"),
    [(Credentials(), "user name"), (Credentials("user"), "password"), (Credentials(password=Secret("x")), "user name")],
)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_both_name_and_password_are_needed(mechanism, credentials, lacking):
    ran = run(lambda: Client(credentials), counted(mechanism.encode()))
    assert ran.error == (SecurityFailure, f"the token holds no {lacking}, which {mechanism} needs")
    assert ran.sent == b""


@pytest.mark.parametrize(
    "said",
    [
        counted(b"PLAIN"),
        counted(b"PLAIN") + NOTHING,
        counted(b"SCRAM-SHA-256"),  # QEMU closes so, without a word
        counted(b"SCRAM-SHA-256") + b"\x00\x00",
        to_the_challenge()[:-3],
        to_the_challenge()[:-1],
        to_the_challenge(),
        to_the_challenge() + data(OUTCOME),
        to_the_challenge() + data(OUTCOME) + MORE,
        to_the_challenge() + data(OUTCOME) + MORE + NOTHING,
    ],
)
def test_closing_is_an_answer_to_a_login(said):
    ran = run(Client, said, eof=True)
    mechanism = "PLAIN" if said.endswith((b"PLAIN", NOTHING)) and b"SCRAM" not in said else "SCRAM-SHA-256"
    assert ran.error == (SecurityFailure, f"target closed instead of answering the login by SASL {mechanism}")


@pytest.mark.parametrize("said", [b"", b"\x00\x00", counted(b"PLAIN")[:-1]])
def test_but_before_it_there_was_nothing_to_answer(said):
    assert run(Client, said, eof=True).error[0] is EndOfStream


@pytest.mark.parametrize(
    "said",
    [
        counted(b"SCRAM-SHA-256") + NOTHING + COMPLETE,
        counted(b"SCRAM-SHA-256") + EMPTY + COMPLETE,
        to_the_challenge()[:-1] + COMPLETE,
        counted(b"SCRAM-SHA-256") + data(OUTCOME) + COMPLETE,
        to_the_challenge() + data(b"v=" + b64encode(bytes(32))) + COMPLETE,
        to_the_challenge() + data(b"v=" + b64encode(bytes(32))) + MORE,
    ],
)
def test_a_target_that_has_not_proved_itself_is_not_believed(said):
    ran = run(Client, said + NOTHING + COMPLETE + b"\x00\x00\x00\x00")
    assert ran.error[0] is SecurityFailure
    assert "prove" in ran.error[1]
    assert ran.events == ()


@pytest.mark.parametrize("end", [COMPLETE, MORE])
def test_nor_one_that_says_nothing_last(end):
    for nothing in (NOTHING, EMPTY):
        ran = run(Client, to_the_challenge() + nothing + end)
        assert ran.error == (RemoteProtocolError, "target's SCRAM outcome is malformed (RFC 5802 section 7)")


@pytest.mark.parametrize("end", [COMPLETE, MORE])
def test_a_target_that_says_why_it_refuses(end):
    ran = run(Client, to_the_challenge() + data(b"e=unknown-user") + end)
    assert ran.error == (SecurityFailure, "target refuses the login: 'unknown-user'")


@pytest.mark.parametrize(
    "said",
    [
        counted(b"PLAIN") + NOTHING + MORE,
        counted(b"PLAIN") + EMPTY + COMPLETE,
        counted(b"PLAIN") + data(b"hello") + COMPLETE,
        counted(b"PLAIN") + NOTHING + b"\x02",
        counted(b"PLAIN") + b"\x00\x00\x00\x02ab" + COMPLETE,  # no NUL
        counted(b"PLAIN") + b"\x00\x01\x00\x01",  # data of 65537 bytes
        counted(b"PLAIN") + b"\xff\xff\xff\xff",
        counted(b"SCRAM-SHA-1") + NOTHING + MORE,
        counted(b"SCRAM-SHA-1") + EMPTY + MORE,
        counted(b"SCRAM-SHA-1") + data(b"r=other,s=QQ==,i=4096") + MORE,
        to_the_challenge()[:-1] + b"\xff",
        to_the_challenge() + b"\x00\x10\x00\x00",  # 1 MiB, which QEMU would take
        to_the_challenge() + data(OUTCOME) + b"\x02",
        to_the_challenge() + data(OUTCOME) + MORE + NOTHING + MORE,
        to_the_challenge() + data(OUTCOME) + MORE + EMPTY + COMPLETE,
        to_the_challenge() + data(OUTCOME) + MORE + data(OUTCOME) + COMPLETE,
    ],
)
def test_a_target_that_breaks_the_protocol(said):
    ran = run(Client, said)
    assert ran.error[0] is RemoteProtocolError
    assert ran.events == ()


OFFER = counted(b"SCRAM-SHA-256,SCRAM-SHA-1,PLAIN")


@pytest.mark.parametrize("mechanism", [SHA_256, SHA_1])
def test_a_server_by_scram(mechanism):
    first, challenge, final, outcome = exchange(mechanism)
    ran = run(Server, counted(mechanism.encode()) + data(first) + data(final), trailing=b"\x01")
    assert ran.events == (mechanism,)
    assert ran.sent == OFFER + data(challenge) + MORE + data(outcome) + COMPLETE


@pytest.mark.parametrize("identity", [b"", b"user"])
def test_a_server_by_plain(identity):
    ran = run(Server, counted(b"PLAIN") + data(identity + b"\0user\0swordfish"), trailing=b"\x01")
    assert ran.events == ("PLAIN",)
    assert ran.sent == OFFER + NOTHING + COMPLETE


def test_a_client_that_wants_to_be_asked():
    ran = run(Server, counted(b"PLAIN") + NOTHING + data(b"\0user\0swordfish"))
    assert ran.events == ("PLAIN",)
    assert ran.sent == OFFER + NOTHING + MORE + NOTHING + COMPLETE


@pytest.mark.parametrize(
    "said",
    [b"\0user\0swordfisH", b"\0user\0", b"\0User\0swordfish", b"\0\0swordfish", b"root\0user\0swordfish"],
)
def test_a_wrong_name_or_password_by_plain(said):
    ran = run(Server, counted(b"PLAIN") + data(said))
    assert ran.error == (SecurityFailure, "client gives a wrong user name or password")
    assert ran.sent == OFFER  # QEMU closes, too


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("wrong", [Credentials("user", Secret("x")), Credentials("root", Secret("swordfish"))])
def test_a_wrong_name_or_password_back_to_back(mechanism, wrong):
    client, server = Client(wrong), Server(mechanisms=[mechanism])
    with pytest.raises(SecurityFailure, match="wrong user name or password"):
        talk(client, server)
    assert server.data_to_send() == b""
    with pytest.raises(SecurityFailure, match="closed instead of answering"):
        client.receive_eof()


def talk(client, server):
    """Let both speak, one byte at a time, until neither has a word to say."""
    events = []
    while said := server.data_to_send():
        for byte in said:
            events += client.receive_data(bytes([byte]))
        for byte in client.data_to_send():
            events += server.receive_data(bytes([byte]))
    return events


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("credentials", [USER, Credentials("Jür=gen,", Secret("größer 🙂"))])
def test_back_to_back(mechanism, credentials):
    client, server = Client(credentials), Server(credentials, mechanisms=["GSSAPI", mechanism])
    assert talk(client, server) == [mechanism, mechanism]
    assert client.finished
    assert server.finished


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"\x00\x00\x00\x00", "mechanism is 0 bytes long"),
        (b"\x00\x00\x00\x65", "mechanism is 101 bytes long"),
        (b"\xff\xff\xff\xff", "mechanism is 4294967295 bytes long"),
        (counted(b"GSSAPI"), "'GSSAPI', offered are [SCRAM-SHA-256, SCRAM-SHA-1, PLAIN]"),
        (counted(b"SCRAM-SHA-1,PLAIN"), "'SCRAM-SHA-1,PLAIN'"),
        (counted(b"PLAIN\0"), r"'PLAIN\x00'"),
        (counted(b"\x1b\xff"), r"'\x1b\xff'"),
        (counted(b"PLAIN") + b"\x00\x01\x00\x01", "client's SASL data is 65537 bytes long, allowed are 65536"),
        (counted(b"PLAIN") + b"\x00\x00\x00\x01x", "does not end with a NUL"),
        (counted(b"PLAIN") + EMPTY, "has 1 parts"),
        (counted(b"PLAIN") + NOTHING + NOTHING, "has 1 parts"),
        (counted(b"PLAIN") + data(b"user\0swordfish"), "has 2 parts"),
        (counted(b"PLAIN") + data(b"\0user\0sword\0fish"), "has 4 parts"),
        (counted(b"SCRAM-SHA-1") + EMPTY, "first SCRAM message is malformed"),
        (counted(b"SCRAM-SHA-256") + data(FIRST) + NOTHING, "final SCRAM message is malformed"),
    ],
)
def test_a_client_that_breaks_the_protocol(said, told):
    ran = run(Server, said)
    assert ran.error[0] is RemoteProtocolError
    assert told in ran.error[1]
    assert "swordfish" not in ran.error[1]


@pytest.mark.parametrize(
    "said", [b"", b"\x00", counted(b"PLAIN"), counted(b"PLAIN") + NOTHING, counted(b"SCRAM-SHA-256") + data(FIRST)]
)
def test_a_client_that_closes(said):
    assert run(Server, said, eof=True).error[0] is EndOfStream


def test_only_what_is_offered_may_be_chosen():
    ran = run(lambda: Server(mechanisms=[SHA_256]), counted(b"PLAIN"))
    assert ran.sent == counted(b"SCRAM-SHA-256")
    assert "offered are [SCRAM-SHA-256]" in ran.error[1]


@given(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"",
            counted(b"PLAIN"),
            counted(b"SCRAM-SHA-256"),
            to_the_challenge()[:-1],
            to_the_challenge(),
            to_the_challenge() + data(OUTCOME) + MORE,
            to_the_challenge() + b"\x00\x00\x00\x10",
        ]
    ),
    st.booleans(),
)
def test_a_client_fed_random_bytes_raises_nothing_else(noise, before, encrypted):
    ran = run(lambda: Client(encrypted=encrypted), before + noise, eof=True)
    assert ran.error is None or issubclass(ran.error[0], RemoteProtocolError)
    assert "swordfish" not in str(ran.error)


@given(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"",
            counted(b"PLAIN"),
            counted(b"PLAIN") + NOTHING,
            counted(b"PLAIN") + b"\x00\x00\x00\x10",
            counted(b"SCRAM-SHA-256") + data(FIRST),
            counted(b"SCRAM-SHA-256") + data(FIRST) + b"\x00\x00\x00\x10",
        ]
    ),
)
def test_a_server_fed_random_bytes_raises_nothing_else(noise, before):
    ran = run(Server, before + noise, eof=True)
    assert ran.error is None or issubclass(ran.error[0], RemoteProtocolError)
