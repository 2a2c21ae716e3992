"""What authorises a visit: nova's row of a console token, and the grant that goes beyond it."""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from rfbproxy.secret import Secret

CONSOLE_TYPES = ("novnc", "xvpvnc", "spice-html5", "spice-direct", "vnc-direct")


# What a session does to others of its instance: nothing, end them, or yield to them.
SHARE_WORDS = ("share", "exclusive", "refuse")


def new_token() -> str:
    """A fresh token: a UUID4 of 36 lower-case characters."""
    return str(uuid.uuid4())


def token_bytes(token: str) -> bytes:
    """The token as bytes; any str has some, even one with lone surrogates."""
    return token.encode("utf-8", "surrogatepass")


def hash_token(token: str) -> str:
    """Lower-hex SHA-256 of the token, which is all that a store keeps of it (nova's `token_hash`)."""
    return hashlib.sha256(token_bytes(token)).hexdigest()


def _sealed(kind: Callable[[str], object]) -> dict[str, object]:
    """Of a field that is encrypted in the store; `kind` makes the value from its text."""
    return {"kind": kind, "sealed": True}


def _policy(kind: type) -> dict[str, object]:
    """Of a field that lies in the store as JSON; `kind` is what its value must be, a tuple one of str."""
    return {"kind": kind, "sealed": False}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows beyond nova's row; None means that nothing was said.

    A field added here is stored by `rfbproxy.consoleauth.grants` without further work.
    """

    username: str | None = field(default=None, metadata=_sealed(str))
    password: Secret | None = field(default=None, metadata=_sealed(Secret))
    idle_timeout_s: int | None = field(default=None, metadata=_policy(int))
    time_limit_s: int | None = field(default=None, metadata=_policy(int))
    tls_name: str | None = field(default=None, metadata=_policy(str))  # that the target's certificate must be for
    require_security: str | None = field(default=None, metadata=_policy(str))  # the only security that will do
    allow_power: bool | None = field(default=None, metadata=_policy(bool))  # xvp messages: shutdown, reboot, reset
    host_subject: str | None = field(default=None, metadata=_policy(str))  # of the SPICE target's certificate
    share: str | None = field(default=None, metadata=_policy(str))  # with the instance's other sessions: `SHARE_WORDS`
    one_time: bool | None = field(default=None, metadata=_policy(bool))  # one session, and its client's reconnects
    allow_channels: tuple[str, ...] | None = field(default=None, metadata=_policy(tuple))  # SPICE's, beyond the usual


@dataclass(frozen=True, slots=True)
class ConsoleToken:
    """One console token, as nova's `console_auth_tokens` has it.

    Attributes:
        console_type: None: the store does not tell, so it is whatever the listener is for.
        instance_uuid: None: the store does not tell.
        expires: unix seconds; the token is valid while `expires > now`, so not in that very second.
        internal_access_path: path of the CONNECT that opens the target (XenAPI), which may hold a session id.
    """

    token_hash: str
    console_type: str | None
    host: str
    port: int
    instance_uuid: str | None
    expires: int
    access_url_base: str | None
    tls_port: int | None = None
    internal_access_path: str | None = field(default=None, repr=False)
    grant: Grant = Grant()

    @property
    def id(self) -> str:
        """The first 8 hex digits of the hash: what logs, records and lists call this token."""
        return self.token_hash[:8]

    @property
    def target(self) -> str:
        """`host:port`, an IPv6 literal in brackets; control characters of a foreign row are escaped."""
        host = repr(self.host)[1:-1]
        return f"[{host}]:{self.port}" if ":" in host and not host.startswith("[") else f"{host}:{self.port}"
