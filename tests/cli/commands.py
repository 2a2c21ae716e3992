"""The command as a process, on the store of a proxy that does not run."""

import contextlib

from rfbproxy.config import Config
from rfbproxy.store_options import open_store
from tests.proxy_process import run

CREATE = ("create", "--type", "novnc", "--host", "192.0.2.7", "--port", "5900")


def command(store, *arguments, stdin=""):
    return run("consoleproxy", "--config-file", store.config, *arguments, stdin=stdin)


def grant_of(store, created):
    """What the store keeps of a console beyond nova's row."""
    with contextlib.closing(open_store(Config([str(store.config)]))) as opened:
        return opened.find(created["token"]).grant
