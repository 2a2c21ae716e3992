"""How long a turn of bulk may be: the reactor has one session's turn after the other, and the others wait meanwhile."""

from time import monotonic

ALONE_SIZE = 2 * 1024 * 1024  # bytes of a turn in bulk if nobody waits: the fewer turns, the less each byte costs
SHARED_SIZE = 128 * 1024  # bytes while another session has little turns, as somebody types there: 0.1 ms
CALM_S = 0.1  # since the last little turn of another session, until nobody waits


class Attention:
    """Knows when sessions have had little turns, of which each is waited for. Sessions are told apart by a number."""

    __slots__ = ("_at", "_before", "_session")

    def __init__(self) -> None:
        self._session = 0  # the last one
        self._at = self._before = -CALM_S  # when it had its last one, and when another had

    def little_turn(self, session: int) -> None:
        """A session has one."""
        if session != self._session:
            self._session, self._before = session, self._at
        self._at = monotonic()

    def bulk_size(self, session: int) -> int:
        """How many bytes a session may move in a turn of bulk."""
        waited_for = self._before if session == self._session else self._at
        return SHARED_SIZE if monotonic() - waited_for < CALM_S else ALONE_SIZE


attention = Attention()
