"""UltraVNC's MSLogonII (security type 113), a login with a Windows name and password.

    server  u64 generator, u64 modulus, u64 public key
    client  u64 public key, 256 bytes of user name, 64 bytes of password        SecurityResult follows

Name and password end with a NUL, are filled up at random, and are under DES in CBC mode, each from the same IV. The
shared secret is the IV, and with the bits of each byte reversed it is the key, as in VNC Authentication (TigerVNC
CSecurityMSLogonII, LibVNCClient, noVNC). 64 bits hide nothing from whoever listens: this login is for trusted networks.
"""

from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from rfbproxy.rfb.apple_dh import check_exchange, pad, unpad
from rfbproxy.rfb.credentials import Credentials, RandomBytes
from rfbproxy.secret import Secret
from rfbproxy.wire import Reader, Reading

_NUMBER_SIZE = 8  # bytes of each number
_NAME_SIZE = 256  # bytes with the NUL
_PASSWORD_SIZE = 64

_GENERATOR = 2
_MODULUS = 0xFFFFFFFFFFFFFA43  # the largest safe prime of 64 bits, for the server half

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

Send = Callable[[bytes], None]


def mslogon2_client(reader: Reader, send: Send, credentials: Credentials, random: RandomBytes) -> Reading[None]:
    """Send name and password to a target; its SecurityResult is left to be read.

    Raises:
        SecurityFailure: name or password is missing, or longer than 255 and 63 bytes.
        RemoteProtocolError: the target's numbers are no key exchange.
    """
    name, password = credentials.for_login("MSLogonII", limit=_PASSWORD_SIZE - 1, name_limit=_NAME_SIZE - 1)
    generator = yield from _number(reader)
    modulus = yield from _number(reader)
    public = yield from _number(reader)
    check_exchange("target", modulus, generator, public)
    private = int.from_bytes(random(_NUMBER_SIZE), "big")
    secret = pow(public, private, modulus)
    send(
        pow(generator, private, modulus).to_bytes(_NUMBER_SIZE, "big")
        + _cipher(secret).encryptor().update(pad(name, _NAME_SIZE, random))
        + _cipher(secret).encryptor().update(pad(password, _PASSWORD_SIZE, random))
    )


def mslogon2_server(reader: Reader, send: Send, random: RandomBytes) -> Reading[Credentials]:
    """What a client sends for a name and password, which are the caller's to judge.

    Raises:
        RemoteProtocolError: its public key is degenerate, or its credentials are no text.
    """
    private = int.from_bytes(random(_NUMBER_SIZE), "big")
    for number in (_GENERATOR, _MODULUS, pow(_GENERATOR, private, _MODULUS)):
        send(number.to_bytes(_NUMBER_SIZE, "big"))
    public = yield from _number(reader)
    name = yield from reader.take(_NAME_SIZE)
    password = yield from reader.take(_PASSWORD_SIZE)
    check_exchange("client", _MODULUS, _GENERATOR, public)
    secret = pow(public, private, _MODULUS)
    return Credentials(
        unpad(_cipher(secret).decryptor().update(name)), Secret(unpad(_cipher(secret).decryptor().update(password)))
    )


def _number(reader: Reader) -> Reading[int]:
    return int.from_bytes((yield from reader.take(_NUMBER_SIZE)), "big")


def _cipher(secret: int) -> Cipher[modes.CBC]:
    start = secret.to_bytes(_NUMBER_SIZE, "big")
    # Triple DES under three equal keys is DES, which the library offers in no other way.
    return Cipher(TripleDES(start.translate(_REVERSED_BITS) * 3), modes.CBC(start))
