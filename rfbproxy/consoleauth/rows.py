"""What the tables of sessions say, as plain values."""

from dataclasses import dataclass

LIVE_S = 30  # how long a claim lives that nobody keeps

_WORKER = "/"  # stands between the name of a service and what its process is called in it


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One live session.

    Attributes:
        id: of its visit, up to 32 characters.
        client: its address, up to 64 characters.
        target: host:port.
        started: ISO 8601, in UTC.
        proxy: the process that it is in, up to 255 characters; in lists the service that the process is a part of.
        expires: of its token, in Unix seconds; not kept.
    """

    id: str
    type: str
    client: str
    target: str
    instance: str
    started: str
    bytes_to_client: int
    bytes_to_target: int
    proxy: str
    token_hash: str
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """Where a machine's SPICE server is.

    Attributes:
        port: for plain text; 0: none.
        tls_port: for TLS; None: none.
        host_subject: that its certificate must be for; None: it must be for `host`.
    """

    host: str
    port: int
    tls_port: int | None = None
    host_subject: str | None = None


@dataclass(frozen=True, slots=True)
class SpiceClaim:
    """That a session has a token.

    Attributes:
        session: id of the visit whose main channel it is, up to 32 characters.
        client: the network that the client came from, up to 64 characters.
        connection_id: the SPICE session id (u32, not 0); None: the target has not told it yet.
        moved_to: where the machine is now; None: where the token says.
    """

    token_hash: str
    session: str
    client: str
    connection_id: int | None = None
    moved_to: Location | None = None


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """What a channel on another proxy than main's has relayed, in bytes; `name` is as in `display`."""

    name: str
    bytes_to_client: int
    bytes_to_target: int


def worker_of(service: str, worker: object) -> str:
    """The name of one process of a service, as `proxy` is it."""
    return f"{service}{_WORKER}{worker}"


def service_of(proxy: str) -> str:
    """The name of the service that a process of this name is a part of."""
    return proxy.partition(_WORKER)[0]
