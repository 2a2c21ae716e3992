"""How viewers log in to the demo desktop: every security type that the proxy speaks, if it is asked for."""

import hmac

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from rfbproxy.errors import LocalProtocolError
from rfbproxy.rfb import Credentials, Offer, ServerHandshake, TlsDue, Version


class Login:
    """The same for every viewer.

    Args:
        offer: what a viewer may choose from; its credentials are those that are accepted.
        tls: for VeNCrypt's X509 subtypes.
        version: the greeting; a viewer may answer with less.

    Raises:
        LocalProtocolError: an X509 subtype without a certificate.
    """

    def __init__(
        self,
        offer: Offer | None = None,
        *,
        tls: IOpenSSLServerConnectionCreator | None = None,
        version: Version = Version.V3_8,
    ) -> None:
        self._offer = offer or Offer()
        self._tls = tls
        self._version = version
        if tls is None and any(each.is_encrypted and not each.is_anonymous for each in self._offer.subtypes):
            raise LocalProtocolError("the X509 subtypes of VeNCrypt need a certificate")

    def handshake(self) -> ServerHandshake:
        """The RFB handshake for one connection."""
        return ServerHandshake(self._offer, version=self._version)

    def tls(self, due: TlsDue) -> IOpenSSLServerConnectionCreator | None:
        """The server's side of TLS for one connection."""
        return AnonymousServerTls() if due.anonymous else self._tls

    def accepts(self, given: Credentials) -> bool:
        """Whether these are the credentials of the offer, compared in constant time."""
        return hmac.compare_digest(_bytes_of(given), _bytes_of(self._offer.credentials))


@implementer(IOpenSSLServerConnectionCreator)
class AnonymousServerTls:
    """TLS without certificates: OpenSSL has such ciphers at its lowest security level and below TLS 1.3 only."""

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(b"AECDH:@SECLEVEL=0")
        return SSL.Connection(context, None)


def _bytes_of(credentials: Credentials) -> bytes:
    password = credentials.password.reveal() if credentials.password is not None else ""
    return f"{credentials.username or ''}\0{password}".encode("utf-8", "surrogatepass")
