"""Where commands are added: by themselves, or under a noun."""

import argparse
from collections.abc import Callable

from rfbproxy.config import Config

Command = Callable[[argparse.Namespace, Config], object]  # gives what is to be printed, if anything


class Subcommands:
    """The commands of the program, or those under one of its nouns.

    Args:
        parser: of the program, or of the noun.
        common: the options that every command takes.
    """

    def __init__(self, parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
        self._added = parser.add_subparsers(metavar="COMMAND", required=True)
        self._common = common

    def add(self, name: str, command: Command, what: str, *options: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Add a command, with options that others take too; gives its parser, for options of its own.

        What is parsed has the `command`, its `parser`, which refuses wrong usage, and `refused`: None, or what makes
        the JSON to print of an error, which a command sets by its parser's `set_defaults`.
        """
        added = self._added.add_parser(name, parents=[self._common, *options], help=what, description=what)
        added.set_defaults(command=command, parser=added, refused=None)
        return added

    def add_noun(self, name: str, what: str) -> "Subcommands":
        """Add a noun, under which commands are added in turn."""
        return Subcommands(self._added.add_parser(name, parents=[self._common], help=what), self._common)
