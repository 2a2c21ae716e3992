from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import ConfigError
from rfbproxy.x509_subject import _NAMES, matches, parse_subject, subject_of

KEY = Ed25519PrivateKey.generate()
NOW = datetime.now(UTC)
CN, O, OU, C = "2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.6"  # noqa: E741


def certified(name):
    """A certificate with this subject."""
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(KEY, None)
    )


def attribute(oid, value):
    return x509.NameAttribute(x509.ObjectIdentifier(oid), value, _ASN1Type.UTF8String, _validate=False)


def certificate(*attributes):
    return certified(x509.Name([attribute(*each) for each in attributes]))


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("CN=localhost", ((CN, "localhost"),)),
        (r"C=XX,O=Lab\, Inc,CN=localhost", ((C, "XX"), (O, "Lab, Inc"), (CN, "localhost"))),
        ("CN=localhost,C=XX", ((CN, "localhost"), (C, "XX"))),
        (" C = XX , cn= local host  ", ((C, "XX"), (CN, "local host"))),
        ("commonName=a,ORGANIZATIONNAME=b", ((CN, "a"), (O, "b"))),
        ("2.5.4.3=a,1.2.3.4=b", ((CN, "a"), ("1.2.3.4", "b"))),
        ("OU=a,OU=b", ((OU, "a"), (OU, "b"))),
        (r"CN=a\\,O=b\,", ((CN, "a\\"), (O, "b,"))),
        ("CN=a=b", ((CN, "a=b"),)),
        ("CN=büro", ((CN, "büro"),)),
        ("CN=a,", ((CN, "a"),)),  # as spice-common has it
        ("CN=a, ", ((CN, "a"),)),
        ("CN= ", ((CN, ""),)),
    ],
)
def test_what_is_a_subject(text, subject):
    assert parse_subject(text) == subject


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no attribute"),
        ("  ", "there is no attribute"),
        ("localhost", "'localhost' is not KEY=VALUE"),
        ("/C=XX/CN=a,b", "'/C' is neither"),
        ("CN=", "'CN=' is not KEY=VALUE"),
        ("CN=,O=b", "'CN=' is not KEY=VALUE"),
        ("CN=a,,O=b", "'' is not KEY=VALUE"),
        (",CN=a", "'' is not KEY=VALUE"),
        ("=a", "'' is neither a name that OpenSSL has nor a dotted OID"),
        ("common name=a", "'common name' is neither"),
        ("2.5=", "'2.5=' is not"),
        ("9.5.4=a", "'9.5.4' is neither"),
        ("CN=a\\", "a backslash stands before"),
        (r"CN=a\+b", "a backslash stands before"),
        (r"CN=a\\\b", "a backslash stands before"),
    ],
)
def test_what_is_none(text, why):
    with pytest.raises(ConfigError) as raised:
        parse_subject(text)
    told = str(raised.value)
    assert told.startswith(f"host subject {text!r}: ")
    assert why in told
    assert told.endswith(r"as in C=XX,O=Lab\, Inc,CN=localhost")


def test_an_error_is_one_short_line():
    with pytest.raises(ConfigError) as raised:
        parse_subject("x\n" * 5000)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_the_subject_of_a_certificate():
    made = certificate((C, "XX"), (O, "Lab, Inc"), ("1.2.3.4", "a\\b"), (CN, "localhost"))
    assert subject_of(made) == r"C=XX,O=Lab\, Inc,1.2.3.4=a\\b,CN=localhost"
    assert subject_of(certificate()) == ""


@pytest.mark.parametrize(
    "text",
    [
        "O=Lab Inc,CN=localhost",
        "o=lab inc,cn=LOCALHOST",
        "O=  Lab \t Inc ,CN= localhost",
        "organizationName=Lab Inc,2.5.4.3=localhost",
    ],
)
def test_what_matches(text):
    assert matches(parse_subject(text), certificate((O, "Lab  Inc"), (CN, " localhost")))


@pytest.mark.parametrize(
    "text",
    [
        "CN=localhost",
        "O=Lab Inc",
        "CN=localhost,O=Lab Inc",
        "O=Lab Inc,CN=localhost,C=XX",
        "O=LabInc,CN=localhost",
        "OU=Lab Inc,CN=localhost",
        "O=Lab Inc,CN=localhost.",
        "O=Lab Inc,CN=loc\u00e4lhost",
    ],
)
def test_what_does_not(text):
    assert not matches(parse_subject(text), certificate((O, "Lab Inc"), (CN, "localhost")))


def test_capitals_are_the_same_in_ascii_alone():
    assert not matches(parse_subject("CN=BÜRO"), certificate((CN, "büro")))
    assert matches(parse_subject("CN=Büro"), certificate((CN, "büro")))


def test_a_certificate_without_subject_matches_nothing():
    assert not matches(parse_subject("CN= "), certificate())


def test_a_bit_string_is_shown_by_its_bytes():
    made = certified(x509.Name([x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\1\xff", _ASN1Type.BitString)]))
    assert subject_of(made) == "x500UniqueIdentifier=#01ff"
    assert matches(parse_subject(subject_of(made)), made)


@pytest.mark.parametrize(("short", "long", "oid"), _NAMES)
def test_keys_are_as_openssl_names_them(short, long, oid):
    from _ssl import txt2obj

    assert txt2obj(oid)[1:] == (short, long, oid)


OIDS = st.sampled_from(
    [oid for _, _, oid in _NAMES if oid != NameOID.X500_UNIQUE_IDENTIFIER.dotted_string]
) | st.builds(
    lambda tail: ".".join(map(str, (1, 3, 6, 1, 4, 1, *tail))), st.lists(st.integers(0, 2**28), min_size=1, max_size=4)
)
VALUES = st.text(st.characters(codec="utf-8") | st.sampled_from(' ,\\=+#;"\n\0'), min_size=1, max_size=20)
RDNS = st.lists(st.builds(attribute, OIDS, VALUES), min_size=1, max_size=3, unique_by=lambda each: each.oid).map(
    x509.RelativeDistinguishedName
)


@pytest.mark.filterwarnings("ignore:Attribute's length")
@given(st.lists(RDNS, min_size=1, max_size=5))
def test_every_subject_is_read_as_it_is_written(rdns):
    made = certified(x509.Name(rdns))
    assert matches(parse_subject(subject_of(made)), made)


@given(st.text())
def test_any_text_is_a_subject_or_a_configuration_error(text):
    with suppress(ConfigError):
        assert parse_subject(text)
