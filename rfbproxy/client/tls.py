"""TLS towards clients: the certificate of the options, as it is now, and nothing below TLS 1.2 unless they say so."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.errors import ConfigError

# pyOpenSSL may carry an OpenSSL of its own, which knows nothing of the system's policy; Python's knows it.
_DEFAULT_VERSION = max(SSL.TLS1_2_VERSION, int(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).minimum_version))
VERSIONS = {
    "default": _DEFAULT_VERSION,
    "tlsv1_1": SSL.TLS1_1_VERSION,
    "tlsv1_2": SSL.TLS1_2_VERSION,
    "tlsv1_3": SSL.TLS1_3_VERSION,
}
PROTOCOL = b"http/1.1"  # of ALPN (RFC 7301)

_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE

_log = Logger()


@dataclass(frozen=True, slots=True)
class _Files:
    """What the context is made of, and what the files were like (`stat`) when it was."""

    cert: Path
    key: Path
    client_ca_certs: Path | None

    def look(self) -> tuple[object, ...]:
        """Something that differs once a file was replaced."""
        return tuple(_stamp(file) for file in (self.cert, self.key, self.client_ca_certs) if file is not None)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Makes the TLS side of each client that comes in encrypted, with the certificate that is in the files by then.

    Files that were replaced by something unusable change nothing: what was read last stays, and the log says so once.

    Args:
        cert: PEM file: certificate, then its chain, and perhaps the key.
        key: PEM file with the key; None: it is in `cert`.
        minimum_version: a word of `[console] ssl_minimum_version`.
        ciphers: OpenSSL cipher list for TLS 1.2 and below; None: OpenSSL's own.
        client_ca_certs: PEM file of CAs; a client must show a certificate of one of them. None: none is asked for.

    Raises:
        ConfigError: a file cannot be read, or the key is not the certificate's.
    """

    def __init__(
        self,
        cert: Path,
        key: Path | None,
        *,
        minimum_version: str = "default",
        ciphers: str | None = None,
        client_ca_certs: Path | None = None,
    ) -> None:
        self._files = _Files(cert, key or cert, client_ca_certs)
        self._minimum_version = VERSIONS[minimum_version]
        self._ciphers = ciphers
        self._seen = self._files.look()
        self._context = self._make_context()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        self._look_again()
        return SSL.Connection(self._context, None)

    def _look_again(self) -> None:
        seen = self._files.look()
        if seen == self._seen:
            return
        self._seen = seen  # before the files are read: what changes after this is seen the next time
        try:
            self._context = self._make_context()
        except ConfigError as error:
            _log.error("the certificate was changed and cannot be used, the one before it stays: {error}", error=error)
        else:
            _log.info("the certificate was changed and is used from now on: {cert}", cert=str(self._files.cert))

    def _make_context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_options(_OPTIONS)
        context.set_min_proto_version(self._minimum_version)
        context.set_session_id(b"consoleproxy")  # sessions with client certificates cannot be resumed without
        context.set_alpn_select_callback(_select_protocol)
        self._use_certificate(context)
        if self._ciphers is not None:
            try:
                context.set_cipher_list(self._ciphers.encode())
            except SSL.Error as error:
                raise ConfigError(f"[console] ssl_ciphers: {self._ciphers!r} names no cipher") from error
        if self._files.client_ca_certs is not None:
            _demand_certificates(context, self._files.client_ca_certs)
        return context

    def _use_certificate(self, context: SSL.Context) -> None:
        cert, key = self._files.cert, self._files.key
        _read("[DEFAULT] cert", cert)
        _try(
            lambda: context.use_certificate_chain_file(str(cert)), f"[DEFAULT] cert: {cert} holds no usable certificate"
        )
        try:  # OpenSSL would ask for the password of an encrypted one on the terminal
            private = load_pem_private_key(_read("[DEFAULT] key", key), None)
        except (TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                f"[DEFAULT] key: {key} holds no usable private key (an encrypted one cannot be used)"
            ) from error
        try:
            context.use_privatekey(cast(Any, private))  # of a kind without certificates: TypeError
        except (SSL.Error, TypeError) as error:
            raise ConfigError(f"[DEFAULT] key: {key} is not the key of {cert}") from error


def tls_failure(reason: Failure) -> str | None:
    """Why TLS failed, for the log; None if it is not TLS that did."""
    return _why(reason.value) if reason.check(SSL.Error) else None


def _demand_certificates(context: SSL.Context, cas: Path) -> None:
    what = f"[consoleproxy] client_ca_certs: {cas} holds no usable certificate"
    _read("[consoleproxy] client_ca_certs", cas)
    _try(lambda: context.load_verify_locations(str(cas)), what)
    _try(lambda: context.load_client_ca(str(cas).encode()), what)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """HTTP/1.1 if it is offered; a client that offers others alone gets no answer, for it may understand us yet."""
    return PROTOCOL if PROTOCOL in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}: {file} cannot be read: {error.strerror}") from error


def _try(step: Callable[[], object], what: str) -> None:
    try:
        step()
    except SSL.Error as error:
        raise ConfigError(f"{what}: {_why(error)}") from error


def _why(error: BaseException | None) -> str:
    entries = error.args[0] if error is not None and error.args and isinstance(error.args[0], list) else []
    return next((entry[2] for entry in entries if entry[2]), "not PEM")
