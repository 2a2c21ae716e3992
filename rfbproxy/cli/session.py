"""`session list` and `session end`."""

import argparse

from rfbproxy.cli.remote import consoles_of, remote_options
from rfbproxy.cli.subcommands import Subcommands
from rfbproxy.config import Config


def add_to(commands: Subcommands) -> None:
    """Add what can be done with sessions."""
    sessions = commands.add_noun("session", "list and end sessions")
    remote = remote_options()
    sessions.add("list", _list, "list the sessions that live now, on all proxies of the store", remote)
    end = sessions.add("end", _end, "let a session end, wherever it is", remote)
    end.add_argument("id", metavar="ID", help="as session list prints it")


def _list(parsed: argparse.Namespace, config: Config) -> object:
    with consoles_of(parsed, config) as consoles:
        return consoles.sessions()


def _end(parsed: argparse.Namespace, config: Config) -> object:
    with consoles_of(parsed, config) as consoles:
        return consoles.end_session(parsed.id)
