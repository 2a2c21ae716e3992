"""SCRAM, a login by password in which both sides prove that they know it (RFC 5802; RFC 7677 for SHA-256).

Neither half does I/O or framing: a message goes in, the next one comes out. Channel binding is not spoken. A nonce is
an argument: printable ASCII without a comma, and unpredictable.
"""

import binascii
import hashlib
import hmac
import re
import stringprep
from unicodedata import ucd_3_2_0

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.credentials import Credentials

HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
TEXT_LIMIT = 1024  # bytes of a user name or password
SALT_LIMIT = 256  # bytes; Cyrus SASL sends 16
ITERATIONS_FLOOR = 4096  # RFC 7677 section 4; with less a false server could try passwords cheaply
ITERATIONS_LIMIT = 100_000  # which take a tenth of a second

_GS2_HEADER = b"n,,"  # no channel binding, no authzid (RFC 5802 section 7)

_NONCE = rb"[\x21-\x2b\x2d-\x7e]+"
_BASE64 = rb"[A-Za-z0-9+/]+={0,2}"
_EXTENSIONS = rb"(?:,[A-Za-z]=[^\0,]+)*"
_CLIENT_FIRST = re.compile(rb"([ny],,)(n=((?:[^\0,=]|=2C|=3D)+),r=(%b)%b)" % (_NONCE, _EXTENSIONS))
_SERVER_FIRST = re.compile(rb"r=(%b),s=(%b),i=([1-9][0-9]{0,9})%b" % (_NONCE, _BASE64, _EXTENSIONS))
_CLIENT_FINAL = re.compile(rb"(c=(%b),r=(%b)%b),p=(%b)" % (_BASE64, _NONCE, _EXTENSIONS, _BASE64))
_SERVER_FINAL = re.compile(rb"(?:e=([^\0,]+)|v=(%b))%b" % (_BASE64, _EXTENSIONS))


class ScramClient:
    """Prove a password to a server, and have the server prove that it knows it too.

    Call `first`, `answer` and `check`, in this order; only after `check` is anybody logged in.

    Raises:
        SecurityFailure: the credentials cannot be used; `Credentials.for_login` says when.
    """

    def __init__(self, mechanism: str, credentials: Credentials, nonce: bytes) -> None:
        self._hash = HASHES[mechanism]
        name, self._password = _prepare(credentials, mechanism)
        self._nonce = nonce
        self._first_bare = b"n=" + name.replace(b"=", b"=3D").replace(b",", b"=2C") + b",r=" + nonce
        self._signature: bytes | None = None

    def first(self) -> bytes:
        """The client's first message: who asks."""
        return _GS2_HEADER + self._first_bare

    def answer(self, server_first: bytes) -> bytes:
        """The client's final message, which proves the password.

        Raises:
            RemoteProtocolError: the challenge is malformed, asks for too much work, or is not made for this login.
        """
        nonce, salt_base64, iterations = _match(_SERVER_FIRST, server_first, "target's SCRAM challenge")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise RemoteProtocolError("target's SCRAM nonce does not extend the client's (RFC 5802 section 5.1)")
        salt = _decode_base64(salt_base64)
        if len(salt) > SALT_LIMIT:
            raise RemoteProtocolError(f"target's SCRAM salt is {len(salt)} bytes long, allowed are {SALT_LIMIT}")
        if not ITERATIONS_FLOOR <= int(iterations) <= ITERATIONS_LIMIT:
            raise SecurityFailure(
                f"target asks for {int(iterations)} SCRAM iterations, "
                f"allowed are {ITERATIONS_FLOOR} to {ITERATIONS_LIMIT}"
            )
        unproven = b"c=" + _encode_base64(_GS2_HEADER) + b",r=" + nonce
        login = b",".join((self._first_bare, server_first, unproven))
        proof, self._signature = _prove(self._hash, self._password, salt, int(iterations), login)
        return unproven + b",p=" + _encode_base64(proof)

    def check(self, server_final: bytes) -> None:
        """Return only if the server refuses nothing and has proved that it knows the password.

        Raises:
            SecurityFailure: it refuses the login, or its proof is wrong.
            RemoteProtocolError: the message is malformed.
        """
        if self._signature is None:
            raise LocalProtocolError("a SCRAM challenge is answered before its outcome is checked")
        error, signature = _match(_SERVER_FINAL, server_final, "target's SCRAM outcome")
        if error is not None:
            raise SecurityFailure(f"target refuses the login: {error[:256].decode('latin-1')!a}")
        if not hmac.compare_digest(_decode_base64(signature), self._signature):
            raise SecurityFailure("target does not prove that it knows the password (RFC 5802 section 5)")


class ScramServer:
    """Have a client prove the password, and prove it back: `challenge`, then `verdict`.

    A name that is not the user's is challenged as the right one would be, and fails where a wrong password does.
    """

    def __init__(
        self, mechanism: str, credentials: Credentials, nonce: bytes, salt: bytes, iterations: int = 4096
    ) -> None:
        self._hash = HASHES[mechanism]
        self._name, self._password = _prepare(credentials, mechanism)
        self._nonce = nonce
        self._salt = salt
        self._iterations = iterations
        self._name_is_right = False
        self._header = b""
        self._opening: bytes | None = None  # both first messages, as the proofs take them in

    def challenge(self, client_first: bytes) -> bytes:
        """The server's first message.

        Raises:
            RemoteProtocolError: the client's is malformed, or wants channel binding or another identity.
        """
        self._header, bare, name, nonce = _match(_CLIENT_FIRST, client_first, "client's first SCRAM message")
        try:
            claimed = name.replace(b"=2C", b",").replace(b"=3D", b"=").decode("utf-8")
        except UnicodeDecodeError:
            raise RemoteProtocolError("client's SCRAM user name is not UTF-8 (RFC 5802 section 5.1)") from None
        self._name_is_right = hmac.compare_digest(saslprep(claimed).encode("utf-8"), self._name)
        self._nonce = nonce + self._nonce
        server_first = b"r=%b,s=%b,i=%d" % (self._nonce, _encode_base64(self._salt), self._iterations)
        self._opening = bare + b"," + server_first
        return server_first

    def verdict(self, client_final: bytes) -> bytes:
        """The server's final message, for a client that has proved the password.

        Raises:
            SecurityFailure: it has not.
            RemoteProtocolError: its message is malformed, or belongs to another login.
        """
        if self._opening is None:
            raise LocalProtocolError("a SCRAM challenge is sent before its answer is judged")
        unproven, header, nonce, claimed_proof = _match(_CLIENT_FINAL, client_final, "client's final SCRAM message")
        if _decode_base64(header) != self._header or nonce != self._nonce:
            raise RemoteProtocolError("client's final SCRAM message belongs to another login (RFC 5802 section 5.1)")
        login = self._opening + b"," + unproven
        proof, signature = _prove(self._hash, self._password, self._salt, self._iterations, login)
        if not hmac.compare_digest(_decode_base64(claimed_proof), proof) & self._name_is_right:
            raise SecurityFailure("client gives a wrong user name or password")
        return b"v=" + _encode_base64(signature)


def saslprep(text: str) -> str:
    """A name or password as both sides compare it (RFC 4013).

    Text that the profile does not allow, or leaves nothing of, stays as it is, so that every password can be used.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each for each in text if not stringprep.in_table_b1(each)
    )
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    return prepared if prepared and _is_allowed(prepared) else text


_PROHIBITED = (
    stringprep.in_table_a1,  # unassigned, because these are stored strings (RFC 5802 section 2.2)
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _is_allowed(text: str) -> bool:
    if any(prohibits(each) for each in text for prohibits in _PROHIBITED):
        return False
    if not any(map(stringprep.in_table_d1, text)):
        return True
    # Right to left: nothing from left to right, and right to left at both ends (RFC 3454 section 6).
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(map(stringprep.in_table_d2, text))


def _prepare(credentials: Credentials, mechanism: str) -> tuple[bytes, bytes]:
    name, password = credentials.for_login(mechanism, limit=TEXT_LIMIT)
    return saslprep(name.decode("utf-8")).encode("utf-8"), saslprep(password.decode("utf-8")).encode("utf-8")


def _prove(algorithm: str, password: bytes, salt: bytes, iterations: int, login: bytes) -> tuple[bytes, bytes]:
    """ClientProof and ServerSignature of a login, which is its AuthMessage (RFC 5802 section 3)."""
    salted = hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    stored_key = hashlib.new(algorithm, client_key).digest()
    client_signature = hmac.digest(stored_key, login, algorithm)
    server_key = hmac.digest(salted, b"Server Key", algorithm)
    proof = bytes(a ^ b for a, b in zip(client_key, client_signature, strict=True))
    return proof, hmac.digest(server_key, login, algorithm)


def _match(form: re.Pattern[bytes], message: bytes, what: str) -> tuple[bytes, ...]:
    """The parts of a message; a part that may be left out and is, is None."""
    if message.startswith((b"m=", b"n,,m=", b"y,,m=")) or b",m=" in message:
        raise RemoteProtocolError(f"{what} demands an extension, and there is none (RFC 5802 section 5.1)")
    match = form.fullmatch(message)
    if match is None:
        raise RemoteProtocolError(f"{what} is malformed (RFC 5802 section 7)")
    return match.groups()


def _encode_base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _decode_base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise RemoteProtocolError("a SCRAM message holds broken base64 (RFC 5802 section 5.1)") from None
