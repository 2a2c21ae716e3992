import pytest

from rfbproxy.consoleauth.compute_api import ComputeApi
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.stores import StoreOptions, make_store
from rfbproxy.consoleauth.token_file import TokenFile
from rfbproxy.errors import ConfigError, StoreError

LOGIN = {"auth_type": "password", "auth_url": "http://127.0.0.1:1/v3", "username": "u", "password": "geheim"}


@pytest.fixture
def options(tmp_path):
    return StoreOptions(f"sqlite:///{tmp_path}/state.sqlite", LOGIN)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("sqlite://", SqlStore),
        ("sqlite:///{folder}/tokens.sqlite", SqlStore),
        ("nova+https://nova:8774/v2.1", ComputeApi),
        ("nova+http://nova:8774/v2.1", ComputeApi),
        ("file://{folder}", TokenFile),
    ],
)
def test_the_scheme_says_which_store(address, kind, tmp_path, options):
    store = make_store(address.format(folder=tmp_path), options)
    assert type(store) is kind
    store.open()
    assert store.spice_sessions.living(["a"], 0) == frozenset()
    store.close()


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
def test_servers_are_asked_when_they_are_opened(scheme, options):
    store = make_store(f"{scheme}://u:geheim@127.0.0.1:1/db", options)
    with pytest.raises(StoreError, match="refused"):
        store.open()


@pytest.mark.parametrize(
    "address", ["oops://u:geheim@h/db", "postgresql://u:geheim@h/db", "nova://geheim", "geheim", ""]
)
def test_any_other_is_refused_with_what_is_allowed_and_without_secrets(address, options):
    with pytest.raises(ConfigError) as caught:
        make_store(address, options)
    message = str(caught.value)
    assert "sqlite://, postgresql+psycopg://, mysql+pymysql://, nova+https://, nova+http://, file://" in message
    assert "geheim" not in message
    assert "\n" not in message


def test_the_login_is_not_printed(options):
    assert "geheim" not in repr(options)
