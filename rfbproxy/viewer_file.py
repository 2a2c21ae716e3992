"""The file that opens a console in virt-viewer (`.vv`, remote-viewer(1) "CONNECTION FILE"): a GKeyFile.

It names the proxy and never the target.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from rfbproxy.address import Address
from rfbproxy.config import Config
from rfbproxy.errors import ConfigError
from rfbproxy.secret import Secret
from rfbproxy.tls import read_pem
from rfbproxy.x509_subject import subject_of

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - told apart, not bound
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_OUTER_SPACES = re.compile(r"\A +| +\Z")
_UNSPEAKABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # a GKeyFile has no escapes for them


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What viewers are told of our certificate.

    Attributes:
        subject: as `rfbproxy.x509_subject` writes it; None where it is empty.
        ca: the certificates that follow ours in its file, PEM; of one that is its own CA itself; else None.
    """

    subject: str | None
    ca: str | None


@dataclass(frozen=True, slots=True)
class ViewerFile:
    """A console as a viewer is told of it; what is None is left out.

    Attributes:
        host: whom to connect to; what a `proxy` is asked for, where it is the token.
        port: for SPICE in clear.
        tls_port: for SPICE in TLS.
        ca: PEM of the CAs to believe.
        host_subject: of the certificate to expect.
        proxy: URL of an HTTP proxy that takes CONNECT.
    """

    host: str = field(repr=False)
    port: int | None = None
    tls_port: int | None = None
    password: Secret | None = None
    title: str | None = None
    ca: str | None = None
    host_subject: str | None = None
    proxy: str | None = None

    def text(self) -> str:
        """The file, with its secrets. Control characters that it cannot hold become U+FFFD."""
        entries = {
            "type": "spice",
            "host": self.host,
            "port": self.port,
            "tls-port": self.tls_port,
            "password": self.password.reveal() if self.password is not None else None,
            "title": self.title,
            "ca": self.ca,
            "host-subject": self.host_subject,
            "proxy": self.proxy,
            "delete-this-file": 1,
        }
        lines = [f"{key}={_escape(str(value))}" for key, value in entries.items() if value is not None]
        return "\n".join(["[virt-viewer]", *lines, ""])


def own_certificate(config: Config) -> OwnCertificate | None:
    """What the file `cert` holds; None where there is no certificate.

    Raises:
        ConfigError: it cannot be read, or is not there although it must be.
    """
    file = config.certificate_file
    if file is None:
        return None
    pem = read_pem("[DEFAULT] cert", file)
    try:
        own, *others = x509.load_pem_x509_certificates(pem)
        subject = subject_of(own)
    except ValueError as error:
        raise ConfigError(f"[DEFAULT] cert: {file} holds no usable certificate") from error
    if not others and own.issuer == own.subject:
        others = [own]
    return OwnCertificate(
        subject or None, "".join(other.public_bytes(Encoding.PEM).decode("ascii") for other in others) or None
    )


def viewer_file(config: Config, token: Secret, *, title: str, certificate: OwnCertificate | None) -> ViewerFile:
    """How a viewer opens the console of a token: at `spice_listen` or `spice_tls_listen`, else by CONNECT.

    There the token is the SPICE password; in a CONNECT it is the host, and the password is nothing.
    """
    public_host, public_port, scheme = _public(config)
    native = _native(config, has_tls=certificate is not None)
    if native is not None:
        host = public_host if native.host in _EVERYWHERE else native.host
        port, is_tls = native.port, certificate is not None
        password, proxy = token, None
    else:
        host, port, is_tls = token.reveal(), public_port, certificate is not None and scheme == "http"
        password, proxy = None, f"{scheme}://{Address(public_host, public_port)}"
    return ViewerFile(
        host,
        port=None if is_tls else port,
        tls_port=port if is_tls else None,
        password=password,
        title=title,
        ca=certificate.ca if certificate is not None else None,
        host_subject=certificate.subject if certificate is not None else None,
        proxy=proxy,
    )


def _native(config: Config, *, has_tls: bool) -> Address | None:
    """Where native viewers are listened for: the first address that can be told, with TLS of those where TLS begins."""
    listening = (*config.spice_tls_listen, *config.spice_listen) if has_tls else config.spice_listen
    return next((address for address in listening if address.path is None and address.port), None)


def _public(config: Config) -> tuple[str, int, str]:
    """Host, port and scheme that people reach the SPICE listener by."""
    parts = urlsplit(config.base_url("spice-html5"))
    scheme = "https" if parts.scheme == "https" else "http"
    return parts.hostname or "", parts.port or (443 if scheme == "https" else 80), scheme


def _escape(value: str) -> str:
    """A value as GKeyFile reads it back, which drops spaces before it; those after it are lost on people's way."""
    escaped = _UNSPEAKABLE.sub("\ufffd", value).translate(_ESCAPES)
    return _OUTER_SPACES.sub(lambda spaces: r"\s" * len(spaces[0]), escaped)
