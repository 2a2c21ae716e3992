"""Understanding a command line, carrying it out, and printing what comes of it.

Exit status: 0 done, 1 refused or failed with one line on stderr, 2 wrong usage.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from rfbproxy import __version__
from rfbproxy.cli import config, console, graphics_xml, proxies, session, vmware
from rfbproxy.cli.subcommands import Subcommands
from rfbproxy.cli.table import table
from rfbproxy.config import Config
from rfbproxy.errors import ConsoleProxyError

NOUNS = (proxies, graphics_xml, config, console, session, vmware)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit status."""
    files: list[str] = []
    folders: list[str] = []
    parsed = _parser(files, folders).parse_args(arguments, argparse.Namespace(config_file=files, config_dir=folders))
    try:
        result = parsed.command(parsed, Config(files, folders))
    except ConsoleProxyError as error:
        if parsed.refused and parsed.json:
            print(json.dumps(parsed.refused(error)))
        print(f"consoleproxy: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        if result is not None:
            print(json.dumps(result) if parsed.json else table(result), flush=True)
    except OSError as error:
        print(f"consoleproxy: done, but the result cannot be printed: {error.strerror}", file=sys.stderr)
        os._exit(1)  # Python would try to print it again


def _parser(files: list[str], folders: list[str]) -> argparse.ArgumentParser:
    before, after = _common(files, folders, False), _common(files, folders, argparse.SUPPRESS)
    parser = argparse.ArgumentParser(
        prog="consoleproxy", description="A console proxy that understands VNC and SPICE.", parents=[before]
    )
    parser.add_argument("--version", action="version", version=f"consoleproxy {__version__}")
    commands = Subcommands(parser, after)
    for noun in NOUNS:
        noun.add_to(commands)
    return parser


def _common(files: list[str], folders: list[str], json_default: object) -> argparse.ArgumentParser:
    """The options that every command takes, before its name or after it."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    several = "may be given several times"
    common.add_argument("--config-file", action=_Collect, const=files, metavar="FILE", help=f"nova.conf; {several}")
    common.add_argument("--config-dir", action=_Collect, const=folders, metavar="DIR", help=f"*.conf in it; {several}")
    common.add_argument("--json", action="store_true", default=json_default, help="print one JSON document")
    return common


class _Collect(argparse.Action):
    """Appends to one list wherever on the line the option stands; argparse's own would forget what came before."""

    def __call__(self, parser: object, namespace: object, values: object, option_string: object = None) -> None:
        self.const.append(values)
