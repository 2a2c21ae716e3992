"""`console create`, `list`, `revoke` and `move`."""

import argparse

from rfbproxy.cli.arguments import add_login, password, port, port_or_none, seconds
from rfbproxy.cli.remote import consoles_of, remote_options
from rfbproxy.cli.secrets import read_secret
from rfbproxy.cli.subcommands import Subcommands
from rfbproxy.cli.vmware import vmware_port
from rfbproxy.config import Config
from rfbproxy.consoleauth import CONSOLE_TYPES, Grant
from rfbproxy.consoleauth.token import SHARE_WORDS
from rfbproxy.errors import ConfigError
from rfbproxy.issue import ALLOWABLE_CHANNELS, SECURITY_WORDS, SPICE_TYPES, Console


def add_to(commands: Subcommands) -> None:
    """Add what can be done with consoles."""
    consoles = commands.add_noun("console", "create, list, revoke and move consoles")
    remote = remote_options()
    _add_target(consoles.add("create", _create, "issue a token for a console and print its access URL", remote))
    consoles.add("list", _list, "list the consoles that can be opened now", remote)
    revoke = consoles.add("revoke", _revoke, "withdraw tokens", remote)
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--token", metavar="T")
    which.add_argument("--token-file", metavar="F", help="file with the token, - for standard input")
    which.add_argument("--id", metavar="ID", help="as console list prints it")
    which.add_argument("--instance", metavar="UUID", help="all tokens of an instance")
    move = consoles.add("move", _move, "point the tokens of an instance at another host", remote)
    move.add_argument("--instance", required=True, metavar="UUID")
    move.add_argument("--host", required=True, metavar="H", help="where the machine's console is now")
    move.add_argument("--port", type=port, metavar="P", help="as it was, and the TLS port too, unless given")
    move.add_argument("--tls-port", type=port, metavar="N")


def _add_target(create: argparse.ArgumentParser) -> None:
    create.add_argument("--type", required=True, choices=CONSOLE_TYPES)
    create.add_argument("--host", required=True, metavar="H", help="where the machine's console is")
    where = create.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=port_or_none, metavar="P", help="0: it has a TLS port alone")
    where.add_argument("--vmware", action="store_true", help="the port that `vmware port` gives the instance on H")
    create.add_argument("--tls-port", type=port, metavar="N", help="of a SPICE server")
    create.add_argument("--instance", metavar="UUID", help="whose console it is; made up unless given")
    create.add_argument("--ttl", type=seconds, metavar="S", help="default: [consoleauth] token_ttl")
    add_login(create)
    create.add_argument("--internal-access-path", metavar="P", help="ask the target for this path with CONNECT first")
    _add_grant(create)


def _add_grant(create: argparse.ArgumentParser) -> None:
    create.add_argument("--idle-timeout", type=seconds, metavar="S", help="end sessions that relay nothing so long")
    create.add_argument("--time-limit", type=seconds, metavar="S", help="end sessions that are open so long")
    create.add_argument("--tls-name", metavar="NAME", help="what the target's certificate must be for; default: H")
    create.add_argument(
        "--require-security",
        type=str.lower,
        choices=SECURITY_WORDS,
        metavar="WORD",
        help=f"the only security towards the target that will do: {', '.join(SECURITY_WORDS)}",
    )
    create.add_argument("--allow-power", action="store_true", help="let viewers shut down and reset the machine")
    create.add_argument("--one-time", action="store_true", help="one session; its viewer may reconnect for 30 seconds")
    create.add_argument(
        "--share",
        choices=SHARE_WORDS,
        help="towards other sessions of the instance: be beside them (default), end them, or yield to them",
    )
    create.add_argument("--record", action="store_true", help="record the sessions; refused, for this version cannot")
    create.add_argument(
        "--host-subject", metavar="SUBJECT", help="what a SPICE target's certificate must say: C=XX,O=Lab,CN=node1"
    )
    create.add_argument(
        "--allow-channel",
        action="append",
        default=[],
        choices=ALLOWABLE_CHANNELS,
        metavar="WORD",
        help=f"a SPICE channel beyond the usual, may be given several times: {', '.join(ALLOWABLE_CHANNELS)}",
    )


def _create(parsed: argparse.Namespace, config: Config) -> object:
    _check(parsed)
    console = Console(
        console_type=parsed.type,
        host=parsed.host,
        port=vmware_port(parsed, config)["port"] if parsed.vmware else parsed.port,
        tls_port=parsed.tls_port,
        instance=parsed.instance,
        internal_access_path=parsed.internal_access_path,
        grant=_grant(parsed),
    )
    with consoles_of(parsed, config) as consoles:
        result = consoles.create(console, parsed.ttl)
    if "vv" in result and not parsed.json:
        result["vv"] = "printed with --json"
    return result


def _check(parsed: argparse.Namespace) -> None:
    if parsed.port == 0 and parsed.tls_port is None:
        parsed.parser.error("argument --port: '0' is not a port; 1 to 65535 is, and 0 beside --tls-port")
    if parsed.record:
        raise ConfigError("--record: this version does not record, so the console would not be recorded")
    if parsed.vmware and (parsed.instance is None or parsed.type in SPICE_TYPES):
        raise ConfigError("--vmware is for VNC consoles, and needs --instance, for which the port is remembered")
    if parsed.vmware and parsed.api is not None:
        raise ConfigError("--vmware chooses a port in the token store of this machine; with --api, say --port")


def _grant(parsed: argparse.Namespace) -> Grant:
    return Grant(
        username=parsed.username,
        password=password(parsed),
        idle_timeout_s=parsed.idle_timeout,
        time_limit_s=parsed.time_limit,
        tls_name=parsed.tls_name,
        require_security=parsed.require_security,
        allow_power=parsed.allow_power,
        host_subject=parsed.host_subject,
        share=parsed.share,
        one_time=parsed.one_time,
        allow_channels=tuple(parsed.allow_channel),
    )


def _list(parsed: argparse.Namespace, config: Config) -> object:
    with consoles_of(parsed, config) as consoles:
        return consoles.list()


def _revoke(parsed: argparse.Namespace, config: Config) -> object:
    token = parsed.token
    if parsed.token_file is not None:
        token = read_secret(parsed.token_file).reveal()
    with consoles_of(parsed, config) as consoles:
        return consoles.revoke(token=token, instance=parsed.instance, id=parsed.id)


def _move(parsed: argparse.Namespace, config: Config) -> object:
    with consoles_of(parsed, config) as consoles:
        return consoles.move(parsed.instance, parsed.host, parsed.port, parsed.tls_port)
