"""Desktop data both ways, after the handshakes: a `Relay` is two `Flow`s, one a direction.

Two pumps move the bytes: streams that push them (`flow`), always; and where both streams have sockets that can be
lent, `socket_pump`, for as long as nothing happens but bytes.
A half-close travels through: the end of one direction does not end the other.
"""

from twisted.internet.defer import Deferred

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason
from rfbproxy.session import socket_pump
from rfbproxy.session.faults import client_fault, target_fault
from rfbproxy.session.flow import FilteredFlow, Flow, MessageEnds, MessageFilter
from rfbproxy.stream import Stream


class Relay:
    """Carries bytes between a client and a target until both directions have ended, or one side is gone.

    Args:
        client_filter: what the client says goes through it.
        target_filter: what the target says goes through it.
        client_ends: where that is cut, for a client that must get each message by itself.
    """

    __slots__ = ("_client", "_done", "_pump", "_reason", "_target", "_wants_sockets", "to_client", "to_target")

    def __init__(
        self,
        client: Stream,
        target: Stream,
        client_filter: MessageFilter | None = None,
        target_filter: MessageFilter | None = None,
        client_ends: MessageEnds | None = None,
    ) -> None:
        self._client = client
        self._target = target
        self._wants_sockets = False
        self._pump: socket_pump.SocketPump | None = None
        self.to_client = self._flow(target, client, target_filter, client_ends)
        self.to_target = self._flow(client, target, client_filter)
        self._reason: CloseReason | None = None
        self._done: Deferred[CloseReason] = Deferred(lambda _: self.stop())

    def _flow(
        self, source: Stream, sink: Stream, message_filter: MessageFilter | None, ends: MessageEnds | None = None
    ) -> Flow:
        if message_filter is None:
            return Flow(self, source, sink)
        return FilteredFlow(self, source, sink, message_filter, ends)

    def start(self) -> Deferred[CloseReason]:
        """Relay; fires with `target-closed` or `client-closed`, whoever ended first. Cancelling it stops the relay.

        It fails with `Refused` where one side breaks its protocol.
        """
        for flow in (self.to_target, self.to_client):
            if not flow.ended:  # by what the other one found out when it started
                flow.start()
        self._wants_sockets = self._client.has_socket and self._target.has_socket
        self.passed_on()
        return self._done

    def passed_on(self) -> None:
        """Bytes went through the streams: perhaps the socket pump can go on from here."""
        flows = (self.to_target, self.to_client)
        if self._wants_sockets and not any(flow.blocked or flow.ended for flow in flows):
            self._pump = socket_pump.between(self._client, self.to_target, self._target, self.to_client)
            self._wants_sockets = self._pump is None

    def stop(self) -> None:
        """Take nothing more from either side; what was taken is still delivered."""
        self._wants_sockets = False
        if self._pump is not None:
            self._pump.give_back()
        for flow in (self.to_client, self.to_target):
            if not flow.ended:
                flow.finish()

    def flow_ended(self, flow: Flow) -> None:
        """A source has sent its last byte."""
        self._because_of(flow)
        if self.to_client.ended and self.to_target.ended:
            self._finish()

    def peer_lost(self, flow: Flow) -> None:
        """The source of `flow` is gone, and so is the sink of the other one."""
        self._because_of(flow)
        self.stop()
        self._finish()

    def source_broke(self, flow: Flow, error: RemoteProtocolError) -> None:
        """A source broke its protocol: nothing of what it sends can be understood any more."""
        self.stop()
        if not self._done.called:
            self._done.errback(client_fault(error) if flow is self.to_target else target_fault(error))

    def _because_of(self, flow: Flow) -> None:
        if self._reason is None:
            self._reason = CloseReason.TARGET_CLOSED if flow is self.to_client else CloseReason.CLIENT_CLOSED

    def _finish(self) -> None:
        if not self._done.called:
            self._done.callback(self._reason or CloseReason.CLIENT_CLOSED)
