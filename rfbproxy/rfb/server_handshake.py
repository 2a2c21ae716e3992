"""RFB as a server: the proxy facing a client (RFC 6143 sections 7.1 to 7.3). The demo desktop speaks it too."""

from collections.abc import Sequence
from dataclasses import dataclass

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.constants import CHALLENGE_SIZE, SecurityResult, SecurityType, security_name
from rfbproxy.rfb.version import Version, VersionAgreed, read_version
from rfbproxy.rfb.vnc_auth import vnc_response_is_valid
from rfbproxy.secret import Secret
from rfbproxy.wire import Conversation, Reading

_UNOFFERED = "This security type was not offered."
_WRONG_PASSWORD = "Authentication failed"  # noqa: S105 - what a viewer shows, not a password


@dataclass(frozen=True, slots=True)
class ClientInit:
    """The client is ready for the desktop (RFC 6143 section 7.3.1)."""

    shared: bool
    security: str  # as the audit record names it


class ServerHandshake(Conversation):
    """Speak RFB to a client up to its ClientInit.

    The ProtocolVersion goes out at once; the security types are withheld, in every version, until `offer` or `refuse`
    is called: success is never promised early, and every refusal has one form.

    Events, in order: `VersionAgreed`, `ClientInit`.

    Args:
        version: the greeting; a client may answer with less.
        security_types: what to offer: None, VNC Authentication, or both. A 3.3 client is told the first.
        password: for VNC Authentication.
        challenge: 16 random bytes, fresh for every connection, for VNC Authentication.
    """

    def __init__(
        self,
        security_types: Sequence[SecurityType] = (SecurityType.NONE,),
        *,
        version: Version = Version.V3_8,
        password: Secret | None = None,
        challenge: bytes = b"",
    ) -> None:
        if SecurityType.VNC_AUTHENTICATION in security_types and (password is None or len(challenge) != CHALLENGE_SIZE):
            raise LocalProtocolError("VNC Authentication needs a password and a 16-byte challenge")
        self._greeting = version
        self._security_types = security_types
        self._password = password or Secret("")
        self._challenge = challenge
        self._offered = False
        self._refusal: bytes | None = None
        self.version: Version | None = None
        self.security: str | None = None
        super().__init__()

    def offer(self) -> None:
        """Send the security types and let the client in.

        Raises:
            RemoteProtocolError: what came with the client's version already breaks the protocol.
        """
        self._offered = True
        self._advance()

    def refuse(self, sentence: str) -> None:
        """Refuse with `sentence` in the client's version, now or as soon as that is known.

        Does nothing once the security types are offered: RFB has no word for it after that.
        """
        if self._offered or self.finished:
            return
        self._refusal = sentence.encode("ascii", "replace")
        self._advance()

    def _converse(self) -> Reading[None]:
        self._send(self._greeting.message)
        asked = yield from read_version(self._reader)
        self.version = min(asked, self._greeting, key=lambda version: version.value)
        self._event(VersionAgreed(self.version))
        yield from self._wait_until(lambda: self._offered or self._refusal is not None)
        if self._refusal is not None:
            self._send_refusal(self.version, self._refusal)
            return
        security_type = yield from self._agree_security(self.version)
        if security_type == SecurityType.VNC_AUTHENTICATION:
            yield from self._challenge_client(self.version)
        elif self.version is Version.V3_8:  # None has no SecurityResult before 3.8 (RFC 6143 section 7.2.1)
            self._send_result(SecurityResult.OK)
        self.security = security_name(security_type)
        shared = yield from self._reader.u8()
        self._event(ClientInit(shared != 0, self.security))

    def _agree_security(self, version: Version) -> Reading[int]:
        if version is Version.V3_3:  # the server decides (RFC 6143 section 7.1.2)
            self._send(self._security_types[0].to_bytes(4, "big"))
            return self._security_types[0]
        self._send(bytes([len(self._security_types), *self._security_types]))
        chosen = yield from self._reader.u8()
        if chosen not in self._security_types:
            self._fail(version, _UNOFFERED)
            raise RemoteProtocolError(
                f"client chose security type {security_name(chosen)}, offered were "
                f"[{', '.join(map(security_name, self._security_types))}] (RFC 6143 section 7.1.2)"
            )
        return chosen

    def _challenge_client(self, version: Version) -> Reading[None]:
        self._send(self._challenge)
        response = yield from self._reader.take(CHALLENGE_SIZE)
        if not vnc_response_is_valid(self._password, self._challenge, response):
            self._fail(version, _WRONG_PASSWORD)
            raise SecurityFailure("client gave a wrong password")
        self._send_result(SecurityResult.OK)

    def _send_result(self, result: SecurityResult) -> None:
        self._send(result.to_bytes(4, "big"))

    def _fail(self, version: Version, sentence: str) -> None:
        self._send_result(SecurityResult.FAILED)
        if version is Version.V3_8:  # RFC 6143 section 7.1.3
            self._send(_counted(sentence.encode("ascii")))

    def _send_refusal(self, version: Version, sentence: bytes) -> None:
        """No security types, and why (RFC 6143 section 7.1.2): a u32 zero in 3.3, a zero count since 3.7."""
        none = SecurityType.INVALID
        self._send(none.to_bytes(4, "big") if version is Version.V3_3 else bytes([none]))
        self._send(_counted(sentence))


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text
