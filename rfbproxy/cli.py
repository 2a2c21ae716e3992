"""The command `consoleproxy`: consoles are created, listed and revoked, and proxies are run in the foreground.

Exit status: 0 done, 1 refused or failed with one line on stderr, 2 wrong usage.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from rfbproxy import __version__
from rfbproxy.command_line import read_secret, table
from rfbproxy.config import Address, Config, parse_address
from rfbproxy.consoleauth import CONSOLE_TYPES
from rfbproxy.errors import ConfigError, ConsoleProxyError
from rfbproxy.issue import ALLOWABLE_CHANNELS, Console, issue
from rfbproxy.rfb.preference import SUBTYPE_WORDS, TYPE_WORDS

DEFAULT_LISTEN = "127.0.0.1:6080"
Command = Callable[[argparse.Namespace, Config], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit status."""
    files: list[str] = []
    folders: list[str] = []
    parsed = _parser(files, folders).parse_args(arguments, argparse.Namespace(config_file=files, config_dir=folders))
    command: Command = parsed.command
    try:
        result = command(parsed, Config(files, folders))
    except ConsoleProxyError as error:
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


def console_create(parsed: argparse.Namespace, config: Config) -> object:
    """Issue a token for one console."""
    from rfbproxy.service import open_store
    from rfbproxy.viewer_file import own_certificate, viewer_file

    console = Console(
        console_type=parsed.type,
        host=parsed.host,
        port=parsed.port,
        tls_port=parsed.tls_port,
        instance=parsed.instance,
        username=parsed.username,
        password=read_secret(parsed.password_file) if parsed.password_file else None,
        internal_access_path=parsed.internal_access_path,
        idle_timeout_s=parsed.idle_timeout,
        time_limit_s=parsed.time_limit,
        tls_name=parsed.tls_name,
        require_security=parsed.require_security,
        allow_power=parsed.allow_power,
        host_subject=parsed.host_subject,
        allow_channels=tuple(parsed.allow_channel),
    )
    certificate = own_certificate(config) if parsed.type == "spice-direct" else None
    ttl = parsed.ttl if parsed.ttl is not None else int(config.number("consoleauth", "token_ttl"))
    with closing(open_store(config)) as store:
        issued = issue(store, console, base=config.base_url(parsed.type), ttl=ttl, now=int(time.time()))
    result = issued.as_json()
    if parsed.type == "spice-direct":
        file = viewer_file(config, issued.token, title=issued.console.instance_uuid or "", certificate=certificate)
        result["vv"] = file.text() if parsed.json else "printed with --json"
    return result


def console_list(parsed: argparse.Namespace, config: Config) -> object:
    """List the consoles that can be opened now."""
    from rfbproxy.service import open_store

    with closing(open_store(config)) as store:
        consoles = store.list(int(time.time()))
    return {
        "consoles": [
            {
                "id": console.id,
                "type": console.console_type,
                "host": console.host,
                "port": console.port,
                "instance": console.instance_uuid,
                "expires": console.expires,
            }
            for console in consoles
        ]
    }


def console_revoke(parsed: argparse.Namespace, config: Config) -> object:
    """Withdraw tokens."""
    from rfbproxy.consoleauth import hash_token
    from rfbproxy.service import open_store

    token = parsed.token
    if parsed.token_file is not None:
        token = read_secret(parsed.token_file).reveal()
    with closing(open_store(config)) as store:
        revoked = store.revoke(
            token_hash=hash_token(token) if token is not None else None,
            instance_uuid=parsed.instance,
            id=parsed.id,
        )
    return {"revoked": revoked}


def serve(parsed: argparse.Namespace, config: Config) -> None:
    """Run the service."""
    from rfbproxy.foreground import serve as run

    run(
        config,
        parsed.config_file,
        parsed.config_dir,
        nodaemon=parsed.nodaemon,
        pid_file=parsed.pidfile,
        log_file=parsed.logfile,
    )


def view(parsed: argparse.Namespace, config: Config) -> None:
    """Run a proxy for one target."""
    from rfbproxy.foreground import view as run

    target: Address = parsed.target
    password = read_secret(parsed.password_file) if parsed.password_file else None
    console = Console(parsed.type, target.host, target.port, username=parsed.username, password=password)
    run(config, parsed.listen, console)


def graphics_xml(parsed: argparse.Namespace, config: Config) -> object:
    """Print the libvirt XML of a machine's console."""
    from rfbproxy.graphics_xml import graphics_xml as make

    xml = make(config, parsed.protocol)
    return {"xml": xml} if parsed.json else xml


def demo(parsed: argparse.Namespace, config: Config) -> None:
    """Run a proxy for the built-in desktop."""
    from rfbproxy.foreground import demo as run

    run(config, parsed.listen)


def _address(text: str) -> Address:
    try:
        return parse_address(text, "the argument")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from error


def _target(text: str) -> Address:
    target = _address(text)
    if target.path is not None or not target.host or not target.port:
        raise argparse.ArgumentTypeError(f"{text!r} is not a target; host:port or [IPv6]:port is")
    return target


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; 1 to 65535 is")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(text)


class _Collect(argparse.Action):
    """Appends to one list wherever on the line the option stands; argparse's own would forget what came before."""

    def __call__(self, parser: object, namespace: object, values: object, option_string: object = None) -> None:
        self.const.append(values)


def _common(files: list[str], folders: list[str], json_default: object) -> argparse.ArgumentParser:
    """The options that every command takes, before its name or after it."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    several = "may be given several times"
    common.add_argument("--config-file", action=_Collect, const=files, metavar="FILE", help=f"nova.conf; {several}")
    common.add_argument("--config-dir", action=_Collect, const=folders, metavar="DIR", help=f"*.conf in it; {several}")
    common.add_argument("--json", action="store_true", default=json_default, help="print one JSON document")
    return common


def _parser(files: list[str], folders: list[str]) -> argparse.ArgumentParser:
    before, after = _common(files, folders, False), _common(files, folders, argparse.SUPPRESS)
    parser = argparse.ArgumentParser(
        prog="consoleproxy", description="A console proxy that understands VNC and SPICE.", parents=[before]
    )
    parser.add_argument("--version", action="version", version=f"consoleproxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(to: argparse._SubParsersAction, name: str, command: Command, what: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
        added: argparse.ArgumentParser = to.add_parser(name, parents=[after], help=what, description=what)
        added.set_defaults(command=command)
        return added

    _add_view(add(commands, "view", view, "show one machine: run a proxy for it and print the URL to open"))
    added = add(commands, "demo", demo, "show a built-in desktop: nothing else need be installed")
    _add_listen(added)
    added = add(commands, "serve", serve, "run the service in the foreground")
    added.add_argument("-n", "--nodaemon", action="store_true", help="stay in the foreground whatever `daemon` says")
    added.add_argument("--pidfile", metavar="F", help="file for the process id; none unless given")
    added.add_argument("--logfile", metavar="F", help="in the background twistd.log unless given, else the terminal")
    added = add(commands, "graphics-xml", graphics_xml, "print libvirt's XML for machines with such a console")
    added.add_argument("protocol", choices=["vnc", "spice"])

    console = commands.add_parser("console", parents=[after], help="create, list and revoke consoles")
    consoles = console.add_subparsers(metavar="COMMAND", required=True)
    _add_create(add(consoles, "create", console_create, "issue a token for a console and print its access URL"))
    add(consoles, "list", console_list, "list the consoles that can be opened now")
    revoke = add(consoles, "revoke", console_revoke, "withdraw tokens")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--token", metavar="T")
    which.add_argument("--token-file", metavar="F", help="file with the token, - for standard input")
    which.add_argument("--id", metavar="ID", help="as console list prints it")
    which.add_argument("--instance", metavar="UUID", help="all tokens of an instance")
    return parser


def _add_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", type=_target, metavar="HOST:PORT", help="the VNC or SPICE server; IPv6 in brackets")
    parser.add_argument(
        "--type",
        choices=["novnc", "spice-html5", "xvpvnc"],
        default="novnc",
        help="VNC in a browser (default), SPICE in a browser, or VNC in the Java viewer",
    )
    _add_listen(parser)
    _add_login(parser)


def _add_listen(parser: argparse.ArgumentParser) -> None:
    default = DEFAULT_LISTEN
    parser.add_argument("--listen", type=_address, default=default, metavar="ADDR:PORT", help=f"default {default}")


def _add_login(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--username", metavar="U", help="log in to the machine's console as")
    parser.add_argument("--password-file", metavar="F", help="file with the console's password, - for standard input")


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--type", required=True, choices=CONSOLE_TYPES)
    parser.add_argument("--host", required=True, metavar="H", help="where the machine's console is")
    parser.add_argument("--port", required=True, type=_port, metavar="P")
    parser.add_argument("--tls-port", type=_port, metavar="N")
    parser.add_argument("--instance", metavar="UUID", help="whose console it is; made up unless given")
    parser.add_argument("--ttl", type=_seconds, metavar="S", help="default: [consoleauth] token_ttl")
    _add_login(parser)
    parser.add_argument("--internal-access-path", metavar="P", help="ask the target for this path with CONNECT first")
    parser.add_argument("--idle-timeout", type=_seconds, metavar="S", help="end sessions that relay nothing so long")
    parser.add_argument("--time-limit", type=_seconds, metavar="S", help="end sessions that are open so long")
    parser.add_argument("--tls-name", metavar="NAME", help="what the target's certificate must be for; default: H")
    parser.add_argument(
        "--require-security",
        type=str.lower,
        choices=[*TYPE_WORDS, *SUBTYPE_WORDS],
        metavar="WORD",
        help=f"the only security towards the target that will do: {', '.join([*TYPE_WORDS, *SUBTYPE_WORDS])}",
    )
    parser.add_argument("--allow-power", action="store_true", help="let viewers shut down and reset the machine")
    parser.add_argument(
        "--host-subject", metavar="SUBJECT", help="what a SPICE target's certificate must say: C=XX,O=Lab,CN=node1"
    )
    parser.add_argument(
        "--allow-channel",
        action="append",
        default=[],
        choices=ALLOWABLE_CHANNELS,
        metavar="WORD",
        help=f"a SPICE channel beyond the usual, may be given several times: {', '.join(ALLOWABLE_CHANNELS)}",
    )


if __name__ == "__main__":
    main()
