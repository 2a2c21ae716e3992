"""The client's side of a visit up to the relay: greeted, held until its target has accepted, let in or refused."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

from rfbproxy.client.request import ConsoleRequest
from rfbproxy.deferreds import following
from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.rfb import (
    ClientInit,
    CredentialsGiven,
    Offer,
    SecurityType,
    ServerHandshake,
    VeNCryptSubtype,
    VersionAgreed,
)
from rfbproxy.session.audit import VisitRecord
from rfbproxy.session.dialogue import Dialogue
from rfbproxy.session.faults import client_fault
from rfbproxy.session.steps import Steps
from rfbproxy.stream import ClientStream

SHUTDOWN_PATIENCE_S = 1.0  # for a client to say its version, so that it can be told in RFB

# The token of a browser or a Java viewer came before RFB and was the proof; a native viewer's comes inside, encrypted.
_WITH_TOKEN = Offer((SecurityType.NONE,))
_TOKEN_INSIDE = Offer((SecurityType.VENCRYPT,), (VeNCryptSubtype.X509_PLAIN,), random=os.urandom)


E = TypeVar("E")


class Entrance:
    """One client at the door.

    Args:
        timeout_s: seconds for each step of the handshake.
        login_timeout_s: for a person to type a token into a native viewer.
        record: learns what was agreed on.
        end: ends the visit.
    """

    def __init__(
        self,
        client: ClientStream,
        steps: Steps,
        record: VisitRecord,
        end: Callable[[Refused], None],
        *,
        timeout_s: float,
        login_timeout_s: float,
    ) -> None:
        self._client = client
        self._steps = steps
        self._record = record
        self._end = end
        self._timeout_s = timeout_s
        self._login_timeout_s = login_timeout_s
        inside = client.inner_tls
        self._handshake = ServerHandshake(_WITH_TOKEN if inside is None else _TOKEN_INSIDE)
        tls = None if inside is None else lambda _: inside
        self._talk = Dialogue(client, self._handshake, steps.clock, tls)
        self._greeted: Deferred[None] | None = None  # fires once the client has answered the greeting

    def greet(self) -> None:
        """Send the greeting, and hear the client's version beside the visit, and after it for a refusal's sake."""
        greeted = self._talk.until(VersionAgreed)
        greeted.addTimeout(self._timeout_s, self._steps.clock)
        self._greeted = greeted.addCallbacks(self._note_version, self._miss_version)

    async def request(self, request: ConsoleRequest) -> ConsoleRequest:
        """The request with its token, wherever that comes from.

        Raises:
            Refused: the client broke the protocol or was too slow.
        """
        if not self._client.token_inside or self._greeted is None:
            return request
        await self._steps.take(following(self._greeted))
        given = await self._hear(CredentialsGiven, self._handshake.offer, self._login_timeout_s)
        password = given.credentials.password
        return replace(request, token=password.reveal() if password else None)

    async def let_in(self) -> bool:
        """The target has accepted the proxy, so the client may come in; says whether it shares the desktop.

        Raises:
            Refused: the client broke the protocol or was too slow.
        """
        if self._greeted is None:
            self._client.accept()
            self.greet()
        assert self._greeted is not None  # noqa: S101 - just now at the latest
        await self._steps.take(following(self._greeted))
        let_in = self._handshake.accept if self._client.token_inside else self._handshake.offer
        entered = await self._hear(ClientInit, let_in, self._timeout_s)
        self._talk.give_back()
        self._greeted = None  # RFB has nothing more to say to it
        del self._talk, self._handshake
        self._record.client_security = entered.security
        return entered.shared

    async def refuse(self, refused: Refused) -> None:
        """Tell the client in RFB, if it has been greeted, and by its way in."""
        if self._greeted is not None and not self._client.ended:
            self._handshake.refuse(refused.sentence)
            self._talk.flush()
            if self._handshake.version is None:
                # It comes within its deadline; then the refusal has been sent, or cannot be.
                greeted = following(self._greeted)
                if refused.reason is CloseReason.SHUTDOWN:
                    greeted.addTimeout(SHUTDOWN_PATIENCE_S, self._steps.clock)
                with suppress(DeferredTimeout):
                    await greeted
        self._client.close_because(refused)

    async def _hear(self, kind: type[E], first: Callable[[], None], timeout_s: float) -> E:
        """Do what lets the client go on, and wait for what it says then."""
        try:
            first()
            return await self._steps.take(
                self._talk.until(kind), timeout_s, lambda: client_fault("client was too slow in the handshake")
            )
        except RemoteProtocolError as error:
            raise client_fault(error) from error

    def _note_version(self, agreed: VersionAgreed) -> None:
        self._record.client_version = str(agreed.version)

    def _miss_version(self, failure: Failure) -> None:
        is_late = failure.check(DeferredTimeout)
        self._end(client_fault("client did not send its version in time" if is_late else failure.value))
