"""Certificates as an operator's own authority signs them, and those that go wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ELSEWHERE = "elsewhere.example"
SERVER_NAMES = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))
HOST_SUBJECT = r"C=XY,O=Clouds\, Ltd,OU=Consoles,CN=hypervisor"  # as SPICE writes such a subject


@dataclass(frozen=True)
class Identity:
    """A certificate, its key and the authority's certificate, under the names that QEMU wants in a folder."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca-cert.pem"

    @property
    def cert(self) -> Path:
        return self.folder / "server-cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server-key.pem"

    @property
    def both(self) -> Path:
        """Certificate and key in one file."""
        return self.folder / "both.pem"

    @property
    def chain(self) -> Path:
        """Certificate, key and the authority's certificate in one file."""
        return self.folder / "chain.pem"


def _new_key() -> rsa.RSAPrivateKey:
    """RSA, for x11vnc takes nothing else."""
    return rsa.generate_private_key(65537, 2048)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _console_name(name: str) -> x509.Name:
    """One of several parts, as `HOST_SUBJECT`."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XY"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Clouds, Ltd"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Consoles"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


class Authority:
    """Signs certificates for one hour, or for an hour that is over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.cert = folder / "ca-cert.pem"
        self._name = _common_name(f"{folder.name} authority")
        self._key = _new_key()
        made = (
            self._builder(self._name, self._key, timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )
        self.cert.write_bytes(made.public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, key: rsa.RSAPrivateKey, ends_in: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=2))
            .not_valid_after(now + ends_in)
        )

    def server(
        self,
        name: str,
        *,
        names: tuple[x509.GeneralName, ...] = SERVER_NAMES,
        subject: x509.Name | None = None,
        expired: bool = False,
    ) -> Identity:
        """A certificate for a server; it is in the folder `name`, which is its subject if that is not given."""
        ends_in = timedelta(hours=-1 if expired else 1)
        return self._issue(name, subject or _common_name(name), ExtendedKeyUsageOID.SERVER_AUTH, names, ends_in)

    def client(self, name: str) -> Identity:
        """A certificate that a client shows."""
        names = (x509.DNSName(name),)
        return self._issue(name, _common_name(name), ExtendedKeyUsageOID.CLIENT_AUTH, names, timedelta(hours=1))

    def _issue(
        self,
        name: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        names: tuple[x509.GeneralName, ...],
        ends_in: timedelta,
    ) -> Identity:
        key = _new_key()
        made = (
            self._builder(subject, key, ends_in)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, SHA256())
        )
        identity = Identity(self.folder / name)
        identity.folder.mkdir()
        certificate = made.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        identity.ca.write_bytes(self.cert.read_bytes())
        identity.cert.write_bytes(certificate)
        identity.key.write_bytes(private)
        identity.both.write_bytes(certificate + private)
        identity.chain.write_bytes(certificate + private + self.cert.read_bytes())
        return identity


class Pki:
    """What proxy and targets show each other.

    Attributes:
        hypervisor: one whose subject is `HOST_SUBJECT`.
        proxy: one with a subject like it.
        elsewhere: a good certificate of another machine.
        strange_server: one of an authority that nobody trusts.
        strange_client: likewise.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        own, strange = Authority(folder / "own"), Authority(folder / "strange")
        self.server = own.server("server")
        self.hypervisor = own.server("hypervisor", subject=_console_name("hypervisor"))
        self.proxy = own.server("proxy", subject=_console_name("proxy"))
        self.expired_server = own.server("expired", expired=True)
        self.elsewhere = own.server("elsewhere", names=(x509.DNSName(ELSEWHERE),))
        self.client = own.client("client")
        self.strange_server = strange.server("server")
        self.strange_client = strange.client("client")
