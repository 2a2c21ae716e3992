"""Nova's options that concern consoles: names, types, defaults and old names are nova's (nova/conf/*.py).

Where an option of ours belongs beside them, it is in nova's group: `web` of one listener, and where tokens are.
"""

import os
from pathlib import Path

from oslo_config import cfg

from rfbproxy.options.kinds import TLS_VERSIONS, old
from rfbproxy.rfb.preference import TYPE_WORDS


def _state_path() -> str:
    """Where state lies unless told otherwise: `/var/lib` for root, else the XDG state folder."""
    if os.geteuid() == 0:
        return "/var/lib/consoleproxy"
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return str(Path(base) / "consoleproxy")


DEFAULT = [
    cfg.BoolOpt("daemon", default=False, help="Become a background process (`consoleproxy serve` only)."),
    cfg.StrOpt("cert", default="self.pem", help="PEM file with the TLS certificate, its chain, and perhaps its key."),
    cfg.StrOpt("key", help="PEM file with the TLS key, if it is not in `cert`."),
    cfg.BoolOpt("ssl_only", default=False, help="Refuse connections that are not encrypted."),
    cfg.BoolOpt(
        "source_is_ipv6",
        default=False,
        help="Listen on IPv6: `::`, IPv4 included, for 0.0.0.0, and the IPv6 address of a name.",
    ),
    cfg.StrOpt("record", help="Record sessions to FILE.[session number]; not yet done: a warning is logged."),
    cfg.StrOpt("web", help="Folder with pages of your own, such as /usr/share/novnc; unset: the built-in page."),
    cfg.StrOpt("state_path", default=_state_path(), help="Folder for what must outlive a restart."),
    cfg.StrOpt("my_ip", default="127.0.0.1", help="For use as $my_ip in other options."),
    cfg.StrOpt("pybasedir", default=str(Path(__file__).resolve().parents[2]), help="For use as $pybasedir."),
]

VNC = [
    cfg.BoolOpt("enabled", default=True, deprecated_opts=old("vnc_enabled"), help="Listen for VNC consoles."),
    cfg.StrOpt(
        "novncproxy_host",
        default="0.0.0.0",  # noqa: S104 - nova's default
        deprecated_opts=old("novncproxy_host"),
        help="Where to listen for browsers: addresses, names or unix:PATH, separated by commas. Empty: nowhere.",
    ),
    cfg.PortOpt("novncproxy_port", default=6080, deprecated_opts=old("novncproxy_port"), help="Its port."),
    cfg.StrOpt(
        "novncproxy_base_url",
        default="http://127.0.0.1:6080/vnc_auto.html",
        deprecated_opts=old("novncproxy_base_url"),
        help="What access URLs of type novnc begin with.",
    ),
    cfg.StrOpt(
        "xvpvncproxy_host",
        default="0.0.0.0",  # noqa: S104 - nova's default
        deprecated_opts=old("xvpvncproxy_host"),
        help="Where to listen for Java viewers, as `novncproxy_host`. Both listeners take every kind of client.",
    ),
    cfg.PortOpt("xvpvncproxy_port", default=6081, deprecated_opts=old("xvpvncproxy_port"), help="Its port."),
    cfg.StrOpt(
        "xvpvncproxy_base_url",
        default="http://127.0.0.1:6081/console",
        deprecated_opts=old("xvpvncproxy_base_url"),
        help="What access URLs of type xvpvnc begin with.",
    ),
    cfg.StrOpt("web", help="As the shared `web`, for this listener only."),
    cfg.ListOpt(
        "auth_schemes",
        item_type=cfg.types.String(choices=list(TYPE_WORDS), ignore_case=True),
        default=["vencrypt", "sasl", "vnc", "none"],
        help="Security types towards targets, best first: the first that the target offers and the token can satisfy.",
    ),
    cfg.StrOpt("vencrypt_ca_certs", help="PEM file of CAs that targets' certificates come from; unset: the system's."),
    cfg.StrOpt("vencrypt_client_cert", help="PEM file of the certificate to show to targets that ask for one."),
    cfg.StrOpt("vencrypt_client_key", help="PEM file of its key, if it is not in `vencrypt_client_cert`."),
    cfg.StrOpt(
        "keymap",
        default="en-us",
        deprecated_opts=old("vnc_keymap") + old("vnc_keymap", group="vnc"),
        help="Keyboard of machines, for `graphics-xml`; empty: the viewer's.",
    ),
    cfg.StrOpt(
        "server_listen",
        default="127.0.0.1",
        deprecated_opts=old("vncserver_listen") + old("vncserver_listen", group="vnc"),
        help="Where machines' VNC servers listen, for `graphics-xml`.",
    ),
    cfg.StrOpt(
        "server_proxyclient_address",
        default="127.0.0.1",
        deprecated_opts=old("vncserver_proxyclient_address") + old("vncserver_proxyclient_address", group="vnc"),
        help="Where nova tells proxies to reach them; not used here, for a token says it.",
    ),
]

SPICE = [
    cfg.BoolOpt("enabled", default=False, help="Listen for SPICE consoles."),
    cfg.BoolOpt("agent_enabled", default=True, help="Whether `graphics-xml` gives machines the agent's channel."),
    cfg.StrOpt(
        "html5proxy_host",
        default="0.0.0.0",  # noqa: S104 - nova's default
        deprecated_opts=old("spicehtml5proxy_host"),
        help="Where to listen for browsers and for viewers that come by CONNECT, as `[vnc] novncproxy_host`.",
    ),
    cfg.PortOpt("html5proxy_port", default=6082, deprecated_opts=old("spicehtml5proxy_port"), help="Its port."),
    cfg.StrOpt(
        "html5proxy_base_url",
        default="http://127.0.0.1:6082/spice_auto.html",
        deprecated_opts=old("spicehtml5proxy_base_url"),
        help="What access URLs of type spice-html5 begin with.",
    ),
    cfg.StrOpt("web", help="As the shared `web`, for this listener only, such as /usr/share/spice-html5."),
    cfg.StrOpt(
        "spice_direct_proxy_base_url",
        default="http://127.0.0.1:13002/nova",
        help="What access URLs of type spice-direct begin with; unless it is set, /console.vv where "
        "`html5proxy_base_url` is.",
    ),
    cfg.StrOpt("keymap", default="en-us", help="Keyboard of machines, for `graphics-xml`; empty: the viewer's."),
    cfg.StrOpt("server_listen", default="127.0.0.1", help="Where machines' SPICE servers listen, for `graphics-xml`."),
    cfg.StrOpt(
        "server_proxyclient_address",
        default="127.0.0.1",
        help="Where nova tells proxies to reach them; not used here, for a token says it.",
    ),
    cfg.BoolOpt(
        "require_secure",
        default=False,
        help="Reach targets by TLS alone; `graphics-xml` makes machines that take nothing else.",
    ),
    cfg.StrOpt(
        "image_compression",
        choices=["auto_glz", "auto_lz", "quic", "glz", "lz", "off"],
        help="How machines compress pictures, for `graphics-xml`; unset: as QEMU likes.",
    ),
    cfg.StrOpt(
        "jpeg_compression", choices=["auto", "never", "always"], help="The same for lossy pictures over slow networks."
    ),
    cfg.StrOpt(
        "zlib_compression", choices=["auto", "never", "always"], help="The same for lossless ones over slow networks."
    ),
    cfg.BoolOpt("playback_compression", help="Whether machines compress sound, for `graphics-xml`."),
    cfg.StrOpt(
        "streaming_mode",
        choices=["filter", "all", "off"],
        help="Which moving pictures machines send as video, for `graphics-xml`.",
    ),
]

CONSOLEAUTH = [
    cfg.StrOpt(
        "connection",
        default="sqlite:///$state_path/consoleproxy.sqlite",
        help="Token store. `sqlite:///FILE`, `postgresql+psycopg://...` or `mysql+pymysql://...`: a database, ours or "
        "nova's cell database. `nova+https://HOST:8774/v2.1` (or `nova+http`): nova's compute API. `file:///PATH`: "
        "websockify's token file, or a folder of them.",
    ),
    cfg.IntOpt(
        "token_ttl", default=600, min=0, deprecated_opts=old("console_token_ttl"), help="Seconds a token lives."
    ),
    cfg.BoolOpt("enforce_session_timeout", default=False, help="End a session when its token expires."),
]

CONSOLE = [
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        deprecated_opts=old("console_allowed_origins"),
        help="Bare host names of further pages that may open and frame consoles.",
    ),
    cfg.StrOpt("ssl_ciphers", help="OpenSSL cipher list for TLS 1.2 and below."),
    cfg.StrOpt(
        "ssl_minimum_version",
        default="default",
        choices=TLS_VERSIONS,
        help="The lowest TLS version that clients may use; default: TLS 1.2, or the system's if that is higher.",
    ),
]

VMWARE = [
    cfg.PortOpt("vnc_port", default=5900, min=1, help="The first VNC port of a VMware host, for `vmware port`."),
    cfg.IntOpt("vnc_port_total", default=10000, min=0, help="How many ports from there on machines may have."),
]
