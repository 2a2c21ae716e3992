"""TLS towards targets: certificates are verified, and whose they are; ours is shown where they ask for one."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from rfbproxy.errors import ConfigError, SecurityFailure
from rfbproxy.tls import VERSIONS, FollowedContext, make_context, trust, use_certificate
from rfbproxy.x509_subject import Subject, matches, parse_subject, subject_of

# No certificate on either side. TLS 1.3 has no such thing, and OpenSSL offers it at its lowest security level only.
_ANONYMOUS_CIPHERS = b"ADH:AECDH:@SECLEVEL=0"
_NAMES_SHOWN = 5
_SUBJECT_SHOWN = 200  # characters

# x509_vfy.h; what is not here is told by its number
_VERIFY_ERRORS = {
    2: "its issuer is not known here",
    7: "its signature is wrong",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself alone",
    19: "its chain ends at a root that is not trusted here",
    20: "its issuer is not trusted here",
    21: "its issuer is not trusted here",
    23: "it was revoked",
    26: "it is not meant for a server",
    66: "its key is too small",
    67: "its issuer's key is too small",
    68: "its signature's digest is too weak",
    79: "its issuer is no CA",
}


@dataclass(frozen=True, slots=True)
class TargetTlsRules:
    """What TLS towards targets is made of.

    Attributes:
        ca_certs: PEM file of the CAs that targets' certificates come from; None: the system's.
        client_cert: PEM file of the certificate to show where a target asks for one; None: none.
        client_key: PEM file of its key; None: it is in `client_cert`.
        verify_names: whether a certificate must name its target, which is what keeps targets of one CA apart. A subject
            that is asked for is verified all the same.
        minimum_version: a word of `rfbproxy.tls.VERSIONS`.
        options: names of the options that name the three files, for errors.
    """

    ca_certs: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    verify_names: bool = True
    minimum_version: str = "default"
    options: tuple[str, str, str] = ("ca_certs", "client_cert", "client_key")


class TargetTls:
    """Makes the TLS side of connections to targets, with the certificates that are in the files by then.

    Raises:
        ConfigError: a file cannot be read, or the key is not the certificate's.
    """

    def __init__(self, rules: TargetTlsRules) -> None:
        self._rules = rules
        files = [file for file in (rules.ca_certs, rules.client_cert, rules.client_key) if file is not None]
        self._context = FollowedContext("what TLS towards targets is made of", files, self._make_context)
        self._anonymous = _anonymous_context()

    def side(self, name: str, subject: str | None = None) -> "TargetTlsSide":
        """For a target whose certificate must be for `name`, a host name or an IP address, or must have `subject`.

        Args:
            name: also what the target is asked for (SNI), if it is a host name that would be verified.
            subject: what is verified instead of the name, as `rfbproxy.x509_subject` reads it; None: the name is.

        Raises:
            SecurityFailure: the subject is malformed, so that no certificate can have it.
        """
        rules = self._rules
        shown = f"{rules.options[1]} = {rules.client_cert}" if rules.client_cert else None
        name_to_verify = name if rules.verify_names else None
        return TargetTlsSide(self._context.current(), name_to_verify, subject, shown, rules.options[1])

    def anonymous_side(self) -> "AnonymousTlsSide":
        """For a target that has no certificate: nobody knows who is at the other end."""
        return AnonymousTlsSide(self._anonymous)

    def _make_context(self) -> SSL.Context:
        rules = self._rules
        context = make_context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(VERSIONS[rules.minimum_version])
        if rules.ca_certs is not None:
            trust(context, rules.ca_certs, rules.options[0])
        else:
            context.set_default_verify_paths()
        if rules.client_cert is not None:
            use_certificate(context, rules.client_cert, rules.client_key or rules.client_cert, rules.options[1:])
        return context


def _anonymous_context() -> SSL.Context:
    context = make_context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_ANONYMOUS_CIPHERS)
    return context


@implementer(IOpenSSLClientConnectionCreator)
class AnonymousTlsSide:
    """One connection's client side without certificates."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLClientConnectionCreator`."""
        return SSL.Connection(self._context, None)

    def check(self, connection: SSL.Connection) -> None:
        """Nothing: there is nothing to verify."""

    def explain(self) -> str:
        """What is known of a failure beyond OpenSSL's words; empty if nothing is."""
        return ""


@implementer(IOpenSSLClientConnectionCreator)
class TargetTlsSide:
    """One connection's client side, with certificates.

    Args:
        name: what the certificate must be for, be it written with brackets, a zone or the root's dot; None: any of the
            CA's will do.
        subject: what it must be for instead; None: for `name`.
        shown: the certificate that is shown, in words; None: none is.
        option: that names it.

    Raises:
        SecurityFailure: the subject is malformed.
    """

    def __init__(
        self, context: SSL.Context, name: str | None, subject: str | None, shown: str | None, option: str
    ) -> None:
        self._context = context
        self._subject = _parsed(subject) if subject is not None else None
        self._subject_text = subject or ""
        self._name = name.strip("[]").partition("%")[0].rstrip(".") if name is not None else None
        self._is_address = self._name is not None and _is_address(self._name)
        self._shown, self._option = shown, option
        self._verify_error = 0
        self._established = self._was_asked = False

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection = SSL.Connection(self._context, None)
        connection.set_verify(SSL.VERIFY_PEER, self._note)
        if self._name is not None and not self._is_address:  # RFC 6066 section 3: addresses are not sent
            with suppress(UnicodeError):  # then it is not in the certificate either
                connection.set_tlsext_host_name(self._name.encode("idna"))
        return connection

    def check(self, connection: SSL.Connection) -> None:
        """Verify whose certificate it is, once its chain was verified (RFC 6125).

        Raises:
            SecurityFailure: somebody else's.
        """
        self._established = True
        self._was_asked = bool(connection.get_client_ca_list())
        if self._subject is not None:
            self._check_subject(connection, self._subject)
        elif self._name is not None:
            self._check_name(connection, self._name)

    def _check_subject(self, connection: SSL.Connection, subject: Subject) -> None:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        found = "?"
        if certificate is not None:
            with suppress(ValueError):  # what cannot be read is not what is asked for
                if matches(subject, certificate):
                    return
                found = subject_of(certificate)
        raise SecurityFailure(
            f"target's certificate is not for the subject '{_line(self._subject_text)}' but for '{_line(found)}'"
        )

    def _check_name(self, connection: SSL.Connection, name: str) -> None:
        verify: Callable[[SSL.Connection, str], None] = verify_ip_address if self._is_address else verify_hostname
        try:
            verify(connection, name)
        except (VerificationError, CertificateError, ValueError) as error:
            raise SecurityFailure(
                f"target's certificate is not for {name!r} but for [{', '.join(_names(connection))}]"
            ) from error

    def explain(self) -> str:
        """What is known of a failure beyond OpenSSL's words; empty if nothing is."""
        if self._verify_error:
            why = _VERIFY_ERRORS.get(self._verify_error, f"verification error {self._verify_error}")
            return f"target's certificate is refused: {why}"
        if self._established:  # in TLS 1.3 a server judges the client's certificate after the client is done
            asked = "asked for" if self._was_asked else "perhaps wants"
            if self._shown is None:
                return f"target {asked} a client certificate, and {self._option} is unset"
            return f"target {asked} a client certificate, and perhaps refuses {self._shown}"
        return ""

    def _note(self, connection: SSL.Connection, cert: object, error: int, depth: int, good: int) -> bool:
        if not good and not self._verify_error:
            self._verify_error = error
        return bool(good)


def _parsed(subject: str) -> Subject:
    try:
        return parse_subject(subject)
    except ConfigError as error:
        raise SecurityFailure(str(error)) from error


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _line(subject: str) -> str:
    """The beginning of a subject, as it may be copied into an option: its backslashes are not doubled."""
    shown = "".join(character if character.isprintable() else "?" for character in subject[:_SUBJECT_SHOWN])
    return shown + "..." * (len(subject) > _SUBJECT_SHOWN)


def _names(connection: SSL.Connection) -> list[str]:
    """The names of a peer's certificate, the first few."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]
    except (x509.ExtensionNotFound, ValueError):
        found = []
    shown = [name if name.isprintable() else "?" for name in found[:_NAMES_SHOWN]]
    return shown + ["..."] * (len(found) > _NAMES_SHOWN)
