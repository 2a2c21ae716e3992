"""`view`, `demo` and `serve`, which run a proxy until they are told to stop."""

import argparse

from rfbproxy.address import Address
from rfbproxy.cli.arguments import add_login, address, password, target
from rfbproxy.cli.subcommands import Subcommands
from rfbproxy.config import Config
from rfbproxy.consoleauth import Grant
from rfbproxy.importing import importing
from rfbproxy.issue import Console

DEFAULT_LISTEN = "127.0.0.1:6080"


def add_to(commands: Subcommands) -> None:
    """Add these commands."""
    _add_view(commands)
    _add_listen(commands.add("demo", _demo, "show a built-in desktop: nothing else need be installed"))
    serve = commands.add("serve", _serve, "run the service in the foreground")
    serve.add_argument("-n", "--nodaemon", action="store_true", help="stay in the foreground whatever `daemon` says")
    serve.add_argument("--pidfile", metavar="F", help="file for the process id; none unless given")
    serve.add_argument("--logfile", metavar="F", help="in the background twistd.log unless given, else the terminal")


def _add_view(commands: Subcommands) -> None:
    view = commands.add("view", _view, "show one machine: run a proxy for it and print the URL to open")
    view.add_argument("target", type=target, metavar="HOST:PORT", help="the VNC or SPICE server; IPv6 in brackets")
    view.add_argument(
        "--type",
        choices=["novnc", "spice-html5", "xvpvnc"],
        default="novnc",
        help="VNC in a browser (default), SPICE in a browser, or VNC in the Java viewer",
    )
    _add_listen(view)
    add_login(view)


def _add_listen(parser: argparse.ArgumentParser) -> None:
    default = DEFAULT_LISTEN
    parser.add_argument("--listen", type=address, default=default, metavar="ADDR:PORT", help=f"default {default}")


def _view(parsed: argparse.Namespace, config: Config) -> None:
    with importing():
        from rfbproxy.foreground import view

    where: Address = parsed.target
    grant = Grant(username=parsed.username, password=password(parsed))
    view(config, parsed.listen, Console(parsed.type, where.host, where.port, grant=grant))


def _demo(parsed: argparse.Namespace, config: Config) -> None:
    with importing():
        from rfbproxy.foreground import demo

    demo(config, parsed.listen)


def _serve(parsed: argparse.Namespace, config: Config) -> None:
    from rfbproxy.under_twistd import serve

    serve(
        config,
        parsed.config_file,
        parsed.config_dir,
        nodaemon=parsed.nodaemon,
        pid_file=parsed.pidfile,
        log_file=parsed.logfile,
    )
