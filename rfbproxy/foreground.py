"""Proxies in the foreground, which do everything for one machine."""

import sys
from time import time

from twisted.logger import globalLogBeginner

from rfbproxy.address import Address
from rfbproxy.client.folders import Protocol
from rfbproxy.config import Config
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.issue import EXPIRES_LIMIT, Console, issue
from rfbproxy.log_text import text_observer
from rfbproxy.service import ConsoleProxyService, make_service
from rfbproxy.signals import install_signals

_PAGES = {"novnc": "vnc_auto.html", "xvpvnc": "console", "spice-html5": ""}
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - told apart, not bound


def view(config: Config, address: Address, console: Console) -> None:
    """Show one machine until told to stop; the URL is the first line of stdout, the log goes to stderr."""
    from twisted.internet import reactor

    store = SqlStore("sqlite://")
    store.open()
    protocol: Protocol = "spice" if console.console_type == "spice-html5" else "vnc"
    service = make_service(config, reactor, store=store, address=address, protocol=protocol)
    issued = issue(store, console, base=_base_url(service, console.console_type), ttl=EXPIRES_LIMIT, now=int(time()))
    globalLogBeginner.beginLoggingTo([text_observer(sys.stderr)], redirectStandardIO=False)
    if console.console_type == "xvpvnc":
        print(f"java -jar VncViewer.jar URL {issued.url.reveal()}", file=sys.stderr)
    install_signals(service, reactor)
    reactor.callWhenRunning(service.startService)
    reactor.callWhenRunning(print, issued.url.reveal(), flush=True)
    if service.address.host in EVERYWHERE and service.address.path is None:
        print("(any address of this machine will do in place of 127.0.0.1)", file=sys.stderr)
    reactor.run()


def demo(config: Config, address: Address) -> None:
    """Show the built-in desktop, as `view` does a machine."""
    from twisted.internet import reactor

    from rfbproxy.demo import DemoServer

    port = reactor.listenTCP(0, DemoServer(), interface="127.0.0.1")  # type: ignore[arg-type]
    where = port.getHost()
    view(config, address, Console("novnc", where.host, where.port))  # type: ignore[attr-defined]


def _base_url(service: ConsoleProxyService, console_type: str) -> str:
    """What the URL begins with that opens the console on this very machine."""
    address = service.address
    page = _PAGES[console_type]
    scheme = "https" if service.has_tls else "http"
    if address.path is not None:
        return f"{scheme}://localhost/{page}"
    host = "127.0.0.1" if address.host in EVERYWHERE else address.host
    return f"{scheme}://{Address(host, address.port)}/{page}"
