"""Writes the parts of the reference that the code knows best: `python docs/make_reference.py`.

A test runs it and compares, so that the reference cannot fall behind.
"""

import sys
from pathlib import Path

from oslo_config import cfg

from rfbproxy.exposition import METRICS
from rfbproxy.options import GROUPS
from rfbproxy.options.retired import RETIRED, RETIRED_GROUPS, UNUSED_BY_THE_SERVICE
from rfbproxy.reasons import CloseReason

REFERENCE = Path(__file__).parent / "reference"
WHEN = {
    CloseReason.CLIENT_CLOSED: "the client closed or vanished, unanswered pings included",
    CloseReason.TARGET_CLOSED: "the target closed after negotiation",
    CloseReason.TOKEN_UNKNOWN: "no token, an unknown or a revoked one, or one for another protocol",
    CloseReason.TOKEN_EXPIRED: "the token's time is up",
    CloseReason.ORIGIN_REFUSED: "a page from elsewhere tried to open the console (one of three sentences)",
    CloseReason.TLS_REQUIRED: "`ssl_only` is set and the client came unencrypted",
    CloseReason.POLICY: "the token's policy forbids it",
    CloseReason.LIMIT: "`max_sessions` or `max_connections_per_source` is reached",
    CloseReason.TARGET_UNREACHABLE: "refused, unresolvable, timed out, or silent in the handshake",
    CloseReason.TARGET_AUTH_FAILED: "the target refused the login, or offers no security type that may be used",
    CloseReason.PROTOCOL_ERROR: "either side broke its protocol, or the client was too slow (1002: the client's fault)",
    CloseReason.IDLE: "nothing was relayed for `idle_timeout_s`, or for the token's own limit",
    CloseReason.TIME_LIMIT: "`session_limit_s`, the token's own limit, or `enforce_session_timeout`",
    CloseReason.REVOKED: "the token was withdrawn while the session was open",
    CloseReason.SHUTDOWN: "the proxy was told to stop",
    CloseReason.INTERNAL: "the proxy or its token store failed; the log says how",
}


# Options of ours in groups of nova's
OURS = {("vnc", "web"), ("spice", "web"), ("consoleauth", "connection")}
DIFFERENCES = {
    ("DEFAULT", "daemon"): "the mask is 0077 instead of 0",
    ("DEFAULT", "ssl_only"): "what comes in clear is redirected or told so, not closed in silence",
    ("DEFAULT", "source_is_ipv6"): "nova's changes nothing where the host is 0.0.0.0",
    ("DEFAULT", "record"): "nova records",
    ("DEFAULT", "web"): "unset by default; `[vnc] web` and `[spice] web` go before it, for nova's two proxies share it",
    ("DEFAULT", "state_path"): "nova's default is its own `$pybasedir`",
    ("DEFAULT", "my_ip"): "nova's default is the host's own address",
    ("DEFAULT", "pybasedir"): "it is this program's",
    ("vnc", "enabled"): "`[spice] enabled` may be True as well",
    ("vnc", "novncproxy_host"): "several addresses, UNIX sockets",
    ("vnc", "xvpvncproxy_host"): "the same; the service is in here, nova removed it in 21",
    ("vnc", "auth_schemes"): "nova knows `none` (its default) and `vencrypt`, and lets the target's order decide",
    ("vnc", "vencrypt_ca_certs"): "names are verified, unless `[consoleproxy] vencrypt_verify_names` is False",
    ("vnc", "vencrypt_client_cert"): "optional with vencrypt",
    ("vnc", "vencrypt_client_key"): "optional with vencrypt",
    ("spice", "enabled"): "`[vnc] enabled` may be True as well",
    ("spice", "html5proxy_host"): "several addresses, UNIX sockets; viewers by CONNECT too",
    ("spice", "spice_direct_proxy_base_url"): "unless it is set, the file for the viewer comes from here",
    ("spice", "require_secure"): "the proxy holds to it too",
    ("consoleauth", "token_ttl"): "for tokens made here; nova's own have their expiry already",
    ("console", "ssl_minimum_version"): "the default is TLS 1.2, not whatever OpenSSL was built for",
    ("vmware", "vnc_port"): "the lowest port that is free on the host, not in the vCenter",
}  # fmt: skip


def nova_options() -> str:
    """What becomes of every console option of nova's, group by group."""
    lines = [
        "# Nova's options",
        "",
        "Made by `docs/make_reference.py`. What becomes of every console option that nova has or had; of those in your",
        "files `consoleproxy config check` says the same. What each that is read does: [options](options.md).",
        "",
    ]
    old = {
        (name.group, name.name): (group, option.dest)
        for group, members in GROUPS.items()
        for option in members
        for name in option.deprecated_opts
    }
    for group in [
        *(group for group in GROUPS if group != "consoleproxy"),
        *(group for group in RETIRED if group not in GROUPS),
    ]:
        lines += [f"## `[{group}]`", "", "| option | here | other than in nova |", "|---|---|---|"]
        for option in GROUPS.get(group, []):
            if (group, option.dest) not in OURS:
                unused = UNUSED_BY_THE_SERVICE.get((group, option.dest))
                here = f"read, and not used: {unused}" if unused else "read"
                lines.append(f"| `{option.dest}` | {here} | {DIFFERENCES.get((group, option.dest), '-')} |")
        for (at, name), (new_group, new) in old.items():
            if at == group:
                lines.append(f"| `{name}` | read; its new name is `[{new_group}] {new}` | - |")
        lines += [f"| `{name}` | not needed: {why} | - |" for name, why in RETIRED.get(group, {}).items()]
        lines.append("")
    lines += ["## Groups that are about other consoles", "", "| group | |", "|---|---|"]
    lines += [f"| `[{group}]` | {why} |" for group, why in RETIRED_GROUPS.items()]
    return "\n".join([*lines, ""])


def options() -> str:
    """Every option, group by group."""
    lines = ["# Options", "", "Made by `docs/make_reference.py`. Old names of nova are accepted.", ""]
    for group, members in GROUPS.items():
        lines += [f"## `[{group}]`", "", "| option | default | old names | what it does |", "|---|---|---|---|"]
        lines += [_option(option) for option in members]
        lines.append("")
    return "\n".join(lines)


def _option(option: cfg.Opt) -> str:
    default = option.default if option.dest not in ("state_path", "pybasedir") else "see below"
    if option.dest == "state_path":
        default = "`/var/lib/consoleproxy` for root, else in the XDG state folder"
    elif option.dest == "pybasedir":
        default = "where the package is installed"
    elif default in (None, "", []):
        default = "unset"
    elif isinstance(default, list):
        default = f"`{','.join(default)}`"
    else:
        default = f"`{default}`"
    old = ", ".join(f"`[{name.group}] {name.name}`" for name in option.deprecated_opts) or "-"
    return f"| `{option.dest}` | {default} | {old} | {option.help} |"


def close_reasons() -> str:
    """Every close reason with its sentence and its WebSocket close code."""
    lines = [
        "# Close reasons",
        "",
        "Made by `docs/make_reference.py`. One closed list of words that audit record, log and close share.",
        "The sentence is what a person reads: in RFB while the handshake runs, in the WebSocket's close after it.",
        "",
        "| reason | WebSocket close | sentence | when |",
        "|---|---|---|---|",
    ]
    for reason in CloseReason:
        code = reason.websocket_code or "the client's own, echoed"
        lines.append(f"| `{reason.value}` | {code} | {reason.sentence} | {WHEN[reason]} |")
    return "\n".join([*lines, ""])


def metrics() -> str:
    """Every metric, and how Prometheus is told to fetch them."""
    lines = [
        "# Metrics",
        "",
        "Made by `docs/make_reference.py`. `GET /metrics` on [the API's](api.md) port gives these numbers in the text",
        "format of Prometheus. It takes the API's token, or that in `[consoleproxy] metrics_token_file`, which opens",
        "nothing else: who watches need not be able to open consoles. In Prometheus' configuration:",
        "",
        "```yaml",
        "scrape_configs:",
        "  - job_name: consoleproxy",
        "    scheme: https                      # where there is a `cert`; its CA below",
        "    tls_config: { ca_file: /etc/prometheus/consoleproxy-ca.pem }",
        "    authorization: { credentials_file: /etc/prometheus/consoleproxy-token }",
        "    static_configs: [{ targets: ['proxy1.example:8775'] }]",
        "```",
        "",
        "All processes of a service are told together: counts and gauges are sums, except those marked *least*. Every",
        "label has a closed list of values, all told from the beginning; no address, instance or token is one of them.",
        "Only what this service carries is counted, from its start on; `session list` has the sessions of all proxies.",
        "",
        "| metric | kind | labels | what it is |",
        "|---|---|---|---|",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        kind = f"{metric.kind}, least" if metric.is_least else metric.kind
        lines.append(f"| `{metric.name}` | {kind} | {labels} | {metric.what} |")
    return "\n".join([*lines, ""])


PAGES = {
    "options.md": options,
    "nova-options.md": nova_options,
    "close-reasons.md": close_reasons,
    "metrics.md": metrics,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
        sys.stdout.write(f"{REFERENCE / name}\n")
