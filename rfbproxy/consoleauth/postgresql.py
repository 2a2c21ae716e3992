"""PostgreSQL connections that give up a server which says nothing: libpq itself would wait for ever."""

from collections.abc import Generator
from time import monotonic
from typing import Any, TypeVar

import psycopg

from rfbproxy.consoleauth.engine import ANSWER_TIMEOUT_S

T = TypeVar("T")
Steps = Generator[Any, Any, T]


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed, with `OperationalError`, when an answer takes longer than `ANSWER_TIMEOUT_S`.

    The server's own timeouts are shorter, so this is a server that has stopped or a network that has gone. It is for
    what comes after the login; that has libpq's `connect_timeout`.
    """

    def wait(self, gen: Steps[T], *args: Any, **options: Any) -> T:
        """Wait for one answer; psycopg calls this for whatever it asks the server."""
        return super().wait(self._within(gen, ANSWER_TIMEOUT_S), *args, **options)

    def _within(self, steps: Steps[T], seconds: float) -> Steps[T]:
        """The same steps, as long as there is time; psycopg sends 0 every 0.1 s in which nothing comes."""
        deadline = monotonic() + seconds
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if not ready and monotonic() >= deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {seconds:g} s")
                wanted = steps.send(ready)
        except StopIteration as finished:
            return finished.value  # type: ignore[no-any-return]
