"""Keys that SPICE clients seal their tickets with: made ahead in a thread, and each used for a short while only."""

from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from rfbproxy.errors import ConfigError
from rfbproxy.spice import TICKET_KEY_BITS, TicketKey

KEYS_AHEAD = 4  # a key serves many links, and the next one is made within milliseconds
KEY_LIFE_S = 60.0
KEY_USES = 64
OVERDUE = 10  # times these, and no successor: one is made here and now, which everybody waits for

_EXPONENT = 65537

_log = Logger()

InThread = Callable[[Callable[[], TicketKey]], Deferred[TicketKey]]


class TicketKeys:
    """Hands out keys. Making one takes milliseconds of a processor, which strangers must not be able to ask for.

    A key is replaced once it is old or was handed out often, as soon as its successor is there, or is overdue.

    Args:
        in_thread: runs a function away from the reactor's thread.

    Raises:
        ConfigError: this system makes no RSA keys of the size that SPICE knows.
    """

    def __init__(self, clock: IReactorTime, in_thread: InThread) -> None:
        self._clock = clock
        self._in_thread = in_thread
        try:
            self._key = make_key()
        except (UnsupportedAlgorithm, ValueError) as error:
            raise ConfigError(f"[spice] enabled: no RSA-{TICKET_KEY_BITS} key can be made here: {error}") from error
        self._since = clock.seconds()
        self._uses = 0
        self._ahead: list[TicketKey] = []
        self._making = False

    def take(self) -> TicketKey:
        """A key for one ticket."""
        now = self._clock.seconds()
        spent = max(self._uses / KEY_USES, (now - self._since) / KEY_LIFE_S)
        if spent >= OVERDUE or (spent >= 1 and self._ahead):
            key = self._ahead.pop() if self._ahead else make_key()
            self._key, self._since, self._uses = key, now, 0
        self._uses += 1
        self._make_ahead()
        return self._key

    def _make_ahead(self) -> None:
        if not self._making and len(self._ahead) < KEYS_AHEAD:
            self._making = True
            making = self._in_thread(make_key)
            making.addCallbacks(self._ahead.append, lambda failure: _log.failure("no ticket key was made", failure))
            making.addBoth(self._made)

    def _made(self, _: object) -> None:
        self._making = False


def make_key() -> TicketKey:
    """A new key."""
    private_key: RSAPrivateKey = generate_private_key(_EXPONENT, TICKET_KEY_BITS)
    return TicketKey(private_key)
