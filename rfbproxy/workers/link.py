"""What supervisor and worker tell and ask each other: one JSON array a line, over a pair of sockets, and open files.

`["tell", what, facts]` wants no answer; `["ask", what, facts, number]` is answered by `["answer", number, value]` or,
where that fails, by `["failed", number, why]`. `facts` is an object.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.errors import ConsoleProxyError

LONGEST = 16 * 1024 * 1024  # bytes of a line

Hears = Mapping[str, Callable[..., Any]]  # what is done about what was told or asked, by name, with the facts

_log = Logger()


class LinkError(ConsoleProxyError):
    """The other side cannot answer, or has gone."""


@implementer(IFileDescriptorReceiver)
class Link(LineOnlyReceiver):
    """One end.

    Attributes:
        given: descriptors that the other side has given, in its order.
        hears: a question is answered by what its function returns, or by what its Deferred fires with.

    Args:
        lost: told when the other side has gone.
    """

    delimiter = b"\n"
    MAX_LENGTH = LONGEST

    def __init__(self, hears: Hears, lost: Callable[[], None] = lambda: None) -> None:
        self.given: list[int] = []
        self.hears = hears
        self._lost = lost
        self._asked: dict[int, Deferred[Any]] = {}
        self._number = 0

    def give(self, descriptor: int) -> None:
        """Give the other side an open file, which it has once it hears what it is told or asked next."""
        if self.connected and self.transport is not None:
            self.transport.sendFileDescriptor(descriptor)  # type: ignore[attr-defined]

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """The other side gives an open file."""
        self.given.append(descriptor)

    def tell(self, what: str, **facts: object) -> None:
        """Tell, if the other side is still there."""
        self._send(["tell", what, facts])

    def ask(self, what: str, **facts: object) -> Deferred[Any]:
        """The answer, as JSON has it; fails with `LinkError`. It may never come: whoever waits says for how long."""
        if not self.connected:
            return fail(LinkError("the link is lost"))
        self._number += 1
        answered: Deferred[Any] = Deferred()
        self._asked[self._number] = answered
        self._send(["ask", what, facts, self._number])
        return answered

    def lineReceived(self, line: bytes) -> None:
        """One thing was said."""
        kind, *said = json.loads(line)
        if kind == "tell":
            what, facts = said
            self.hears[what](**facts)
        elif kind == "ask":
            what, facts, number = said
            answering = maybeDeferred(self.hears[what], **facts)
            answering.addCallbacks(
                lambda value: self._send(["answer", number, value]), lambda failure: self._fail(number, what, failure)
            )
        else:
            number, value = said
            answered = self._asked.pop(number)
            if kind == "answer":
                answered.callback(value)
            else:
                answered.errback(LinkError(value))

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The other side has gone."""
        self.connected = 0
        asked, self._asked = self._asked, {}
        for answered in asked.values():
            answered.errback(LinkError("the link is lost"))
        self._lost()

    def close(self) -> None:
        """Say nothing more."""
        if self.transport is not None:
            self.transport.loseConnection()

    def _fail(self, number: int, what: str, failure: Failure) -> None:
        _log.failure("{what} cannot be answered", failure, what=what)
        self._send(["failed", number, failure.getErrorMessage()])

    def _send(self, said: list[Any]) -> None:
        if self.connected and self.transport is not None:
            self.transport.write(json.dumps(said, separators=(",", ":")).encode() + b"\n")
