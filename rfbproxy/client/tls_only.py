"""Where only TLS is allowed: what a request for a page gets that came without it."""

import re

from rfbproxy.client.http_head import HttpError, RequestHead
from rfbproxy.client.request import token_of
from rfbproxy.reasons import CloseReason

HEALTH_CHECKS = ("/healthz", "/readyz")  # load balancers ask for them in clear, and they tell nothing

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


def check_plain(head: RequestHead, *, host: str | None = None, prefix: str = "") -> None:
    """Let only health checks pass.

    Args:
        host: that a trusted proxy was asked for; None: the Host header tells.
        prefix: what a trusted proxy put before the path.

    Raises:
        HttpError: 308 to the same place by https; 403 for what a browser must not just repeat. A token has been read
            on its way by now: whoever gave out such a URL should learn of it.
    """
    target = head.target
    if head.method in ("GET", "HEAD"):
        if target.partition("?")[0] in HEALTH_CHECKS:
            return
        host = host or head.get_one("host") or ""
        if target.startswith("/") and _HOST.fullmatch(host) and not token_of(head):
            target = re.sub(r"[^\x21-\x7e]", lambda found: f"%{ord(found[0]):02X}", target)
            raise HttpError(308, "This page is served by https.", f"https://{host}{prefix}{target}")
    raise HttpError(403, CloseReason.TLS_REQUIRED.sentence)
