"""How long a turn of bulk may be: the reactor has one session's turn after the other, and the others wait meanwhile."""

from time import monotonic

ALONE_SIZE = 2 * 1024 * 1024  # bytes of a turn in bulk while no other session has turns: the fewer, the less each costs
SHARED_SIZE = 256 * 1024  # bytes while others have some, too: they wait for 0.1 ms
CALM_S = 0.5  # without a turn of another session, until one is alone


class Attention:
    """Knows whether turns go to one session alone, or to several."""

    __slots__ = ("_moved", "_session")

    def __init__(self) -> None:
        self._session = 0
        self._moved = 0.0  # when it went from one session to another

    def turn_to(self, session: int) -> None:
        """A session, by a number of its own, has its turn."""
        if session != self._session:
            self._session = session
            self._moved = monotonic()

    def turn_size(self) -> int:
        """How many bytes the session that has its turn may move in it."""
        return ALONE_SIZE if monotonic() - self._moved > CALM_S else SHARED_SIZE


attention = Attention()
