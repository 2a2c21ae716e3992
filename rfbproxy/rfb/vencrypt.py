"""VeNCrypt 0.2: which subtype, when TLS begins, and the Plain login (rfbproto "VeNCrypt", qemu vnc-auth-vencrypt.c).

    server  00 02                   version
    client  00 02
    server  00                      fine; anything else is not
    server  n, n * u32              subtypes
    client  u32                     its choice
    server  01                      fine, TLS begins; anything else is not. Not sent before Plain in clear

The two bytes of consent have opposite senses. A SecurityResult follows every login, that of None included.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rfbproxy.errors import LocalProtocolError, NothingInCommon, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.constants import SecurityType, VeNCryptSubtype, subtype_name
from rfbproxy.rfb.credentials import Credentials
from rfbproxy.rfb.preference import Preference, satisfies
from rfbproxy.secret import Secret
from rfbproxy.wire import Conversation, Reader, Reading

Send = Callable[[bytes], None]

VERSION = b"\x00\x02"
PLAIN_LIMIT = 1024  # bytes of a user name, and of a password

_FINE, _REFUSED = b"\x00", b"\x01"
_TLS_BEGINS, _NO_TLS = b"\x01", b"\x00"


@dataclass(frozen=True, slots=True)
class TlsDue:
    """Every byte from here on goes through TLS, its client being the client of RFB; then call `tls_started`."""

    anonymous: bool  # without certificates


class Encryptable(Conversation):
    """A handshake in whose middle TLS may begin, which somebody else carries out."""

    def __init__(self) -> None:
        self._tls_due = self._tls_started = False
        super().__init__()

    def tls_started(self) -> None:
        """Go on inside TLS.

        Raises:
            LocalProtocolError: none is due, or bytes of the peer were given meanwhile, which came in clear.
        """
        if not self._tls_due or self._tls_started or len(self._reader):
            raise LocalProtocolError("TLS starts once, when it is due, and before another byte is given")
        self._tls_started = True
        self._advance()

    def _begin_tls(self, subtype: VeNCryptSubtype) -> Reading[None]:
        """Have TLS begun, and wait for it.

        Raises:
            RemoteProtocolError: bytes came in clear that would be taken for what the peer says inside TLS.
        """
        if waiting := len(self._reader):
            raise RemoteProtocolError(f"{waiting} bytes came in clear where TLS is due: they may have been injected")
        self._tls_due = True
        self._event(TlsDue(subtype.is_anonymous))
        while not self._tls_started:
            yield


def read_subtypes(reader: Reader, send: Send) -> Reading[list[int]]:
    """As a client: agree on the version, and hear which subtypes the server offers.

    Raises:
        SecurityFailure: the server speaks another version of VeNCrypt.
    """
    version = yield from reader.take(len(VERSION))
    if version != VERSION:
        raise SecurityFailure(f"target speaks VeNCrypt {version[0]}.{version[1]}, spoken is 0.2 (rfbproto VeNCrypt)")
    send(VERSION)
    if (yield from reader.take(1)) != _FINE:
        raise SecurityFailure("target refuses VeNCrypt 0.2, which it offered")
    count = yield from reader.u8()
    offered: list[int] = []
    for _ in range(count):
        offered.append((yield from reader.u32()))
    return offered


def choose_subtype(
    reader: Reader, send: Send, offered: Sequence[int], preference: Preference, credentials: Credentials
) -> Reading[VeNCryptSubtype]:
    """As a client: choose a subtype, up to where TLS or, for Plain in clear, the login begins.

    Raises:
        NothingInCommon: no subtype is offered that may be used and that the credentials can satisfy.
        SecurityFailure: the server takes back what it offered.
    """
    chosen = next(iter(preference.usable_subtypes(offered, credentials)), None)
    if chosen is None:
        wanted = [subtype.inner for subtype in preference.subtypes if subtype in offered]
        raise NothingInCommon(
            f"target offers VeNCrypt subtypes [{', '.join(map(subtype_name, offered))}], allowed are "
            f"[{', '.join(map(str, preference.subtypes))}]"
            f"{lacking(credentials, wanted)} (rfbproto VeNCrypt)"
        )
    send(chosen.to_bytes(4, "big"))
    if chosen.is_encrypted and (yield from reader.take(1)) != _TLS_BEGINS:
        raise SecurityFailure(f"target refuses VeNCrypt {chosen}, which it offered")
    return chosen


def offer_subtypes(reader: Reader, send: Send, subtypes: Sequence[VeNCryptSubtype]) -> Reading[VeNCryptSubtype]:
    """As a server: let the client choose, up to where TLS or, for Plain in clear, the login begins.

    Raises:
        RemoteProtocolError: the client speaks another version, or chose what was not offered.
    """
    send(VERSION)
    version = yield from reader.take(len(VERSION))
    if version != VERSION:
        send(_REFUSED)
        raise RemoteProtocolError(f"client speaks VeNCrypt {version[0]}.{version[1]}, spoken is 0.2")
    send(_FINE + bytes([len(subtypes)]) + b"".join(subtype.to_bytes(4, "big") for subtype in subtypes))
    chosen = yield from reader.u32()
    if chosen not in subtypes:
        send(_NO_TLS)
        raise RemoteProtocolError(
            f"client chose VeNCrypt subtype {subtype_name(chosen)}, offered were [{', '.join(map(str, subtypes))}]"
        )
    subtype = VeNCryptSubtype(chosen)
    if subtype.is_encrypted:
        send(_TLS_BEGINS)
    return subtype


def send_plain(send: Send, credentials: Credentials) -> None:
    """Log in with user name and password.

    Raises:
        SecurityFailure: they cannot be sent so.
    """
    username, password = credentials.for_login("Plain", limit=PLAIN_LIMIT)
    send(len(username).to_bytes(4, "big") + len(password).to_bytes(4, "big") + username + password)


def read_plain(reader: Reader) -> Reading[Credentials]:
    """The user name and password of a client.

    Raises:
        RemoteProtocolError: one of them is too long.
    """
    sizes = [(yield from reader.u32()), (yield from reader.u32())]
    if max(sizes) > PLAIN_LIMIT:
        raise RemoteProtocolError(
            f"client's user name and password are {sizes} bytes long, allowed are {PLAIN_LIMIT} each (rfbproto Plain)"
        )
    username = yield from reader.take(sizes[0])
    password = yield from reader.take(sizes[1])
    return Credentials(username.decode("utf-8", "replace"), Secret(password.decode("utf-8", "surrogateescape")))


def lacking(credentials: Credentials, logins: Iterable[SecurityType | None]) -> str:
    """What the credentials do not hold of what one of these logins wants, for the end of a sentence; None is Plain."""
    wanting = {login for login in logins if not satisfies(credentials, login)}
    lacks = ["user name"] * (not credentials.username and bool(wanting - {SecurityType.VNC_AUTHENTICATION}))
    lacks += ["password"] * (credentials.password is None and bool(wanting))
    return f", and the token holds no {' and no '.join(lacks)}" if lacks else ""
