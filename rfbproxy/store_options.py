"""The token store that the options name."""

from pathlib import Path

from twisted.logger import Logger

from rfbproxy.config import Config
from rfbproxy.consoleauth import Store, stores
from rfbproxy.errors import StoreError

_log = Logger()


def open_store(config: Config) -> Store:
    """The token store that the options name, opened; a default one lies in `state_path`, which is made if need be.

    Raises:
        ConfigError, StoreError: it cannot be opened.
    """
    state = _state_path(config)
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if f"{state}/" in (config.text("consoleauth", "connection") or ""):
            raise StoreError(f"[DEFAULT] state_path: {state} cannot be made: {error.strerror}") from error
    store = named_store(config)
    try:
        store.open()
    except StoreError:
        store.close()
        raise
    return store


def named_store(config: Config) -> Store:
    """The token store that the options name, not opened: neither file nor network is touched.

    Raises:
        ConfigError, StoreError: its address, or an option that goes with it, cannot be used.
    """
    options = stores.StoreOptions(
        config.text("consoleproxy", "state_connection") or f"sqlite:///{_state_path(config)}/grants.sqlite",
        config.keystone_login,
        int(config.number("consoleauth", "token_ttl")),
        lambda line: _log.warn("{line}", line=line),
    )
    return stores.make_store(config.text("consoleauth", "connection") or "", options)


def _state_path(config: Config) -> Path:
    return Path(config.text("DEFAULT", "state_path") or ".")
