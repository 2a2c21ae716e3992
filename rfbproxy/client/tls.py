"""TLS towards clients: the certificate of the options, as it is now, and nothing below TLS 1.2 unless they say so."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from rfbproxy.errors import ConfigError
from rfbproxy.tls import VERSIONS, FollowedContext, attempt, make_context, trust, use_certificate

TLS_HANDSHAKE = 0x16  # content type of a TLS ClientHello (RFC 8446 section 5.1): the first byte of such a client
PROTOCOL = b"http/1.1"  # of ALPN (RFC 7301)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Makes the TLS side of each client that comes in encrypted, with the certificate that is in the files by then.

    Args:
        cert: PEM file: certificate, then its chain, and perhaps the key.
        key: PEM file with the key; None: it is in `cert`.
        minimum_version: a word of `[console] ssl_minimum_version`.
        before_1_3: whether TLS ends at 1.2, unless the floor is higher.
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
        before_1_3: bool = False,
        ciphers: str | None = None,
        client_ca_certs: Path | None = None,
    ) -> None:
        self._cert, self._key, self._client_ca_certs = cert, key or cert, client_ca_certs
        self._minimum_version = VERSIONS[minimum_version]
        self._maximum_version = max(SSL.TLS1_2_VERSION, self._minimum_version) if before_1_3 else SSL.TLS1_3_VERSION
        self._ciphers = ciphers
        files = [file for file in (self._cert, self._key, client_ca_certs) if file is not None]
        self._context = FollowedContext("the certificate", files, self._make_context)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        return SSL.Connection(self._context.current(), None)

    def check(self, connection: SSL.Connection) -> None:
        """Nothing: a client's certificate is verified by its CA alone, in the handshake."""

    def explain(self) -> str:
        """Nothing beyond OpenSSL's words."""
        return ""

    def _make_context(self) -> SSL.Context:
        context = make_context(SSL.TLS_SERVER_METHOD)
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_min_proto_version(self._minimum_version)
        context.set_max_proto_version(self._maximum_version)
        context.set_session_id(b"consoleproxy")  # sessions with client certificates cannot be resumed without
        context.set_alpn_select_callback(_select_protocol)
        use_certificate(context, self._cert, self._key, ("[DEFAULT] cert", "[DEFAULT] key"))
        if self._ciphers is not None:
            try:
                context.set_cipher_list(self._ciphers.encode())
            except SSL.Error as error:
                raise ConfigError(f"[console] ssl_ciphers: {self._ciphers!r} names no cipher") from error
        if self._client_ca_certs is not None:
            _demand_certificates(context, self._client_ca_certs)
        return context


def _demand_certificates(context: SSL.Context, cas: Path) -> None:
    option = "[consoleproxy] client_ca_certs"
    trust(context, cas, option)
    attempt(lambda: context.load_client_ca(str(cas).encode()), f"{option}: {cas} holds no usable certificate")
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """HTTP/1.1 if it is offered; a client that offers others alone gets no answer, for it may understand us yet."""
    return PROTOCOL if PROTOCOL in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def inside_tls(protocol: IProtocol, tls: IOpenSSLServerConnectionCreator, clock: IReactorTime) -> TLSMemoryBIOProtocol:
    """TLS around a protocol, for a connection that has shown that it begins with TLS.

    What is written goes out at once, in records of its own, without which spice-gtk overlooks messages. Twisted's other
    TLS gathers small writes until the reactor's next turn, which costs more than it saves where messages come whole.
    """
    return TLSMemoryBIOProtocol(_factory(tls, clock), protocol)


@lru_cache(maxsize=8)
def _factory(tls: IOpenSSLServerConnectionCreator, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """What all connections with this TLS have in common."""
    return TLSMemoryBIOFactory(tls, False, Factory(), clock)
