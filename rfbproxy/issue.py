"""Issuing a console: from what somebody asks for to a token in the store and the URL that carries it."""

import re
import uuid
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from typing import Any

from rfbproxy.consoleauth import ConsoleToken, Grant, Store, access_url, hash_token, new_token
from rfbproxy.consoleauth.token import SHARE_WORDS
from rfbproxy.errors import ConfigError, SecurityFailure
from rfbproxy.rfb.preference import SUBTYPE_WORDS, TYPE_WORDS
from rfbproxy.secret import Secret
from rfbproxy.spice import USUAL_CHANNELS, channel_name, password_bytes
from rfbproxy.spice.constants import LINKABLE
from rfbproxy.x509_subject import parse_subject

EXPIRES_LIMIT = 2**31 - 1  # nova's column is a 32-bit integer
SPICE_TYPES = ("spice-html5", "spice-direct")
SECURITY_WORDS = (*TYPE_WORDS, *SUBTYPE_WORDS)
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
    internal_access_path: str | None = None
    grant: Grant = field(default_factory=Grant)


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
        host=target_host(console.host),
        port=console.port,
        tls_port=console.tls_port,
        instance_uuid=valid_instance(console.instance),
        expires=min(now + ttl, EXPIRES_LIMIT),
        access_url_base=base,
        internal_access_path=_path(console.internal_access_path),
        grant=_grant(console.grant),
    )
    store.create(token, row, now)
    return Issued(Secret(token), Secret(access_url(console.console_type, base, token)), row)


def _check_options(console: Console) -> None:
    """Refuse what the protocol of this console type has no use for, or cannot carry."""
    is_spice = console.console_type in SPICE_TYPES
    grant = console.grant
    said = {each.name: getattr(grant, each.name) for each in fields(Grant)}
    said["internal_access_path"] = console.internal_access_path
    for name in VNC_ALONE if is_spice else SPICE_ALONE:
        if said[name] not in (None, (), False):
            raise ConfigError(
                f"{name} does not go with console type {console.console_type!r}, "
                f"but with {'VNC' if is_spice else 'SPICE'} consoles alone"
            )
    if not console.port and not (is_spice and console.tls_port):
        raise ConfigError("port 0 stands for a SPICE console with a TLS port alone: allowed are 1 to 65535")
    for name, words in (("share", SHARE_WORDS), ("require_security", SECURITY_WORDS)):
        if said[name] is not None and said[name] not in words:
            raise ConfigError(f"{name}: {said[name]!r} is not one of {', '.join(words)}")
    if is_spice:
        _check_spice(console.console_type, grant)


def _check_spice(console_type: str, grant: Grant) -> None:
    try:
        password_bytes(grant.password)
    except SecurityFailure as error:
        raise ConfigError(f"console type {console_type!r}: {error}") from error
    if grant.host_subject is not None:
        parse_subject(grant.host_subject)
    for word in grant.allow_channels or ():
        if word not in ALLOWABLE_CHANNELS:
            raise ConfigError(f"allow_channels: {word!r} is not one of {', '.join(ALLOWABLE_CHANNELS)}")


def _grant(grant: Grant) -> Grant:
    """A grant as the store keeps it: what says nothing is None."""
    said = {each.name: getattr(grant, each.name) for each in fields(Grant) if not each.metadata["sealed"]}
    kept: dict[str, Any] = {name: None if value in (0, False, ()) else value for name, value in said.items()}
    if grant.tls_name is not None:
        kept["tls_name"] = target_host(grant.tls_name)
    if grant.allow_channels:
        kept["allow_channels"] = tuple(dict.fromkeys(grant.allow_channels))
    return replace(grant, **kept)


def target_host(host: str) -> str:
    """A target's host as the store keeps it: a name, IPv4, or IPv6 without brackets.

    Raises:
        ConfigError: it is none of these.
    """
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


def valid_instance(instance: str | None) -> str:
    """An instance's id, made up where there is none.

    Raises:
        ConfigError: it is too long, empty, or not printable.
    """
    if instance is None:
        return str(uuid.uuid4())
    if not 1 <= len(instance) <= 36 or not instance.isprintable():
        raise ConfigError(f"instance {instance[:80]!r}: allowed are 1 to 36 printable characters")
    return instance


def _path(path: str | None) -> str | None:
    if path is not None and (not path.isascii() or not path.isprintable() or " " in path or not 1 <= len(path) <= 255):
        raise ConfigError("internal access path: allowed are 1 to 255 printable ASCII characters without spaces")
    return path
