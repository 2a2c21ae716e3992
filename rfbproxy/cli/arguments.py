"""What the values of arguments may be, and the arguments that several commands take."""

import argparse

from rfbproxy.address import Address, parse_address
from rfbproxy.cli.secrets import read_secret
from rfbproxy.errors import ConfigError
from rfbproxy.secret import Secret


def address(text: str) -> Address:
    """Where to listen."""
    try:
        return parse_address(text, "the argument")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from error


def target(text: str) -> Address:
    """A host and a port that can be connected to."""
    found = address(text)
    if found.path is not None or not found.host or not found.port:
        raise argparse.ArgumentTypeError(f"{text!r} is not a target; host:port or [IPv6]:port is")
    return found


def port(text: str) -> int:
    """A TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; 1 to 65535 is")
    return int(text)


def port_or_none(text: str) -> int:
    """A TCP port, or 0 where there is none."""
    return 0 if text == "0" else port(text)


def seconds(text: str) -> int:
    """A whole number of seconds, of 31 bits at most."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(text)


def add_login(parser: argparse.ArgumentParser) -> None:
    """Let a command be told how to log in to a machine's console."""
    parser.add_argument("--username", metavar="U", help="log in to the machine's console as")
    parser.add_argument("--password-file", metavar="F", help="file with the console's password, - for standard input")


def password(parsed: argparse.Namespace) -> Secret | None:
    """The password that a command was told to log in with.

    Raises:
        ConfigError: as `read_secret`.
    """
    return read_secret(parsed.password_file) if parsed.password_file else None
