"""A synchronous token store behind threads of its own, unless it answers at once: the face that the service sees."""

from collections.abc import Callable, Collection, Mapping
from time import monotonic
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from rfbproxy.consoleauth.engine import CONNECTIONS
from rfbproxy.consoleauth.rows import ChannelRow, Location, SessionRow, SpiceClaim
from rfbproxy.consoleauth.sessions import SessionTable
from rfbproxy.consoleauth.spice_sessions import SpiceSessionTable
from rfbproxy.consoleauth.store import Store
from rfbproxy.consoleauth.threads import Threads
from rfbproxy.consoleauth.token import ConsoleToken
from rfbproxy.errors import StoreBusy, StoreError, StoreReadOnly, StoreUnlisted, TokenInUse

MAX_WAITING = 1000
SLOW_S = 0.1  # of an answer at once, for which all sessions wait: a disk may be slow, or the machine busy
REST_S = 10.0  # on threads alone, after such an answer

T = TypeVar("T")


class ThreadedStore:
    """The store, answered by Deferreds; names being resolved in the reactor's pool do not delay it.

    To be used on the reactor thread alone. Opening and closing the store stay with whoever made it.

    Args:
        store: an open store.
        reactor: where the Deferreds fire.
        threads: how many calls may run at once; a memory database gets one.
        called: told of each call how many seconds it took, and whether the store failed.

    Attributes:
        sessions: the live sessions of all proxies.
        spice_sessions: which SPICE sessions have tokens.
    """

    def __init__(
        self,
        store: Store,
        reactor: IReactorFromThreads,
        threads: int = CONNECTIONS,
        called: Callable[[float, bool], None] = lambda seconds, failed: None,
    ) -> None:
        self._store = store
        self._called = called
        self._threads = 1 if store.in_memory else threads
        self._pool = Threads(reactor, self._threads, "consoleauth")
        self._unfinished = 0
        self._at_once_from = 0.0  # by the monotonic clock
        self._running = False
        self._stopped: Deferred[None] | None = None
        self.sessions = ThreadedSessions(self._in_sessions)
        self.spice_sessions = ThreadedSpiceSessions(self._in_table)

    def start(self) -> None:
        """Let calls run."""
        self._running = True

    def stop(self) -> Deferred[None]:
        """Take no more calls, let those that wait fail, and fire when the running ones are done."""
        if not self._running:
            return succeed(None)
        self._running = False
        self._stopped = stopped = Deferred[None]()
        self._stop_when_idle()
        return stopped

    def find(self, token: str) -> Deferred[ConsoleToken | None]:
        """The token's row with its grant, be it valid or not."""
        return self._at_once(token) or self._call(lambda: self._store.find(token))

    def ping(self) -> Deferred[None]:
        """Fail with `StoreError` unless the store answers."""
        return self._call(self._store.ping)

    def purge(self, now: int) -> Deferred[int]:
        """Delete the tokens that are no longer valid, and what is dead of the SPICE sessions."""
        return self._call(lambda: self._store.purge(now))

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Call a function that may block on a thread of the store's."""
        return self._call(function)

    def _in_sessions(self, function: Callable[[SessionTable], T]) -> Deferred[T]:
        return self._call(lambda: function(self._store.sessions))

    def _in_table(self, function: Callable[[SpiceSessionTable], T]) -> Deferred[T]:
        return self._call(lambda: function(self._store.spice_sessions))

    def _at_once(self, token: str) -> Deferred[ConsoleToken | None] | None:
        """What `find` gives, asked on this thread; None: ask on another one."""
        begun, find = monotonic(), self._store.find_at_once
        if find is None or not self._running or begun < self._at_once_from:
            return None
        outcome: Deferred[ConsoleToken | None] | None
        try:
            outcome = succeed(find(token))
        except StoreBusy:
            outcome = None
        except StoreError:
            outcome = fail()
        now = monotonic()
        if now - begun > SLOW_S:
            self._at_once_from = now + REST_S
        if outcome is not None:
            self._called(now - begun, isinstance(outcome.result, Failure))
        return outcome

    def _call(self, function: Callable[[], T]) -> Deferred[T]:
        if not self._running:
            return fail(StoreError("the token store is stopped"))
        if self._unfinished >= self._threads + MAX_WAITING:
            self._called(0.0, True)
            return fail(StoreError(f"{MAX_WAITING} calls wait for the token store already"))
        begun = monotonic()
        result: Deferred[T] = Deferred()

        def run() -> T:
            if not self._running or result.called:
                raise StoreError("the token store was stopped, or the caller has gone, before its turn came")
            return function()

        try:
            self._pool.call(run, lambda outcome: self._finish(result, outcome, begun))
        except RuntimeError as error:
            self._called(0.0, True)
            return fail(StoreError(f"no thread for the token store: {error}"))
        self._unfinished += 1
        return result

    def _finish(self, result: Deferred[T], outcome: T | Failure, begun: float) -> None:
        self._unfinished -= 1
        self._called(monotonic() - begun, isinstance(outcome, Failure) and _is_the_stores(outcome.value))
        result.callback(outcome)
        self._stop_when_idle()

    def _stop_when_idle(self) -> None:
        if self._stopped is not None and self._unfinished == 0:
            stopped, self._stopped = self._stopped, None
            self._pool.stop()
            stopped.callback(None)


def _is_the_stores(error: BaseException | None) -> bool:
    """Whether the store failed, and was not asked for what it rightly refuses."""
    return isinstance(error, StoreError) and not isinstance(error, StoreReadOnly | StoreUnlisted | TokenInUse)


class _InSessions(Protocol):
    """Calls a function with the table of sessions, on a thread."""

    def __call__(self, function: Callable[[SessionTable], T]) -> Deferred[T]:
        """What the function returns or raises."""


class ThreadedSessions:
    """A `SessionTable`, answered by Deferreds; see there what each call is for."""

    def __init__(self, in_table: _InSessions) -> None:
        self._in_table = in_table

    def tell(self, proxy: str, sessions: Mapping[str, SessionRow], now: int) -> Deferred[dict[str, str]]:
        """See `SessionTable.tell`."""
        told = dict(sessions)  # the caller's may change before its turn comes
        return self._in_table(lambda table: table.tell(proxy, told, now))

    def enter(self, row: SessionRow, now: int, *, alone: str) -> Deferred[bool]:
        """See `SessionTable.enter`."""
        return self._in_table(lambda table: table.enter(row, now, alone=alone))

    def settle(self, row: SessionRow, now: int, *, alone: str) -> Deferred[None]:
        """See `SessionTable.settle`."""
        return self._in_table(lambda table: table.settle(row, now, alone=alone))

    def use(self, row: SessionRow, client: str, now: int) -> Deferred[bool]:
        """See `SessionTable.use`."""
        return self._in_table(lambda table: table.use(row, client, now))

    def leave(self, token_hash: str, session: str, now: int) -> Deferred[None]:
        """See `SessionTable.leave`."""
        return self._in_table(lambda table: table.leave(token_hash, session, now))

    def forget(self, proxy: str, now: int) -> Deferred[Mapping[str, str]]:
        """See `SessionTable.forget`."""
        return self._in_table(lambda table: table.forget(proxy, now))


class _InTable(Protocol):
    """Calls a function with the table, on a thread."""

    def __call__(self, function: Callable[[SpiceSessionTable], T]) -> Deferred[T]:
        """What the function returns or raises."""


class ThreadedSpiceSessions:
    """A `SpiceSessionTable`, answered by Deferreds; see there what each call is for."""

    def __init__(self, in_table: _InTable) -> None:
        self._in_table = in_table

    def claim(
        self, token_hash: str, session: str, client: str, now: int, *, take_over: bool
    ) -> Deferred[SpiceClaim | None]:
        """See `SpiceSessionTable.claim`."""
        return self._in_table(lambda table: table.claim(token_hash, session, client, now, take_over=take_over))

    def begin(self, token_hash: str, session: str, connection_id: int, now: int) -> Deferred[None]:
        """See `SpiceSessionTable.begin`."""
        return self._in_table(lambda table: table.begin(token_hash, session, connection_id, now))

    def find(self, token_hash: str, connection_id: int, now: int) -> Deferred[SpiceClaim | None]:
        """See `SpiceSessionTable.find`."""
        return self._in_table(lambda table: table.find(token_hash, connection_id, now))

    def keep(self, sessions: Mapping[str, str], now: int) -> Deferred[None]:
        """See `SpiceSessionTable.keep`."""
        kept = dict(sessions)  # the caller's may change before its turn comes
        return self._in_table(lambda table: table.keep(kept, now))

    def living(self, sessions: Collection[str], now: int) -> Deferred[frozenset[str]]:
        """See `SpiceSessionTable.living`."""
        asked = frozenset(sessions)
        return self._in_table(lambda table: table.living(asked, now))

    def move(self, token_hash: str, session: str, location: Location, until: int) -> Deferred[None]:
        """See `SpiceSessionTable.move`."""
        return self._in_table(lambda table: table.move(token_hash, session, location, until))

    def end(self, token_hash: str, session: str) -> Deferred[None]:
        """See `SpiceSessionTable.end`."""
        return self._in_table(lambda table: table.end(token_hash, session))

    def note_channel(
        self, session: str, link: str, name: str, to_client: int, to_target: int, now: int
    ) -> Deferred[None]:
        """See `SpiceSessionTable.note_channel`."""
        return self._in_table(lambda table: table.note_channel(session, link, name, to_client, to_target, now))

    def channels(self, sessions: Collection[str]) -> Deferred[dict[str, list[ChannelRow]]]:
        """See `SpiceSessionTable.channels`."""
        asked = frozenset(sessions)
        return self._in_table(lambda table: table.channels(asked))

    def take_channels(self, session: str) -> Deferred[list[ChannelRow]]:
        """See `SpiceSessionTable.take_channels`."""
        return self._in_table(lambda table: table.take_channels(session))
