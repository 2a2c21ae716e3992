"""Writes the parts of the reference that the code knows best: `python docs/make_reference.py`.

A test runs it and compares, so that the reference cannot fall behind.
"""

import sys
from pathlib import Path

from oslo_config import cfg

from rfbproxy.options import GROUPS
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


PAGES = {"options.md": options, "close-reasons.md": close_reasons}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
        sys.stdout.write(f"{REFERENCE / name}\n")
