"""What the options become: the parts that the service is assembled from, each judged as it is made."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from rfbproxy import web
from rfbproxy.address import Address
from rfbproxy.client.connection import ClientConnection
from rfbproxy.client.factory import Kind
from rfbproxy.client.folders import SPICE_PAGE, Folders, Protocol
from rfbproxy.client.listener import Listener
from rfbproxy.client.native import NativeConnection
from rfbproxy.client.tls import ServerTls
from rfbproxy.config import BASE_URLS, Config
from rfbproxy.consoleauth import ConsoleToken, addresses
from rfbproxy.errors import ConfigError
from rfbproxy.listening import Place, places
from rfbproxy.session.target_check import LibvirtCheck
from rfbproxy.session.visit import VisitRules
from rfbproxy.systemd import take_sockets
from rfbproxy.target.dial import Dialler
from rfbproxy.target.tls import TargetTls, TargetTlsRules
from rfbproxy.workers.number import kept_in_memory
from rfbproxy.written import Finding

NATIVE = "rfb"  # the listener for native VNC viewers, as LISTEN_FDNAMES may name it

_NODE_MODULES = Path(sys.prefix) / "share" / "rfbproxy" / "node_modules"
_NOVNC_FOLDERS = (_NODE_MODULES / "@novnc" / "novnc", Path("/usr/share/novnc"))
_SPICE_FOLDERS = (_NODE_MODULES / "@spice-project" / "spice-html5", Path("/usr/share/spice-html5"))

_log = Logger()


# The listeners by their names, which LISTEN_FDNAMES may use, and the protocol of the consoles of each.
PROTOCOLS: dict[str, Protocol] = {
    "novncproxy": "vnc",
    "xvpvncproxy": "vnc",
    NATIVE: "vnc",
    "html5proxy": "spice",
    "spice": "spice",
    "spice_tls": "spice",
}
NATIVE_SPICE = ("spice", "spice_tls")


def wanted(config: Config) -> Mapping[str, Sequence[Address]]:
    """Where each listener listens, by its name: those of the protocols that are enabled.

    Raises:
        ConfigError: no protocol is, and no API, or an address is none.
    """
    found = {
        "novncproxy": config.addresses("vnc", "novncproxy"),
        "xvpvncproxy": config.addresses("vnc", "xvpvncproxy"),
        NATIVE: config.rfb_listen,
        "html5proxy": config.addresses("spice", "html5proxy"),
        "spice": config.spice_listen,
        "spice_tls": config.spice_tls_listen,
    }
    enabled = {name: addresses for name, addresses in found.items() if config.flag(PROTOCOLS[name], "enabled")}
    if not enabled and not config.api_listen:
        raise ConfigError("[vnc] enabled is False and so is [spice] enabled: there is nothing to listen for")
    return enabled


def nothing_to_listen_on(config: Config) -> ConfigError:
    """What is wrong where no listener has an address."""
    first = "[vnc] novncproxy_host" if config.flag("vnc", "enabled") else "[spice] html5proxy_host"
    return ConfigError(f"{first} is empty, and there is nothing else to listen on")


def bind(config: Config, wanted: Mapping[str, Sequence[Address]]) -> tuple[list[Place], list[Place]]:
    """Take the sockets that were handed over, and bind the rest; gives them, and those handed over that are nobody's.

    Raises:
        ConfigError: an address cannot be listened on, or there is none.
    """
    found, strangers = places(
        wanted,
        take_sockets(),
        unix_mode=int(config.text("consoleproxy", "unix_socket_mode") or "0660", 8),
        prefer_ipv6=config.flag("DEFAULT", "source_is_ipv6"),
        unasked=unasked(config),
    )
    if not found:
        raise nothing_to_listen_on(config)
    return found, strangers


def leave_alone(strangers: Sequence[Place]) -> None:
    """Close the sockets that were handed over and are nobody's."""
    for place in strangers:
        _log.warn("a socket was handed over that is no listener's: {address}", address=str(place.address))
        place.socket.close()


def announce(places: Sequence[Place], protocols: Mapping[str, Protocol] = PROTOCOLS) -> None:
    """Tell the operator what is listened for, and where."""
    for place in places:
        protocol = protocols.get(place.listener)
        what = f"{protocol.upper()} consoles" if protocol is not None else "the API"
        how = " (handed over)" if place.handed_over else ""
        _log.info("listening for {what} on {address}{how}", what=what, address=str(place.address), how=how)


def session_limits(config: Config) -> tuple[int, int]:
    """How many sessions there may be, in all and of one client address."""
    names = ("max_sessions", "max_connections_per_source")
    most, most_per_source = (int(config.number("consoleproxy", name)) for name in names)
    return most, most_per_source


def unasked(config: Config) -> tuple[str, ...]:
    """Listeners that nova's defaults name, rather than an option."""
    asked = config.is_set("vnc", "xvpvncproxy_host") or config.is_set("vnc", "xvpvncproxy_port")
    return () if asked else ("xvpvncproxy",)


def kind_of(name: str) -> Kind:
    """What speaks with the clients of a listener."""
    return NativeConnection if name == NATIVE else ClientConnection


def listener_of(name: str, listener: Listener, config: Config) -> Listener:
    """What sets one listener apart: nova-xvpvncproxy takes a GET for a CONNECT, native viewers have TLS of their own.

    TigerVNC's viewer up to 1.12 hears nothing more once a session ticket of TLS 1.3 has come together with other data.
    """
    if name == NATIVE:
        return replace(listener, tls=tls(config, before_1_3=True))
    if name in NATIVE_SPICE:
        return replace(listener, is_native=True)
    return replace(listener, connect_by_get=name == "xvpvncproxy")


def warn(config: Config) -> None:
    """Tell the operator what of the options does nothing."""
    for unknown in config.unknown:
        _log.warn("unknown option {name} in {file} is ignored", name=str(unknown), file=unknown.file)
    for finding in idle(config):
        _log.warn("{finding}", finding=str(finding))


def idle(config: Config) -> Iterator[Finding]:
    """Options that are set and do nothing, as others are."""
    if (where := kept_in_memory(config)) is not None and int(str(config["consoleproxy", "workers"] or 1)) > 1:
        yield Finding("[consoleproxy] workers", f"does nothing: {where} is a memory, which one process has")
    if (config.text("DEFAULT", "record") or "False").lower() != "false":
        yield Finding("[DEFAULT] record", "this version does not record: sessions are NOT recorded")
    for name in (NATIVE, *NATIVE_SPICE):
        if config.words("consoleproxy", f"{name}_listen") and not config.flag(PROTOCOLS[name], "enabled"):
            yield Finding(f"[consoleproxy] {name}_listen", f"does nothing: [{PROTOCOLS[name]}] enabled is False")
    if config.is_set("consoleproxy", "libvirt_xml") and config.text("consoleproxy", "target_check") != "libvirt":
        yield Finding("[consoleproxy] libvirt_xml", "does nothing: [consoleproxy] target_check is not libvirt")


def tls_only(config: Config) -> bool:
    """Whether clients must come encrypted: in clear nobody could be asked for a certificate."""
    return config.flag("DEFAULT", "ssl_only") or config.path("consoleproxy", "client_ca_certs") is not None


def rules(config: Config) -> VisitRules:
    """What every visit is held to."""
    return VisitRules(
        tls_only=tls_only(config),
        security_preference=config.security_preference,
        allowed_origins=config.words("console", "allowed_origins"),
        handshake_timeout_s=config.number("consoleproxy", "handshake_timeout_s"),
        login_timeout_s=config.number("consoleproxy", "login_timeout_s"),
        idle_timeout_s=config.number("consoleproxy", "idle_timeout_s") or None,
        session_limit_s=config.number("consoleproxy", "session_limit_s") or None,
        enforce_session_timeout=config.flag("consoleauth", "enforce_session_timeout"),
        untold_bases=_untold_bases(config),
    )


def _untold_bases(config: Config) -> Mapping[str, str]:
    """What access URLs begin with, by console type, where the token store does not know that."""
    if addresses.tells_all(config.text("consoleauth", "connection") or ""):
        return {}
    return {console_type: config.base_url(console_type) for console_type in BASE_URLS}


def target_check(
    config: Config, run: Callable[[Callable[[], None]], Awaitable[None]]
) -> Callable[[ConsoleToken], Awaitable[None]] | None:
    """What finds out whether a target is still its instance's; None where the store is believed.

    Args:
        run: calls a function that may block on another thread.
    """
    if config.text("consoleproxy", "target_check") != "libvirt":
        return None
    checking = LibvirtCheck(config.path("consoleproxy", "libvirt_xml") or Path())
    return lambda token: run(lambda: checking.check(token))


def dialler(config: Config, reactor: Any, failed: Callable[[], None]) -> Dialler:
    """What reaches targets, and tells `failed` of those that it cannot reach."""
    return Dialler(reactor, config.number("consoleproxy", "connect_timeout_s"), failed)


def target_tls(config: Config) -> TargetTls:
    """TLS towards targets.

    Raises:
        ConfigError: a file cannot be used.
    """
    cert, key = config.path("vnc", "vencrypt_client_cert"), config.path("vnc", "vencrypt_client_key")
    if key is not None and cert is None:
        raise ConfigError("[vnc] vencrypt_client_key is set, but vencrypt_client_cert is not")
    return TargetTls(
        TargetTlsRules(
            ca_certs=config.path("vnc", "vencrypt_ca_certs"),
            client_cert=cert,
            client_key=key,
            verify_names=config.flag("consoleproxy", "vencrypt_verify_names"),
            minimum_version=config.text("consoleproxy", "target_tls_minimum_version") or "default",
            options=("[vnc] vencrypt_ca_certs", "[vnc] vencrypt_client_cert", "[vnc] vencrypt_client_key"),
        )
    )


def check_tls(wanted: Mapping[str, Sequence[Address]], *, has_tls: bool) -> None:
    """Some listeners are for clients inside TLS alone.

    Raises:
        ConfigError: one of them is wanted, and there is no certificate.
    """
    for name in (NATIVE, "spice_tls"):
        if wanted.get(name) and not has_tls:
            raise ConfigError(f"[consoleproxy] {name}_listen needs a certificate: set [DEFAULT] cert")


def tls(config: Config, *, before_1_3: bool = False) -> ServerTls | None:
    """TLS towards clients; nova's default certificate `self.pem` need not exist unless `ssl_only` is set.

    Raises:
        ConfigError: a file cannot be used.
    """
    cert = config.certificate_file
    if cert is None:
        return None
    return ServerTls(
        cert,
        config.path("DEFAULT", "key"),
        client_ca_certs=config.path("consoleproxy", "client_ca_certs"),
        minimum_version=config.text("console", "ssl_minimum_version") or "default",
        before_1_3=before_1_3,
        ciphers=config.text("console", "ssl_ciphers"),
    )


def folders(config: Config, protocol: Protocol) -> Folders:
    """Where pages come from on a listener for consoles of `protocol`.

    Raises:
        ConfigError: one that is named or needed is not there.
    """
    operator, own = None, Path(web.__file__).parent
    named = config.web(protocol)
    if named is not None:
        operator = config.base / named
        if not operator.is_dir():
            raise ConfigError(f"Can not find html/js files at {operator}: web is not a folder.")
    if protocol == "spice":
        return Folders(own, None, operator, _package("spice-html5", _SPICE_FOLDERS, SPICE_PAGE, operator))
    return Folders(own, _package("noVNC", _NOVNC_FOLDERS, "core/rfb.js", operator), operator)


def _package(name: str, places: Sequence[Path], file: str, operator: Path | None) -> Path | None:
    """The first place where a viewer's package is; it may be missing where the operator has pages."""
    found = next((place for place in places if (place / file).is_file()), None)
    if found is None and operator is None:
        raise ConfigError(
            f"{name} is not installed: there is none in {' or '.join(map(str, places))}; "
            f"run make venv, or apt install {name.lower()}, or name a folder with web ="
        )
    return found
