"""The target's side of a visit: a connection that is dialled, spoken to step by step within deadlines, and let go."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.audit import VisitRecord
from rfbproxy.session.faults import target_fault
from rfbproxy.session.steps import Steps
from rfbproxy.stream import Stream
from rfbproxy.target.dial import Dialler
from rfbproxy.target.preamble import PreambleRefused
from rfbproxy.target.tls import TargetTls

T = TypeVar("T")


class TargetSide:
    """One visit's way to its target; subclasses log in to it in their protocol.

    Args:
        tls: makes the client side of TLS.
        timeout_s: seconds for each step of the handshake.
        record: learns what was agreed on.

    Attributes:
        stream: the connection, once there is one.
    """

    def __init__(self, dialler: Dialler, tls: TargetTls, timeout_s: float, steps: Steps, record: VisitRecord) -> None:
        self._dialler = dialler
        self._tls = tls
        self._timeout_s = timeout_s
        self._steps = steps
        self._record = record
        self.stream: Stream | None = None

    def close(self) -> None:
        """Let the target go."""
        if self.stream is not None:
            self.stream.on_end = None
            self.stream.close()

    async def _reach(self, host: str, port: int) -> Stream:
        """Connect, in place of what was tried before."""
        self.close()
        return await self._steps.take(self._dial(host, port))

    async def _dial(self, host: str, port: int) -> Stream:
        self.stream = await self._dialler.dial(host, port)
        return self.stream

    async def _step(self, step: Coroutine[Any, Any, T] | Deferred[T]) -> T:
        """Take a step of the target's handshake, within its deadline."""
        try:
            return await self._steps.take(
                step,
                self._timeout_s,
                lambda: Refused(CloseReason.TARGET_UNREACHABLE, "target was silent in the handshake"),
            )
        except (SecurityFailure, PreambleRefused):
            raise
        except RemoteProtocolError as error:
            raise target_fault(error) from error
