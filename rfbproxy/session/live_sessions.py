"""The sessions that live in this process, of which all proxies of a store know, and which any of them may end."""

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rfbproxy.client.forwarded import network_of
from rfbproxy.consoleauth import ConsoleToken, SessionRow, SessionStore
from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.audit import VisitRecord

_ENDINGS = {  # by the store's word
    ending.reason.value: ending
    for ending in (
        Refused(CloseReason.REVOKED, "its token was withdrawn, or somebody ended the session"),
        Refused(CloseReason.POLICY, "a session that is to be alone has begun, or its one-time token came again"),
    )
}
_ALONE = ("exclusive", "refuse")  # how a session is shared that is to be the only one of its instance
STOP_S = 1.0  # for the store to hear, at the end, that no session lives any more
LOOK_S = 0.5  # between looks at the store, while there are sessions: a quarter of what ending one may take
SETTLE_S = 2 * LOOK_S  # after which every proxy has told of what began before

_log = Logger()


class LiveSessions:
    """Tells the store of the sessions here, and ends those that are to end.

    Sessions live on while the store fails; what it missed it is told once it answers again.

    Args:
        proxy: gives this process's name, which no other of the store has; asked once there is a session.
        wall_clock: Unix seconds.
    """

    def __init__(
        self, store: SessionStore, proxy: Callable[[], str], clock: IReactorTime, wall_clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._proxy = proxy
        self._live: dict[str, Live] = {}
        self._owes = False  # whether the store knows of sessions that have ended
        self._fails = False  # whether the store did when it was told last
        self._telling = LoopingCall(self._tell)
        self._telling.clock = clock
        self._told: Deferred[LoopingCall] = succeed(self._telling)  # once nothing is being told

    def begin(self, live: "Live") -> None:
        """A session begins; `leave` must follow."""
        self._live[live.record.session] = live
        self._keep_telling()

    async def enter(self, live: "Live") -> None:
        """A session begins, if the store lets it, as one does that `must_ask`; `leave` must follow.

        Raises:
            Refused: policy or token-expired, its token's grant does not let it; internal, the store cannot say.
        """
        grant, row = live.token.grant, live.row(self._proxy())
        try:
            if grant.one_time and not await self._use(row):
                raise Refused(CloseReason.TOKEN_EXPIRED, "the token is for one session, and was used")
            if grant.share in _ALONE and not await self._store.enter(row, self._now, alone=grant.share):
                raise Refused(CloseReason.POLICY, "the instance has a session, and the token yields to it")
        except StoreError as error:
            raise Refused(CloseReason.INTERNAL, f"session table: {error}") from error
        self._live[row.id] = live
        if live.is_over:  # while the store was asked
            self.leave(live)
        elif grant.share in _ALONE:
            self._clock.callLater(SETTLE_S, self._settle, live, grant.share)
        self._keep_telling()

    async def stop(self) -> None:
        """No session lives any more: tell so, and look no more."""
        if self._telling.running:
            self._telling.stop()
        telling = Deferred.fromCoroutine(self._tell_the_end())
        with suppress(DeferredTimeout):  # then the heartbeat that stays away tells
            await telling.addTimeout(STOP_S, self._clock)

    def leave(self, live: "Live") -> None:
        """A session has ended."""
        live.is_over = True
        id_ = live.record.session
        if self._live.pop(id_, None) is None:
            return
        self._owes = True
        if live.token.grant.one_time:
            leaving = Deferred.fromCoroutine(self._leave(live.token.token_hash, id_))
            leaving.addErrback(lambda failure: _log.failure("a one-time token stays in use", failure))

    def _keep_telling(self) -> None:
        if not self._telling.running:
            self._told = self._telling.start(LOOK_S, now=True)

    async def _use(self, row: SessionRow) -> bool:
        return await self._store.use(row, network_of(row.client), self._now)

    async def _leave(self, token_hash: str, id_: str) -> None:
        await self._store.leave(token_hash, id_, self._now)

    def _settle(self, live: "Live", alone: str) -> None:
        if not live.is_over:
            settling = Deferred.fromCoroutine(self._ask_to_settle(live.row(self._proxy()), alone))
            settling.addErrback(lambda failure: _log.failure("a session may not be alone", failure))

    async def _ask_to_settle(self, row: SessionRow, alone: str) -> None:
        try:
            await self._store.settle(row, self._now, alone=alone)
        except StoreError as error:
            _log.warn("[{session}] may not be alone: {error}", session=row.id, error=error)

    async def _tell_the_end(self) -> None:
        await self._told
        if self._owes:
            await self._tell()

    async def _tell(self) -> None:
        if not self._live and not self._owes:
            if self._telling.running:
                self._telling.stop()
            return
        rows = {id_: live.row(self._proxy()) for id_, live in self._live.items()}
        self._owes = False
        try:
            ending = await self._store.tell(self._proxy(), rows, self._now)
        except StoreError as error:
            self._owes = True
            if not self._fails:
                _log.warn("the session table does not know of {count} sessions: {error}", count=len(rows), error=error)
            self._fails = True
            return
        if self._fails:
            _log.info("the session table knows of all {count} sessions again", count=len(rows))
        self._fails = False
        for id_, word in ending.items():
            if live := self._live.get(id_):
                live.end(_ENDINGS.get(word, _ENDINGS[CloseReason.REVOKED.value]))

    @property
    def _now(self) -> int:
        return int(self._wall_clock())


class Live:
    """One of them.

    Args:
        end: ends it.
        relayed: bytes so far, to the client and to the target.

    Attributes:
        is_over: whether it has ended already.
    """

    __slots__ = ("end", "is_over", "record", "relayed", "token")

    def __init__(
        self,
        token: ConsoleToken,
        record: VisitRecord,
        end: Callable[[Refused], None],
        relayed: Callable[[], tuple[int, int]],
    ) -> None:
        self.token = token
        self.record = record
        self.end = end
        self.relayed = relayed
        self.is_over = False

    @property
    def must_ask(self) -> bool:
        """Whether the store is to say if it may begin."""
        grant = self.token.grant
        return bool(grant.one_time) or grant.share in _ALONE

    def row(self, proxy: str) -> SessionRow:
        """What the store is told."""
        record, token = self.record, self.token
        return SessionRow(
            record.session,
            token.console_type or "",
            record.client or "",
            record.target or token.target,
            token.instance_uuid or "",
            record.started,
            *self.relayed(),
            proxy=proxy,
            token_hash=token.token_hash,
            expires=token.expires,
        )
