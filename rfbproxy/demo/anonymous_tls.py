"""A server's side of TLS without certificates, as VeNCrypt's TLS subtypes have it: nobody knows whom they talk to."""

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer


@implementer(IOpenSSLServerConnectionCreator)
class AnonymousServerTls:
    """One connection's server side; OpenSSL has such ciphers at its lowest security level and below TLS 1.3 only."""

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(b"AECDH:@SECLEVEL=0")
        return SSL.Connection(context, None)
