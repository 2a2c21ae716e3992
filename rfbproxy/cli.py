"""The command `consoleproxy`: consoles and sessions are looked after, and proxies are run in the foreground.

Exit status: 0 done, 1 refused or failed with one line on stderr, 2 wrong usage.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from rfbproxy import __version__
from rfbproxy.address import Address, parse_address
from rfbproxy.command_line import read_secret, table
from rfbproxy.config import Config
from rfbproxy.consoleauth import CONSOLE_TYPES, Grant
from rfbproxy.consoleauth.token import SHARE_WORDS
from rfbproxy.errors import ConfigError, ConsoleProxyError
from rfbproxy.importing import importing
from rfbproxy.issue import ALLOWABLE_CHANNELS, SECURITY_WORDS, SPICE_TYPES, Console, target_host, valid_instance

if TYPE_CHECKING:
    from rfbproxy.consoles import Commands

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
        if command is config_check and parsed.json:
            from rfbproxy.config_check import refusal_as_json

            print(json.dumps(refusal_as_json(error)))
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
    if parsed.port == 0 and parsed.tls_port is None:
        parsed.parser.error("argument --port: '0' is not a port; 1 to 65535 is, and 0 beside --tls-port")
    if parsed.record:
        raise ConfigError("--record: this version does not record, so the console would not be recorded")
    if parsed.vmware and (parsed.instance is None or parsed.type in SPICE_TYPES):
        raise ConfigError("--vmware is for VNC consoles, and needs --instance, for which the port is remembered")
    if parsed.vmware and parsed.api is not None:
        raise ConfigError("--vmware chooses a port in the token store of this machine; with --api, say --port")
    port = vmware_port(parsed, config)["port"] if parsed.vmware else parsed.port
    console = Console(
        console_type=parsed.type,
        host=parsed.host,
        port=port,
        tls_port=parsed.tls_port,
        instance=parsed.instance,
        internal_access_path=parsed.internal_access_path,
        grant=Grant(
            username=parsed.username,
            password=read_secret(parsed.password_file) if parsed.password_file else None,
            idle_timeout_s=parsed.idle_timeout,
            time_limit_s=parsed.time_limit,
            tls_name=parsed.tls_name,
            require_security=parsed.require_security,
            allow_power=parsed.allow_power,
            host_subject=parsed.host_subject,
            share=parsed.share,
            one_time=parsed.one_time,
            allow_channels=tuple(parsed.allow_channel),
        ),
    )
    with _commands(parsed, config) as commands:
        result = commands.create(console, parsed.ttl)
    if "vv" in result and not parsed.json:
        result["vv"] = "printed with --json"
    return result


def console_list(parsed: argparse.Namespace, config: Config) -> object:
    """List the consoles that can be opened now."""
    with _commands(parsed, config) as commands:
        return commands.list()


def console_revoke(parsed: argparse.Namespace, config: Config) -> object:
    """Withdraw tokens."""
    token = parsed.token
    if parsed.token_file is not None:
        token = read_secret(parsed.token_file).reveal()
    with _commands(parsed, config) as commands:
        return commands.revoke(token=token, instance=parsed.instance, id=parsed.id)


def console_move(parsed: argparse.Namespace, config: Config) -> object:
    """Point the tokens of an instance at another host."""
    with _commands(parsed, config) as commands:
        return commands.move(parsed.instance, parsed.host, parsed.port, parsed.tls_port)


def session_list(parsed: argparse.Namespace, config: Config) -> object:
    """List the sessions that live now."""
    with _commands(parsed, config) as commands:
        return commands.sessions()


def session_end(parsed: argparse.Namespace, config: Config) -> object:
    """Let a session end."""
    with _commands(parsed, config) as commands:
        return commands.end_session(parsed.id)


@contextmanager
def _commands(parsed: argparse.Namespace, config: Config) -> Iterator["Commands"]:
    """What carries commands out: the store of the options, or the API of another machine."""
    if parsed.api is not None:
        yield _api(parsed, config)
        return
    with importing():
        from rfbproxy.consoles import Consoles
        from rfbproxy.store_options import open_store

    with closing(open_store(config)) as store:
        yield Consoles(store, config)


def _api(parsed: argparse.Namespace, config: Config) -> "Commands":
    from rfbproxy.api_client import ApiClient

    file = parsed.api_token_file or config.path("consoleproxy", "api_token_file")
    if file is None:
        raise ConfigError("--api needs a token: --api-token-file, or [consoleproxy] api_token_file")
    return ApiClient(parsed.api, read_secret(str(file)), ca_certs=parsed.api_ca_file, cert=parsed.api_cert_file)


def vmware_port(parsed: argparse.Namespace, config: Config) -> dict[str, int]:
    """Say which VNC port a machine on a VMware host has, or give it back."""
    from rfbproxy.consoleauth.vmware_ports import VmwarePorts, port_range
    from rfbproxy.store_options import open_store

    first, total = (int(config.number("vmware", name)) for name in ("vnc_port", "vnc_port_total"))
    instance, host = valid_instance(parsed.instance), target_host(parsed.host) if parsed.host is not None else None
    with closing(open_store(config)) as store:
        ports = VmwarePorts(store.own_database)
        if host is None:
            return {"released": ports.release(instance)}
        return {"port": ports.allocate(instance, host, port_range(first, total))}


def serve(parsed: argparse.Namespace, config: Config) -> None:
    """Run the service."""
    from rfbproxy.under_twistd import serve as run

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
    with importing():
        from rfbproxy.foreground import view as run

    target: Address = parsed.target
    password = read_secret(parsed.password_file) if parsed.password_file else None
    grant = Grant(username=parsed.username, password=password)
    console = Console(parsed.type, target.host, target.port, grant=grant)
    run(config, parsed.listen, console)


def graphics_xml(parsed: argparse.Namespace, config: Config) -> object:
    """Print the libvirt XML of a machine's console."""
    from rfbproxy.graphics_xml import graphics_xml as make

    xml = make(config, parsed.protocol)
    return {"xml": xml} if parsed.json else xml


def config_check(parsed: argparse.Namespace, config: Config) -> object:
    """Say whether the service could start with these options, and what of them is not as it seems."""
    with importing():
        from rfbproxy.config_check import as_json, as_text, check

    findings = check(config)
    return as_json(findings) if parsed.json else as_text(findings)


def config_sample(parsed: argparse.Namespace, config: Config) -> object:
    """Print a file with every option."""
    from rfbproxy.config_sample import config_sample as make

    return {"sample": make()} if parsed.json else make()


def demo(parsed: argparse.Namespace, config: Config) -> None:
    """Run a proxy for the built-in desktop."""
    with importing():
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


def _port_or_none(text: str) -> int:
    return 0 if text == "0" else _port(text)


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


def _remote() -> argparse.ArgumentParser:
    """The options of commands that the API of another machine can carry out."""
    remote = argparse.ArgumentParser(add_help=False)
    remote.add_argument("--api", metavar="URL", help="ask this API instead of the token store: http(s)://host:port")
    remote.add_argument("--api-token-file", metavar="F", help="its token; default: [consoleproxy] api_token_file")
    remote.add_argument("--api-ca-file", metavar="F", help="PEM file of the CAs to believe; default: the system's")
    remote.add_argument("--api-cert-file", metavar="F", help="PEM file with a certificate of ours and its key to show")
    return remote


def _parser(files: list[str], folders: list[str]) -> argparse.ArgumentParser:
    before, after = _common(files, folders, False), _common(files, folders, argparse.SUPPRESS)
    parser = argparse.ArgumentParser(
        prog="consoleproxy", description="A console proxy that understands VNC and SPICE.", parents=[before]
    )
    parser.add_argument("--version", action="version", version=f"consoleproxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        to: argparse._SubParsersAction,  # type: ignore[type-arg]
        name: str,
        command: Command,
        what: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = to.add_parser(name, parents=[after, *parents], help=what, description=what)
        added.set_defaults(command=command, parser=added)
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

    options = commands.add_parser("config", parents=[after], help="check options, or print all that there are")
    about = options.add_subparsers(metavar="COMMAND", required=True)
    add(about, "check", config_check, "say whether the service could start with these options")
    add(about, "sample", config_sample, "print a file with every option, its default and what it does")

    remote = _remote()
    console = commands.add_parser("console", parents=[after], help="create, list, revoke and move consoles")
    consoles = console.add_subparsers(metavar="COMMAND", required=True)
    _add_create(add(consoles, "create", console_create, "issue a token for a console and print its access URL", remote))
    add(consoles, "list", console_list, "list the consoles that can be opened now", remote)
    revoke = add(consoles, "revoke", console_revoke, "withdraw tokens", remote)
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--token", metavar="T")
    which.add_argument("--token-file", metavar="F", help="file with the token, - for standard input")
    which.add_argument("--id", metavar="ID", help="as console list prints it")
    which.add_argument("--instance", metavar="UUID", help="all tokens of an instance")
    move = add(consoles, "move", console_move, "point the tokens of an instance at another host", remote)
    move.add_argument("--instance", required=True, metavar="UUID")
    move.add_argument("--host", required=True, metavar="H", help="where the machine's console is now")
    move.add_argument("--port", type=_port, metavar="P", help="as it was, and the TLS port too, unless given")
    move.add_argument("--tls-port", type=_port, metavar="N")

    session = commands.add_parser("session", parents=[after], help="list and end sessions")
    sessions = session.add_subparsers(metavar="COMMAND", required=True)
    add(sessions, "list", session_list, "list the sessions that live now, on all proxies of the store", remote)
    end = add(sessions, "end", session_end, "let a session end, wherever it is", remote)
    end.add_argument("id", metavar="ID", help="as session list prints it")

    vmware = commands.add_parser("vmware", parents=[after], help="VNC ports of machines on VMware hosts")
    vmwares = vmware.add_subparsers(metavar="COMMAND", required=True)
    port = add(vmwares, "port", vmware_port, "print the VNC port of a machine, chosen once")
    port.add_argument("--instance", required=True, metavar="UUID", help="the machine")
    where = port.add_mutually_exclusive_group(required=True)
    where.add_argument("--host", metavar="H", help="the ESXi host that it runs on")
    where.add_argument("--release", action="store_true", help="give the port back: the machine is deleted")
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
    port = parser.add_mutually_exclusive_group(required=True)
    port.add_argument("--port", type=_port_or_none, metavar="P", help="0: it has a TLS port alone")
    port.add_argument("--vmware", action="store_true", help="the port that `vmware port` gives the instance on H")
    parser.add_argument("--tls-port", type=_port, metavar="N", help="of a SPICE server")
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
        choices=SECURITY_WORDS,
        metavar="WORD",
        help=f"the only security towards the target that will do: {', '.join(SECURITY_WORDS)}",
    )
    parser.add_argument("--allow-power", action="store_true", help="let viewers shut down and reset the machine")
    parser.add_argument("--one-time", action="store_true", help="one session; its viewer may reconnect for 30 seconds")
    parser.add_argument(
        "--share",
        choices=SHARE_WORDS,
        help="towards other sessions of the instance: be beside them (default), end them, or yield to them",
    )
    parser.add_argument("--record", action="store_true", help="record the sessions; refused, for this version cannot")
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
