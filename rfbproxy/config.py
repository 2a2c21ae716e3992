"""Reading `nova.conf`, and judging all of it before anything starts."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rfbproxy.address import Address, parse_address, parse_host
from rfbproxy.errors import ConfigError
from rfbproxy.rfb import Preference, SecurityType

_BARE_NAME = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]?")

Network = IPv4Network | IPv6Network
UNIX_PEER = "unix"  # the name of everybody who comes by a UNIX socket
Trusted = Network | str
Name = tuple[str, str]  # of an option, after that of its group

BASE_URLS = {
    "novnc": ("vnc", "novncproxy_base_url"),
    "xvpvnc": ("vnc", "xvpvncproxy_base_url"),
    "spice-html5": ("spice", "html5proxy_base_url"),
    "spice-direct": ("spice", "spice_direct_proxy_base_url"),
}


def _is_url(text: str) -> bool:
    """Whether it names a host, and a port that is one if it names any."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.scheme and parts.hostname)


class Config:
    """The options of the files that were given, every one of them read and valid.

    Args:
        files: configuration files, later ones win.
        folders: folders of `*.conf` files.
        base: None: the working folder, which twistd may leave later.

    Raises:
        ConfigError: a file cannot be read, or an option's value cannot be used; one line that names it.

    Attributes:
        base: what relative paths start from.
        written: the names that stand in the files.
        unknown: those of them, in groups of ours, that nobody reads.
    """

    def __init__(self, files: Sequence[str] = (), folders: Sequence[str] = (), *, base: Path | None = None) -> None:
        from rfbproxy.config_files import read  # a worker is told its options, and starts sooner without oslo.config

        self.base = base or Path.cwd()
        self._files = [str(self.base / file) for file in files]
        self._folders = [str(self.base / folder) for folder in folders]
        found = read(self._files, self._folders, self.base)
        self._values, self._set = found.values, found.is_set
        self.written, self.unknown = found.written, found.unknown
        self._judge()

    def _judge(self) -> None:
        self._check_origins()
        _ = self.security_preference, self.rfb_listen, self.spice_listen, self.spice_tls_listen  # judged now
        _ = self.api_listen
        for console_type in BASE_URLS:
            self.base_url(console_type)
        self.trusted_proxies = tuple(self._trusted(self["consoleproxy", "trusted_proxies"]))

    def __getitem__(self, key: Name) -> object:
        return self._values[key]

    def again(self) -> "Config":
        """The same files as they are now.

        Raises:
            ConfigError: as for the first time.
        """
        return Config(self._files, self._folders, base=self.base)

    def with_those_of(self, other: "Config", names: Collection[Name]) -> "Config":
        """The same, but for some options which are as in another one."""
        mixed = copy(self)
        mixed._values = self._values | {name: other[name] for name in names}
        mixed._set = (self._set - set(names)) | (other._set & set(names))
        mixed._judge()
        return mixed

    def as_told(self) -> dict[str, Any]:
        """All that another process needs to have the same options, whatever the files are by then; as JSON has it.

        Passwords are in it.
        """
        options = [[*name, value, name in self._set] for name, value in self._values.items()]
        return {"base": str(self.base), "options": options}

    @classmethod
    def of_told(cls, told: Mapping[str, Any]) -> "Config":
        """What `as_told` gave."""
        config = cls.__new__(cls)
        config.base = Path(told["base"])
        config._values = {(group, name): value for group, name, value, _ in told["options"]}
        config._set = {(group, name) for group, name, _, is_set in told["options"] if is_set}
        config._judge()
        return config

    def path(self, group: str, name: str) -> Path | None:
        """An option that names a file; None where it is unset or empty."""
        value = self.text(group, name)
        return self.base / value if value is not None else None

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

    def is_set(self, group: str, name: str) -> bool:
        """Whether an option stands in a file, rather than at its default."""
        return (group, name) in self._set

    def addresses(self, group: str, listener: str) -> tuple[Address, ...]:
        """Where a listener listens: each of `*_host` with `*_port`; nowhere if the first is empty.

        Raises:
            ConfigError: one of them is no host.
        """
        words = [word.strip() for word in (self.text(group, f"{listener}_host") or "").split(",")]
        found = list(dict.fromkeys(self._address(word, group, listener) for word in words if word))
        if any(address.host == "::" for address in found):  # which takes IPv4 too
            found = [address for address in found if address.host != "0.0.0.0"]  # noqa: S104
        return tuple(found)

    def _address(self, word: str, group: str, listener: str) -> Address:
        option = f"[{group}] {listener}_host"
        if word.startswith("unix:"):
            return Address(path=str(self.base / (parse_address(word, option).path or "")))
        host = parse_host(word, option)
        if host == "0.0.0.0" and self.flag("DEFAULT", "source_is_ipv6"):  # noqa: S104 - the operator's choice
            host = "::"
        return Address(host, int(self.number(group, f"{listener}_port")))

    def web(self, group: str) -> str | None:
        """The operator's folder of pages for the listener whose options are in `group`."""
        return self.text(group, "web") or self.text("DEFAULT", "web")

    @property
    def certificate_file(self) -> Path | None:
        """Our certificate's file; None: there is none, for nova's default `self.pem` need not exist.

        Raises:
            ConfigError: it does not exist, and another option needs it.
        """
        name = self.text("DEFAULT", "cert") or "self.pem"
        file = self.base / name
        if file.exists():
            return file
        if self.flag("DEFAULT", "ssl_only"):
            raise ConfigError(f"SSL only and {name} not found")
        if self.path("consoleproxy", "client_ca_certs") is not None:
            raise ConfigError(f"[consoleproxy] client_ca_certs needs a certificate, and {name} is not there")
        is_default = name == "self.pem" and self.path("DEFAULT", "key") is None
        return None if is_default else file

    @property
    def security_preference(self) -> Preference:
        """Security towards targets, best first.

        Raises:
            ConfigError: nothing is left that could be used.
        """
        types, subtypes = self.words("vnc", "auth_schemes"), self.words("consoleproxy", "vencrypt_subtypes")
        preference = Preference.of_words(types, subtypes)
        if not types:
            raise ConfigError("[vnc] auth_schemes is empty: no target could be logged in to")
        if not subtypes and preference.types == (SecurityType.VENCRYPT,):
            raise ConfigError(
                "[vnc] auth_schemes allows vencrypt alone, and [consoleproxy] vencrypt_subtypes is empty: "
                "no target could be logged in to"
            )
        return preference

    @property
    def rfb_listen(self) -> tuple[Address, ...]:
        """Where native VNC viewers are listened for.

        Raises:
            ConfigError: one of them is no address.
        """
        return self._listen("rfb_listen")

    @property
    def spice_listen(self) -> tuple[Address, ...]:
        """Where native SPICE viewers are listened for, as `rfb_listen`."""
        return self._listen("spice_listen")

    @property
    def spice_tls_listen(self) -> tuple[Address, ...]:
        """Where those are listened for that begin with TLS, as `rfb_listen`."""
        return self._listen("spice_tls_listen")

    @property
    def api_listen(self) -> tuple[Address, ...]:
        """Where the API is listened for, as `rfb_listen`; without a host on 127.0.0.1."""
        return self._listen("api_listen", default_host="127.0.0.1")

    def _listen(self, name: str, default_host: str = "") -> tuple[Address, ...]:
        words = [word for word in self.words("consoleproxy", name) if word]
        if default_host:
            words = [re.sub("^:?(?=[0-9]+$)", f"{default_host}:", word) for word in words]
        found = [parse_address(word, f"[consoleproxy] {name}") for word in words]
        return tuple(
            replace(address, path=str(self.base / address.path)) if address.path is not None else address
            for address in dict.fromkeys(found)
        )

    def base_url(self, console_type: str) -> str:
        """What access URLs of a console type begin with.

        Raises:
            ConfigError: consoles of this type are not given out by URL here.
        """
        if console_type == "vnc-direct":
            return self._native_url()
        if console_type == "spice-direct" and not self.is_set("spice", "spice_direct_proxy_base_url"):
            return urlunsplit((*urlsplit(self.base_url("spice-html5"))[:2], "/console.vv", "", ""))
        option = BASE_URLS.get(console_type)
        if option is None:
            raise ConfigError(f"console type {console_type!r} has no access URL in this version")
        base = self.text(*option) or ""
        if not _is_url(base):
            raise ConfigError(f"[{option[0]}] {option[1]}: {base!r} is not a URL")
        return base

    @property
    def keystone_login(self) -> dict[str, Any]:
        """The options of `[keystone_authtoken]` by name; None where one is unset or empty."""
        group = "keystone_authtoken"
        login: dict[str, Any] = {name: self.text(of, name) for of, name in self._values if of == group}
        login["insecure"] = self.flag(group, "insecure")
        for name in ("cafile", "certfile", "keyfile"):
            login[name] = str(self.base / login[name]) if login[name] else None
        return login

    def _native_url(self) -> str:
        address = next((address for address in self.rfb_listen if address.path is None), None)
        if address is None:
            raise ConfigError("console type 'vnc-direct' needs a host and port in [consoleproxy] rfb_listen")
        if address.host in ("", "0.0.0.0", "::"):  # noqa: S104 - told apart, not bound
            address = replace(address, host=self.text("DEFAULT", "my_ip") or "")
        return f"vnc://{address}"

    def _check_origins(self) -> None:
        for name in self.words("console", "allowed_origins"):
            if not _BARE_NAME.fullmatch(name):
                raise ConfigError(
                    f"[console] allowed_origins: {name!r} is not a bare host name (without scheme, port and path)"
                )

    def _trusted(self, words: object) -> Iterable[Trusted]:
        for word in words if isinstance(words, list) else []:
            try:
                yield UNIX_PEER if word == UNIX_PEER else _unmapped(ip_network(word, strict=False))
            except ValueError as error:
                raise ConfigError(f"[consoleproxy] trusted_proxies: {word!r} is no address or network") from error


def is_trusted(source: str, trusted: Sequence[Trusted]) -> bool:
    """Whether an address lies in one of the networks; a UNIX socket's peer is trusted where `unix` is."""
    if not trusted:
        return False
    try:
        address = ip_address(source)
    except ValueError:
        return source == UNIX_PEER and UNIX_PEER in trusted
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in trusted if not isinstance(network, str))


def _unmapped(network: Network) -> Network:
    """IPv4 in IPv6 (`::ffff:a.b.c.d`) as IPv4, which is how clients are known."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network
