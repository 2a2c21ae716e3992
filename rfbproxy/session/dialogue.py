"""A protocol machine at the end of a stream: feeds it what comes, sends what it owes, puts TLS where it wants some."""

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from rfbproxy.errors import LocalProtocolError
from rfbproxy.rfb import Encryptable, ReasonDue, TlsDue
from rfbproxy.stream import Stream, TlsSide
from rfbproxy.wire import Conversation

REASON_TIMEOUT_S = 1.0  # for the reason of a target that refuses already

E = TypeVar("E")


class Dialogue:
    """Talks to one peer in the words of `machine`.

    Args:
        tls: which TLS to begin where the machine wants some.

    Attributes:
        silent_inside: whether TLS was begun and nothing has come inside it yet.
    """

    def __init__(
        self,
        stream: Stream,
        machine: Conversation,
        clock: IReactorTime,
        tls: Callable[[TlsDue], TlsSide] | None = None,
    ) -> None:
        self._stream = stream
        self._machine = machine
        self._clock = clock
        self._tls = tls
        self._events: list[object] = []
        self.silent_inside = False
        self._patient_until: float | None = None  # on the clock, once a target refuses

    async def until(self, kind: type[E]) -> E:
        """Go on until the machine reports an event of `kind`; events before it are passed over.

        Raises:
            RemoteProtocolError: the peer broke its protocol; what the machine had to say to that is sent.
        """
        self.flush()
        self._events += self._machine.events()
        while True:
            if not self._events:
                await self._listen()
                continue
            event = self._events.pop(0)
            if isinstance(event, kind):
                return event
            if isinstance(event, ReasonDue):
                self._patient_until = self._clock.seconds() + REASON_TIMEOUT_S
            elif isinstance(event, TlsDue):
                await self._begin_tls(event)

    async def finish(self) -> None:
        """Go on until the machine has nothing more to do, and give back what it did not read."""
        while not self._machine.finished:
            self.flush()
            await self._listen()
        self.give_back()

    async def _listen(self) -> None:
        """Wait for the peer's next bytes, or its end, and let the machine answer."""
        receiving = self._stream.receive()
        if self._patient_until is not None:
            receiving.addTimeout(max(0.0, self._patient_until - self._clock.seconds()), self._clock)
        try:
            data = await receiving
        except DeferredTimeout:
            data = b""
        if data:
            self.silent_inside = False
        try:
            self._events += self._machine.receive_data(data) if data else self._machine.receive_eof()
        finally:
            self.flush()

    async def _begin_tls(self, due: TlsDue) -> None:
        if self._tls is None or not isinstance(self._machine, Encryptable):
            raise LocalProtocolError("TLS is due, and nobody said which")
        self.silent_inside = True
        await self._stream.start_tls(self._tls(due))
        self._machine.tls_started()
        self.flush()
        self._events += self._machine.events()

    def flush(self) -> None:
        """Send what the machine owes."""
        if owed := self._machine.data_to_send():
            self._stream.send(owed)

    def give_back(self) -> None:
        """Give bytes that came after the machine's last word back to the stream."""
        if rest := self._machine.unread():
            self._stream.unread(rest)
