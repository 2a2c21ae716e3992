"""Issuing a console: from what somebody asks for to a token in the store and the URL that carries it."""

import re
import uuid
from dataclasses import dataclass
from ipaddress import ip_address

from rfbproxy.consoleauth import ConsoleToken, Grant, Store, access_url, hash_token, new_token
from rfbproxy.errors import ConfigError, SecurityFailure
from rfbproxy.secret import Secret
from rfbproxy.spice import USUAL_CHANNELS, channel_name, password_bytes
from rfbproxy.spice.constants import LINKABLE
from rfbproxy.x509_subject import parse_subject

EXPIRES_LIMIT = 2**31 - 1  # nova's column is a 32-bit integer
SPICE_TYPES = ("spice-html5", "spice-direct")
ALLOWABLE_CHANNELS = tuple(channel_name(channel) for channel in sorted(LINKABLE - USUAL_CHANNELS))

# What one protocol has and the other has not
VNC_ALONE = ("username", "internal_access_path", "require_security", "allow_power")
SPICE_ALONE = ("host_subject", "allow_channels")


@dataclass(frozen=True, slots=True)
class Console:
    """The console that somebody asks for."""

    console_type: str
    host: str
    port: int
    tls_port: int | None = None
    instance: str | None = None
    username: str | None = None
    password: Secret | None = None
    internal_access_path: str | None = None
    idle_timeout_s: int | None = None
    time_limit_s: int | None = None
    tls_name: str | None = None
    require_security: str | None = None
    allow_power: bool = False
    host_subject: str | None = None
    allow_channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Issued:
    """A console that was given out."""

    token: Secret
    url: Secret
    console: ConsoleToken

    def as_json(self) -> dict[str, object]:
        """For the one who asked: with its secrets."""
        return {
            "token": self.token.reveal(),
            "url": self.url.reveal(),
            "type": self.console.console_type,
            "expires": self.console.expires,
            "instance": self.console.instance_uuid,
        }


def issue(store: Store, console: Console, *, base: str, ttl: int, now: int) -> Issued:
    """Put a new token for `console` into the store.

    Args:
        base: what the access URL begins with.
        ttl: seconds until the token expires.
        now: Unix seconds.

    Raises:
        ConfigError: something of the console cannot be used.
        StoreError: the store cannot take it.
    """
    _check_options(console)
    token = new_token()
    row = ConsoleToken(
        token_hash=hash_token(token),
        console_type=console.console_type,
        host=_host(console.host),
        port=console.port,
        tls_port=console.tls_port,
        instance_uuid=_instance(console.instance),
        expires=min(now + ttl, EXPIRES_LIMIT),
        access_url_base=base,
        internal_access_path=_path(console.internal_access_path),
        grant=Grant(
            username=console.username,
            password=console.password,
            idle_timeout_s=console.idle_timeout_s or None,
            time_limit_s=console.time_limit_s or None,
            tls_name=_host(console.tls_name) if console.tls_name is not None else None,
            require_security=console.require_security,
            allow_power=console.allow_power or None,
            host_subject=console.host_subject,
            allow_channels=tuple(dict.fromkeys(console.allow_channels)) or None,
        ),
    )
    store.create(token, row, now)
    return Issued(Secret(token), Secret(access_url(console.console_type, base, token)), row)


def _check_options(console: Console) -> None:
    """Refuse what the protocol of this console type has no use for, or cannot carry."""
    is_spice = console.console_type in SPICE_TYPES
    for name in VNC_ALONE if is_spice else SPICE_ALONE:
        if getattr(console, name) not in (None, (), False):
            raise ConfigError(
                f"{name} does not go with console type {console.console_type!r}, "
                f"but with {'VNC' if is_spice else 'SPICE'} consoles alone"
            )
    if is_spice:
        _check_spice(console)


def _check_spice(console: Console) -> None:
    try:
        password_bytes(console.password)
    except SecurityFailure as error:
        raise ConfigError(f"console type {console.console_type!r}: {error}") from error
    if console.host_subject is not None:
        parse_subject(console.host_subject)
    for word in console.allow_channels:
        if word not in ALLOWABLE_CHANNELS:
            raise ConfigError(f"allow_channels: {word!r} is not one of {', '.join(ALLOWABLE_CHANNELS)}")


def _host(host: str) -> str:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare or bare != host or re.fullmatch(r"[0-9.]+", bare):  # a name's last label has a letter
        try:
            return str(ip_address(bare))
        except ValueError as error:
            raise ConfigError(
                f"host {host!r} is neither a name nor an address (the port is given by itself)"
            ) from error
    if not bare or len(bare) > 253 or not all(char.isalnum() or char in "-._" for char in bare):
        raise ConfigError(f"host {host!r} is neither a name nor an address")
    return bare


def _instance(instance: str | None) -> str:
    if instance is None:
        return str(uuid.uuid4())
    if not 1 <= len(instance) <= 36 or not instance.isprintable():
        raise ConfigError(f"instance {instance[:80]!r}: allowed are 1 to 36 printable characters")
    return instance


def _path(path: str | None) -> str | None:
    if path is not None and (not path.isascii() or not path.isprintable() or " " in path or not 1 <= len(path) <= 255):
        raise ConfigError("internal access path: allowed are 1 to 255 printable ASCII characters without spaces")
    return path
