"""All live SPICE sessions: those whose main is in this process, and those that links from elsewhere belong to.

Processes that share a store know each other's sessions by its table. It holds one session a token, which is what a
token stands for: later links of its viewer join the session, and a second viewer is refused or takes over.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from rfbproxy.consoleauth import ChannelRow, ConsoleToken, Location, SpiceClaim, SpiceSessionStore
from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.spice_entrance import LinkRefusal
from rfbproxy.session.spice_session import SpiceSession, location_of
from rfbproxy.session.turns import Turns
from rfbproxy.spice import LinkError

LOOK_S = 1.0  # between looks at the table, while there are sessions
KEEP_S = 10  # between the times that claims are kept; the first look after an outage or a sleep keeps them too
LOOKS_MISSED = 2  # that a session elsewhere may be missing in before it is over: its process may be about to keep it
PATIENCE_S = 2.0  # for a session that is just ending, and for one that another process has just begun
GRACE_S = 1.0  # for a target to end the other links once main has ended
ELSEWHERE_S = LOOK_S * (LOOKS_MISSED + 1)  # for links in other processes to end, and to be counted
FINISH_S = 5.0  # for all that follows main's end
SHUTDOWN_S = 1.0  # the same where the service ends
RETURN_S = 60.0  # for a viewer to follow its machine, be its token expired by then
_RETRY_S = 0.25
_LOOK_AGAIN_S = 0.05

_log = Logger()


@dataclass(frozen=True, slots=True)
class Return:
    """A viewer that is to follow its machine."""

    token: ConsoleToken
    client: str  # network
    location: Location
    deadline: float  # on the clock


class SpiceSessions:
    """The sessions of this process.

    Args:
        table: what processes share.
        wall_clock: Unix seconds.
    """

    def __init__(self, table: SpiceSessionStore, clock: IReactorTime, wall_clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock
        self._wall_clock = wall_clock
        self._turns = Turns()  # by token hash: what is done to one token happens in the order that it was begun in
        self._ours: dict[str, SpiceSession] = {}  # by token hash
        self._joined: dict[str, SpiceSession] = {}  # main is elsewhere; by id
        self._missed: Counter[str] = Counter()  # looks in a row, of those
        self._returns: dict[str, Return] = {}  # by token hash
        self._kept = 0  # when claims were kept last, Unix seconds
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def find(self, token_hash: str, connection_id: int, client: str) -> SpiceSession | None:
        """The session that a link may join, if its main is in this process."""
        session = self._ours.get(token_hash)
        belongs = session is not None and (session.connection_id, session.client) == (connection_id, client)
        return session if belongs else None

    def has(self, token_hash: str, client: str) -> bool:
        """Whether main of a token's session is in this process, and of this client."""
        session = self._ours.get(token_hash)
        return session is not None and session.client == client

    async def begin(
        self, id_: str, token: ConsoleToken, client: str, *, take_over: bool, is_wanted: Callable[[], bool]
    ) -> SpiceSession:
        """Begin a token's session; one that is about to end is waited for.

        Args:
            is_wanted: whether somebody still waits for it; what nobody waits for is taken back.

        Raises:
            Refused: policy, the token has a session and may not take it over; internal, the table fails.
        """
        deadline = self._clock.seconds() + PATIENCE_S
        while True:
            session = await self._turns.take(
                token.token_hash,
                lambda: self._claim(id_, token, client, take_over=take_over, is_wanted=is_wanted),
            )
            if session is not None:
                return session
            if self._clock.seconds() >= deadline or not is_wanted():
                raise LinkRefusal(
                    CloseReason.POLICY,
                    LinkError.PERMISSION_DENIED,
                    "the token has a session already, and may not take it over (spice_second_main)",
                )
            await deferLater(self._clock, _RETRY_S)

    async def _claim(
        self, id_: str, token: ConsoleToken, client: str, *, take_over: bool, is_wanted: Callable[[], bool]
    ) -> SpiceSession | None:
        hash_ = token.token_hash
        if hash_ in self._ours and not take_over:
            return None
        try:
            claim = await self._table.claim(hash_, id_, client, self._now, take_over=take_over)
        except StoreError as error:
            raise _failed(error) from error
        if claim is None:
            return None
        if not is_wanted():
            await self._take_back(hash_, id_)
            raise Refused(CloseReason.CLIENT_CLOSED, "client left during the handshake")
        if (present := self._ours.pop(hash_, None)) is not None:
            present.end(Refused(CloseReason.POLICY, "another viewer has taken over"))
        following = self.returning(hash_, client)
        where = following.location if following is not None else claim.moved_to or location_of(token)
        session = self._ours[hash_] = SpiceSession(id_, token, client, where)
        self._look_after()
        return session

    async def _take_back(self, hash_: str, id_: str) -> None:
        try:
            await self._table.end(hash_, id_)
        except StoreError as error:
            _log.warn("SPICE sessions are not shared: {error}", error=error)

    async def join(self, token: ConsoleToken, connection_id: int, client: str) -> SpiceSession:
        """The session that a link belongs to whose main is in another process.

        Raises:
            Refused: protocol-error, there is none; internal, the table fails.
        """
        patience_s = 0.0 if token.token_hash in self._ours else PATIENCE_S  # then it has another id
        deadline = self._clock.seconds() + patience_s
        while (claim := await self._find(token.token_hash, connection_id)) is None:
            if self._clock.seconds() >= deadline:
                raise no_such_session()
            await deferLater(self._clock, _RETRY_S)
        if claim.client != client:
            raise no_such_session()
        session = self._joined.get(claim.session)
        if session is None:
            where = claim.moved_to or location_of(token)
            session = SpiceSession(claim.session, token, client, where, connection_id, is_elsewhere=True)
            self._joined[claim.session] = session
            self._look_after()
        return session

    async def _find(self, token_hash: str, connection_id: int) -> SpiceClaim | None:
        try:
            return await self._table.find(token_hash, connection_id, self._now)
        except StoreError as error:
            raise _failed(error) from error

    def told_id(self, session: SpiceSession, connection_id: int) -> None:
        """The target has told main what it calls the session: from now on links may join it."""
        session.connection_id = connection_id
        self._returns.pop(session.token.token_hash, None)
        self._write(session, lambda hash_: self._table.begin(hash_, session.id, connection_id, self._now))

    def moved(self, session: SpiceSession, location: Location) -> None:
        """The machine has moved: the viewer's next session is at `location`, and is not a second one beside this."""
        token, now = session.token, self._clock.seconds()
        until = max(token.expires, self._now + int(RETURN_S))
        self._returns = {other: back for other, back in self._returns.items() if now < back.deadline}
        self._returns[token.token_hash] = Return(token, session.client, location, now + RETURN_S)
        self.let_go(session)
        self._write(session, lambda hash_: self._table.move(hash_, session.id, location, until))

    def returning(self, token_hash: str, client: str) -> Return | None:
        """Whether a viewer is following its machine, which it may though its token has expired meanwhile.

        So it is until the machine has told its main a session's id, for it may not be there at once.
        """
        following = self._returns.get(token_hash)
        is_it = following is not None and following.client == client and self._clock.seconds() < following.deadline
        return following if is_it else None

    def let_go(self, session: SpiceSession) -> None:
        """Main has ended, or is about to: nobody joins any more, and the token may begin another session."""
        if self._ours.get(session.token.token_hash) is session:
            del self._ours[session.token.token_hash]

    async def finish(self, session: SpiceSession, refused: Refused) -> list[ChannelRow]:
        """Main has ended: so do the other links, after a moment in which their target may close them itself.

        Returns:
            What links in other processes have relayed.
        """
        self.let_go(session)
        is_last = refused.reason is CloseReason.SHUTDOWN
        ending = Deferred.fromCoroutine(self._end(session, wait_s=0.0 if is_last else ELSEWHERE_S))
        ending.addTimeout(SHUTDOWN_S if is_last else FINISH_S, self._clock)
        deadline = self._clock.seconds() + GRACE_S
        while session.links and self._clock.seconds() < deadline:
            await deferLater(self._clock, _LOOK_AGAIN_S)
        session.end(refused)
        try:
            return await ending
        except (StoreError, DeferredTimeout) as error:
            _log.warn("[{session}] channels elsewhere are unknown: {error}", session=session.id, error=error)
            return []

    async def _end(self, session: SpiceSession, *, wait_s: float) -> list[ChannelRow]:
        await self._turns.take(session.token.token_hash, lambda: self._table.end(session.token.token_hash, session.id))
        if not await self._table.channels([session.id]):
            return []
        await deferLater(self._clock, wait_s)
        return await self._table.take_channels(session.id)

    def note(self, session: SpiceSession, link: str, name: str | None, relayed: tuple[int, int]) -> None:
        """A link of a session whose main is elsewhere begins, goes on or ends; the record tells of it by its name."""
        if session.is_elsewhere:
            if name is not None:
                self._write(session, lambda _: self._table.note_channel(session.id, link, name, *relayed, self._now))
            if not session.links:
                self._joined.pop(session.id, None)

    @property
    def _now(self) -> int:
        return int(self._wall_clock())

    def _write(self, session: SpiceSession, write: Callable[[str], Awaitable[None]]) -> None:
        """Let the table learn something of a session, after what it was told before.

        Where that fails, links in other processes do not find their session.
        """
        hash_ = session.token.token_hash
        writing = Deferred.fromCoroutine(self._turns.take(hash_, lambda: write(hash_)))
        writing.addErrback(
            lambda failure: _log.warn("SPICE sessions are not shared: {why}", why=failure.getErrorMessage())
        )

    def _look_after(self) -> None:
        if not self._looking.running:
            self._looking.start(LOOK_S, now=False)

    async def _look(self) -> None:
        """Keep what is ours, and end what is over: main has ended elsewhere, or another viewer has taken over."""
        ours, joined = list(self._ours.values()), list(self._joined.values())
        if not ours and not joined:
            self._looking.stop()
            return
        now = self._now
        try:
            if abs(now - self._kept) >= KEEP_S:  # before anything is believed to be over because nobody kept it
                await self._table.keep({session.id: session.token.token_hash for session in ours}, now)
                self._kept = now
            living = await self._table.living([session.id for session in ours + joined], self._now)
            elsewhere = await self._table.channels([session.id for session in ours])
        except StoreError as error:
            _log.warn("SPICE sessions cannot be looked after: {error}", error=error)
            return
        except Exception:
            _log.failure("SPICE sessions were not looked after")
            return
        for session in ours:
            session.count_elsewhere(elsewhere.get(session.id, []))
            if session.id not in living and self._ours.get(session.token.token_hash) is session:
                self.let_go(session)
                session.end(Refused(CloseReason.POLICY, "another viewer has taken over, by another process"))
        for session in joined:
            for link in session.links:
                link.note()
            self._missed[session.id] = 0 if session.id in living else self._missed[session.id] + 1
            if self._missed[session.id] >= LOOKS_MISSED and self._joined.pop(session.id, None) is session:
                session.end(Refused(CloseReason.CLIENT_CLOSED, "main has ended, in another process"))
        self._missed = Counter({id_: count for id_, count in self._missed.items() if id_ in self._joined})


def no_such_session() -> LinkRefusal:
    """The end of a link that belongs to no session, or to somebody else's."""
    return LinkRefusal(
        CloseReason.PROTOCOL_ERROR,
        LinkError.BAD_CONNECTION_ID,
        "client names a session that is not its own",
        websocket_code=1002,
    )


def _failed(error: StoreError) -> Refused:
    return Refused(CloseReason.INTERNAL, f"SPICE session table: {error}")
