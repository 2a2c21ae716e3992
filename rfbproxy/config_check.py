"""`consoleproxy config check`: what starting the service would judge, judged without starting it.

Nothing is bound, no store is opened, and nothing is left behind. So two things stay untold: whether another program has
the ports, and whether the token store answers.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from twisted.internet.task import Clock

from rfbproxy import api_assembly, assembly
from rfbproxy.address import Address
from rfbproxy.config import Config
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.errors import ConfigError, StoreError
from rfbproxy.options.names import meant_by, remarks
from rfbproxy.serving import Serving, Share
from rfbproxy.session.limits import Limits
from rfbproxy.store_options import named_store
from rfbproxy.written import Finding

USABLE = "the configuration is usable"


def check(config: Config) -> list[Finding]:
    """What an operator may want to know of options that can be used.

    Raises:
        ConfigError, StoreError: what would keep the service from starting, or a name that nobody reads.
    """
    _check_names(config)
    wanted = {**assembly.wanted(config), **api_assembly.wanted(config)}
    if not any(wanted.values()):
        raise assembly.nothing_to_listen_on(config)
    _check_addresses(wanted, assembly.unasked(config))
    _check_store(config)
    store = SqlStore("sqlite://")
    store.open()
    with _not_left_behind(config.path("consoleproxy", "audit_log")):
        Serving(config, store, Clock(), wanted, assembly.PROTOCOLS, Share(str, Limits()))
    return [*remarks(config.written), *assembly.idle(config), *api_assembly.weak(config)]


def as_json(findings: Sequence[Finding]) -> dict[str, object]:
    """What was found of options that can be used."""
    return {"usable": True, "findings": [{"option": each.option, "says": each.says} for each in findings]}


def refusal_as_json(error: Exception) -> dict[str, object]:
    """Why options cannot be used."""
    option = re.search(r"\[\w+\] [\w-]+", str(error))
    return {"usable": False, "findings": [{"option": option and option[0], "says": str(error)}]}


def as_text(findings: Sequence[Finding]) -> str:
    """One line a finding, and a last one that says that all is well."""
    return "\n".join([*map(str, findings), USABLE])


def _check_names(config: Config) -> None:
    told = []
    for unknown in config.unknown:
        meant = meant_by(unknown)
        told.append(f"{unknown} in {unknown.file}" + (f" (perhaps {meant})" if meant else ""))
    if told:
        raise ConfigError(f"no such option: {', '.join(told)}")


def _check_addresses(wanted: Mapping[str, Sequence[Address]], unasked: Sequence[str]) -> None:
    """Two listeners cannot have one address, unless its port is 0, which is any free one."""
    taken: dict[Address, str] = {}
    for name, addresses in wanted.items():
        for address in addresses if name not in unasked else ():
            other = taken.setdefault(address, name)
            if other != name and (address.port or address.path is not None):
                raise ConfigError(f"{other} and {name} are both to listen on {address}")


def _check_store(config: Config) -> None:
    named_store(config)
    state = Path(config.text("DEFAULT", "state_path") or ".")
    for group, name in (("consoleauth", "connection"), ("consoleproxy", "state_connection")):
        address = config.text(group, name) or "sqlite://"
        if not address.startswith("sqlite"):
            continue
        url = make_url(address)
        if url.database in (None, "", ":memory:") or "uri" in url.query:
            continue
        file = Path(url.database or "").absolute()
        if file.parent == state:
            _check_that_it_can_be_made(state)
        elif not file.parent.is_dir():
            raise StoreError(f"[{group}] {name}: the folder of {file} is not there")


def _check_that_it_can_be_made(folder: Path) -> None:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise StoreError(f"[DEFAULT] state_path: {folder} cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"[DEFAULT] state_path: {there} cannot be written to")


@contextmanager
def _not_left_behind(file: Path | None) -> Iterator[None]:
    """Whoever checks may be another user than the one who serves, and then could not write what was made."""
    was_there = file is None or file.exists()
    try:
        yield
    finally:
        if file is not None and not was_there:
            file.unlink(missing_ok=True)
