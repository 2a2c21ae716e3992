"""Which API this is, as nova tells it to clients that look for one (nova/api/openstack/compute/views/versions.py)."""

import re
from typing import Any

from rfbproxy.api.versions import NEWEST, OLDEST, text_of

V2_1 = {
    "id": "v2.1",
    "status": "CURRENT",
    "version": text_of(NEWEST),
    "min_version": text_of(OLDEST),
    "updated": "2013-07-23T11:33:21Z",  # nova's
}
_MEDIA_TYPES = [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]
_DOCUMENTATION = {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"}
_AUTHORITY = re.compile(r"([A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def base_url(host: str | None, *, encrypted: bool) -> str:
    """What the links of an answer begin with: the address that was asked, as `Host` names it.

    Without one that is well formed it is empty, and the links are relative.
    """
    if host is None or not _AUTHORITY.fullmatch(host):
        return ""
    return f"{'https' if encrypted else 'http'}://{host}"


def versions(base: str) -> dict[str, Any]:
    """Nova's `GET /`."""
    return {"versions": [{**V2_1, "links": [_self(base)]}]}


def version(base: str) -> dict[str, Any]:
    """Nova's `GET /v2.1/`."""
    return {"version": {**V2_1, "links": [_self(base), _DOCUMENTATION], "media-types": _MEDIA_TYPES}}


def _self(base: str) -> dict[str, str]:
    return {"rel": "self", "href": f"{base}/v2.1/"}
