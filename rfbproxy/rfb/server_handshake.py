"""RFB as a server: the proxy facing a client (RFC 6143 sections 7.1 to 7.3). The demo desktop speaks it too."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.apple_dh import apple_dh_server
from rfbproxy.rfb.constants import CHALLENGE_SIZE, SecurityResult, SecurityType, VeNCryptSubtype, security_name
from rfbproxy.rfb.credentials import Credentials, RandomBytes
from rfbproxy.rfb.mslogon2 import mslogon2_server
from rfbproxy.rfb.sasl import MECHANISMS, sasl_server
from rfbproxy.rfb.vencrypt import Encryptable, offer_subtypes, read_plain
from rfbproxy.rfb.version import Version, VersionAgreed, read_version
from rfbproxy.rfb.vnc_auth import vnc_response_is_valid
from rfbproxy.secret import Secret
from rfbproxy.wire import Reading

_UNOFFERED = "This security type was not offered."
_TOO_OLD = "This console needs a viewer of RFB 3.7 or later."
_WRONG_PASSWORD = "Authentication failed"  # noqa: S105 - what a viewer shows, not a password


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client may choose from.

    Attributes:
        security_types: in this order; a 3.3 client is told the first.
        subtypes: of VeNCrypt, if that is among them.
        mechanisms: of SASL, likewise.
        credentials: what VNC Authentication and SASL are checked against.
        random: gives random bytes, for the logins that need some.
    """

    security_types: Sequence[SecurityType] = (SecurityType.NONE,)
    subtypes: Sequence[VeNCryptSubtype] = ()
    mechanisms: Sequence[str] = MECHANISMS
    credentials: Credentials = field(default_factory=Credentials)
    random: RandomBytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Judge the offer before a client does.

        Raises:
            LocalProtocolError: something that it needs is missing.
        """
        inner = {subtype.inner for subtype in self.subtypes}
        logins = {*self.security_types, *inner}
        if logins & {SecurityType.VNC_AUTHENTICATION, SecurityType.SASL} and self.credentials.password is None:
            raise LocalProtocolError("VNC Authentication and SASL need a password to check against")
        if logins - {SecurityType.NONE, SecurityType.VENCRYPT, None} and self.random is None:
            raise LocalProtocolError("a login by challenge needs random bytes")
        if (SecurityType.VENCRYPT in self.security_types) != bool(self.subtypes):
            raise LocalProtocolError("VeNCrypt and its subtypes go together")


@dataclass(frozen=True, slots=True)
class CredentialsGiven:
    """The client has named itself; `accept` or `refuse` it."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class ClientInit:
    """The client is ready for the desktop (RFC 6143 section 7.3.1)."""

    shared: bool
    security: str  # as the audit record names it


class ServerHandshake(Encryptable):
    """Speak RFB to a client up to its ClientInit.

    The ProtocolVersion goes out at once; the security types are withheld, in every version, until `offer` or `refuse`
    is called: success is never promised early, and every refusal before that has one form.

    Events, in order: `VersionAgreed`, perhaps `TlsDue`, perhaps `CredentialsGiven`, `ClientInit`.

    Args:
        offer: what the client may choose from.
        version: the greeting; a client may answer with less.
    """

    def __init__(self, offer: Offer = Offer(), *, version: Version = Version.V3_8) -> None:
        self._greeting = version
        self._offer = offer
        self._offered = False
        self._judging = self._accepted = False
        self._refusal: str | None = None
        self.version: Version | None = None
        self.security: str | None = None
        super().__init__()

    def offer(self) -> None:
        """Send the security types and let the client log in.

        Raises:
            RemoteProtocolError: what came with the client's version already breaks the protocol.
        """
        self._offered = True
        self._advance()

    def accept(self) -> None:
        """The credentials that were given are right, and nothing else stands in the way.

        Raises:
            LocalProtocolError: none were given yet.
            RemoteProtocolError: what came with them already breaks the protocol.
        """
        if not self._judging:
            raise LocalProtocolError("nobody is accepted before CredentialsGiven")
        self._accepted = True
        self._advance()

    def refuse(self, sentence: str) -> None:
        """Refuse with `sentence` in the client's version, as soon as RFB has a word for it.

        That is in place of the security types, and in place of success once the client has given its credentials.
        """
        if self._accepted or self.finished or self._refusal is not None:
            return
        self._refusal = sentence
        try:
            self._advance()
        except RemoteProtocolError:  # says that the client was refused, which is known
            return

    def _converse(self) -> Reading[None]:
        self._send(self._greeting.message)
        asked = yield from read_version(self._reader)
        self.version = min(asked, self._greeting, key=lambda version: version.message)
        self._event(VersionAgreed(self.version))
        while not self._offered and self._refusal is None:
            yield
        if self._refusal is not None:
            self._send_refusal(self.version, self._refusal)
            return
        chosen = yield from self._agree_security(self.version)
        if chosen is SecurityType.VENCRYPT:
            self.security = yield from self._check_inside(self.version)
        else:
            self.security = yield from self._check_login(self.version, chosen)
        if chosen is not SecurityType.NONE or self.version is Version.V3_8:  # RFC 6143 section 7.2.1
            self._send_result(SecurityResult.OK)
        shared = yield from self._reader.u8()
        self._event(ClientInit(shared != 0, self.security))

    def _agree_security(self, version: Version) -> Reading[SecurityType]:
        types = self._offer.security_types
        if version is Version.V3_3:  # the server decides (RFC 6143 section 7.1.2)
            if types[0] not in (SecurityType.NONE, SecurityType.VNC_AUTHENTICATION):
                self._send_refusal(version, _TOO_OLD)
                raise RemoteProtocolError(f"client speaks RFB 3.3, which does not know {security_name(types[0])}")
            self._send(types[0].to_bytes(4, "big"))
            return types[0]
        self._send(bytes([len(types), *types]))
        chosen = yield from self._reader.u8()
        if chosen not in types:
            self._send_failure(version, _UNOFFERED)
            raise RemoteProtocolError(
                f"client chose security type {security_name(chosen)}, offered were "
                f"[{', '.join(map(security_name, types))}] (RFC 6143 section 7.1.2)"
            )
        return SecurityType(chosen)

    def _check_inside(self, version: Version) -> Reading[str]:
        """VeNCrypt: the login of the subtype that the client chooses, in TLS if it has any."""
        subtype = yield from offer_subtypes(self._reader, self._send, self._offer.subtypes)
        if subtype.is_encrypted:
            yield from self._begin_tls(subtype)
        if subtype.inner is None:
            yield from self._judge(version, (yield from read_plain(self._reader)))
            return f"VeNCrypt {subtype}"
        name = yield from self._check_login(version, subtype.inner)
        return f"VeNCrypt {subtype}{name.removeprefix('SASL') if subtype.inner is SecurityType.SASL else ''}"

    def _check_login(self, version: Version, login: SecurityType) -> Reading[str]:
        """Check what the client gives as its proof, or have it checked; returns the login's name."""
        reader, send, offer = self._reader, self._send, self._offer
        match login:
            case SecurityType.VNC_AUTHENTICATION if offer.random and offer.credentials.password is not None:
                yield from self._challenge_client(version, offer.credentials.password, offer.random(CHALLENGE_SIZE))
            case SecurityType.SASL if offer.random:
                # A wrong password ends the connection without a word, as QEMU ends it: there is no SecurityResult yet.
                mechanism = yield from sasl_server(
                    reader, send, offer.credentials, mechanisms=offer.mechanisms, random=offer.random
                )
                return f"SASL {mechanism}"
            case SecurityType.APPLE_DH if offer.random:
                yield from self._judge(version, (yield from apple_dh_server(reader, send, offer.random)))
            case SecurityType.MSLOGON2 if offer.random:
                yield from self._judge(version, (yield from mslogon2_server(reader, send, offer.random)))
            case SecurityType.NONE:
                pass
            case _:
                raise LocalProtocolError(f"{security_name(login)} was offered, and cannot be checked")
        return security_name(login)

    def _challenge_client(self, version: Version, password: Secret, challenge: bytes) -> Reading[None]:
        self._send(challenge)
        response = yield from self._reader.take(CHALLENGE_SIZE)
        if not vnc_response_is_valid(password, challenge, response):
            self._send_failure(version, _WRONG_PASSWORD)
            raise SecurityFailure("client gave a wrong password")

    def _judge(self, version: Version, given: Credentials) -> Reading[None]:
        """Let whoever holds this machine judge the credentials."""
        self._judging = True
        self._event(CredentialsGiven(given))
        while not self._accepted and self._refusal is None:
            yield
        if self._refusal is not None:
            self._send_failure(version, self._refusal)
            raise SecurityFailure("client was refused")

    def _send_result(self, result: SecurityResult) -> None:
        self._send(result.to_bytes(4, "big"))

    def _send_failure(self, version: Version, sentence: str) -> None:
        self._send_result(SecurityResult.FAILED)
        if version is Version.V3_8:  # RFC 6143 section 7.1.3
            self._send(_counted(sentence))

    def _send_refusal(self, version: Version, sentence: str) -> None:
        """No security types, and why (RFC 6143 section 7.1.2): a u32 zero in 3.3, a zero count since 3.7."""
        none = SecurityType.INVALID
        self._send(none.to_bytes(4, "big") if version is Version.V3_3 else bytes([none]))
        self._send(_counted(sentence))


def _counted(sentence: str) -> bytes:
    text = sentence.encode("ascii", "replace")
    return len(text).to_bytes(4, "big") + text
