"""RFB as a client: the proxy facing a target, logging in for the user (RFC 6143 sections 7.1 to 7.3)."""

from collections.abc import Collection
from dataclasses import dataclass, field
from struct import Struct

from rfbproxy.errors import LocalProtocolError, NothingInCommon, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.apple_dh import apple_dh_client
from rfbproxy.rfb.constants import (
    CHALLENGE_SIZE,
    NAME_LIMIT,
    REASON_LIMIT,
    SecurityResult,
    SecurityType,
    VeNCryptSubtype,
    security_name,
)
from rfbproxy.rfb.credentials import Credentials, RandomBytes
from rfbproxy.rfb.mslogon2 import mslogon2_client
from rfbproxy.rfb.preference import Preference
from rfbproxy.rfb.sasl import sasl_client
from rfbproxy.rfb.vencrypt import Encryptable, choose_subtype, lacking, read_subtypes, send_plain
from rfbproxy.rfb.version import Version, VersionAgreed, read_version
from rfbproxy.rfb.vnc_auth import vnc_response
from rfbproxy.secret import Secret
from rfbproxy.wire import EndOfStream, Reading

_SERVER_INIT = Struct("!HHBBBBHHHBBB3x")
_SPOKEN_IN_3_3 = (SecurityType.NONE, SecurityType.VNC_AUTHENTICATION)  # RFC 6143 section 7.1.2


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


class ClientHandshake(Encryptable):
    """Speak RFB to a target up to its ServerInit.

    Events, in order: `VersionAgreed`, perhaps `TlsDue`, `LoggedIn`, and after `initialise`: `ServerInit`. `ReasonDue`
    comes before a failure.

    Args:
        preference: what may be used; a type that the credentials cannot satisfy is passed over.
        credentials: the token's, for the target.
        random: gives random bytes, for the logins that need some.

    Attributes:
        second_choice: after `NothingInCommon`: what a new connection may try instead; None: nothing.
    """

    def __init__(self, preference: Preference, credentials: Credentials, random: RandomBytes) -> None:
        self._preference = preference
        self._credentials = credentials
        self._random = random
        self._client_init: bytes | None = None
        self.version: Version | None = None
        self.security: str | None = None
        self.second_choice: Preference | None = None
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
        offered = yield from self._read_security_types(self.version)
        chosen = self._choose(offered)
        if self.version is not Version.V3_3:  # there the server decides (RFC 6143 section 7.1.2)
            self._send(bytes([chosen]))
        try:
            self.security = yield from self._log_in(self.version, chosen)
        except NothingInCommon:
            rest = self._preference.without(chosen)
            if self.second_choice is None and any(rest.usable_types(offered, self._credentials)):
                self.second_choice = rest
            raise
        self._event(LoggedIn(self.security))
        while self._client_init is None:
            yield
        self._send(self._client_init)
        self._event((yield from self._read_server_init()))

    def _read_security_types(self, version: Version) -> Reading[Collection[int]]:
        if version is Version.V3_3:
            decided = yield from self._reader.u32()
            if decided == SecurityType.INVALID:
                yield from self._refused("target refuses the connection")
            if decided not in _SPOKEN_IN_3_3:
                raise SecurityFailure(
                    f"target demands security type {security_name(decided)} in RFB 3.3, which knows "
                    f"[{', '.join(map(security_name, _SPOKEN_IN_3_3))}] (RFC 6143 section 7.1.2)"
                )
            return {decided}
        count = yield from self._reader.u8()
        if count == 0:
            yield from self._refused("target refuses the connection")
        return set((yield from self._reader.take(count)))

    def _choose(self, offered: Collection[int]) -> SecurityType:
        """The operator's first choice that is offered and that can be satisfied."""
        chosen = next(iter(self._preference.usable_types(offered, self._credentials)), None)
        if chosen is None:
            allowed = self._preference
            wanted: list[SecurityType | None] = [kind for kind in allowed.types if kind in offered]
            names = ", ".join(map(security_name, allowed.types))
            if SecurityType.VENCRYPT in wanted:
                wanted.remove(SecurityType.VENCRYPT)
                wanted += [subtype.inner for subtype in allowed.subtypes]
                names += f" with subtypes {', '.join(map(str, allowed.subtypes)) or 'none'}"
            raise SecurityFailure(
                f"target offers security types [{', '.join(map(security_name, sorted(offered)))}], "
                f"allowed are [{names}]{lacking(self._credentials, wanted)} (RFC 6143 section 7.1.2)"
            )
        return chosen

    def _log_in(self, version: Version, chosen: SecurityType) -> Reading[str]:
        """Log in by the type that was chosen; returns its name for the audit record."""
        if chosen is SecurityType.VENCRYPT:
            return (yield from self._log_in_by_vencrypt(version))
        name = yield from self._give_proof(chosen, encrypted=False)
        if chosen is not SecurityType.NONE:
            yield from self._read_answer(version)
        elif version is Version.V3_8:  # None has no SecurityResult before 3.8 (RFC 6143 section 7.2.1)
            yield from self._read_result(version)
        return name

    def _log_in_by_vencrypt(self, version: Version) -> Reading[str]:
        preference, credentials = self._preference, self._credentials
        offered = yield from read_subtypes(self._reader, self._send)
        subtype = yield from choose_subtype(self._reader, self._send, offered, preference, credentials)
        if not subtype.is_encrypted:
            return (yield from self._log_in_inside(version, subtype))
        yield from self._begin_tls(subtype)
        try:
            return (yield from self._log_in_inside(version, subtype))
        except NothingInCommon:
            rest = preference.without_login(subtype.inner)
            if any(rest.usable_subtypes(offered, credentials)):
                self.second_choice = rest
            raise
        except EndOfStream as error:
            raise SecurityFailure("target closed inside TLS instead of going on with the login") from error

    def _log_in_inside(self, version: Version, subtype: VeNCryptSubtype) -> Reading[str]:
        """The login of a VeNCrypt subtype, which a SecurityResult follows in every version."""
        name = f"VeNCrypt {subtype}"
        if subtype.inner is None:
            send_plain(self._send, self._credentials)
        else:
            proof = yield from self._give_proof(subtype.inner, encrypted=subtype.is_encrypted)
            if subtype.inner is SecurityType.SASL:
                name = f"VeNCrypt {subtype}{proof.removeprefix('SASL')}"
        yield from self._read_answer(version)
        return name

    def _give_proof(self, login: SecurityType, *, encrypted: bool) -> Reading[str]:
        """What one security type wants to see of the credentials; its SecurityResult is left to be read."""
        reader, send, credentials = self._reader, self._send, self._credentials
        match login:
            case SecurityType.VNC_AUTHENTICATION if credentials.password is not None:
                yield from self._answer_challenge(credentials.password)
            case SecurityType.SASL:
                mechanism = yield from sasl_client(reader, send, credentials, encrypted=encrypted, random=self._random)
                return f"SASL {mechanism}"
            case SecurityType.APPLE_DH:
                yield from apple_dh_client(reader, send, credentials, self._random)
            case SecurityType.MSLOGON2:
                yield from mslogon2_client(reader, send, credentials, self._random)
        return security_name(login)

    def _answer_challenge(self, password: Secret) -> Reading[None]:
        challenge = yield from self._reader.take(CHALLENGE_SIZE)
        self._send(vnc_response(password, challenge))

    def _read_answer(self, version: Version) -> Reading[None]:
        """The SecurityResult of a login; some servers close instead of refusing it."""
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
    if not decoded.isprintable():
        decoded = "".join(character if character.isprintable() else " " for character in decoded)
    return decoded.strip()[:256]
