"""`consoleproxy console create`: how the proxy may log in, and what sessions may do."""

import pytest

from rfbproxy.rfb.preference import SUBTYPE_WORDS, TYPE_WORDS
from tests.cli.commands import CREATE, command, grant_of


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("node1.example", "node1.example"), ("node1.example.", "node1.example."), ("192.0.2.9", "192.0.2.9"),
        ("[2001:db8::9]", "2001:db8::9"), ("2001:DB8:0::9", "2001:db8::9"), ("bücher.example", "bücher.example"),
    ],
)  # fmt: skip
def test_tls_name(store, name, kept):
    assert grant_of(store, store.console(*CREATE, "--tls-name", name)).tls_name == kept


@pytest.mark.parametrize("name", ["node1:5900", "", "1.2.3", "[node1]", "a/b"])
def test_what_is_no_tls_name(store, name):
    result = command(store, "console", *CREATE, "--tls-name", name)
    assert (result.returncode, result.stdout) == (1, "")
    assert "is neither a name nor an address" in result.stderr


@pytest.mark.parametrize(("word", "kept"), [("vencrypt", "vencrypt"), ("X509Plain", "x509plain"), ("ARD", "ard")])
def test_require_security(store, word, kept):
    assert grant_of(store, store.console(*CREATE, "--require-security", word)).require_security == kept


@pytest.mark.parametrize("word", ["share", "exclusive", "refuse"])
def test_one_time_and_share(store, word):
    grant = grant_of(store, store.console(*CREATE, "--one-time", "--share", word))
    assert (grant.one_time, grant.share) == (True, word)


def test_nothing_is_required_unless_it_is_said(store):
    grant = grant_of(store, store.console(*CREATE))
    assert (grant.tls_name, grant.require_security) == (None, None)


def test_the_words_of_require_security_are_in_its_help(store):
    printed = command(store, "console", "create", "--help").stdout
    for word in [*TYPE_WORDS, *SUBTYPE_WORDS]:
        assert word in printed
