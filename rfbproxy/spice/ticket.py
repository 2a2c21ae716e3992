"""The ticket: a password, sealed with the RSA key of whoever is to know it (spice/protocol.h, spice-server reds.cpp).

RSA-1024 with OAEP, SHA-1 and MGF1-SHA-1, no label: SPICE knows nothing else. Inside is the password, ended by a NUL.

Keys are arguments. The random bytes of OAEP alone are not: `cryptography` takes them from OpenSSL itself.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.secret import Secret
from rfbproxy.spice.constants import PUBLIC_KEY_SIZE, TICKET_SIZE

TICKET_KEY_BITS = 1024
PASSWORD_LIMIT = 59  # bytes; spice-server takes 60 and keeps 59 of them, which then match nothing

_PADDING = OAEP(mgf=MGF1(algorithm=SHA1()), algorithm=SHA1(), label=None)  # noqa: S303 - the protocol's
_ZEROS_REPAIRED = 2  # leading zero bytes that a ticket may have lost; more are lost once in millions of tickets


class TicketKey:
    """A key that clients seal their tickets with.

    Args:
        private_key: RSA-1024 with the public exponent 65537.

    Raises:
        LocalProtocolError: it is another key, whose public half would not fit a link reply.
    """

    def __init__(self, private_key: RSAPrivateKey) -> None:
        self._private_key = private_key
        self.public_key = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if len(self.public_key) != PUBLIC_KEY_SIZE:
            raise LocalProtocolError(
                f"the ticket key's public half has {len(self.public_key)} bytes, a link reply holds {PUBLIC_KEY_SIZE}"
            )

    def open(self, ticket: bytes) -> Secret | None:
        """The password of a client's ticket, which may be empty; None: the ticket is wrong, whatever is wrong with it.

        How long it takes depends on the ticket's last bytes, which its sender knows, and on nothing inside: so answers
        and their times tell nothing that would help to open a ticket of somebody else.

        spice-html5 loses the leading zero bytes of a ticket, and fills it up at its end (BigInteger.toString(16)): that
        is one ticket in 128 to 256, as the key happens to be. A ticket that ends in zeros and cannot be opened is tried
        with the zeros put back; OAEP sees to it that nothing else opens so.
        """
        plaintext = self._decrypt(ticket)
        for zeros in range(1, _ZEROS_REPAIRED + 1):
            if plaintext is not None or not ticket.endswith(bytes(zeros)):
                break
            plaintext = self._decrypt(bytes(zeros) + ticket[:-zeros])
        if plaintext is None:
            return None
        password = plaintext.partition(b"\0")[0]  # the NUL may be missing (go-spice)
        return Secret(password.decode("ascii")) if password.isascii() else None

    def _decrypt(self, ticket: bytes) -> bytes | None:
        try:
            return self._private_key.decrypt(ticket, _PADDING)
        except ValueError:
            return None


def seal(password: Secret | None, public_key: bytes) -> bytes:
    """The ticket that tells a password to the server whose key came in its link reply; None is the empty password.

    Raises:
        SecurityFailure: no server can be told this password.
        RemoteProtocolError: this is no RSA-1024 key.
    """
    plaintext = password_bytes(password) + b"\0"
    try:
        key = load_der_public_key(public_key)
        sealed = key.encrypt(plaintext, _PADDING) if isinstance(key, RSAPublicKey) else b""
    except (ValueError, UnsupportedAlgorithm):
        sealed = b""
    if len(sealed) != TICKET_SIZE:
        raise RemoteProtocolError(f"target's public key is no RSA-{TICKET_KEY_BITS} key (spice/protocol.h)")
    return sealed


def password_bytes(password: Secret | None) -> bytes:
    """A password as a ticket carries it, without the NUL; None is the empty password.

    Raises:
        SecurityFailure: it is too long, or cannot be written in UTF-8 that ends at a NUL.
    """
    try:
        encoded = password.reveal().encode("utf-8") if password is not None else b""
    except UnicodeEncodeError:
        encoded = None  # that error holds the password, so it may not become the context of another
    if encoded is None:
        raise SecurityFailure("the token's password holds half a surrogate pair, which UTF-8 cannot say")
    if b"\0" in encoded:
        raise SecurityFailure("the token's password contains a NUL, where a SPICE ticket ends it")
    if len(encoded) > PASSWORD_LIMIT:
        raise SecurityFailure(
            f"the token's password is longer than {PASSWORD_LIMIT} bytes: spice-server takes one byte more, but cuts "
            "it, so that no ticket matches"
        )
    return encoded
