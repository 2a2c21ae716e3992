r"""The subject of a certificate as SPICE viewers write it: `C=XX,O=Lab\, Inc,CN=localhost`.

Its attributes stand in the certificate's order, separated by commas; a backslash stands before a comma or a backslash
of a value (spice-common, ssl_verify.c). Attributes that share one RDN are written and compared one after the other, of
which that form knows nothing.
"""

import re
import string
from collections.abc import Iterable, Iterator

from cryptography.x509 import Certificate, NameAttribute, ObjectIdentifier

from rfbproxy.errors import ConfigError

Subject = tuple[tuple[str, str], ...]
"""Attributes in order: dotted OID and value."""

# What OpenSSL calls them: short name, long name, and OID (obj_mac.h)
_NAMES = (
    ("CN", "commonName", "2.5.4.3"),
    ("SN", "surname", "2.5.4.4"),
    ("serialNumber", "serialNumber", "2.5.4.5"),
    ("C", "countryName", "2.5.4.6"),
    ("L", "localityName", "2.5.4.7"),
    ("ST", "stateOrProvinceName", "2.5.4.8"),
    ("street", "streetAddress", "2.5.4.9"),
    ("O", "organizationName", "2.5.4.10"),
    ("OU", "organizationalUnitName", "2.5.4.11"),
    ("title", "title", "2.5.4.12"),
    ("description", "description", "2.5.4.13"),
    ("businessCategory", "businessCategory", "2.5.4.15"),
    ("postalAddress", "postalAddress", "2.5.4.16"),
    ("postalCode", "postalCode", "2.5.4.17"),
    ("name", "name", "2.5.4.41"),
    ("GN", "givenName", "2.5.4.42"),
    ("initials", "initials", "2.5.4.43"),
    ("generationQualifier", "generationQualifier", "2.5.4.44"),
    ("x500UniqueIdentifier", "x500UniqueIdentifier", "2.5.4.45"),
    ("dnQualifier", "dnQualifier", "2.5.4.46"),
    ("pseudonym", "pseudonym", "2.5.4.65"),
    ("organizationIdentifier", "organizationIdentifier", "2.5.4.97"),
    ("UID", "userId", "0.9.2342.19200300.100.1.1"),
    ("DC", "domainComponent", "0.9.2342.19200300.100.1.25"),
    ("emailAddress", "emailAddress", "1.2.840.113549.1.9.1"),
    ("unstructuredName", "unstructuredName", "1.2.840.113549.1.9.2"),
    ("jurisdictionL", "jurisdictionLocalityName", "1.3.6.1.4.1.311.60.2.1.1"),
    ("jurisdictionST", "jurisdictionStateOrProvinceName", "1.3.6.1.4.1.311.60.2.1.2"),
    ("jurisdictionC", "jurisdictionCountryName", "1.3.6.1.4.1.311.60.2.1.3"),
)
_OIDS = {name.lower(): oid for short, long, oid in _NAMES for name in (short, long)}
_SHORT_NAMES = {oid: short for short, _, oid in _NAMES}

_ESCAPED = re.compile(r"(?:[^\\]|\\[\\,])*")
_SPACES = re.compile(r"[ \t\n\v\f\r]+")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def parse_subject(text: str) -> Subject:
    """Read a subject; spaces around keys and values are ignored, and so is a comma at the end.

    Keys are OpenSSL's short or long names, in capitals or not, or dotted OIDs.

    Raises:
        ConfigError: it is malformed, names an unknown key, or has no attribute at all.
    """
    if not _ESCAPED.fullmatch(text):
        raise _malformed(text, "a backslash stands before a comma or a backslash only")
    parts = list(_parts(text))
    if not parts[-1].strip(" "):
        parts.pop()
    if not parts:
        raise _malformed(text, "there is no attribute")
    return tuple(_attribute(part, text) for part in parts)


def subject_of(certificate: Certificate) -> str:
    """The subject of a certificate, which `parse_subject` reads; empty where it has none."""
    return ",".join(f"{_SHORT_NAMES.get(oid, oid)}={_escape(value)}" for oid, value in _attributes(certificate))


def matches(expected: Subject, certificate: Certificate) -> bool:
    """Whether a certificate has exactly these attributes in this order.

    Values are equal as X509_NAME_cmp(3) has it: without regard to capitals of ASCII, to spaces around them and to the
    length of spaces within them.
    """
    return _canonical(expected) == _canonical(_attributes(certificate))


def _parts(text: str) -> Iterator[str]:
    """What is between the commas, still escaped."""
    start = 0
    for found in re.finditer(r"\\.|,", text):
        if found[0] == ",":
            yield text[start : found.start()]
            start = found.end()
    yield text[start:]


def _attribute(part: str, text: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals or not value:
        raise _malformed(text, f"{part.strip()[:80]!r} is not KEY=VALUE")
    return _oid(key.strip(" "), text), re.sub(r"\\(.)", r"\1", value).strip(" ")


def _oid(key: str, text: str) -> str:
    known = _OIDS.get(key.lower())
    if known is not None:
        return known
    try:
        return ObjectIdentifier(key).dotted_string
    except ValueError as error:
        raise _malformed(text, f"{key[:80]!r} is neither a name that OpenSSL has nor a dotted OID") from error


def _malformed(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"host subject {text[:80]!r}: {why}; allowed are attributes with commas between them, as in "
        r"C=XX,O=Lab\, Inc,CN=localhost"
    )


def _attributes(certificate: Certificate) -> Iterator[tuple[str, str]]:
    for attribute in certificate.subject:
        yield attribute.oid.dotted_string, _text(attribute)


def _text(attribute: NameAttribute[str | bytes]) -> str:
    """A value as text; the bytes of a BIT STRING as RFC 4514 section 2.4 writes them."""
    value = attribute.value
    return f"#{value.hex()}" if isinstance(value, bytes) else value


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")


def _canonical(attributes: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(oid, _SPACES.sub(" ", value).strip(" ").translate(_LOWER)) for oid, value in attributes]
