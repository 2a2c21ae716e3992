"""A protocol machine at the end of a stream: feeds it what comes, sends what it owes, puts TLS where it wants some."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from rfbproxy.errors import LocalProtocolError
from rfbproxy.rfb import Encryptable, ReasonDue, TlsDue
from rfbproxy.stream import Stream, TlsSide
from rfbproxy.wire import Conversation

REASON_TIMEOUT_S = 1.0  # for the reason of a target that refuses already

E = TypeVar("E")


class Dialogue:
    """Talks to one peer in the words of `machine`.

    Whoever waits for an event is woken by that alone, and by none of the pieces in which it comes.

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
        self._kind: type[Any] = object  # of the event that is waited for
        self._found: Deferred[Any] | None = None  # fires with it
        self._securing: Deferred[None] | None = None  # once TLS is due
        self._patience: IDelayedCall | None = None  # once a target refuses
        self.silent_inside = False

    def until(self, kind: type[E]) -> Deferred[E]:
        """Go on until the machine reports an event of `kind`; events before it are passed over.

        It fails with `RemoteProtocolError` where the peer broke its protocol; what the machine had to say to that is
        sent. Cancelling it leaves to the stream what comes then.
        """
        found: Deferred[E] = Deferred(self._leave)
        self._kind, self._found = kind, found
        self._note(self._machine.events)
        return found

    def _hear(self, data: bytes) -> None:
        """Let the machine answer the peer's next bytes, or its end."""
        if data:
            self.silent_inside = False
            self._note(partial(self._machine.receive_data, data))
        else:
            self._note(self._machine.receive_eof)

    def _note(self, report: Callable[[], list[object]]) -> None:
        """Note what the machine reports, send what it owes after that, and go on."""
        try:
            try:
                self._events += report()
            finally:
                self.flush()
            self._go_on()
        except Exception:
            self._fire(Failure())

    def _go_on(self) -> None:
        """Look for the event, and listen for more where it is not among those that there are."""
        while self._events:
            event = self._events.pop(0)
            if isinstance(event, self._kind):
                self._fire(event)
                return
            if isinstance(event, ReasonDue):
                self._patience = self._clock.callLater(REASON_TIMEOUT_S, self._lose_patience)
            elif isinstance(event, TlsDue):
                self._begin_tls(event)
                return
        self._stream.receive(self._hear)

    def _begin_tls(self, due: TlsDue) -> None:
        if self._tls is None or not isinstance(self._machine, Encryptable):
            raise LocalProtocolError("TLS is due, and nobody said which")
        self.silent_inside = True
        self._securing = self._stream.start_tls(self._tls(due))
        self._securing.addCallback(self._tls_stands, self._machine).addErrback(self._fire)

    def _tls_stands(self, _: None, machine: Encryptable) -> None:
        machine.tls_started()
        self._note(machine.events)

    def _lose_patience(self) -> None:
        self._patience = None
        self._stream.receive(None)
        self._hear(b"")

    def _fire(self, outcome: object) -> None:
        """Give whoever waits the event, or the `Failure`."""
        found, self._found = self._found, None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if found is not None:
            found.callback(outcome)

    def _leave(self, _: Deferred[Any]) -> None:
        self._stream.receive(None)
        if self._securing is not None:
            self._securing.cancel()
        self._fire(Failure(CancelledError()))

    def flush(self) -> None:
        """Send what the machine owes."""
        if owed := self._machine.data_to_send():
            self._stream.send(owed)

    def give_back(self) -> None:
        """Give bytes that came after the machine's last word back to the stream."""
        if rest := self._machine.unread():
            self._stream.unread(rest)
