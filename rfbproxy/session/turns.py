"""One thing at a time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import DeferredLock

T = TypeVar("T")


class Turns:
    """Lets what concerns the same key happen one after the other, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._locks: dict[str, DeferredLock] = {}

    async def take(self, key: str, act: Callable[[], Awaitable[T]]) -> T:
        """Act, once all that was asked for before has been done, be it with success or not."""
        lock = self._locks.setdefault(key, DeferredLock())
        try:
            await lock.acquire()
            try:
                return await act()
            finally:
                lock.release()
        finally:
            if not lock.locked and not lock.waiting and self._locks.get(key) is lock:
                del self._locks[key]
