"""Apple Remote Desktop's login (security type 30, rfbproto "Diffie-Hellman Authentication").

    server  u16 generator, u16 key-length, prime, public key        both of key-length bytes
    client  128 bytes of credentials, public key                    SecurityResult follows

The credentials are a user name and a password of 64 bytes each, ended by a NUL and filled up at random, under AES-128
in ECB mode; the key is the MD5 of the shared secret. Nobody proves who the server is: whoever sits in between reads
all.
"""

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES128

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.rfb.credentials import Credentials, RandomBytes
from rfbproxy.secret import Secret
from rfbproxy.wire import Reader, Reading

KEY_LENGTH_MINIMUM = 128  # bytes, as Apple's servers have it and TigerVNC demands
KEY_LENGTH_LIMIT = 512  # bytes

_NAME = "Diffie-Hellman Authentication"
_FIELD_SIZE = 64  # bytes of a name or password with its NUL
_EXPONENT_SIZE = 64  # bytes; one as long as the prime protects no better, and keeps a processor busy for long

# The second Oakley group (RFC 2409 section 6.2), for the server half.
_GENERATOR = 2
_PRIME = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
    16,
)

Send = Callable[[bytes], None]


def apple_dh_client(reader: Reader, send: Send, credentials: Credentials, random: RandomBytes) -> Reading[None]:
    """Send name and password to a target; its SecurityResult is left to be read.

    Raises:
        SecurityFailure: name or password is missing, or longer than 63 bytes.
        RemoteProtocolError: the target's numbers are no key exchange.
    """
    name, password = credentials.for_login(_NAME, limit=_FIELD_SIZE - 1)
    generator = yield from reader.u16()
    key_length = yield from reader.u16()
    if not KEY_LENGTH_MINIMUM <= key_length <= KEY_LENGTH_LIMIT:
        raise RemoteProtocolError(
            f"target's Diffie-Hellman key is {key_length} bytes long, "
            f"allowed are {KEY_LENGTH_MINIMUM}..{KEY_LENGTH_LIMIT}"
        )
    prime = int.from_bytes((yield from reader.take(key_length)), "big")
    public = int.from_bytes((yield from reader.take(key_length)), "big")
    check_exchange("target", prime, generator, public)
    private = int.from_bytes(random(_EXPONENT_SIZE), "big")
    fields = pad(name, _FIELD_SIZE, random) + pad(password, _FIELD_SIZE, random)
    encryptor = _cipher(pow(public, private, prime), key_length).encryptor()
    send(encryptor.update(fields) + pow(generator, private, prime).to_bytes(key_length, "big"))


def apple_dh_server(reader: Reader, send: Send, random: RandomBytes) -> Reading[Credentials]:
    """What a client sends for a name and password, which are the caller's to judge.

    Raises:
        RemoteProtocolError: its public key is degenerate, or its credentials are no text.
    """
    key_length = (_PRIME.bit_length() + 7) // 8
    private = int.from_bytes(random(_EXPONENT_SIZE), "big")
    ours = pow(_GENERATOR, private, _PRIME)
    send(_GENERATOR.to_bytes(2, "big") + key_length.to_bytes(2, "big"))
    send(_PRIME.to_bytes(key_length, "big") + ours.to_bytes(key_length, "big"))
    encrypted = yield from reader.take(2 * _FIELD_SIZE)
    public = int.from_bytes((yield from reader.take(key_length)), "big")
    check_exchange("client", _PRIME, _GENERATOR, public)
    fields = _cipher(pow(public, private, _PRIME), key_length).decryptor().update(encrypted)
    return Credentials(unpad(fields[:_FIELD_SIZE]), Secret(unpad(fields[_FIELD_SIZE:])))


def check_exchange(whose: str, prime: int, generator: int, public: int) -> None:
    """Refuse numbers of which the shared secret would be known beforehand.

    Raises:
        RemoteProtocolError: the modulus is even, or generator or public key is not among 2..prime-2.
    """
    if prime % 2 == 0 or not 1 < generator < prime - 1 or not 1 < public < prime - 1:
        raise RemoteProtocolError(f"{whose}'s Diffie-Hellman numbers are degenerate (RFC 2631 section 2.1.5)")


def pad(text: bytes, size: int, random: RandomBytes) -> bytes:
    """`text`, the NUL that ends it, and random bytes up to `size`."""
    return text + b"\0" + random(size - len(text) - 1)


def unpad(field: bytes) -> str:
    """The text before a field's first NUL.

    Raises:
        RemoteProtocolError: there is no NUL, or the text is not UTF-8: another key decrypts it.
    """
    text, end, _ = field.partition(b"\0")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        end = b""
    if not end:
        # The bytes may be a password: no error shows them, nor has one that does for its cause.
        raise RemoteProtocolError("client's credentials are no text ended by a NUL")
    return decoded


def _cipher(secret: int, key_length: int) -> Cipher[modes.ECB]:
    key = hashlib.md5(secret.to_bytes(key_length, "big"), usedforsecurity=False).digest()
    return Cipher(AES128(key), modes.ECB())  # noqa: S305 - the protocol's own
