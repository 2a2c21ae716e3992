"""Live sessions of all proxies that share a store: who is where, and how any of them is told to end.

A proxy tells of its sessions every moment, and is told which of them are to end. One that tells nothing for
`ALIVE_S` is dead, and so are its sessions; if it was only cut off, it tells of them again, and hears what it missed.
`now` is Unix seconds, by clocks that agree to within a few seconds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.rows import SessionRow, service_of
from rfbproxy.consoleauth.schema import GRANTS, PROXIES, SESSIONS, TOKENS, USES
from rfbproxy.errors import StoreError

ALIVE_S = 20  # how long a proxy lives that tells nothing
BEAT_S = 5  # between notes of a proxy's being alive, and of what its sessions have relayed
CUT_OFF_S = 86400  # how long a dead proxy may still come back and hear which of its sessions are to end
RECONNECT_S = 30  # how long a one-time token may be used again after its session, by the same client
REVOKED, POLICY = "revoked", "policy"  # why a session is to end, in the words of the audit record

T = TypeVar("T")

_session, _proxy, _use = SESSIONS.c, PROXIES.c, USES.c

# Made once, for every proxy asks them every moment.
_TOLD = select(_session.session, _session.ending, _session.bytes_to_client, _session.bytes_to_target).where(
    _session.proxy == bindparam("this")
)
_SEEN = select(_proxy.seen).where(_proxy.proxy == bindparam("this"))
_COUNTING = (
    update(SESSIONS)
    .where(_session.session == bindparam("of"))
    .values(bytes_to_client=bindparam("to_client"), bytes_to_target=bindparam("to_target"))
)


Withdrawn = Callable[[Collection[str]], Collection[str]]


class SessionTable:
    """The live sessions; synchronous, and safe to use from any thread. Everything raises `StoreError`.

    Args:
        database: one that has the tables already.
        withdrawn: which of these token hashes are no tokens any more: their sessions end, if their time is not up.
        beside_tokens: whether the tokens are in the same database, and ours.
    """

    def __init__(self, database: Database, withdrawn: Withdrawn, *, beside_tokens: bool) -> None:
        self._database = database
        self._withdrawn = withdrawn
        self._beside_tokens = beside_tokens

    def tell(self, proxy: str, sessions: Mapping[str, SessionRow], now: int) -> dict[str, str]:
        """Say which sessions a proxy has, all of them; gives those that are to end, and why.

        A session ends, too, whose token is gone before its time: nova deletes tokens, be they its own or ours, and
        whoever withdraws one in the very moment in which a session begins does not see that session.
        """

        def note(connection: Connection) -> tuple[dict[str, Any], int | None]:
            seen = _beat(connection, proxy, now)
            known = {row.session: row for row in connection.execute(_TOLD, {"this": proxy})}
            if gone := known.keys() - sessions.keys():
                connection.execute(delete(SESSIONS).where(_session.proxy == proxy, _session.session.in_(gone)))
            if new := [_values(sessions[id_]) for id_ in sessions.keys() - known.keys()]:
                connection.execute(insert(SESSIONS), new)
            changed = [
                {"of": id_, "to_client": row.bytes_to_client, "to_target": row.bytes_to_target}
                for id_, row in sorted(sessions.items())  # in one order everywhere, so that nobody waits crosswise
                if id_ in known
                and (known[id_].bytes_to_client, known[id_].bytes_to_target)
                != (row.bytes_to_client, row.bytes_to_target)
            ]
            if changed and _is_due(seen, now):
                connection.execute(_COUNTING, changed)
            return known, seen

        try:
            known, seen = self._transact(note)
        except IntegrityError as error:
            raise StoreError(f"the session table has another proxy that is named {proxy}") from error
        # One that was away itself knows of nobody's death: perhaps all were, and are about to tell again.
        if seen is not None and _is_due(seen, now) and seen > now - ALIVE_S:
            self.purge(now)
        ending = {id_: row.ending for id_, row in known.items() if row.ending is not None and id_ in sessions}
        hashes = {row.token_hash for row in sessions.values() if row.expires > now}
        try:
            withdrawn = set(self._withdrawn(hashes)) if hashes else set()
        except StoreError:  # the tokens are elsewhere; what is to end need not wait for them
            if not ending:
                raise
            withdrawn = set()
        return {id_: REVOKED for id_, row in sessions.items() if row.token_hash in withdrawn} | ending

    def enter(self, row: SessionRow, now: int, *, alone: str) -> bool:
        """Let a session in that is to be the only one of its instance.

        Args:
            alone: `refuse`: where there is one already, this one is not let in (False); `exclusive`: all others end.
        """
        others = _others(row, now)

        def come(connection: Connection) -> bool:
            self._lock_instance(connection, row)
            _come(connection, row, now)
            if alone == "refuse" and connection.execute(select(_session.session).where(others)).first() is not None:
                connection.execute(delete(SESSIONS).where(_session.session == row.id))
                return False
            if alone == "exclusive":
                connection.execute(update(SESSIONS).where(others).values(ending=POLICY))
            return True

        return self._transact(come)

    def settle(self, row: SessionRow, now: int, *, alone: str) -> None:
        """Let a session that was let in alone be alone among those that began before it, too.

        Their proxies may have told of them only since, with their next beat.

        Args:
            alone: what the session was let in with.
        """
        this = and_(_session.session == row.id, _session.ending.is_(null()))
        earlier = and_(_others(row, now), _session.started < row.started)

        def look_again(connection: Connection) -> None:
            self._lock_instance(connection, row)
            if connection.execute(select(_session.session).where(this)).first() is None:
                return
            if alone == "exclusive":
                connection.execute(update(SESSIONS).where(earlier).values(ending=POLICY))
            elif connection.execute(select(_session.session).where(earlier)).first() is not None:
                connection.execute(update(SESSIONS).where(this).values(ending=POLICY))

        self._transact(look_again)

    def _lock_instance(self, connection: Connection, row: SessionRow) -> None:
        """Let sessions of an instance come one at a time.

        The lock is for PostgreSQL and MariaDB; SQLite's transaction has one from its first writing on.
        """
        if self._beside_tokens:
            lock = select(TOKENS.c.id).where(TOKENS.c.instance_uuid == row.instance)
        else:  # the tokens are elsewhere, with what says whose they are
            lock = select(GRANTS.c.token_hash)
        connection.execute(lock.with_for_update())

    def use(self, row: SessionRow, client: str, now: int) -> bool:
        """Use a session's one-time token; it was used already where this gives False.

        The client that used it may come again, while its session lives (which then ends) and `RECONNECT_S` after it.
        The session is noted with its use, so that it can be ended from that moment on.

        Args:
            client: its network, which is to come again.
        """
        this = _use.token_hash == row.token_hash

        def use_again(connection: Connection) -> bool | None:
            used = connection.execute(select(USES).where(this)).mappings().first()
            if used is None:
                return None
            late = used["usable_until"] is not None and used["usable_until"] <= now
            if late or used["client"] != client:
                return False
            connection.execute(update(SESSIONS).where(_session.session == used["session"]).values(ending=POLICY))
            connection.execute(update(USES).where(this).values(session=row.id, usable_until=None))
            _come(connection, row, now)
            return True

        def use_first(connection: Connection) -> bool:
            connection.execute(insert(USES).values(token_hash=row.token_hash, session=row.id, client=client))
            _come(connection, row, now)
            return True

        again = self._transact(use_again)
        if again is not None:
            return again
        try:
            return self._transact(use_first)
        except IntegrityError:
            return False  # somebody else was faster

    def leave(self, token_hash: str, session: str, now: int) -> None:
        """The session of a one-time token has ended."""
        mine = and_(_use.token_hash == token_hash, _use.session == session)
        leaving = update(USES).where(mine).values(usable_until=now + RECONNECT_S)
        self._database.transact(lambda connection: connection.execute(leaving))

    def list(self, now: int) -> Sequence[SessionRow]:
        """The sessions that live now, the oldest first."""
        query = select(SESSIONS).where(_lives(now)).order_by(_session.started)
        with self._database.reading() as connection:
            return [
                SessionRow(
                    row["session"],
                    row["console_type"],
                    row["client"],
                    row["target"],
                    row["instance_uuid"],
                    row["started"],
                    row["bytes_to_client"],
                    row["bytes_to_target"],
                    service_of(row["proxy"]),
                    row["token_hash"],
                )
                for row in connection.execute(query).mappings()
            ]

    def end(self, session: str, now: int) -> int:
        """Let a session end, wherever it is; says how many there were that were not to end already."""
        this = and_(_session.session == session, _session.ending.is_(null()), _lives(now))
        return self._database.transact(lambda connection: end_sessions(connection, this))

    def forget(self, proxy: str, now: int) -> Mapping[str, str]:
        """A proxy is dead, and so are its sessions; gives them, with the hashes of their tokens."""
        mine = _session.proxy == proxy

        def forget(connection: Connection) -> Mapping[str, str]:
            found = connection.execute(select(_session.session, _session.token_hash).where(mine)).all()
            dead = {row.session: row.token_hash for row in found}
            left = and_(_use.session.in_(dead), _use.usable_until.is_(null()))
            connection.execute(update(USES).where(left).values(usable_until=now + RECONNECT_S))
            connection.execute(delete(SESSIONS).where(mine))
            connection.execute(delete(PROXIES).where(_proxy.proxy == proxy))
            return dead

        return self._database.transact(forget)

    def purge(self, now: int) -> None:
        """Forget the proxies that are dead, with their sessions; those that are to end are kept for `CUT_OFF_S`."""
        is_dead, is_forgotten = _proxy.seen <= now - ALIVE_S, _proxy.seen <= now - CUT_OFF_S
        dead, forgotten = select(_proxy.proxy).where(is_dead), select(_proxy.proxy).where(is_forgotten)
        with self._database.reading() as connection:
            if connection.execute(dead.limit(1)).first() is None:
                return

        def forget(connection: Connection) -> None:
            gone = or_(_session.proxy.in_(forgotten), and_(_session.proxy.in_(dead), _session.ending.is_(null())))
            connection.execute(delete(SESSIONS).where(gone))
            connection.execute(delete(PROXIES).where(is_dead, _proxy.proxy.not_in(select(_session.proxy))))

        self._database.transact(forget)

    def _transact(self, work: Callable[[Connection], T]) -> T:
        """Do the work; once more if a row that it adds has just been added by another thread."""
        try:
            return self._database.transact(work)
        except IntegrityError:
            return self._database.transact(work)


def _come(connection: Connection, row: SessionRow, now: int) -> None:
    """Note a session that begins, unless it is noted already, and that its proxy is alive."""
    if connection.execute(select(_session.session).where(_session.session == row.id)).first() is None:
        connection.execute(insert(SESSIONS), _values(row))
    _beat(connection, row.proxy, now)


def _beat(connection: Connection, proxy: str, now: int) -> int | None:
    """Note that a proxy is alive, unless that was done just now; gives when it was noted before, None: never."""
    seen: int | None = connection.execute(_SEEN, {"this": proxy}).scalar()
    if seen is None:
        connection.execute(insert(PROXIES).values(proxy=proxy, seen=now))
    elif _is_due(seen, now):
        connection.execute(update(PROXIES).where(_proxy.proxy == proxy).values(seen=now))
    return seen


def _is_due(seen: int | None, now: int) -> bool:
    """Whether a proxy is to note that it is alive."""
    return seen is None or seen <= now - BEAT_S


def end_sessions(connection: Connection, which: ColumnElement[bool]) -> int:
    """Let sessions end, wherever they are."""
    return connection.execute(update(SESSIONS).where(which).values(ending=REVOKED)).rowcount


def _lives(now: int) -> ColumnElement[bool]:
    return _session.proxy.in_(select(_proxy.proxy).where(_proxy.seen > now - ALIVE_S))


def _others(row: SessionRow, now: int) -> ColumnElement[bool]:
    """The other sessions of an instance that live and are not to end; what has no instance is known by its token."""
    same = _session.instance_uuid == row.instance if row.instance else _session.token_hash == row.token_hash
    return and_(same, _session.session != row.id, _session.ending.is_(null()), _lives(now))


def _values(row: SessionRow) -> dict[str, Any]:
    return {
        "session": row.id,
        "proxy": row.proxy,
        "token_hash": row.token_hash,
        "instance_uuid": row.instance,
        "console_type": row.type,
        "client": row.client,
        "target": row.target,
        "started": row.started,
        "bytes_to_client": row.bytes_to_client,
        "bytes_to_target": row.bytes_to_target,
    }
