"""RFB as a client: the proxy facing a target, logging in for the user (RFC 6143 sections 7.1 to 7.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from struct import Struct

from rfbproxy.errors import LocalProtocolError, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.constants import (
    CHALLENGE_SIZE,
    NAME_LIMIT,
    REASON_LIMIT,
    SecurityResult,
    SecurityType,
    security_name,
)
from rfbproxy.rfb.version import Version, VersionAgreed, read_version
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from rfbproxy.wire import Conversation, EndOfStream, Reading

_SERVER_INIT = Struct("!HHBBBBHHHBBB3x")
_SPOKEN = (SecurityType.NONE, SecurityType.VNC_AUTHENTICATION)


@dataclass(frozen=True, slots=True)
class ReasonDue:
    """The target refuses and a reason may follow: wait a moment for it, then report the end of the stream."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The target accepted the login; `initialise` comes next."""

    security: str  # as the audit record names it


@dataclass(frozen=True, slots=True)
class ServerInit:
    """The desktop (RFC 6143 section 7.3.2), and the message as it came, for the client."""

    width: int  # pixels
    height: int
    name: str
    message: bytes = field(repr=False)


class ClientHandshake(Conversation):
    """Speak RFB to a target up to its ServerInit.

    Events, in order: `VersionAgreed`, `LoggedIn`, and after `initialise`: `ServerInit`. `ReasonDue` comes before a
    failure.

    Args:
        preference: security types that may be used, best first; the target's own order is ignored.
        password: for VNC Authentication; without it that type cannot be satisfied and is passed over.
    """

    def __init__(self, preference: Sequence[int], password: Secret | None = None) -> None:
        self._preference = preference
        self._password = password
        self._client_init: bytes | None = None
        self.version: Version | None = None
        self.security: str | None = None
        super().__init__()

    def initialise(self, *, shared: bool) -> None:
        """Send ClientInit; the target's ServerInit follows as an event.

        Raises:
            LocalProtocolError: not logged in yet, or called twice.
            RemoteProtocolError: what came with the login already is no ServerInit.
        """
        if self.security is None or self._client_init is not None:
            raise LocalProtocolError("ClientInit is due once, after the login")
        self._client_init = bytes([shared])
        self._advance()

    def _converse(self) -> Reading[None]:
        self.version = yield from read_version(self._reader)
        self._send(self.version.message)
        self._event(VersionAgreed(self.version))
        security_type = yield from self._agree_security(self.version)
        if security_type == SecurityType.VNC_AUTHENTICATION and self._password is not None:
            yield from self._answer_challenge(self._password)
            yield from self._read_answer(self.version)
        elif self.version is Version.V3_8:  # None has no SecurityResult before 3.8 (RFC 6143 section 7.2.1)
            yield from self._read_result(self.version)
        self.security = security_name(security_type)
        self._event(LoggedIn(self.security))
        yield from self._wait_until(lambda: self._client_init is not None)
        self._send(self._client_init or b"")
        self._event((yield from self._read_server_init()))

    def _agree_security(self, version: Version) -> Reading[int]:
        if version is Version.V3_3:
            offered = [(yield from self._reader.u32())]
            if offered == [SecurityType.INVALID]:
                yield from self._refused("target refuses the connection")
            return self._choose(offered)
        count = yield from self._reader.u8()
        if count == 0:
            yield from self._refused("target refuses the connection")
        chosen = self._choose((yield from self._reader.take(count)))
        self._send(bytes([chosen]))
        return chosen

    def _choose(self, offered: Iterable[int]) -> int:
        """The operator's first choice that is offered and that can be satisfied."""
        offers = set(offered)
        for wanted in self._preference:
            if wanted not in offers:
                continue
            if wanted not in _SPOKEN:
                raise SecurityFailure(
                    f"target offers {security_name(wanted)}, which is preferred, but this version does not speak it"
                )
            if wanted == SecurityType.VNC_AUTHENTICATION and self._password is None:
                continue
            return wanted
        lacking = (
            ", and the token holds no password"
            if SecurityType.VNC_AUTHENTICATION in offers and self._password is None
            else ""
        )
        raise SecurityFailure(
            f"target offers security types [{', '.join(map(security_name, sorted(offers)))}], "
            f"allowed are [{', '.join(map(security_name, self._preference))}]{lacking} (RFC 6143 section 7.1.2)"
        )

    def _answer_challenge(self, password: Secret) -> Reading[None]:
        challenge = yield from self._reader.take(CHALLENGE_SIZE)
        self._send(vnc_response(password, challenge))

    def _read_answer(self, version: Version) -> Reading[None]:
        """The SecurityResult of a password; some servers close instead of refusing it."""
        try:
            yield from self._read_result(version)
        except EndOfStream as error:
            raise SecurityFailure("target closed instead of answering the login") from error

    def _read_result(self, version: Version) -> Reading[None]:
        result = yield from self._reader.u32()
        if result == SecurityResult.OK:
            return
        refusal = f"target refuses the login with SecurityResult {result}"
        if version is not Version.V3_8:  # no reason follows before 3.8 (RFC 6143 section 7.1.3)
            raise SecurityFailure(refusal)
        yield from self._refused(refusal)

    def _refused(self, what: str) -> Reading[None]:
        self._event(ReasonDue())
        reason = clean_text((yield from self._read_reason()))
        raise SecurityFailure(f"{what}: {reason!r}" if reason else f"{what} without a reason")

    def _read_reason(self) -> Reading[bytes]:
        """As much of the reason as comes, within the limit; some servers close before it (QEMU in 3.3)."""
        try:
            length = yield from self._reader.u32()
        except EndOfStream:
            return b""
        try:
            return (yield from self._reader.take(min(length, REASON_LIMIT)))
        except EndOfStream:
            return self._reader.unread()

    def _read_server_init(self) -> Reading[ServerInit]:
        fixed = yield from self._reader.take(_SERVER_INIT.size)
        width, height, bits_per_pixel, *_ = _SERVER_INIT.unpack(fixed)
        if bits_per_pixel not in (8, 16, 32):
            raise RemoteProtocolError(
                f"target's pixels have {bits_per_pixel} bits, allowed are 8, 16, 32 (RFC 6143 section 7.4)"
            )
        length = yield from self._reader.u32()
        if length > NAME_LIMIT:
            raise RemoteProtocolError(f"target's desktop name is {length} bytes long, allowed are {NAME_LIMIT}")
        name = yield from self._reader.take(length)
        return ServerInit(width, height, clean_text(name), fixed + length.to_bytes(4, "big") + name)


def clean_text(text: bytes) -> str:
    """Text of a peer, fit for a log line: UTF-8 or else latin-1, printable, at most 256 characters.

    QEMU counts a trailing NUL in the length of its reasons.
    """
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    return "".join(character if character.isprintable() else " " for character in decoded).strip()[:256]
