"""Reading `nova.conf`, and judging all of it before anything starts."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from oslo_config import cfg

from rfbproxy.errors import ConfigError
from rfbproxy.options import FOREIGN, GROUPS
from rfbproxy.rfb import SecurityType

_BARE_NAME = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]?")

Network = IPv4Network | IPv6Network

logging.getLogger("oslo_config").setLevel(logging.ERROR)  # old names are welcome here, and not worth a warning

SECURITY_WORDS = {
    "vencrypt": SecurityType.VENCRYPT,
    "sasl": SecurityType.SASL,
    "vnc": SecurityType.VNC_AUTHENTICATION,
    "ard": SecurityType.APPLE_DH,
    "mslogon2": SecurityType.MSLOGON2,
    "none": SecurityType.NONE,
}
BASE_URLS = {
    "novnc": ("vnc", "novncproxy_base_url"),
    "xvpvnc": ("vnc", "xvpvncproxy_base_url"),
    "spice-html5": ("spice", "html5proxy_base_url"),
    "spice-direct": ("spice", "spice_direct_proxy_base_url"),
}
DEFAULT_PREFERENCE = (SecurityType.VNC_AUTHENTICATION, SecurityType.NONE)  # of the types that are spoken


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: `host` and `port`, or a UNIX socket's `path`."""

    host: str = ""
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, what: str) -> Address:
    """Read `host:port`, `[v6]:port` or `unix:PATH`.

    Raises:
        ConfigError: anything else; `what` says which option or argument it was.
    """
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(path=text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535 or (":" in host and not bracketed):
        raise ConfigError(f"{what}: {text!r} is not an address; host:port, [IPv6]:port or unix:PATH is")
    return Address(host[1:-1] if bracketed else host, int(port))


class Config:
    """The options of the files that were given, every one of them read and valid.

    Args:
        files: configuration files, later ones win.
        folders: folders of `*.conf` files.

    Raises:
        ConfigError: a file cannot be read, or an option's value cannot be used; one line that names it.
    """

    def __init__(self, files: Sequence[str] = (), folders: Sequence[str] = ()) -> None:
        self._conf = cfg.ConfigOpts()
        for group, options in GROUPS.items():
            self._conf.register_opts(options, group=None if group == "DEFAULT" else group)
        arguments = [f"--config-file={file}" for file in files] + [f"--config-dir={folder}" for folder in folders]
        try:
            self._conf(arguments, project="consoleproxy", default_config_files=[], default_config_dirs=[])
            self._read_all()
        except (cfg.Error, ValueError, OSError) as error:
            raise ConfigError(" ".join(str(error).split())) from error
        self._check_origins()
        for console_type in BASE_URLS:
            self.base_url(console_type)
        self.trusted_proxies = tuple(self._networks(self["consoleproxy", "trusted_proxies"]))
        self.unknown = tuple(
            self._unknown([*files, *(str(p) for f in folders for p in sorted(Path(f).glob("*.conf")))])
        )

    def __getitem__(self, key: tuple[str, str]) -> object:
        group, name = key
        return getattr(self._conf, name) if group == "DEFAULT" else getattr(self._conf[group], name)

    def text(self, group: str, name: str) -> str | None:
        """A string option; None where it is unset or empty."""
        value = self[group, name]
        return str(value) if value not in (None, "") else None

    def number(self, group: str, name: str) -> float:
        """A numeric option."""
        return float(str(self[group, name]))

    def flag(self, group: str, name: str) -> bool:
        """A boolean option."""
        return bool(self[group, name])

    def words(self, group: str, name: str) -> tuple[str, ...]:
        """A list option."""
        value = self[group, name]
        return tuple(str(word) for word in value) if isinstance(value, list) else ()

    @property
    def novnc_address(self) -> Address:
        """Where browsers come in for VNC."""
        host = self.text("vnc", "novncproxy_host") or ""
        if host.startswith("unix:"):
            return parse_address(host, "[vnc] novncproxy_host")
        if host in ("", "0.0.0.0") and self.flag("DEFAULT", "source_is_ipv6"):  # noqa: S104 - the operator's choice
            host = "::"
        return Address(host.removeprefix("[").removesuffix("]"), int(self.number("vnc", "novncproxy_port")))

    @property
    def web(self) -> str | None:
        """The operator's folder of pages for the VNC listener."""
        return self.text("vnc", "web") or self.text("DEFAULT", "web")

    @property
    def security_preference(self) -> tuple[int, ...]:
        """Security types towards targets, best first."""
        words = self.words("vnc", "auth_schemes")
        return tuple(SECURITY_WORDS[word.lower()] for word in words) or DEFAULT_PREFERENCE

    def base_url(self, console_type: str) -> str:
        """What access URLs of a console type begin with.

        Raises:
            ConfigError: consoles of this type are not given out by URL here.
        """
        option = BASE_URLS.get(console_type)
        if option is None:
            raise ConfigError(f"console type {console_type!r} has no access URL in this version")
        base = self.text(*option) or ""
        if not urlsplit(base).scheme or not urlsplit(base).netloc:
            raise ConfigError(f"[{option[0]}] {option[1]}: {base!r} is not a URL")
        return base

    def _read_all(self) -> None:
        for group, options in GROUPS.items():
            for option in options:
                try:
                    self[group, option.dest]
                except cfg.ConfigFileValueError as error:  # its text names the file in a form not meant for people
                    why = str(error).partition(" is not valid: ")[2] or str(error)
                    raise ConfigError(f"[{group}] {option.dest}: {' '.join(why.split())}") from error

    def _check_origins(self) -> None:
        for name in self.words("console", "allowed_origins"):
            if not _BARE_NAME.fullmatch(name):
                raise ConfigError(
                    f"[console] allowed_origins: {name!r} is not a bare host name (without scheme, port and path)"
                )

    def _networks(self, words: object) -> Iterable[Network]:
        for word in words if isinstance(words, list) else []:
            try:
                yield ip_network(word, strict=False)
            except ValueError as error:
                raise ConfigError(f"[consoleproxy] trusted_proxies: {word!r} is no address or network") from error

    def _unknown(self, files: Iterable[str]) -> Iterable[str]:
        """Names that nobody reads, in the groups that are ours to know: probably misspelt."""
        for file in files:
            sections: dict[str, dict[str, object]] = {}
            cfg.ConfigParser(file, sections).parse()
            for group, names in sections.items():
                if group == "DEFAULT" or group not in GROUPS:
                    continue
                known = {option.dest for option in GROUPS[group]} | {option.name for option in GROUPS[group]}
                known |= {old.name for option in GROUPS[group] for old in option.deprecated_opts}
                for name in names:
                    if name.replace("-", "_") not in known | FOREIGN.get(group, frozenset()):
                        yield f"[{group}] {name} in {file}"


def is_trusted(source: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks; a UNIX socket's peer never does."""
    try:
        address = ip_address(source)
    except ValueError:
        return False
    return any(address in network for network in networks)
