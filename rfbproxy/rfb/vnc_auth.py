"""VNC Authentication: DES of a 16-byte challenge under a password (RFC 6143 section 7.2.2)."""

import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from rfbproxy.secret import Secret

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def vnc_response(password: Secret, challenge: bytes) -> bytes:
    """The 16 bytes that answer `challenge`.

    Only the first eight characters of the password count; each byte of the key has its bits reversed. Characters beyond
    latin-1 are sent as UTF-8, as TigerVNC and QEMU do.
    """
    text = password.reveal()
    try:
        key = text.encode("latin-1")
    except UnicodeEncodeError:
        key = text.encode("utf-8")
    key = key[:8].ljust(8, b"\0").translate(_REVERSED_BITS)
    # Triple DES under three equal keys is DES, which the library offers in no other way.
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 - the protocol's own
    return encryptor.update(challenge) + encryptor.finalize()


def vnc_response_is_valid(password: Secret, challenge: bytes, response: bytes) -> bool:
    """Whether `response` answers `challenge`, compared in constant time."""
    return hmac.compare_digest(vnc_response(password, challenge), response)
