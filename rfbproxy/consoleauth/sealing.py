"""Secrets encrypted under their token, so that a store alone opens nothing.

sealed = version (1 byte) | salt (16) | nonce (12) | AES-256-GCM ciphertext and tag (16)
key    = HKDF-SHA256(token, salt, INFO)
associated data = the token's hash, which ties the secrets to their row
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rfbproxy.consoleauth.token import hash_token, token_bytes
from rfbproxy.errors import StoreError

VERSION = 1
INFO = b"rfbproxy consoleauth grant secrets v1"
SALT_SIZE = 16
NONCE_SIZE = 12
TAG_SIZE = 16
_HEAD_SIZE = 1 + SALT_SIZE + NONCE_SIZE


def seal(token: str, plaintext: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Encrypt `plaintext` so that only the token opens it."""
    salt, nonce = random(SALT_SIZE), random(NONCE_SIZE)
    return bytes([VERSION]) + salt + nonce + _cipher(token, salt).encrypt(nonce, plaintext, _associated(token))


def unseal(token: str, sealed: bytes) -> bytes:
    """The plaintext that `seal` was given.

    Raises:
        StoreError: the bytes are damaged, of another token, or of a version unknown here.
    """
    if sealed and sealed[0] != VERSION:
        raise StoreError(f"the secrets of a console token have version {sealed[0]}, known here is {VERSION}")
    if len(sealed) < _HEAD_SIZE + TAG_SIZE:
        raise StoreError(f"the secrets of a console token are cut short: {len(sealed)} bytes")
    salt, nonce = sealed[1 : 1 + SALT_SIZE], sealed[1 + SALT_SIZE : _HEAD_SIZE]
    try:
        return _cipher(token, salt).decrypt(nonce, sealed[_HEAD_SIZE:], _associated(token))
    except InvalidTag:
        raise StoreError("the secrets of a console token are damaged or belong to another token") from None


def _cipher(token: str, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=INFO).derive(token_bytes(token)))


def _associated(token: str) -> bytes:
    return hash_token(token).encode("ascii")
