"""Numbers of RFB, spelled as RFC 6143 and rfbproto spell them. Unknown values survive as `int`."""

from enum import IntEnum


class SecurityType(IntEnum):
    """Security types (RFC 6143 section 7.1.2 and 8.2.1, rfbproto "Security Types")."""

    INVALID = 0
    NONE = 1
    VNC_AUTHENTICATION = 2
    RA2 = 5
    RA2NE = 6
    TIGHT = 16
    ULTRA = 17
    TLS = 18
    VENCRYPT = 19
    SASL = 20
    XVP = 22
    APPLE_DH = 30
    MSLOGON2 = 113
    RA2_256 = 129
    RA2NE_256 = 130


SECURITY_NAMES: dict[int, str] = {
    SecurityType.INVALID: "Invalid",
    SecurityType.NONE: "None",
    SecurityType.VNC_AUTHENTICATION: "VNC Authentication",
    SecurityType.RA2: "RA2",
    SecurityType.RA2NE: "RA2ne",
    SecurityType.TIGHT: "Tight",
    SecurityType.ULTRA: "Ultra",
    SecurityType.TLS: "TLS",
    SecurityType.VENCRYPT: "VeNCrypt",
    SecurityType.SASL: "SASL",
    SecurityType.XVP: "xvp",
    SecurityType.APPLE_DH: "Diffie-Hellman Authentication",
    SecurityType.MSLOGON2: "MSLogonII",
    SecurityType.RA2_256: "RA2_256",
    SecurityType.RA2NE_256: "RA2ne_256",
}


def security_name(security_type: int) -> str:
    """The protocol's name of a security type, or its number where it has none here."""
    return SECURITY_NAMES.get(security_type, str(security_type))


class VeNCryptSubtype(IntEnum):
    """Subtypes of VeNCrypt (rfbproto "VeNCrypt").

    The two of SASL are numbered as QEMU, nova, gtk-vnc and LibVNCClient do (qemu ui/vnc.h); rfbproto has them the other
    way round.
    """

    PLAIN = 256
    TLS_NONE = 257
    TLS_VNC = 258
    TLS_PLAIN = 259
    X509_NONE = 260
    X509_VNC = 261
    X509_PLAIN = 262
    X509_SASL = 263
    TLS_SASL = 264

    @property
    def inner(self) -> "SecurityType | None":
        """The security type inside TLS; None is Plain, which has no number outside VeNCrypt."""
        return _INNER[self]

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS comes before the login."""
        return self is not VeNCryptSubtype.PLAIN

    @property
    def is_anonymous(self) -> bool:
        """Whether its TLS has no certificate, so that anybody in between can read and change everything."""
        return self.name.startswith("TLS_")

    def __str__(self) -> str:
        prefix, _, inner = self.name.partition("_")
        words = {"NONE": "None", "VNC": "Vnc", "PLAIN": "Plain", "SASL": "SASL", "": ""}
        return f"{'Plain' if self is VeNCryptSubtype.PLAIN else prefix}{words[inner]}"


_INNER: dict[VeNCryptSubtype, SecurityType | None] = {
    VeNCryptSubtype.PLAIN: None,
    VeNCryptSubtype.TLS_NONE: SecurityType.NONE,
    VeNCryptSubtype.TLS_VNC: SecurityType.VNC_AUTHENTICATION,
    VeNCryptSubtype.TLS_PLAIN: None,
    VeNCryptSubtype.X509_NONE: SecurityType.NONE,
    VeNCryptSubtype.X509_VNC: SecurityType.VNC_AUTHENTICATION,
    VeNCryptSubtype.X509_PLAIN: None,
    VeNCryptSubtype.X509_SASL: SecurityType.SASL,
    VeNCryptSubtype.TLS_SASL: SecurityType.SASL,
}


def subtype_name(subtype: int) -> str:
    """The protocol's name of a VeNCrypt subtype, or its number where it has none here."""
    try:
        return str(VeNCryptSubtype(subtype))
    except ValueError:
        return str(subtype)


class SecurityResult(IntEnum):
    """What a SecurityResult message says (RFC 6143 section 7.1.3); any other value is a failure too."""

    OK = 0
    FAILED = 1


class ClientMessage(IntEnum):
    """Types of client-to-server messages (RFC 6143 section 7.5, rfbproto "Client to Server Messages")."""

    SET_PIXEL_FORMAT = 0
    SET_ENCODINGS = 2
    FRAMEBUFFER_UPDATE_REQUEST = 3
    KEY_EVENT = 4
    POINTER_EVENT = 5
    CLIENT_CUT_TEXT = 6
    TEXT_CHAT = 11
    ENABLE_CONTINUOUS_UPDATES = 150
    CLIENT_FENCE = 248
    XVP = 250
    SET_DESKTOP_SIZE = 251
    GII = 253
    QEMU = 255


class ServerMessage(IntEnum):
    """Types of server-to-client messages (RFC 6143 section 7.6)."""

    FRAMEBUFFER_UPDATE = 0
    SET_COLOUR_MAP_ENTRIES = 1
    BELL = 2
    SERVER_CUT_TEXT = 3


class Encoding(IntEnum):
    """Encodings and pseudo-encodings (RFC 6143 section 7.7 and 7.8, rfbproto "Encodings")."""

    RAW = 0
    COPY_RECT = 1
    ZLIB = 6
    DESKTOP_SIZE = -223
    EXTENDED_DESKTOP_SIZE = -308
    XVP = -309
    EXTENDED_MOUSE_BUTTONS = -316
    EXTENDED_CLIPBOARD = 0xC0A1E5CE - (1 << 32)  # printed unsigned, sent signed


class XvpCode(IntEnum):
    """What an xvp client message asks for (rfbproto "xvp Client Message")."""

    SHUTDOWN = 2
    REBOOT = 3
    RESET = 4


CHALLENGE_SIZE = 16  # bytes of a VNC Authentication challenge and response (RFC 6143 section 7.2.2)
REASON_LIMIT = 4096  # bytes of a failure reason that are read; the length field allows 4 GiB
NAME_LIMIT = 65536  # bytes of a desktop name; the length field allows 4 GiB
