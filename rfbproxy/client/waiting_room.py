"""Connections whose client has shown no good token yet: bounded in number, the one that waited longest goes first.

So a newcomer always gets in. A client that does what it should is out of here within moments; only those who stay are
pushed out, by their own kind. A connection moves to the end of the queue whenever it got on by a step.
"""

from collections import defaultdict
from collections.abc import Callable

from twisted.logger import Logger

from rfbproxy.client.forwarded import network_of
from rfbproxy.stream import ClientStream

_log = Logger()


class WaitingRoom:
    """Keeps a `Place` for each waiting connection.

    Args:
        most: how many may wait; 0 is no limit.
        most_per_source: the same for one client address; IPv6 counts by /64.
    """

    def __init__(self, most: int = 0, most_per_source: int = 0) -> None:
        self.allow(most, most_per_source)
        self._queue: dict[Place, None] = {}  # in the order of their last step
        self._queues: defaultdict[str, dict[Place, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._queue)

    def allow(self, most: int, most_per_source: int) -> None:
        """Change the limits, for connections to come."""
        self._most = most
        self._most_per_source = most_per_source

    def add(self, place: "Place") -> None:
        """Put a place at the end, and push out whoever is too many."""
        self._queue[place] = None
        if 0 < self._most < len(self._queue):
            next(iter(self._queue)).push_out()
        if place.source is not None:
            queue = self._queues[network_of(place.source)]
            queue[place] = None
            if 0 < self._most_per_source < len(queue):
                next(iter(queue)).push_out()

    def discard(self, place: "Place") -> None:
        """Take a place away, if it is there."""
        self._queue.pop(place, None)
        if place.source is not None:
            network = network_of(place.source)
            queue = self._queues[network]
            queue.pop(place, None)
            if not queue:
                del self._queues[network]


class Place:
    """One connection's place in the room.

    Attributes:
        drop: ends the connection; may be replaced.
        source: who waits; None: nobody knows yet.
    """

    __slots__ = ("_room", "drop", "source")

    def __init__(self, room: WaitingRoom, drop: Callable[[], None]) -> None:
        self._room = room
        self.drop = drop
        self.source: str | None = None

    def take(self, source: str | None) -> None:
        """Wait, as the last of all; `source` is None while only a proxy's address is known, which stands for many."""
        self._room.discard(self)
        self.source = source
        self._room.add(self)

    def leave(self) -> None:
        """Wait no longer: the client's token is good, or the client is gone."""
        self._room.discard(self)

    def push_out(self) -> None:
        """Make room."""
        _log.info("{source} is dropped without a token: too many wait", source=self.source)
        self.leave()
        self.drop()


def crowd_out(stream: ClientStream) -> None:
    """Drop a client that waited longest, where its visit has begun already."""
    stream.crowded_out = True
    stream.abort()
