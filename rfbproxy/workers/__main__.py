"""`python -m rfbproxy.workers REACTOR`: a worker, started by its supervisor, with the reactor of that module."""

import faulthandler
import signal
import sys
from importlib import import_module

from rfbproxy.importing import importing


def main() -> None:
    """Serve until told to stop, and leave with status 0, or 1 where that cannot be begun."""
    faulthandler.enable()  # for a worker that hangs, or crashes, to say where
    # What a terminal sends to all of its processes, the supervisor has had too, and says what follows from it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with importing():
        import_module(sys.argv[1]).install()  # before anything below imports the default one
        from twisted.internet import reactor

        from rfbproxy.workers.worker import run

    sys.exit(run(reactor))


main()
