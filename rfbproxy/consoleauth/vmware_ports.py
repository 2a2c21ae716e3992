"""Which VNC port each machine of a VMware host has: `console_vmware_ports`, a table of ours.

ESXi opens the VNC port that a machine's own configuration names (`RemoteDisplay.vnc.port`), so somebody has to say
which. nova takes the lowest that no machine of the vCenter has (nova/virt/vmwareapi/vm_util.py, get_vnc_port), of
`[vmware] vnc_port_total` from `vnc_port` on; here it is the lowest that no machine of the host has.
"""

from collections.abc import Sequence

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from rfbproxy.consoleauth.database import Database
from rfbproxy.errors import ConfigError

PORT_LIMIT = 65535

# An instance has one port and a port one instance, so that of two programs that choose alike one is told.
VMWARE_PORTS = Table(
    "console_vmware_ports",
    MetaData(),
    Column("instance_uuid", String(36), primary_key=True),
    Column("host", String(253), nullable=False),  # the longest name; a key of MySQL holds 767 bytes at least
    Column("port", Integer, nullable=False),
    UniqueConstraint("host", "port", name="uniq_console_vmware_ports0host0port"),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)
_row = VMWARE_PORTS.c


class VmwarePorts:
    """The ports that machines have, in a database of ours; several programs may ask at once.

    The table is made where it is missing. Everything raises `StoreError` when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        database.make_tables(VMWARE_PORTS)

    def allocate(self, instance_uuid: str, host: str, ports: Sequence[int]) -> int:
        """The port of an instance on a host: the one that it has there, whatever `ports` are, or the lowest free one.

        An instance that comes from another host gives back the port that it had there.

        Args:
            instance_uuid: up to 36 characters.
            host: a name, of which the case does not matter, or an address.
            ports: those that may be given out, see `port_range`.

        Raises:
            ConfigError: all of them are taken.
        """
        while True:
            try:
                return self._allocate(instance_uuid, host.lower(), ports)
            except IntegrityError:  # another program took the port, or gave the instance one
                continue

    def _allocate(self, instance_uuid: str, host: str, ports: Sequence[int]) -> int:
        this = _row.instance_uuid == instance_uuid

        def choose(connection: Connection) -> int:
            known = connection.execute(select(_row.host, _row.port).where(this)).first()
            if known is not None and known.host == host:
                return int(known.port)
            taken = set(connection.execute(select(_row.port).where(_row.host == host)).scalars())
            port = next((port for port in ports if port not in taken), None)
            if port is None:
                raise ConfigError(f"no VNC port is free on {host}: {_told(ports)} ([vmware] vnc_port, vnc_port_total)")
            if known is not None:
                connection.execute(update(VMWARE_PORTS).where(this).values(host=host, port=port))
            else:
                connection.execute(insert(VMWARE_PORTS).values(instance_uuid=instance_uuid, host=host, port=port))
            return port

        return self._database.transact(choose)

    def release(self, instance_uuid: str) -> int:
        """Give back the port of an instance that is deleted, and return how many it had: 0 or 1."""
        these = delete(VMWARE_PORTS).where(_row.instance_uuid == instance_uuid)
        return self._database.transact(lambda connection: connection.execute(these).rowcount)


def port_range(first: int, count: int) -> range:
    """`count` ports from `first` on, as far as there are ports."""
    return range(first, min(first + count, PORT_LIMIT + 1))


def _told(ports: Sequence[int]) -> str:
    return f"all {len(ports)} from {ports[0]} to {ports[-1]} are allocated" if ports else "none may be given out"
