"""What may be used, in the operator's order, as two options and a token's requirement say it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.rfb import Credentials, Preference, SecurityType, VeNCryptSubtype
from rfbproxy.rfb.preference import SUBTYPE_WORDS, TYPE_WORDS, satisfies
from rfbproxy.secret import Secret

NONE, VNC, SASL = SecurityType.NONE, SecurityType.VNC_AUTHENTICATION, SecurityType.SASL
ARD, MSLOGON2, VENCRYPT = SecurityType.APPLE_DH, SecurityType.MSLOGON2, SecurityType.VENCRYPT
X509_NONE, X509_VNC, X509_PLAIN = VeNCryptSubtype.X509_NONE, VeNCryptSubtype.X509_VNC, VeNCryptSubtype.X509_PLAIN
NOBODY = Credentials()
PASSWORD = Credentials(None, Secret("swordfish"))
USER = Credentials("user", Secret("swordfish"))
NAME = Credentials("user", None)
EVERYTHING = Preference.of_words(TYPE_WORDS, SUBTYPE_WORDS)


def test_the_words_of_nova_mean_what_they_mean_there():
    """nova_R12: `none` and `vencrypt` are its two."""
    assert Preference.of_words(["none", "vencrypt"], []).types == (SecurityType(1), SecurityType(19))


def test_every_word():
    assert TYPE_WORDS == {"vencrypt": 19, "sasl": 20, "vnc": 2, "ard": 30, "mslogon2": 113, "none": 1}
    assert SUBTYPE_WORDS == {
        "plain": 256, "tlsnone": 257, "tlsvnc": 258, "tlsplain": 259, "x509none": 260, "x509vnc": 261,
        "x509plain": 262, "x509sasl": 263, "tlssasl": 264,
    }  # fmt: skip


def test_no_word_means_two_things():
    assert not TYPE_WORDS.keys() & SUBTYPE_WORDS.keys()


@pytest.mark.parametrize("words", [["VeNCrypt", "NONE"], ["vencrypt", "none", "vencrypt", "None"]])
def test_case_and_repetition_mean_nothing(words):
    assert Preference.of_words(words, ["X509none", "x509NONE"]) == Preference((VENCRYPT, NONE), (X509_NONE,))


@pytest.mark.parametrize("words", list(itertools.permutations(["vencrypt", "vnc", "none"])))
def test_the_order_is_the_operators(words):
    preference = Preference.of_words(words, ["x509none"])
    for offered in itertools.permutations([1, 2, 19, 200]):
        assert list(preference.usable_types(offered, PASSWORD)) == [TYPE_WORDS[word] for word in words]


def test_the_order_of_subtypes_is_the_operators():
    preference = Preference((VENCRYPT,), (X509_VNC, X509_NONE))
    for offered in itertools.permutations([257, 260, 261, 999]):
        assert list(preference.usable_subtypes(offered, USER)) == [261, 260]


SATISFIED = [
    # login, nothing, a password alone, both, a name alone
    (NONE, True, True, True, True),
    (VNC, False, True, True, False),
    (SASL, False, False, True, False),
    (ARD, False, False, True, False),
    (MSLOGON2, False, False, True, False),
    (None, False, False, True, False),  # Plain
]


@pytest.mark.parametrize(("login", "nobody", "password", "user", "name"), SATISFIED)
def test_what_credentials_satisfy(login, nobody, password, user, name):
    assert [satisfies(each, login) for each in (NOBODY, PASSWORD, USER, NAME)] == [nobody, password, user, name]


def test_an_empty_password_is_one_and_an_empty_name_is_none():
    assert satisfies(Credentials("user", Secret("")), SASL)
    assert not satisfies(Credentials("", Secret("")), SASL)


@pytest.mark.parametrize(
    ("credentials", "types"),
    [
        (NOBODY, [VENCRYPT, NONE]),
        (PASSWORD, [VENCRYPT, VNC, NONE]),
        (USER, [VENCRYPT, SASL, VNC, ARD, MSLOGON2, NONE]),
        (NAME, [VENCRYPT, NONE]),
    ],
)
def test_what_cannot_be_satisfied_is_passed_over(credentials, types):
    assert list(EVERYTHING.usable_types(range(256), credentials)) == types


def test_vencrypt_is_chosen_only_where_one_of_its_subtypes_can_be():
    assert not list(Preference((VENCRYPT,), (X509_PLAIN, X509_VNC)).usable_types({19}, NOBODY))
    assert not list(Preference((VENCRYPT,), ()).usable_types({19}, USER))
    assert list(Preference((VENCRYPT,), (X509_PLAIN, X509_NONE)).usable_types({19}, NOBODY)) == [VENCRYPT]


def test_nothing_is_offered():
    assert not list(EVERYTHING.usable_types((), USER))
    assert not list(EVERYTHING.usable_subtypes((), USER))


# What a token requires


@pytest.mark.parametrize("word", list(TYPE_WORDS))
def test_only_one_type(word):
    assert EVERYTHING.only(word) == Preference((TYPE_WORDS[word],), EVERYTHING.subtypes)


@pytest.mark.parametrize("word", list(SUBTYPE_WORDS))
def test_only_one_subtype(word):
    assert EVERYTHING.only(word) == Preference((VENCRYPT,), (SUBTYPE_WORDS[word],))


@pytest.mark.parametrize("word", [*TYPE_WORDS, *SUBTYPE_WORDS])
def test_a_requirement_allows_nothing_that_was_not_allowed(word):
    for preference in (Preference((), ()), Preference((NONE,), ()), Preference((VENCRYPT,), (X509_NONE,))):
        left = preference.only(word)
        assert set(left.types) <= set(preference.types)
        assert set(left.subtypes) <= set(preference.subtypes)
    assert not list(Preference((), ()).only(word).usable_types(range(256), USER))


def test_a_required_subtype_that_is_not_allowed_leaves_nothing():
    left = Preference((VENCRYPT, NONE), (X509_NONE,)).only("x509vnc")
    assert left == Preference((VENCRYPT,), ())
    assert not list(left.usable_types(range(256), USER))


def test_a_required_subtype_where_vencrypt_is_not_allowed_leaves_nothing():
    assert not list(Preference((NONE,), (X509_NONE,)).only("x509none").usable_types(range(256), USER))


@pytest.mark.parametrize("kind", list(SecurityType))
def test_without(kind):
    left = EVERYTHING.without(kind)
    assert kind not in left.types
    assert left.types == tuple(each for each in EVERYTHING.types if each is not kind)
    assert left.subtypes == EVERYTHING.subtypes


TYPES, SUBTYPES = st.permutations(list(TYPE_WORDS.values())), st.permutations(list(VeNCryptSubtype))


@given(TYPES, SUBTYPES, st.sets(st.integers(0, 255)), st.sampled_from([NOBODY, PASSWORD, USER, NAME]))
def test_what_is_usable_is_allowed_offered_satisfied_and_in_order(types, subtypes, offered, credentials):
    preference = Preference(tuple(types[:3]), tuple(subtypes[:4]))
    usable = list(preference.usable_types(offered, credentials))
    assert usable == [kind for kind in preference.types if kind in usable]
    assert set(usable) <= offered
    if VENCRYPT in usable:
        assert any(satisfies(credentials, subtype.inner) for subtype in preference.subtypes)
    assert all(satisfies(credentials, kind) for kind in usable if kind is not VENCRYPT)
