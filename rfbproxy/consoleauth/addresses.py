"""What the address of a token store says by itself, before anything is made that could use it."""

from urllib.parse import unquote

_UNTOLD = frozenset({"nova+https", "nova+http", "file"})
_MEMORIES = frozenset({"", "/", "/:memory:"})


def scheme_of(url: str) -> str:
    """What stands before `://`; empty where there is none."""
    scheme, separator, _ = url.partition("://")
    return scheme if separator else ""


def tells_all(url: str) -> bool:
    """Whether the store there knows each token's console type and base URL, or has at least a column for them."""
    return scheme_of(url) not in _UNTOLD


def in_memory(url: str) -> bool:
    """Whether what is kept at an address is kept by one process alone, and gone with it; see `Database.in_memory`."""
    is_sqlite = scheme_of(url).partition("+")[0] == "sqlite"
    return is_sqlite and unquote(url.partition("://")[2].partition("?")[0]) in _MEMORIES
