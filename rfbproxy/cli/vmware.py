"""`vmware port`: which VNC port a machine on a VMware host has."""

import argparse
from contextlib import closing

from rfbproxy.cli.subcommands import Subcommands
from rfbproxy.config import Config
from rfbproxy.issue import target_host, valid_instance


def add_to(commands: Subcommands) -> None:
    """Add what can be done with such ports."""
    vmware = commands.add_noun("vmware", "VNC ports of machines on VMware hosts")
    port = vmware.add("port", vmware_port, "print the VNC port of a machine, chosen once")
    port.add_argument("--instance", required=True, metavar="UUID", help="the machine")
    where = port.add_mutually_exclusive_group(required=True)
    where.add_argument("--host", metavar="H", help="the ESXi host that it runs on")
    where.add_argument("--release", action="store_true", help="give the port back: the machine is deleted")


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
