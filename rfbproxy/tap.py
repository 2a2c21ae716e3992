"""What `twistd consoleproxy` runs."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.python import usage

from rfbproxy.config import Config
from rfbproxy.errors import ConsoleProxyError
from rfbproxy.importing import importing
from rfbproxy.log_file import MOVABLE_LOG, log_as_told, movable_log
from rfbproxy.signals import install_signals
from rfbproxy.workers.number import workers
from rfbproxy.workers.process import start_worker

if TYPE_CHECKING:
    from rfbproxy.service import ConsoleProxyService
    from rfbproxy.workers.supervisor import Supervisor


class Options(usage.Options):
    """The options of `twistd consoleproxy`."""

    def __init__(self) -> None:
        super().__init__()
        self["config-file"] = []
        self["config-dir"] = []

    def opt_config_file(self, file: str) -> None:
        """Read options from this file; may be given several times, later files win."""
        self["config-file"].append(file)

    def opt_config_dir(self, folder: str) -> None:
        """Read options from the *.conf files of this folder; may be given several times."""
        self["config-dir"].append(folder)

    def postOptions(self) -> None:
        """Write no pid file unless one was asked for, and a log file that can be moved away."""
        twistd = self.parent
        if twistd is None:
            return
        if twistd.get("pidfile") == "twistd.pid":
            twistd["pidfile"] = ""
        stays = twistd.get("nodaemon")
        log = twistd.get("logfile") or ("-" if stays else "twistd.log")
        if (log != "-" or stays) and not twistd.get("logger") and not twistd.get("syslog"):
            movable_log.path = "" if log == "-" else str(Path(log).absolute())
            twistd["logger"] = MOVABLE_LOG


def makeService(options: Options) -> IService:
    """Make the service, or leave with one line on stderr and status 1."""
    _choose_reactor()
    from twisted.internet import reactor

    try:
        config = Config(options["config-file"], options["config-dir"])
        service = _service(config, options, reactor)
    except ConsoleProxyError as error:
        raise SystemExit(f"consoleproxy: {error}") from None

    def hang_up() -> None:
        movable_log.reopen()
        service.reload()

    install_signals(service, reactor, hang_up)
    return service


def _choose_reactor() -> None:
    """Have the service's own reactor, unless there is one (`twistd --reactor`), or no epoll."""
    if "twisted.internet.reactor" not in sys.modules:
        with suppress(ImportError):
            import_module("rfbproxy.reactor").install()


def _service(config: Config, options: Options, reactor: Any) -> "ConsoleProxyService | Supervisor":
    """One process alone, or the one that looks after several; both take long to import."""
    if (count := workers(config)) == 1:
        with importing():
            from rfbproxy.service import make_service
        return make_service(config, reactor)
    twistd: Mapping[str, Any] = options.parent or {}
    # They import the same as this process, and need not wait until it has.
    spares = [start_worker(reactor) for _ in range(count)] if _stays_as_it_is(twistd) else []
    with importing():
        from rfbproxy.workers.supervisor import make_supervisor
    try:
        return make_supervisor(config, reactor, count, log_as_told(twistd), spares)
    except ConsoleProxyError:
        for spare in spares:
            spare.kill()
        raise


def _stays_as_it_is(twistd: Mapping[str, Any]) -> bool:
    """Whether the process is by now what the service will run in: twistd may leave it, or change it."""
    changed = any(twistd.get(name) is not None for name in ("uid", "gid", "chroot", "umask"))
    return bool(twistd.get("nodaemon")) and twistd.get("rundir") == "." and not changed
