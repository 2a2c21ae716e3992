"""Reading the options again: what may change while the service runs, and what stays as it was."""

from twisted.logger import Logger

from rfbproxy import api_assembly, assembly
from rfbproxy.config import Config
from rfbproxy.options.keystone import KEYSTONE_AUTHTOKEN

NEEDS_RESTART = (
    ("DEFAULT", "source_is_ipv6"),
    ("DEFAULT", "state_path"),
    ("vnc", "enabled"),
    ("vnc", "novncproxy_host"),
    ("vnc", "novncproxy_port"),
    ("vnc", "xvpvncproxy_host"),
    ("vnc", "xvpvncproxy_port"),
    ("spice", "enabled"),
    ("spice", "html5proxy_host"),
    ("spice", "html5proxy_port"),
    ("consoleauth", "connection"),
    ("consoleproxy", "api_listen"),
    *(("keystone_authtoken", option.dest) for option in KEYSTONE_AUTHTOKEN),
    ("consoleproxy", "rfb_listen"),
    ("consoleproxy", "spice_listen"),
    ("consoleproxy", "spice_tls_listen"),
    ("consoleproxy", "state_connection"),
    ("consoleproxy", "unix_socket_mode"),
    ("consoleproxy", "workers"),
)

_log = Logger()


def warn(config: Config, started_with: Config | None = None) -> None:
    """Tell the operator what of the options does nothing, and what of them does nothing yet."""
    assembly.warn(config)
    api_assembly.warn(config)
    changed = [
        f"[{group}] {name}"
        for group, name in NEEDS_RESTART
        if started_with is not None and config[group, name] != started_with[group, name]
    ]
    if changed:
        _log.warn("needs a restart: {options}", options=", ".join(changed))
