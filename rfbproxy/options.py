"""Every option: nova's that concern consoles, under nova's names and their old names, and ours in `[consoleproxy]`.

Types, defaults and old names are nova's (nova/conf/*.py, seed-era tables included). What an option does here stands in
its help, which `docs/reference/options.md` repeats.
"""

import os
from pathlib import Path

from oslo_config import cfg

from rfbproxy.rfb.preference import SUBTYPE_WORDS, TYPE_WORDS


def default_state_path() -> str:
    """Where state lies unless told otherwise: `/var/lib` for root, else the XDG state folder."""
    if os.geteuid() == 0:
        return "/var/lib/consoleproxy"
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return str(Path(base) / "consoleproxy")


def _old(*names: str, group: str = "DEFAULT") -> list[cfg.DeprecatedOpt]:
    return [cfg.DeprecatedOpt(name, group=group) for name in names]


LONGEST_S = 10_000_000.0  # about four months


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_S:  # nan too
        raise ValueError(f"{text!r} is not a number of seconds; 0 to {LONGEST_S:.0f} is")
    return seconds


def _deadline(text: str) -> float:
    seconds = _seconds(text)
    if seconds < 0.001:
        raise ValueError(f"{text!r} is not a deadline in seconds; 0.001 to {LONGEST_S:.0f} is")
    return seconds


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
    cfg.StrOpt("state_path", default=default_state_path(), help="Folder for what must outlive a restart."),
    cfg.StrOpt("my_ip", default="127.0.0.1", help="For use as $my_ip in other options."),
    cfg.StrOpt("pybasedir", default=str(Path(__file__).resolve().parent.parent), help="For use as $pybasedir."),
]

VNC = [
    cfg.BoolOpt("enabled", default=True, deprecated_opts=_old("vnc_enabled"), help="Listen for VNC consoles."),
    cfg.StrOpt(
        "novncproxy_host",
        default="0.0.0.0",  # noqa: S104 - nova's default
        deprecated_opts=_old("novncproxy_host"),
        help="Where to listen for browsers: addresses, names or unix:PATH, separated by commas. Empty: nowhere.",
    ),
    cfg.PortOpt("novncproxy_port", default=6080, deprecated_opts=_old("novncproxy_port"), help="Its port."),
    cfg.StrOpt(
        "novncproxy_base_url",
        default="http://127.0.0.1:6080/vnc_auto.html",
        deprecated_opts=_old("novncproxy_base_url"),
        help="What access URLs of type novnc begin with.",
    ),
    cfg.StrOpt(
        "xvpvncproxy_host",
        default="0.0.0.0",  # noqa: S104 - nova's default
        deprecated_opts=_old("xvpvncproxy_host"),
        help="Where to listen for Java viewers, as `novncproxy_host`. Both listeners take every kind of client.",
    ),
    cfg.PortOpt("xvpvncproxy_port", default=6081, deprecated_opts=_old("xvpvncproxy_port"), help="Its port."),
    cfg.StrOpt(
        "xvpvncproxy_base_url",
        default="http://127.0.0.1:6081/console",
        deprecated_opts=_old("xvpvncproxy_base_url"),
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
        deprecated_opts=_old("vnc_keymap") + _old("vnc_keymap", group="vnc"),
        help="Keyboard of machines, for `graphics-xml`; empty: the viewer's.",
    ),
    cfg.StrOpt(
        "server_listen",
        default="127.0.0.1",
        deprecated_opts=_old("vncserver_listen") + _old("vncserver_listen", group="vnc"),
        help="Where machines' VNC servers listen, for `graphics-xml`.",
    ),
    cfg.StrOpt(
        "server_proxyclient_address",
        default="127.0.0.1",
        deprecated_opts=_old("vncserver_proxyclient_address") + _old("vncserver_proxyclient_address", group="vnc"),
        help="Where nova tells proxies to reach them; not used here, for a token says it.",
    ),
]

SPICE = [
    cfg.BoolOpt("enabled", default=False, help="Listen for SPICE consoles."),
    cfg.BoolOpt("agent_enabled", default=True, help="Whether `graphics-xml` gives machines the agent's channel."),
    cfg.StrOpt(
        "html5proxy_host",
        default="0.0.0.0",  # noqa: S104 - nova's default
        deprecated_opts=_old("spicehtml5proxy_host"),
        help="Where to listen for browsers and for viewers that come by CONNECT, as `[vnc] novncproxy_host`.",
    ),
    cfg.PortOpt("html5proxy_port", default=6082, deprecated_opts=_old("spicehtml5proxy_port"), help="Its port."),
    cfg.StrOpt(
        "html5proxy_base_url",
        default="http://127.0.0.1:6082/spice_auto.html",
        deprecated_opts=_old("spicehtml5proxy_base_url"),
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
        "token_ttl", default=600, min=0, deprecated_opts=_old("console_token_ttl"), help="Seconds a token lives."
    ),
    cfg.BoolOpt("enforce_session_timeout", default=False, help="End a session when its token expires."),
]

CONSOLE = [
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        deprecated_opts=_old("console_allowed_origins"),
        help="Bare host names of further pages that may open and frame consoles.",
    ),
    cfg.StrOpt("ssl_ciphers", help="OpenSSL cipher list for TLS 1.2 and below."),
    cfg.StrOpt(
        "ssl_minimum_version",
        default="default",
        choices=["default", "tlsv1_1", "tlsv1_2", "tlsv1_3"],
        help="The lowest TLS version that clients may use; default: TLS 1.2, or the system's if that is higher.",
    ),
]

VMWARE = [
    cfg.PortOpt("vnc_port", default=5900, min=1, help="The first VNC port of a VMware host, for `vmware port`."),
    cfg.IntOpt("vnc_port_total", default=10000, min=0, help="How many ports from there on machines may have."),
]

CONSOLEPROXY = [
    cfg.StrOpt("audit_log", help="File of JSON lines, one a visit; empty: none."),
    cfg.StrOpt(
        "state_connection",
        help="Database of grants and sessions, where the tokens are nova's or a file's; unset: a file in state_path.",
    ),
    cfg.ListOpt(
        "api_listen",
        default=[],
        help="Where to listen for the API, as `rfb_listen`; a port alone is one of 127.0.0.1. Where there is a `cert`, "
        "TLS is taken too, and with `ssl_only` or `client_ca_certs` nothing else. Empty: nowhere.",
    ),
    cfg.StrOpt("api_token_file", help="File whose first line is the API's bearer token; a new one is used at once."),
    cfg.StrOpt(
        "metrics_token_file",
        help="File whose first line is a bearer token that opens the API's `/metrics` and nothing else; the API's own "
        "opens it too.",
    ),
    cfg.ListOpt(
        "trusted_proxies",
        default=[],
        help="Addresses and networks, or `unix`, that may say who their client is: PROXY protocol, `X-Forwarded-*`, "
        "`Forwarded`. Nobody else is believed.",
    ),
    cfg.ListOpt(
        "vencrypt_subtypes",
        item_type=cfg.types.String(choices=list(SUBTYPE_WORDS), ignore_case=True),
        default=["x509plain", "x509sasl", "x509vnc", "x509none"],
        help="Subtypes of VeNCrypt towards targets, best first. Those that begin with tls are anonymous (whoever is in "
        "between can read and change everything), plain is in clear: both only if listed.",
    ),
    cfg.BoolOpt(
        "vencrypt_verify_names",
        default=True,
        help="Whether a target's certificate must be for the host that the token names, or for its `--tls-name`.",
    ),
    cfg.StrOpt(
        "target_tls_minimum_version",
        default="default",
        choices=["default", "tlsv1_1", "tlsv1_2", "tlsv1_3"],
        help="The lowest TLS version towards targets, as `[console] ssl_minimum_version`.",
    ),
    cfg.ListOpt(
        "rfb_listen",
        default=[],
        help="Where to listen for native VNC viewers: host:port, [IPv6]:port or unix:PATH, separated by commas. They "
        "log in by VeNCrypt X509Plain with the token as password, any user; this needs `cert`. Empty: nowhere.",
    ),
    cfg.ListOpt(
        "spice_listen",
        default=[],
        help="Where to listen for native SPICE viewers, as `rfb_listen`; the token is the SPICE password. Where there "
        "is a `cert`, TLS is taken too, and a viewer that comes in clear is told to use it. Empty: nowhere.",
    ),
    cfg.ListOpt(
        "spice_tls_listen",
        default=[],
        help="Where to listen for those that begin with TLS; this needs `cert`. Empty: nowhere.",
    ),
    cfg.StrOpt(
        "spice_ca_certs", help="PEM file of CAs that SPICE targets' certificates come from; unset: the system's."
    ),
    cfg.StrOpt(
        "spice_second_main",
        default="refuse",
        choices=["refuse", "take-over"],
        help="When a viewer opens a console whose token has a live SPICE session: refuse the newcomer, or end that "
        "session.",
    ),
    cfg.Opt(
        "login_timeout_s", type=_deadline, default=60, help="For a person to type the token into a native VNC viewer."
    ),
    cfg.StrOpt(
        "client_ca_certs",
        help="PEM file of CAs; set: clients must have a certificate of one of them, and so come encrypted.",
    ),
    cfg.StrOpt(
        "target_check",
        default="none",
        choices=["none", "libvirt"],
        help="How to find out, when a token is used, that its target is still its instance's console. libvirt: what "
        "`libvirt_xml` says must have the token's port; for proxies that see their machines' hypervisor.",
    ),
    cfg.StrOpt(
        "libvirt_xml", default="/run/libvirt/qemu", help="Folder of running machines' XML, as libvirt keeps it."
    ),
    cfg.StrOpt("unix_socket_mode", default="0660", regex=r"^0?[0-7]{3}$", help="Mode of UNIX sockets, octal."),
    cfg.Opt("handshake_timeout_s", type=_deadline, default=10, help="Deadline of each step of a handshake."),
    cfg.Opt("connect_timeout_s", type=_deadline, default=10, help="Deadline for connecting to a target."),
    cfg.Opt("ping_interval_s", type=_deadline, default=25, help="Between pings to WebSocket clients."),
    cfg.Opt("idle_timeout_s", type=_seconds, default=0, help="End sessions that relay nothing for so long; 0: never."),
    cfg.Opt("session_limit_s", type=_seconds, default=0, help="End sessions that are open for so long; 0: never."),
    cfg.Opt("drain_timeout_s", type=_seconds, default=3, help="For sessions to end in at shutdown."),
    cfg.IntOpt("max_sessions", default=0, min=0, help="How many sessions may live at once; 0: no limit."),
    cfg.IntOpt(
        "max_connections_per_source",
        default=200,
        min=0,
        help="The same for one client address, of IPv6 one /64; 0: no limit.",
    ),
    cfg.IntOpt(
        "max_unauthenticated",
        default=1000,
        min=0,
        help="How many connections may be open without a good token, those for pages included; then the one that "
        "waited longest is dropped. 0: no limit.",
    ),
    cfg.IntOpt(
        "max_unauthenticated_per_source",
        default=200,
        min=0,
        help="The same for one client address, of IPv6 one /64; 0: no limit.",
    ),
]

# Of keystoneauth1, whose names and defaults these are; it need not be installed.
KEYSTONE_AUTHTOKEN = [
    cfg.StrOpt(
        "auth_type",
        default="password",
        choices=["password", "v3password", "v3applicationcredential"],
        deprecated_opts=_old("auth_plugin", group="keystone_authtoken"),
        help="How to log in to keystone, where the token store is nova's compute API.",
    ),
    cfg.StrOpt("auth_url", help="Keystone's URL."),
    cfg.StrOpt("username", deprecated_opts=_old("user_name", group="keystone_authtoken"), help="User's name."),
    cfg.StrOpt("user_id", help="User's id, instead of its name."),
    cfg.StrOpt("password", secret=True, help="User's password."),
    cfg.StrOpt("user_domain_name", help="Name of the user's domain."),
    cfg.StrOpt("user_domain_id", help="Its id."),
    cfg.StrOpt(
        "project_name", deprecated_opts=_old("tenant_name", group="keystone_authtoken"), help="Project to act in."
    ),
    cfg.StrOpt("project_id", deprecated_opts=_old("tenant_id", group="keystone_authtoken"), help="Its id."),
    cfg.StrOpt("project_domain_name", help="Name of the project's domain."),
    cfg.StrOpt("project_domain_id", help="Its id."),
    cfg.StrOpt("default_domain_name", help="Name of the domain of both, where neither is named."),
    cfg.StrOpt("default_domain_id", help="Its id."),
    cfg.StrOpt("domain_name", help="Domain to act in, instead of a project."),
    cfg.StrOpt("domain_id", help="Its id."),
    cfg.StrOpt("trust_id", help="Trust to act by."),
    cfg.StrOpt("system_scope", help="`all`: act in the whole system, instead of a project."),
    cfg.StrOpt("application_credential_id", help="Application credential's id (`v3applicationcredential`)."),
    cfg.StrOpt("application_credential_name", help="Its name, with the user's, instead of its id."),
    cfg.StrOpt("application_credential_secret", secret=True, help="Its secret."),
    cfg.StrOpt("cafile", help="PEM file of CAs that keystone and nova come from; unset: those of requests."),
    cfg.StrOpt("certfile", help="PEM file of a certificate to show to them."),
    cfg.StrOpt("keyfile", help="PEM file of its key, if it is not in `certfile`."),
    cfg.BoolOpt("insecure", default=False, help="Believe any certificate."),
    cfg.StrOpt("region_name", help="Does nothing: `[consoleauth] connection` says which compute API."),
]

GROUPS: dict[str, list[cfg.Opt]] = {
    "DEFAULT": DEFAULT,
    "vnc": VNC,
    "spice": SPICE,
    "consoleauth": CONSOLEAUTH,
    "console": CONSOLE,
    "vmware": VMWARE,
    "consoleproxy": CONSOLEPROXY,
    "keystone_authtoken": KEYSTONE_AUTHTOKEN,
}

# Groups that have options of other programs too, so that a name that is unknown here says nothing.
SHARED_GROUPS = frozenset({"DEFAULT", "vmware", "keystone_authtoken"})
