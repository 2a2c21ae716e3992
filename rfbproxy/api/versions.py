"""Nova's microversions (nova/api/openstack/api_version_request.py, wsgi.py): which one a request means."""

import re
from collections.abc import Sequence

from rfbproxy.api.faults import Fault

Version = tuple[int, int]

OLDEST: Version = (2, 1)
NEWEST: Version = (2, 99)  # the last in which anything about consoles changed
HEADER = "OpenStack-API-Version"
OLD_HEADER = "X-OpenStack-Nova-API-Version"

_FORM = re.compile(r"([1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,5})")


def wanted_version(headers: Sequence[str], old_headers: Sequence[str], of_route: tuple[Version, Version]) -> Version:
    """The version that a request means; where it names none, the newest in which its route exists.

    Args:
        headers: values of `OpenStack-API-Version`, such as `compute 2.31`, perhaps beside those of other services.
        old_headers: values of `X-OpenStack-Nova-API-Version`, such as `2.31`.
        of_route: the first and the last version of the route.

    Raises:
        Fault: 400, it is none; 406, there is none such here; 404, the route is of other versions.
    """
    named = [words.split() for value in headers for words in value.split(",")]
    texts = [words[1] if len(words) == 2 else "" for words in named if words and words[0].lower() == "compute"]
    text = next(iter([*reversed(texts), *(value.strip() for value in old_headers)]), None)
    if text is None:
        return of_route[1]
    version = NEWEST if text.lower() == "latest" else _read(text)
    if not of_route[0] <= version <= of_route[1]:
        raise Fault(404, f"API version {text_of(version)} is not supported on this method.")
    return version


def _read(text: str) -> Version:
    found = _FORM.fullmatch(text)
    if found is None:
        raise Fault(400, "API Version String is of invalid format. Must be of format MajorNum.MinorNum.")
    version = int(found[1]), int(found[2])
    if not OLDEST <= version <= NEWEST:
        raise Fault(
            406,
            f"Version {text_of(version)} is not supported by the API. "
            f"Minimum is {text_of(OLDEST)} and maximum is {text_of(NEWEST)}.",
        )
    return version


def text_of(version: Version) -> str:
    """A version as headers have it."""
    return f"{version[0]}.{version[1]}"
