"""Which SPICE session has which console token, where the channels of one session may reach any of several proxies.

All of them must see the same rows, and their clocks must agree to within a few seconds. A row of
`console_spice_sessions` says two things of a token, each true for a time of its own: which session has it
(`kept_until`), and where its machine has moved to (`moved_until`).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Insert,
    RowMapping,
    Update,
    and_,
    bindparam,
    delete,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from rfbproxy.consoleauth.database import Database
from rfbproxy.consoleauth.rows import LIVE_S, ChannelRow, Location, SpiceClaim
from rfbproxy.consoleauth.schema import SPICE_CHANNELS, SPICE_SESSIONS

PURGED_AT_ONCE = 500
CHANNEL_KEPT_S = 600  # how long a channel's counters wait for their session's end

_session, _channel = SPICE_SESSIONS.c, SPICE_CHANNELS.c
_NOBODY = {"session": None, "client": None, "connection_id": None}
_NOT_MOVED = {"host": None, "port": None, "tls_port": None, "host_subject": None, "moved_until": None}


class SpiceSessionTable:
    """Claims of tokens by SPICE sessions; synchronous, and safe to use from any thread.

    A token has at most one live session. What a session says that has lost its claim changes nothing, however late it
    comes. `now` and `until` are Unix seconds. Everything raises `StoreError` when the database fails.

    Args:
        database: one that has the tables already.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, token_hash: str, session: str, client: str, now: int, *, take_over: bool) -> SpiceClaim | None:
        """Make `session` the one that has this token; of several that try at once exactly one gets it.

        Args:
            take_over: whether a live session loses the token to this one.

        Returns:
            None where another session is live and may not be taken over.
        """
        while True:
            claimed = self._claim_new(token_hash, session, client, now)
            if claimed is None:
                claimed = self._claim_known(token_hash, session, client, now, take_over)
            # A row that goes between the two leaves nobody who could refuse to be taken over.
            if claimed is not None or not take_over:
                return claimed

    def begin(self, token_hash: str, session: str, connection_id: int, now: int) -> None:
        """Say which SPICE session id the target has told, and keep the claim."""
        self._change(token_hash, session, {"connection_id": connection_id, "kept_until": now + LIVE_S})

    def find(self, token_hash: str, connection_id: int, now: int) -> SpiceClaim | None:
        """The live session of this token and this SPICE session id."""
        query = select(SPICE_SESSIONS).where(
            _session.token_hash == token_hash, _session.connection_id == connection_id, _live(now)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return _claim(row) if row is not None else None

    def keep(self, sessions: Mapping[str, str], now: int) -> None:
        """Let these claims live for `LIVE_S` from now on; one that lapsed is revived unless it is somebody else's.

        Args:
            sessions: token hashes by session.
        """
        if not sessions:
            return
        # In one order everywhere, so that two proxies do not wait for each other.
        kept = [{"of_token": token_hash, "of_session": session} for session, token_hash in sessions.items()]
        kept.sort(key=lambda one: one["of_token"])
        keeping = (
            update(SPICE_SESSIONS)
            .where(_session.token_hash == bindparam("of_token"), _session.session == bindparam("of_session"))
            .values(kept_until=now + LIVE_S)
        )
        self._database.transact(lambda connection: connection.execute(keeping, kept))

    def living(self, sessions: Collection[str], now: int) -> frozenset[str]:
        """Those of these sessions, of whatever proxy, that still have their token; up to 30,000 at once."""
        query = select(_session.session).where(_session.session.in_(sessions), _live(now))
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def move(self, token_hash: str, session: str, location: Location, until: int) -> None:
        """Say that the machine has moved, to be remembered before `until`, and let go of the claim."""
        moved = {
            "host": location.host,
            "port": location.port,
            "tls_port": location.tls_port,
            "host_subject": location.host_subject,
            "moved_until": until,
        }
        self._change(token_hash, session, {**_NOBODY, **moved})

    def end(self, token_hash: str, session: str) -> None:
        """Let go of the claim; where the machine has moved to stays known.

        The row stays until `purge`: MariaDB lets two that insert one in the place of a deleted one wait for each other.
        """
        self._change(token_hash, session, _NOBODY)

    def note_channel(self, session: str, link: str, name: str, to_client: int, to_target: int, now: int) -> None:
        """Say what a channel has relayed up to now, in bytes.

        Args:
            link: id of the channel's own visit, up to 32 characters.
            name: what it is, as in `display`.
        """
        counters = {"bytes_to_client": to_client, "bytes_to_target": to_target, "touched": now}
        noting = update(SPICE_CHANNELS).where(_channel.session == session, _channel.link == link).values(counters)
        adding = insert(SPICE_CHANNELS).values(session=session, link=link, name=name, **counters)
        # Three transactions: in MariaDB two that update nothing and then insert may wait for each other.
        if not self._done(noting):
            try:
                self._done(adding)
            except IntegrityError:
                self._done(noting)

    def channels(self, sessions: Collection[str]) -> dict[str, list[ChannelRow]]:
        """What the channels on other proxies have relayed so far, of those of these sessions that have any."""
        query = select(SPICE_CHANNELS).where(_channel.session.in_(sessions)).order_by(_channel.link)
        found: dict[str, list[ChannelRow]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query).mappings():
                counted = ChannelRow(row["name"], row["bytes_to_client"], row["bytes_to_target"])
                found.setdefault(row["session"], []).append(counted)
        return found

    def take_channels(self, session: str) -> list[ChannelRow]:
        """What the session's channels on other proxies have relayed, deleted here; what is noted later is lost."""
        these = _channel.session == session
        query = select(_channel.name, _channel.bytes_to_client, _channel.bytes_to_target).where(these)
        # What is being noted at this moment is waited for: nothing may come between reading and deleting.
        waiting = update(SPICE_CHANNELS).where(these).values(touched=_channel.touched)

        def take(connection: Connection) -> list[ChannelRow]:
            connection.execute(waiting)
            taken = [ChannelRow(**row) for row in connection.execute(query.order_by(_channel.link)).mappings()]
            connection.execute(delete(SPICE_CHANNELS).where(these))
            return taken

        return self._database.transact(take)

    def purge(self, now: int) -> int:
        """Delete the rows that say nothing any more, and return how many."""
        nowhere = or_(_session.moved_until.is_(null()), _session.moved_until <= now)
        dead = and_(_free(now), nowhere)
        forgotten = _channel.touched <= now - CHANNEL_KEPT_S
        return sum(self._purged(_session.token_hash, dead)) + sum(self._purged(_channel.session, forgotten))

    def _purged(self, column: Column[str], which: ColumnElement[bool]) -> Iterator[int]:
        """Delete rows in transactions of a bounded size; `column` is one that few rows share a value of."""
        query = select(column).where(which).limit(PURGED_AT_ONCE)
        while True:
            with self._database.reading() as connection:
                found = list(connection.execute(query).scalars())
            if found:
                # Asked again in the transaction, for a session may have come back to life since.
                yield self._done(delete(column.table).where(column.in_(sorted(set(found))), which))
            if len(found) < PURGED_AT_ONCE:
                return

    def _claim_new(self, token_hash: str, session: str, client: str, now: int) -> SpiceClaim | None:
        """Claim a token that has no row."""
        row = {"token_hash": token_hash, "session": session, "client": client, "kept_until": now + LIVE_S}
        try:
            self._done(insert(SPICE_SESSIONS).values(row))
        except IntegrityError:
            return None
        return SpiceClaim(token_hash, session, client)

    def _claim_known(self, token_hash: str, session: str, client: str, now: int, take_over: bool) -> SpiceClaim | None:
        """Claim a token that has a row."""
        claiming = update(SPICE_SESSIONS).where(_session.token_hash == token_hash)
        if not take_over:
            claiming = claiming.where(_free(now))
        mine = {"session": session, "client": client, "connection_id": None, "kept_until": now + LIVE_S}
        this = and_(_session.token_hash == token_hash, _session.session == session)
        # A move that is forgotten by now; while a session lives at the new place, it is remembered for its links.
        forgetting = update(SPICE_SESSIONS).where(this, _session.moved_until <= now).values(_NOT_MOVED)
        query = select(SPICE_SESSIONS).where(_session.token_hash == token_hash)

        def claim(connection: Connection) -> SpiceClaim | None:
            if connection.execute(claiming.values(mine)).rowcount == 0:
                return None
            connection.execute(forgetting)
            return _claim(connection.execute(query).mappings().one())

        return self._database.transact(claim)

    def _change(self, token_hash: str, session: str, values: Mapping[str, Any]) -> None:
        self._done(update(SPICE_SESSIONS).where(_held_by(token_hash, session)).values(values))

    def _done(self, statement: Insert | Update | Delete) -> int:
        """How many rows there were to change."""
        return self._database.transact(lambda connection: connection.execute(statement).rowcount)


def _held_by(token_hash: str, session: str) -> ColumnElement[bool]:
    return and_(_session.token_hash == token_hash, _session.session == session)


def _live(now: int) -> ColumnElement[bool]:
    return and_(_session.session.is_not(null()), _session.kept_until > now)


def _free(now: int) -> ColumnElement[bool]:
    return or_(_session.session.is_(null()), _session.kept_until <= now)


def _claim(row: RowMapping) -> SpiceClaim:
    moved_to = None
    if row["moved_until"] is not None:
        moved_to = Location(row["host"], row["port"], row["tls_port"], row["host_subject"])
    return SpiceClaim(row["token_hash"], row["session"], row["client"], row["connection_id"], moved_to)
