"""The connections of one listener, from the first byte to the last."""

from collections.abc import Callable
from typing import Any
from typing import Protocol as Interface

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from rfbproxy.client.connection import ClientConnection
from rfbproxy.client.listener import Listener


class Connection(Interface):
    """What a factory asks of the connections that it builds."""

    @property
    def has_console(self) -> bool:
        """Whether the connection carries a console, not pages."""

    def abort(self) -> None:
        """Drop the connection."""


Kind = Callable[[Listener, str, Callable[[Connection], None]], Connection]


class ClientFactory(Factory):
    """Builds a connection for every client of one listener, and knows those that live.

    Args:
        kind: makes the connection, for a listener, the client's address, and whom to tell that it is gone.

    Attributes:
        listener: what the clients to come meet; may be replaced at any time.
    """

    noisy = False

    def __init__(self, listener: Listener, kind: Kind = ClientConnection) -> None:
        self.listener = listener
        self._kind = kind
        self._connections: set[Connection] = set()
        self._waiting: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See `IProtocolFactory`."""
        connection = self._kind(self.listener, source_of(addr), self._connection_gone)
        self._connections.add(connection)
        return connection

    def when_consoles_gone(self) -> Deferred[None]:
        """Fires when no connection carries a console any more."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._tell()
        return waiting

    @property
    def consoles(self) -> int:
        """How many connections carry a console."""
        return sum(connection.has_console for connection in self._connections)

    @property
    def connections(self) -> int:
        """How many there are in all."""
        return len(self._connections)

    def abort_pages(self) -> None:
        """Drop the connections that carry no console."""
        for connection in list(self._connections):
            if not connection.has_console:
                connection.abort()

    def abort_all(self) -> None:
        """Drop all connections."""
        for connection in list(self._connections):
            connection.abort()

    def _connection_gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._tell()

    def _tell(self) -> None:
        if self._waiting and not self.consoles:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)


def source_of(address: IAddress | None) -> str:
    """A client's address without its port; IPv4 in IPv6 (`::ffff:a.b.c.d`) is IPv4; a UNIX socket is `unix`."""
    if not isinstance(address, IPv4Address | IPv6Address):
        return "unix"
    host = str(address.host)
    return host.removeprefix("::ffff:") if host.startswith("::ffff:") and "." in host else host
