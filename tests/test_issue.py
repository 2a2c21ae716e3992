"""What a console may ask for, by its type."""

import pytest

from rfbproxy.consoleauth import CONSOLE_TYPES, Grant, hash_token
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.token import SHARE_WORDS
from rfbproxy.errors import ConfigError
from rfbproxy.issue import ALLOWABLE_CHANNELS, SPICE_TYPES, Console, issue
from rfbproxy.secret import Secret

NOW = 1_700_000_000


@pytest.fixture
def store():
    opened = SqlStore("sqlite://")
    opened.open()
    yield opened
    opened.close()


def test_nova_T01_a_token_lives_for_its_time_and_only_its_hash_is_kept(store):
    made = issue(store, Console("novnc", "192.0.2.7", 5900), base="http://h/", ttl=10, now=NOW)
    (kept,) = store.list(NOW)
    assert kept.expires == NOW + 10
    assert kept.token_hash == hash_token(made.token.reveal())
    assert made.token.reveal() not in repr(kept)


def test_nova_T04_a_console_that_is_authorized_twice_has_two_tokens(store):
    """A deviation: nova raises ObjectActionError, for its object remembers its token, and ours does not."""
    console = Console("novnc", "192.0.2.7", 5900, instance="i")
    first, second = (issue(store, console, base="http://h/", ttl=10, now=NOW).token.reveal() for _ in range(2))
    assert first != second
    assert [store.find(token).instance_uuid for token in (first, second)] == ["i", "i"]


def test_nova_T04_any_instance_will_do(store):
    """A deviation: nova raises InstanceNotFound, for it knows the machines."""
    console = Console("novnc", "192.0.2.7", 5900, instance="of nobody")
    assert store.find(issue(store, console, base="http://h/", ttl=10, now=NOW).token.reveal()).port == 5900


def issued(store, console_type, **asked):
    path = asked.pop("internal_access_path", None)
    console = Console(console_type, "192.0.2.7", 5900, internal_access_path=path, grant=Grant(**asked))
    token = issue(store, console, base="http://h/", ttl=60, now=NOW).token
    return store.find(token.reveal()).grant


def refused(store, console_type, **asked):
    with pytest.raises(ConfigError) as raised:
        issued(store, console_type, **asked)
    assert store.list(NOW) == []
    return str(raised.value)


@pytest.mark.parametrize("console_type", SPICE_TYPES)
def test_a_spice_console_keeps_what_it_is_given(store, console_type):
    grant = issued(
        store,
        console_type,
        password=Secret("geheim"),
        host_subject=r"O=Lab\, Inc,CN=node1",
        allow_channels=("usbredir", "webdav", "usbredir"),
        tls_name="node1",
        idle_timeout_s=60,
    )
    assert grant.host_subject == r"O=Lab\, Inc,CN=node1"
    assert grant.allow_channels == ("usbredir", "webdav")
    assert (grant.password, grant.tls_name, grant.idle_timeout_s) == (Secret("geheim"), "node1", 60)


@pytest.mark.parametrize("console_type", CONSOLE_TYPES)
def test_nothing_is_granted_unless_it_is_said(store, console_type):
    grant = issued(store, console_type)
    assert (grant.host_subject, grant.allow_channels) == (None, None)


@pytest.mark.parametrize("console_type", SPICE_TYPES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("username", "admin"),
        ("internal_access_path", "/console"),
        ("require_security", "vencrypt"),
        ("allow_power", True),
    ],
)
def test_what_spice_has_no_use_for(store, console_type, name, value):
    assert refused(store, console_type, **{name: value}) == (
        f"{name} does not go with console type '{console_type}', but with VNC consoles alone"
    )


@pytest.mark.parametrize("console_type", [each for each in CONSOLE_TYPES if each not in SPICE_TYPES])
@pytest.mark.parametrize(("name", "value"), [("host_subject", "CN=a"), ("allow_channels", ("usbredir",))])
def test_what_vnc_has_no_use_for(store, console_type, name, value):
    assert refused(store, console_type, **{name: value}) == (
        f"{name} does not go with console type '{console_type}', but with SPICE consoles alone"
    )


def test_what_says_nothing_is_not_kept(store):
    said = {"idle_timeout_s": 0, "time_limit_s": 0, "allow_power": False, "one_time": False, "allow_channels": ()}
    assert issued(store, "novnc", **said) == Grant()


@pytest.mark.parametrize("word", SHARE_WORDS)
def test_share_and_one_time(store, word):
    grant = issued(store, "novnc", share=word, one_time=True)
    assert (grant.share, grant.one_time) == (word, True)


@pytest.mark.parametrize("name", ["share", "require_security"])
def test_a_word_that_is_none_of_the_options(store, name):
    assert refused(store, "novnc", **{name: "alone"}).startswith(f"{name}: 'alone' is not one of ")


@pytest.mark.parametrize(
    ("password", "why"), [("x" * 60, "longer than 59 bytes"), ("ü" * 30, "longer than 59"), ("hun\0ter", "NUL")]
)
def test_a_password_that_no_ticket_carries(store, password, why):
    told = refused(store, "spice-html5", password=Secret(password))
    assert why in told
    assert password not in told
    issued(store, "novnc", password=Secret(password))


def test_the_longest_password(store):
    assert issued(store, "spice-direct", password=Secret("x" * 59)).password


@pytest.mark.parametrize("subject", ["", "node1", r"CN=a\b"])
def test_a_malformed_host_subject(store, subject):
    assert refused(store, "spice-html5", host_subject=subject).startswith(f"host subject {subject!r}: ")


@pytest.mark.parametrize("word", ["main", "tunnel", "USBREDIR", ""])
def test_a_channel_that_cannot_be_allowed(store, word):
    assert refused(store, "spice-html5", allow_channels=("usbredir", word)) == (
        f"allow_channels: {word!r} is not one of record, smartcard, usbredir, port, webdav"
    )


def test_what_can_be_allowed():
    assert sorted(ALLOWABLE_CHANNELS) == ["port", "record", "smartcard", "usbredir", "webdav"]
