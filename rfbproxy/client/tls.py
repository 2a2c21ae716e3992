"""TLS towards clients: the certificate of the options, and nothing below TLS 1.2 unless they say so."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from rfbproxy.errors import ConfigError

VERSIONS = {
    "default": SSL.TLS1_2_VERSION,
    "tlsv1_1": SSL.TLS1_1_VERSION,
    "tlsv1_2": SSL.TLS1_2_VERSION,
    "tlsv1_3": SSL.TLS1_3_VERSION,
}


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Makes the TLS side of each client that comes in encrypted.

    Args:
        cert: PEM file: certificate, then its chain, and perhaps the key.
        key: PEM file with the key; None: it is in `cert`.
        minimum_version: a word of `[console] ssl_minimum_version`.
        ciphers: OpenSSL cipher list for TLS 1.2 and below; None: OpenSSL's own.

    Raises:
        ConfigError: a file cannot be read, or the key is not the certificate's.
    """

    def __init__(
        self, cert: Path, key: Path | None, *, minimum_version: str = "default", ciphers: str | None = None
    ) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(VERSIONS[minimum_version])
        key_file = key or cert
        _read("cert", cert)
        try:
            context.use_certificate_chain_file(str(cert))
        except SSL.Error as error:
            raise ConfigError(f"[DEFAULT] cert: {cert} holds no usable certificate: {_why(error)}") from error
        try:
            load_pem_private_key(_read("key", key_file), None)  # OpenSSL asks for a password on the terminal
        except (TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                f"[DEFAULT] key: {key_file} holds no usable private key (an encrypted one cannot be used)"
            ) from error
        try:
            context.use_privatekey_file(str(key_file))
        except SSL.Error as error:
            raise ConfigError(f"[DEFAULT] key: {key_file} is not the key of {cert}") from error
        if ciphers is not None:
            try:
                context.set_cipher_list(ciphers.encode())
            except SSL.Error as error:
                raise ConfigError(f"[console] ssl_ciphers: {ciphers!r} names no cipher") from error
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        return SSL.Connection(self._context, None)


def _read(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"[DEFAULT] {option}: {file} cannot be read: {error.strerror}") from error


def _why(error: SSL.Error) -> str:
    reasons = [entry[2] for entry in (error.args[0] if error.args else []) if entry[2]]
    return reasons[0] if reasons else "not PEM"
