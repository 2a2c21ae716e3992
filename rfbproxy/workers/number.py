"""How many processes serve."""

import os

from rfbproxy.config import Config
from rfbproxy.consoleauth import addresses


def workers(config: Config) -> int:
    """How many; 1: there is no supervisor."""
    if kept_in_memory(config):
        return 1
    asked = config["consoleproxy", "workers"]
    return int(str(asked)) if asked is not None else len(os.sched_getaffinity(0))


def kept_in_memory(config: Config) -> str | None:
    """The option by which something that visits need is kept in one process's memory; None: nothing is."""
    for group, name in (("consoleauth", "connection"), ("consoleproxy", "state_connection")):
        if addresses.in_memory(config.text(group, name) or ""):
            return f"[{group}] {name}"
    return None
