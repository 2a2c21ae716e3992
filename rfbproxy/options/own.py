"""Options that nova has not, in a group of their own: `[consoleproxy]`."""

from oslo_config import cfg

from rfbproxy.options.kinds import TLS_VERSIONS, deadline, seconds
from rfbproxy.rfb.preference import SUBTYPE_WORDS

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
        choices=TLS_VERSIONS,
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
        "login_timeout_s", type=deadline, default=60, help="For a person to type the token into a native VNC viewer."
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
    cfg.Opt("handshake_timeout_s", type=deadline, default=10, help="Deadline of each step of a handshake."),
    cfg.Opt("connect_timeout_s", type=deadline, default=10, help="Deadline for connecting to a target."),
    cfg.Opt("ping_interval_s", type=deadline, default=25, help="Between pings to WebSocket clients."),
    cfg.Opt("idle_timeout_s", type=seconds, default=0, help="End sessions that relay nothing for so long; 0: never."),
    cfg.Opt("session_limit_s", type=seconds, default=0, help="End sessions that are open for so long; 0: never."),
    cfg.IntOpt(
        "workers",
        min=1,
        help="How many processes serve. Unset: one for each processor core. Where a store is a memory, there is always "
        "one.",
    ),
    cfg.Opt("drain_timeout_s", type=seconds, default=3, help="For sessions to end in at shutdown."),
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
        "waited longest is dropped. Each of several workers has an equal part of them. 0: no limit.",
    ),
    cfg.IntOpt(
        "max_unauthenticated_per_source",
        default=200,
        min=0,
        help="The same for one client address, of IPv6 one /64, divided among workers too; 0: no limit.",
    ),
]
