import pytest

from rfbproxy.consoleauth.addresses import in_memory, scheme_of, tells_all
from rfbproxy.consoleauth.database import Database


def test_what_stores_tell():
    assert tells_all("sqlite:///file")
    assert tells_all("mysql+pymysql://h/nova")
    assert not tells_all("nova+https://h/v2.1")
    assert not tells_all("file:///tokens")


def test_scheme():
    assert scheme_of("nova+https://h") == "nova+https"
    assert scheme_of("/path") == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite://", True),
        ("sqlite:///", True),
        ("sqlite:///:memory:", True),
        ("sqlite+pysqlite://", True),
        ("sqlite:///:memory:?timeout=5", True),
        ("sqlite:///%3Amemory%3A", True),
        ("sqlite:///file", False),
        ("sqlite:////var/lib/tokens.sqlite?timeout=5", False),
        ("postgresql+psycopg://h/nova", False),
        ("mysql+pymysql://h/", False),
    ],
)
def test_a_memory_is_known_by_its_address_as_the_database_knows_it(url, expected):
    assert in_memory(url) is expected
    assert Database(url).in_memory is expected


@pytest.mark.parametrize("url", ["", "sqlite", "file:///tokens", "nova+https://", "nonsense"])
def test_what_is_no_database_is_no_memory(url):
    assert not in_memory(url)
