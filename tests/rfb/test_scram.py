import base64
import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.credentials import Credentials
from rfbproxy.rfb.scram import ScramClient, ScramServer, saslprep
from rfbproxy.secret import Secret

SHA_1, SHA_256 = "SCRAM-SHA-1", "SCRAM-SHA-256"
USER = Credentials("user", Secret("pencil"))
NONCE, SERVER_NONCE = b"fyko+d2lbbFgONRv9qkxdawL", b"3rfcNHYJY1ZVvWVs7j"
BOTH = NONCE + SERVER_NONCE
SALT = base64.b64decode("QSXCR+Q6sek8bf92")

RFC_5802 = (
    SHA_1,
    NONCE,
    SERVER_NONCE,
    SALT,
    [
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ],
)
RFC_7677 = (
    SHA_256,
    b"rOprNGfwEbeRWgbNEkqO",
    b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="),
    [
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ],
)
FIRST, CHALLENGE, FINAL, OUTCOME = RFC_5802[4]


def client(credentials=USER, mechanism=SHA_1):
    return ScramClient(mechanism, credentials, NONCE)


def server(credentials=USER, mechanism=SHA_1, iterations=4096):
    return ScramServer(mechanism, credentials, SERVER_NONCE, SALT, iterations)


def answered():
    machine = client()
    machine.answer(CHALLENGE)
    return machine


def challenged():
    machine = server()
    machine.challenge(FIRST)
    return machine


def log_in(asking, asked, mechanism=SHA_256):
    one, other = client(asking, mechanism), server(asked, mechanism)
    one.check(other.verdict(one.answer(other.challenge(one.first()))))


@pytest.mark.parametrize(("mechanism", "nonce", "server_nonce", "salt", "messages"), [RFC_5802, RFC_7677])
def test_the_examples_of_the_rfcs(mechanism, nonce, server_nonce, salt, messages):
    first, challenge, final, outcome = messages
    one = ScramClient(mechanism, USER, nonce)
    assert one.first() == first
    assert one.answer(challenge) == final
    one.check(outcome)
    other = ScramServer(mechanism, USER, server_nonce, salt)
    assert other.challenge(first) == challenge
    assert other.verdict(final) == outcome


@pytest.mark.parametrize("mechanism", [SHA_1, SHA_256])
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("user", ""),  # an empty password is a password
        ("a=b,c", "x=,y"),
        ("=2C=3D", "pencil"),
        ("Jürgen", "größer"),
        ("пользователь", "пароль"),
        ("אבג", "סיסמה"),
        ("user", "two\nlines"),  # SASLprep allows no control characters
        ("user", "🙂"),  # nor what Unicode 3.2 does not have
    ],
)
def test_both_halves_agree(mechanism, name, password):
    credentials = Credentials(name, Secret(password))
    log_in(credentials, credentials, mechanism)


def test_names_are_escaped():
    assert client(Credentials("a=b,c", Secret(""))).first() == b"n,,n=a=3Db=2Cc,r=" + NONCE


def test_different_spellings_of_one_password():
    log_in(Credentials("user", Secret("\uff21\u00a0\u00adb")), Credentials("user", Secret("A b")))


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),  # RFC 4013 section 3, example 1
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0007", "\u0007"),  # prohibited, so as it is
        ("\u0627\u0031", "\u0627\u0031"),  # bidirectional, so as it is
        ("\u06271\u0628", "\u06271\u0628"),
        ("\u0627a\u0628\u00ad", "\u0627a\u0628\u00ad"),
        ("\u00ad", "\u00ad"),  # of which nothing would be left
        ("a\u00a0b", "a b"),
        ("", ""),
    ],
)
def test_saslprep(text, prepared):
    assert saslprep(text) == prepared


@pytest.mark.parametrize("mechanism", [SHA_1, SHA_256])
@pytest.mark.parametrize(
    "wrong",
    [
        Credentials("user", Secret("pencil ")),
        Credentials("user", Secret("")),
        Credentials("User", Secret("pencil")),
        Credentials("root", Secret("pencil")),
    ],
)
def test_a_wrong_name_fails_where_a_wrong_password_does(mechanism, wrong):
    with pytest.raises(SecurityFailure, match="wrong user name or password"):
        log_in(wrong, USER, mechanism)


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (Credentials(), "holds no user name, which SCRAM-SHA-1 needs"),
        (Credentials("", Secret("x")), "holds no user name"),
        (Credentials("user"), "holds no password, which SCRAM-SHA-1 needs"),
        (Credentials("user", Secret("swordfish\0")), "password contains a NUL"),
        (Credentials("us\0er", Secret("")), "user name contains a NUL"),
        (Credentials("user", Secret("swordfish" * 200)), "password is longer than the 1024 bytes"),
        (Credentials("user", Secret("swordfish\ud800")), "password holds half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("half", [client, server])
def test_credentials_that_cannot_be_used(half, credentials, told):
    with pytest.raises(SecurityFailure, match=told) as raised:
        half(credentials)
    assert "swordfish" not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"r=%b" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=0" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=04096" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=+4096" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=-1" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=4_096" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=%b" % (BOTH, b"9" * 5000),  # int() itself refuses so many digits
        b"r=%b,s=QSXCR+Q6sek8bf92,i=4096," % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=4096,x" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=4096,x=" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=4096,1=a" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=4096\n" % BOTH,
        b"r=%b,s=QSXCR+Q6sek8bf92,i=4096\0" % BOTH,
        b"r=%b,i=4096,s=QSXCR+Q6sek8bf92" % BOTH,
        b"s=QSXCR+Q6sek8bf92,r=%b,i=4096" % BOTH,
        b"r=%b,s=,i=4096" % BOTH,
        b"r=%b,s=QSXCR,i=4096" % BOTH,  # base64 that ends too soon
        b"r=%b,s=QSX=CR+Q,i=4096" % BOTH,
        b"r=%b,s=QSXC====,i=4096" % BOTH,
        b"r=%b s,s=QSXCR+Q6sek8bf92,i=4096" % BOTH,
        b"r=%b\xff,s=QSXCR+Q6sek8bf92,i=4096" % BOTH,
    ],
)
def test_a_malformed_challenge(challenge):
    with pytest.raises(RemoteProtocolError, match="RFC 5802") as raised:
        client().answer(challenge)
    assert not isinstance(raised.value, SecurityFailure)


@pytest.mark.parametrize("nonce", [NONCE, NONCE[:-1] + b"X" + SERVER_NONCE, NONCE[:-1], SERVER_NONCE, b"x" + BOTH])
def test_a_nonce_that_does_not_extend_ours(nonce):
    with pytest.raises(RemoteProtocolError, match="does not extend"):
        client().answer(b"r=%b,s=QSXCR+Q6sek8bf92,i=4096" % nonce)


@pytest.mark.parametrize("count", [1, 4095, 100_001, 4_294_967_296, 9_999_999_999])
def test_work_is_bounded_before_it_is_done(count):
    """From below too: a false server, which can choose the salt, would try passwords cheaply."""
    with pytest.raises(SecurityFailure, match=f"asks for {count} SCRAM iterations, allowed are 4096 to 100000"):
        client().answer(b"r=%b,s=QSXCR+Q6sek8bf92,i=%d" % (BOTH, count))


@pytest.mark.parametrize("count", [4096, 100_000])
def test_as_much_work_as_is_allowed(count):
    assert client().answer(b"r=%b,s=QSXCR+Q6sek8bf92,i=%d" % (BOTH, count)).startswith(b"c=biws,r=")


def test_a_salt_is_bounded():
    longest = base64.b64encode(bytes(256))
    assert client().answer(b"r=%b,s=%b,i=4096" % (BOTH, longest))
    with pytest.raises(RemoteProtocolError, match="salt is 257 bytes long, allowed are 256"):
        client().answer(b"r=%b,s=%b,i=4096" % (BOTH, base64.b64encode(bytes(257))))


def test_optional_extensions_are_passed_over_and_proved():
    one, other = client(), server()
    first = one.first() + b",x=y,z=a=b"
    challenge = other.challenge(first)
    assert challenge == CHALLENGE
    extended = client().answer(CHALLENGE + b",x=y")
    assert extended != FINAL
    with pytest.raises(SecurityFailure):  # the proof is over all that was said
        challenged().verdict(extended)


@pytest.mark.parametrize("challenge", [b"m=x," + CHALLENGE, CHALLENGE + b",m=x", b"r=%b,m=x,s=QQ==,i=1" % BOTH])
def test_a_mandatory_extension_in_a_challenge(challenge):
    with pytest.raises(RemoteProtocolError, match="demands an extension"):
        client().answer(challenge)


def test_a_mandatory_extension_elsewhere():
    with pytest.raises(RemoteProtocolError, match="demands an extension"):
        answered().check(OUTCOME + b",m=x")
    with pytest.raises(RemoteProtocolError, match="demands an extension"):
        server().challenge(b"n,,m=x,n=user,r=abc")
    with pytest.raises(RemoteProtocolError, match="demands an extension"):
        challenged().verdict(b"c=biws,r=%b,m=x,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" % BOTH)


@pytest.mark.parametrize(
    "outcome",
    [
        b"",
        b"v=",
        b"e=",
        b"v",
        b"x=y",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsK=",
        b"v=a",
        OUTCOME + b"\0",
        OUTCOME + b",",
        b"\xff",
    ],
)
def test_a_malformed_outcome(outcome):
    with pytest.raises(RemoteProtocolError) as raised:
        answered().check(outcome)
    assert not isinstance(raised.value, SecurityFailure)


@pytest.mark.parametrize("outcome", [b"v=AAAA", b"v=smF9pqV8S7suAoZWja4dJRkFsKQ=", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQA"])
def test_a_server_that_does_not_know_the_password(outcome):
    with pytest.raises(SecurityFailure, match="does not prove that it knows the password"):
        answered().check(outcome)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (b"e=invalid-proof", "'invalid-proof'"),
        (b"e=other-error,x=y", "'other-error'"),
        (b"e=\x1b[31m\r\n\xc3\xb6", r"'\x1b[31m\r\n\xc3\xb6'"),
        (b"e=" + b"x" * 5000, "'" + "x" * 256 + "'"),
    ],
)
def test_a_server_that_refuses(outcome, told):
    with pytest.raises(SecurityFailure) as raised:
        answered().check(outcome)
    assert str(raised.value) == f"target refuses the login: {told}"


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n=user,r=abc",
        b"n,,n=user",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=us=3,r=abc",
        b"n,,n=us\0er,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,,n=\xed\xa0\x80,r=abc",  # half a surrogate pair
        b"n,,r=abc,n=user",
        b"n,a=root,n=user,r=abc",  # another identity
        b"p=tls-unique,,n=user,r=abc",  # channel binding
        b"x,,n=user,r=abc",
        b"N,,n=user,r=abc",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc\0",
    ],
)
def test_a_malformed_first_message(first):
    with pytest.raises(RemoteProtocolError, match="RFC 5802") as raised:
        server().challenge(first)
    assert not isinstance(raised.value, SecurityFailure)


def test_a_client_that_would_bind_to_a_channel():
    """`y`: it could, and believes that the server cannot, which is right (RFC 5802 section 6)."""
    other = server()
    challenge = other.challenge(b"y,," + FIRST[3:])
    assert challenge.startswith(b"r=" + BOTH)
    with pytest.raises(RemoteProtocolError, match="another login"):
        other.verdict(FINAL)
    with pytest.raises(SecurityFailure):  # the header is right; this proof was made with `n`
        other.verdict(FINAL.replace(b"c=biws", b"c=" + base64.b64encode(b"y,,")))


@pytest.mark.parametrize(
    "final",
    [
        b"",
        b"c=biws,r=%b" % BOTH,
        b"c=biws,r=%b,p=" % BOTH,
        b"c=biws,r=%b,p=v" % BOTH,
        b"c=,r=%b,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" % BOTH,
        b"c=bi,r=%b,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" % BOTH,
        b"c=eSws,r=%b,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" % BOTH,  # y,,
        b"c=biws,r=%b,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" % NONCE,
        b"c=biws,r=%bX,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" % BOTH,
        b"c=biws,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=,r=%b" % BOTH,
        FINAL + b",x=y",  # the proof comes last
        FINAL + b"\0",
    ],
)
def test_a_malformed_final_message(final):
    with pytest.raises(RemoteProtocolError, match="RFC 5802") as raised:
        challenged().verdict(final)
    assert not isinstance(raised.value, SecurityFailure)


@pytest.mark.parametrize("proof", [b"AAAA", b"v0X8v3Bz2T0CJGbJQyF0X+HI4TsA", b"w0X8v3Bz2T0CJGbJQyF0X+HI4Ts="])
def test_a_wrong_proof(proof):
    with pytest.raises(SecurityFailure, match="wrong user name or password"):
        challenged().verdict(b"c=biws,r=%b,p=%b" % (BOTH, proof))


def test_messages_in_their_order():
    with pytest.raises(LocalProtocolError):
        client().check(OUTCOME)
    with pytest.raises(LocalProtocolError):
        server().verdict(FINAL)


@pytest.mark.parametrize("half", [client, server])
def test_no_secret_in_what_is_told(half):
    assert "pencil" not in repr(half()) + repr(USER)


def raises_nothing_else(call, *arguments):
    with contextlib.suppress(RemoteProtocolError):
        call(*arguments)


MESSAGES = st.one_of(
    st.binary(max_size=80),
    st.text(alphabet="nyrsicpvem=,0123456789AZaz+/\n\0ü", max_size=60).map(str.encode),
    st.tuples(st.sampled_from([FIRST, CHALLENGE, FINAL, OUTCOME]), st.integers(0, 90), st.binary(max_size=3)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + 1 :]
    ),
)


@settings(max_examples=400)
@given(MESSAGES)
@example(b"n,,n=\xed\xa0\x80,r=abc")
def test_random_bytes_raise_nothing_else(message):
    raises_nothing_else(client().answer, message)
    raises_nothing_else(answered().check, message)
    raises_nothing_else(server().challenge, message)
    raises_nothing_else(challenged().verdict, message)


@given(st.text(max_size=20))
def test_saslprep_changes_nothing_twice(text):
    assert saslprep(saslprep(text)) == saslprep(text)
