"""Real TLS between our side and a target's, in memory: whose certificate is believed, which is shown, what is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import formatEvent
from zope.interface.verify import verifyObject

from rfbproxy.errors import ConfigError, SecurityFailure
from rfbproxy.target.tls import TargetTls, TargetTlsRules

NOW = datetime.now(UTC)
TLS1_2, TLS1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
OPTIONS = ("[vnc] vencrypt_ca_certs", "[vnc] vencrypt_client_cert", "[vnc] vencrypt_client_key")


# Certificates


def make_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key, password=None):
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def subject(name):
    """Of a common name, or of attributes as they are."""
    if isinstance(name, list):
        return x509.Name(name)
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


class Authority:
    """A CA, perhaps below another."""

    def __init__(self, name, issuer=None):
        self.name, self.key = name, make_key()
        self.pem = (issuer or self).certify(name, self.key, ca=True)

    def certify(self, name, key, *, dns=(), addresses=(), begins=-1, days=9, ca=False, usage=None):
        names = [*map(x509.DNSName, dns), *(x509.IPAddress(ip_address(each)) for each in addresses)]
        made = x509.CertificateBuilder(
            subject(self.name), subject(name), key.public_key(), x509.random_serial_number(),
            NOW + timedelta(begins), NOW + timedelta(begins + days),
        ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)  # fmt: skip
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage is not None:
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return made.sign(self.key, SHA256()).public_bytes(Encoding.PEM)


CA, OTHER_CA = Authority("ca"), Authority("other ca")
KEY = make_key()


def issued(*dns, addresses=(), by=CA, key=KEY, name="target", **fields):
    """A target's certificate and key, as one PEM."""
    return by.certify(name, key, dns=dns, addresses=addresses, **fields) + key_pem(key)


@pytest.fixture
def file(tmp_path):
    """Writes files, each by renaming it into its place."""

    def write(name, content):
        new, place = tmp_path / f"{name}.new", tmp_path / name
        new.write_bytes(content)
        new.rename(place)
        return place

    return write


# A target


class Target:
    """A TLS server as targets have one.

    Args:
        pem: its certificate, chain and key; None: it is anonymous.
        demands: the CA whose certificates it wants from its clients.
        insists: whether it breaks the handshake off without one; GnuTLS lets it end first.
    """

    def __init__(self, folder, pem, *, version=None, demands=None, insists=True, ciphers=None, dh_params=None):
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        if version is not None:
            context.set_min_proto_version(version)
            context.set_max_proto_version(version)
        if ciphers is not None:
            context.set_cipher_list(ciphers)
        if pem is not None:
            (folder / "target").write_bytes(pem)
            context.use_certificate_chain_file(str(folder / "target"))
            context.use_privatekey_file(str(folder / "target"))
        if dh_params is not None:
            context.load_tmp_dh(str(dh_params))
        if demands is not None:
            (folder / "demands").write_bytes(demands)
            context.load_verify_locations(str(folder / "demands"))
            context.load_client_ca(str(folder / "demands").encode())
            context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if insists else 0))
        self.asked_for = []
        context.set_tlsext_servername_callback(lambda connection: self.asked_for.append(connection.get_servername()))
        self.context = context


class Meeting:
    """One connection to a target, to where both have nothing more to say.

    Attributes:
        failure: why ours ends, as the session would tell it; None: it stands.
        stood: whether our half of the handshake was done.
        shown: the certificate that the target saw of ours.
    """

    def __init__(self, side, target):
        self.side = side
        self.ours = side.clientConnectionForTLS(None)
        self.theirs = SSL.Connection(target.context, None)
        self.ours.set_connect_state()
        self.theirs.set_accept_state()
        self.failure = None
        self.stood = False
        while self._step(self.ours, self.theirs) | self._step(self.theirs, self.ours):
            """Until nothing moves."""
        certificate = self.theirs.get_peer_certificate(as_cryptography=True)
        self.shown = certificate and certificate.subject.rfc4514_string()

    def _step(self, one, other):
        try:
            one.do_handshake()
            if one is self.ours and not self.stood:
                self.stood = True
                self.side.check(one)
            one.recv(4096)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            if one is self.ours and self.failure is None:
                self.failure = f"{self.side.explain()} ({error.args[0] and error.args[0][0][2]})"
        except SecurityFailure as error:
            self.failure = str(error)
        try:
            other.bio_write(one.bio_read(65536))
        except SSL.WantReadError:
            return False
        return True


@pytest.fixture
def meet(tmp_path, file):
    """Meets a target that shows `pem`, expecting it to be `name`, or to have `subject`."""

    def meet(name, pem, *, subject=None, cas=CA.pem, target=None, **rules):
        ca_certs = file("cas", cas) if cas is not None else None
        tls = TargetTls(TargetTlsRules(ca_certs=ca_certs, options=OPTIONS, **rules))
        return Meeting(tls.side(name, subject), Target(tmp_path, pem, **(target or {})))

    return meet


# Names


@pytest.mark.parametrize(
    ("name", "dns", "addresses"),
    [
        ("node1.example", ["node1.example"], []),
        ("node1.example", ["other.example", "node1.example"], []),
        ("NODE1.Example", ["node1.example"], []),
        ("node1.example", ["NODE1.EXAMPLE"], []),
        ("node1.example.", ["node1.example"], []),
        ("node1", ["node1"], []),
        ("node1.example.org", ["*.example.org"], []),
        ("bücher.example", ["xn--bcher-kva.example"], []),
        ("xn--bcher-kva.example", ["xn--bcher-kva.example"], []),
        ("192.0.2.7", [], ["192.0.2.7"]),
        ("192.0.2.7", ["node1"], ["192.0.2.8", "192.0.2.7"]),
        ("2001:db8::7", [], ["2001:db8::7"]),
        ("2001:DB8:0:0::7", [], ["2001:db8::7"]),
        ("fe80::7%eth0", [], ["fe80::7"]),
        ("::ffff:192.0.2.7", [], ["::ffff:192.0.2.7"]),
    ],
)
@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
def test_a_certificate_for_the_target(meet, name, dns, addresses, version):
    meeting = meet(name, issued(*dns, addresses=addresses), target={"version": version})
    assert meeting.failure is None
    assert meeting.stood


@pytest.mark.parametrize(
    ("name", "dns", "addresses", "told"),
    [
        ("node1.example", ["node2.example"], [], "is not for 'node1.example' but for [node2.example]"),
        ("node1.example", [], [], "but for []"),  # its common name says nothing (RFC 6125 section 6.4.4)
        ("example.org", ["*.example.org"], [], "but for [*.example.org]"),
        ("a.b.example.org", ["*.example.org"], [], "but for [*.example.org]"),
        ("node1.example", [], ["192.0.2.7"], "but for [192.0.2.7]"),
        ("192.0.2.7", ["192.0.2.7"], [], "but for [192.0.2.7]"),  # an address as a name is none
        ("192.0.2.7", ["node1"], ["192.0.2.8"], "is not for '192.0.2.7' but for [node1, 192.0.2.8]"),
        ("2001:db8::7", [], ["2001:db8::8"], "but for [2001:db8::8]"),
        ("fe80::7%eth0", [], ["fe80::8"], "is not for 'fe80::7' but"),
        ("bücher.example", ["bucher.example"], [], "is not for 'bücher.example'"),
        ("\udc80.example", ["node1"], [], "but for [node1]"),
        ("a..b", ["node1"], [], "but for [node1]"),
        ("n" * 70 + ".example", ["node1"], [], "but for [node1]"),
        ("", ["node1"], [], "is not for ''"),
        (".", ["node1"], [], "is not for ''"),
        ("n", [f"n{i}" for i in range(6)], [], "but for [n0, n1, n2, n3, n4, ...]"),
        ("n", ["a\nb", "c"], [], "but for [?, c]"),
    ],
)
def test_wire_R18_a_certificate_for_somebody_else(meet, name, dns, addresses, told):
    """Nova believes any certificate of the CA; that is `vencrypt_verify_names = False` here."""
    pem = issued(*dns, addresses=addresses, name="node1.example")
    assert told in meet(name, pem).failure
    assert meet(name, pem, verify_names=False).failure is None


def test_an_ipv6_literal_in_brackets_as_tokens_of_nova_may_have_it(meet):
    """The dialler takes it so."""
    assert meet("[2001:db8::7]", issued(addresses=["2001:db8::7"])).failure is None


@pytest.mark.parametrize(
    ("name", "asked_for"),
    [
        ("node1.example", b"node1.example"),
        ("node1.example.", b"node1.example"),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("192.0.2.7", None),  # RFC 6066 section 3
        ("2001:db8::7", None),
        ("fe80::7%eth0", None),
        ("a..b", None),
        ("", None),
    ],
)
def test_the_name_that_is_asked_for(tmp_path, file, name, asked_for):
    target = Target(tmp_path, issued("node1.example"))
    Meeting(TargetTls(TargetTlsRules(ca_certs=file("cas", CA.pem))).side(name), target)
    assert target.asked_for == [asked_for]


# Subjects

LAB = [
    x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "XX"),
    x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Lab, Inc"),
    x509.NameAttribute(x509.NameOID.COMMON_NAME, "node1"),
]


@pytest.mark.parametrize("subject", [r"C=XX,O=Lab\, Inc,CN=node1", r"c=XX, o=Lab\, Inc, cn=NODE1"])
@pytest.mark.parametrize("verify_names", [True, False])
@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
def test_wire_A15_a_certificate_with_the_subject_need_not_name_the_target(meet, subject, verify_names, version):
    pem = issued("elsewhere", name=LAB)
    meeting = meet("node1", pem, subject=subject, verify_names=verify_names, target={"version": version})
    assert meeting.failure is None
    assert meeting.stood


@pytest.mark.parametrize(
    ("subject", "name", "told"),
    [
        ("CN=node1", LAB, r"is not for the subject 'CN=node1' but for 'C=XX,O=Lab\, Inc,CN=node1'"),
        (r"CN=node1,O=Lab\, Inc,C=XX", LAB, r"is not for the subject 'CN=node1,O=Lab\, Inc,C=XX' but for 'C=XX,"),
        ("C=XX,CN=node1", "node1", "is not for the subject 'C=XX,CN=node1' but for 'CN=node1'"),
        ("CN=node1", "node2", "but for 'CN=node2'"),
        ("CN=node1", [], "but for ''"),
        ("CN=node1", "a\nb", "but for 'CN=a?b'"),
        ("CN=node1", LAB * 30, ",C..."),
    ],
)
@pytest.mark.parametrize("verify_names", [True, False])
def test_wire_A15_a_certificate_with_another_subject(meet, subject, name, told, verify_names):
    """Though it names the target; and a subject that was asked for is verified whatever becomes of names."""
    meeting = meet("node1", issued("node1", name=name), subject=subject, verify_names=verify_names)
    assert meeting.failure.startswith("target's certificate is not for the subject ")
    assert told in meeting.failure
    assert len(meeting.failure) < 500


def test_wire_A15_a_subject_that_cannot_be_read_is_another_one(meet, monkeypatch):
    def unreadable(_certificate):
        raise ValueError("error parsing asn1 value")

    monkeypatch.setattr("rfbproxy.target.tls.subject_of", unreadable)
    assert "but for '?'" in meet("node1", issued("node1"), subject="CN=node2").failure


@pytest.mark.parametrize("subject", ["", "node1", "WHAT=node1"])
def test_no_certificate_has_a_malformed_subject(meet, subject):
    with pytest.raises(SecurityFailure, match="host subject '"):
        meet("node1", issued("node1"), subject=subject)


def test_wire_A15_the_chain_is_verified_before_the_subject(meet):
    meeting = meet("node1", issued("node1", by=OTHER_CA, name=LAB), subject=r"C=XX,O=Lab\, Inc,CN=node1")
    assert "its issuer is not trusted here" in meeting.failure
    assert not meeting.stood


def test_the_name_is_asked_for_where_the_subject_is_verified(tmp_path, file):
    target = Target(tmp_path, issued("node1", name=LAB))
    Meeting(TargetTls(TargetTlsRules(ca_certs=file("cas", CA.pem))).side("node1", "CN=x"), target)
    assert target.asked_for == [b"node1"]


# Chains

BELOW = Authority("below", CA)


def signed_by_itself(name):
    authority = Authority(name)
    return issued(name, by=authority, key=authority.key, name=name)


UNBELIEVED = [
    ("of another CA", issued("node1", by=OTHER_CA), "its issuer is not trusted here"),
    ("with that CA behind it", issued("node1", by=OTHER_CA) + OTHER_CA.pem, "a root that is not trusted here"),
    ("signed by itself", signed_by_itself("node1"), "signed by itself alone"),
    ("expired", issued("node1", begins=-9, days=8), "it has expired"),
    ("not valid yet", issued("node1", begins=1), "it is not valid yet"),
    ("without what stands between", issued("node1", by=BELOW), "its issuer is not trusted here"),
    ("for clients", issued("node1", usage=x509.ExtendedKeyUsageOID.CLIENT_AUTH), "it is not meant for a server"),
    ("with a short key", issued("node1", key=rsa.generate_private_key(65537, 1024)), "its key is too small"),
]


@pytest.mark.parametrize(("what", "pem", "told"), UNBELIEVED, ids=[what for what, *_ in UNBELIEVED])
@pytest.mark.parametrize("verify_names", [True, False])
@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
def test_wire_R18_a_certificate_that_is_not_to_be_believed(meet, what, pem, told, verify_names, version):
    target = {"version": version, "ciphers": b"DEFAULT:@SECLEVEL=0"}
    meeting = meet("node1", pem, verify_names=verify_names, target=target)
    assert meeting.failure.startswith("target's certificate is refused: ")
    assert told in meeting.failure
    assert not meeting.stood, "not a byte of the login is sent"


def test_wire_R18_a_certificate_by_one_who_is_no_ca(meet):
    key = make_key()
    middle = Authority("no ca")
    middle.key, middle.pem = key, CA.certify("no ca", key)
    meeting = meet("node1", issued("node1", by=middle) + middle.pem)
    assert not meeting.stood
    assert "its issuer is no CA" in meeting.failure


def test_what_stands_between_may_be_shown(meet):
    assert meet("node1", issued("node1", by=BELOW) + BELOW.pem).failure is None


def test_one_of_several_cas(meet):
    assert meet("node1", issued("node1", by=OTHER_CA), cas=CA.pem + OTHER_CA.pem).failure is None


def test_a_certificate_that_is_listed_itself_is_believed(meet):
    """As operators do for one target; its name is verified nevertheless."""
    pem = signed_by_itself("node1")
    assert meet("node1", pem, cas=pem).failure is None
    assert "is not for 'node2'" in meet("node2", pem, cas=pem).failure


def test_without_cas_the_systems_are_believed(meet, monkeypatch, file):
    assert "not trusted here" in meet("node1", issued("node1"), cas=None).failure
    monkeypatch.setenv("SSL_CERT_FILE", str(file("system", CA.pem)))
    assert meet("node1", issued("node1"), cas=None).failure is None


# The certificate that is shown

CLIENT = CA.certify("proxy", KEY) + key_pem(KEY)


@pytest.mark.parametrize("version", [TLS1_2, TLS1_3])
@pytest.mark.parametrize("apart", [True, False])
def test_nova_V01_the_client_certificate_is_shown(meet, file, version, apart):
    client = {"client_cert": file("client", CLIENT)}
    if apart:
        client = {"client_cert": file("cert", CA.certify("proxy", KEY)), "client_key": file("key", key_pem(KEY))}
    meeting = meet("node1", issued("node1"), target={"demands": CA.pem, "version": version}, **client)
    assert meeting.failure is None
    assert meeting.shown == "CN=proxy"


def test_nova_V02_without_a_client_certificate_it_connects(meet):
    """Nova crashes there."""
    meeting = meet("node1", issued("node1"))
    assert (meeting.failure, meeting.shown) == (None, None)
    meeting = meet("node1", issued("node1"), target={"demands": CA.pem, "insists": False})
    assert (meeting.failure, meeting.shown) == (None, None), "a target may ask and not mind"


def test_it_is_not_shown_where_nobody_asks(meet, file):
    assert meet("node1", issued("node1"), client_cert=file("client", CLIENT)).shown is None


def test_wire_R18_a_missing_client_certificate_is_named_however_late_the_refusal_is(meet):
    meeting = meet("node1", issued("node1"), target={"demands": CA.pem, "version": TLS1_3})
    assert meeting.stood, "as TLS 1.3 has it"
    assert meeting.failure.startswith(
        "target asked for a client certificate, and [vnc] vencrypt_client_cert is unset (tlsv13 alert"
    )
    assert not meet("node1", issued("node1"), target={"demands": CA.pem, "version": TLS1_2}).stood


@pytest.mark.parametrize("fault", [{"by": OTHER_CA}, {"begins": -9, "days": 8}])
def test_wire_R18_a_client_certificate_that_is_refused_is_named(meet, file, fault):
    client = file("client", issued(name="proxy", **fault))
    meeting = meet("node1", issued("node1"), target={"demands": CA.pem, "version": TLS1_3}, client_cert=client)
    assert meeting.stood
    assert f"and perhaps refuses [vnc] vencrypt_client_cert = {client} (" in meeting.failure


def test_what_ends_without_a_word_after_the_handshake_is_perhaps_for_want_of_a_certificate(meet):
    meeting = meet("node1", issued("node1"))
    assert meeting.side.explain() == (
        "target perhaps wants a client certificate, and [vnc] vencrypt_client_cert is unset"
    )


def test_before_the_handshake_nothing_is_known():
    assert TargetTls(TargetTlsRules()).side("node1").explain() == ""


def test_each_connection_has_a_side_of_its_own(tmp_path, file):
    tls = TargetTls(TargetTlsRules(ca_certs=file("cas", CA.pem)))
    bad = Meeting(tls.side("node1"), Target(tmp_path, issued("node1", by=OTHER_CA)))
    good = Meeting(tls.side("node1"), Target(tmp_path, issued("node1")))
    assert "not trusted" in bad.failure
    assert good.failure is None
    assert "not trusted" not in good.side.explain()


# Without certificates

# The 2048-bit group of RFC 3526, as GnuTLS and QEMU take such groups
DH_PARAMETERS = b"""
-----BEGIN X9.42 DH PARAMETERS-----
MIICDAKCAQEA///////////JD9qiIWjCNMTGYouA3BzRKQJOCIpnzHQCC76mOxOb
IlFKCHmONATd75UZs806QxswKwpt8l8UN0/hNW1tUcJF5IW1dmJefsb0TELppjft
awv/XLb0Brft7jhr+1qJn6WunyQRfEsf5kkoZlHs5Fs9wgB8uKFjvwWY2kg2HFXT
mmkWP6j9JM9fg2VdI9yjrZYcYvNWIIVSu57VKQdwlpZtZww1Tkq8mATxdGwIyhgh
fDKQXkYuNs474553LBgOhgObJ4Oi7Aeij7XFXfBvTFLJ3ivL9pVYFxg5lUl86pVq
5RXSJhiY+gUQFXKOWoqsqmj//////////wIBAgKCAQB//////////+SH7VEQtGEa
YmMxRcBuDmiUgScERTPmOgEF31Mdic2RKKUEPMcaAm73yozZ5p0hjZgVhTb5L4ob
p/Catrao4SLyQtq7MS8/Y3omIXTTG/a1hf+uW3oDW/b3HDX9rUTP0tdPkgi+JY/z
JJQzKPZyLZ7hAD5cULHfgsxtJBsOKunNNIsf1H6SZ6/Bsq6R7lHWyw4xeasQQqld
z2qUg7hLSzazhhqnJV5MAni6NgRlDBC+GUgvIxcbZx3xzzuWDAdDAc2TwdF2A9FH
2uKu+DemKWTvFeX7SqwLjBzKpL51SrVyiukTDEx9AogKuUctRVZVNH//////////
-----END X9.42 DH PARAMETERS-----
"""


@pytest.fixture
def dh_params(file):
    return file("dh", DH_PARAMETERS)


@pytest.mark.parametrize(("ciphers", "chosen"), [(b"ADH:@SECLEVEL=0", "ADH-"), (b"AECDH:@SECLEVEL=0", "AECDH-")])
def test_an_anonymous_target(tmp_path, dh_params, ciphers, chosen):
    """QEMU's is of the first kind, gnutls-serv's may be of either."""
    side = TargetTls(TargetTlsRules()).anonymous_side()
    meeting = Meeting(side, Target(tmp_path, None, version=TLS1_2, ciphers=ciphers, dh_params=dh_params))
    assert meeting.failure is None
    assert meeting.stood
    assert meeting.ours.get_cipher_name().startswith(chosen)
    assert meeting.ours.get_peer_certificate() is None


def test_an_anonymous_side_talks_to_nobody_with_a_certificate(tmp_path):
    """Nor would that be any better: it would be verified by nobody."""
    meeting = Meeting(TargetTls(TargetTlsRules()).anonymous_side(), Target(tmp_path, issued("node1")))
    assert not meeting.stood
    assert meeting.failure.startswith(" (")


def test_wire_R18_a_side_that_wants_a_certificate_talks_to_nobody_without(meet, dh_params):
    target = {"version": TLS1_2, "ciphers": b"ADH:AECDH:@SECLEVEL=0", "dh_params": dh_params}
    for verify_names in (True, False):
        assert not meet("node1", None, target=target, verify_names=verify_names).stood


def test_both_sides_are_what_twisted_asks_for():
    tls = TargetTls(TargetTlsRules())
    verifyObject(IOpenSSLClientConnectionCreator, tls.side("node1"))
    verifyObject(IOpenSSLClientConnectionCreator, tls.anonymous_side())


# Versions


@pytest.mark.parametrize(
    ("minimum", "spoken", "stands"),
    [
        ("default", TLS1_2, True), ("default", TLS1_3, True), ("tlsv1_2", TLS1_2, True), ("tlsv1_3", TLS1_2, False),
        ("tlsv1_3", TLS1_3, True), ("tlsv1_1", TLS1_2, True), ("default", SSL.TLS1_1_VERSION, False),
    ],
)  # fmt: skip
def test_the_floor_of_versions(meet, minimum, spoken, stands):
    ciphers = b"DEFAULT:@SECLEVEL=0" if spoken == SSL.TLS1_1_VERSION else None
    meeting = meet("node1", issued("node1"), minimum_version=minimum, target={"version": spoken, "ciphers": ciphers})
    assert meeting.stood == stands
    assert (meeting.failure is None) == stands


# Files


def test_a_renewed_ca_is_believed_by_the_next_connection(tmp_path, file, log):
    tls = TargetTls(TargetTlsRules(ca_certs=file("cas", CA.pem)))
    target = Target(tmp_path, issued("node1", by=OTHER_CA))
    old = tls.side("node1")
    file("cas", OTHER_CA.pem)
    assert Meeting(tls.side("node1"), target).failure is None
    assert Meeting(old, target).failure is not None, "whoever has begun keeps what he began with"
    assert sum("is used from now on" in formatEvent(event) for event in log) == 1


@pytest.mark.parametrize("broken", [b"", b"nonsense", None])
def test_broken_cas_change_nothing_and_are_logged_once(tmp_path, file, log, broken):
    cas = file("cas", CA.pem)
    tls = TargetTls(TargetTlsRules(ca_certs=cas, options=OPTIONS))
    if broken is None:
        cas.unlink()
    else:
        file("cas", broken)
    for _ in range(3):
        assert Meeting(tls.side("node1"), Target(tmp_path, issued("node1"))).failure is None
    (error,) = [formatEvent(event) for event in log if event["log_level"].name == "error"]
    assert (
        "what TLS towards targets is made of was changed and cannot be used, the one before it stays: [vnc] " in error
    )
    file("cas", OTHER_CA.pem)
    assert Meeting(tls.side("node1"), Target(tmp_path, issued("node1"))).failure is not None


def test_a_renewed_client_certificate_is_shown_by_the_next_connection(tmp_path, file, log):
    key = make_key()
    rules = TargetTlsRules(
        ca_certs=file("cas", CA.pem), client_cert=file("cert", CA.certify("first", KEY)),
        client_key=file("key", key_pem(KEY)),
    )  # fmt: skip
    tls, target = TargetTls(rules), Target(tmp_path, issued("node1"), demands=CA.pem)
    assert Meeting(tls.side("node1"), target).shown == "CN=first"
    file("cert", CA.certify("second", key))
    assert Meeting(tls.side("node1"), target).shown == "CN=first", "it has no key yet"
    file("key", key_pem(key))
    assert Meeting(tls.side("node1"), target).shown == "CN=second"
    assert len([event for event in log if event["log_level"].name == "error"]) == 1


GOOD = TargetTlsRules(options=OPTIONS)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"ca_certs": "none"}, r"\[vnc\] vencrypt_ca_certs: .*none cannot be read: No such file or directory"),
        ({"ca_certs": "folder"}, r"\[vnc\] vencrypt_ca_certs: .*folder cannot be read: Is a directory"),
        ({"ca_certs": "nonsense"}, r"\[vnc\] vencrypt_ca_certs: .*nonsense holds no usable certificate: "),
        ({"ca_certs": "empty"}, r"\[vnc\] vencrypt_ca_certs: .*empty holds no usable certificate: "),
        ({"ca_certs": "key"}, r"\[vnc\] vencrypt_ca_certs: .*key holds no usable certificate: "),
        ({"client_cert": "none"}, r"\[vnc\] vencrypt_client_cert: .*none cannot be read: No such file"),
        ({"client_cert": "nonsense"}, r"\[vnc\] vencrypt_client_cert: .*nonsense holds no usable certificate: "),
        ({"client_cert": "cert"}, r"\[vnc\] vencrypt_client_key: .*cert holds no usable private key"),
        ({"client_cert": "cert", "client_key": "none"}, r"\[vnc\] vencrypt_client_key: .*none cannot be read"),
        ({"client_cert": "cert", "client_key": "nonsense"}, r"vencrypt_client_key: .*nonsense holds no usable private"),
        ({"client_cert": "cert", "client_key": "encrypted"}, r"encrypted holds no .* \(an encrypted one cannot be us"),
        ({"client_cert": "cert", "client_key": "other"}, r"\[vnc\] vencrypt_client_key: .*other is not the key of .*c"),
        ({"client_cert": "cert", "client_key": "x25519"}, r"\[vnc\] vencrypt_client_key: .*x25519 is not the key of"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(tmp_path, file, files, says):
    (tmp_path / "folder").mkdir()
    for name, content in {
        "cert": CA.certify("proxy", KEY),
        "key": key_pem(KEY),
        "other": key_pem(make_key()),
        "encrypted": key_pem(KEY, b"opensesame"),
        "x25519": key_pem(x25519.X25519PrivateKey.generate()),
        "nonsense": b"nonsense",
        "empty": b"",
    }.items():
        file(name, content)
    with pytest.raises(ConfigError, match=says) as caught:
        TargetTls(replace(GOOD, **{name: tmp_path / place for name, place in files.items()}))
    assert "\n" not in str(caught.value)
    assert "opensesame" not in str(caught.value)


def test_a_client_certificate_may_hold_its_key(file):
    TargetTls(replace(GOOD, client_cert=file("both", CLIENT)))
