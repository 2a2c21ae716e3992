"""The URL that a person opens, built as nova builds it (`nova/objects/console_auth_token.py`, `access_url`)."""

from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit


def access_url(console_type: str, base: str, token: str) -> str:
    """The base URL with the token where the page of this console type looks for it.

    noVNC reads `path`, the path of its WebSocket, so the token becomes the query of that; the base's other parameters
    stay, but blank ones are dropped. All other pages read `token` from the query. A native VNC viewer
    reads none: its user types the token.
    """
    if console_type == "vnc-direct":
        return base
    parts = urlsplit(base)
    if console_type == "novnc":
        query = parse_qs(parts.query)
        path = query.get("path", [""])[0]
        return urlunsplit(parts._replace(query=urlencode({**query, "path": f"{path}?token={token}"}, doseq=True)))
    separator = "&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{parts.query}{separator}token={token}"))
