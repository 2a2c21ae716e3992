"""Desktop data both ways, after the handshakes: a `Relay` is two `Flow`s, one a direction.

Memory is bounded by back-pressure: the sink's transport pauses a flow when its buffer is full, and the flow pauses its
source. A half-close travels through: the end of one direction does not end the other.
A direction may go through a filter that follows its messages; without one, bytes are opaque.
"""

from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason
from rfbproxy.session.faults import client_fault, target_fault
from rfbproxy.stream import Stream


class MessageFilter(Interface):
    """What follows the messages of one direction."""

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes of the source, and give those that go on; raises `RemoteProtocolError`."""

    def data_to_send(self) -> bytes:
        """After an error: what goes on of the bytes before it."""


class MessageEnds(Interface):
    """What knows where the messages of one direction end."""

    def cut(self, data: bytes) -> list[bytes]:
        """The same bytes in pieces, of which each is sent by itself."""


@implementer(IPushProducer)
class Flow:
    """One direction: what `source` sends, `sink` gets.

    Attributes:
        relayed: bytes so far.
        blocked: whether the sink does not keep up, so that the source is paused.
        ended: whether the source has sent its last byte.
    """

    __slots__ = ("_relay", "_sink", "_source", "blocked", "ended", "relayed")

    def __init__(self, relay: "Relay", source: Stream, sink: Stream) -> None:
        self._relay = relay
        self._source = source
        self._sink = sink
        self.relayed = 0
        self.blocked = False
        self.ended = False

    def start(self) -> None:
        """Take over from the handshake."""
        self._sink.feed_from(self)
        self._source.push_to(self)

    def data_received(self, data: bytes) -> None:
        """See `stream.Sink`."""
        if not self.ended:
            self.relayed += len(data)
            self._sink.send(data)

    def eof_received(self) -> None:
        """See `stream.Sink`."""
        if not self.ended:
            self.finish()
            self._sink.send_eof()
            self._relay.flow_ended(self)

    def connection_lost(self) -> None:
        """See `stream.Sink`: the other flow has lost its sink."""
        self._relay.peer_lost(self)

    def finish(self) -> None:
        """Take nothing more from the source, which is read on all the same: it may have a close to say."""
        self.ended = True
        self._sink.feed_from(None)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the sink's buffer is full."""
        if not self.blocked:
            self.blocked = True
            self._source.pause()

    def resumeProducing(self) -> None:
        """See `IPushProducer`: the sink's buffer is empty."""
        if self.blocked:
            self.blocked = False
            self._source.resume()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the sink is gone."""
        self.pauseProducing()


class FilteredFlow(Flow):
    """One whose messages are followed, and some of them held back."""

    __slots__ = ("_ends", "_filter")

    def __init__(
        self, relay: "Relay", source: Stream, sink: Stream, message_filter: MessageFilter, ends: MessageEnds | None
    ) -> None:
        super().__init__(relay, source, sink)
        self._filter = message_filter
        self._ends = ends

    def data_received(self, data: bytes) -> None:
        """See `stream.Sink`."""
        if self.ended:
            return
        try:
            passed = self._filter.receive_data(data)
        except RemoteProtocolError as error:
            super().data_received(self._filter.data_to_send())
            self._relay.source_broke(self, error)
            return
        if passed:
            for piece in [passed] if self._ends is None else self._ends.cut(passed):
                super().data_received(piece)


class Relay:
    """Carries bytes between a client and a target until both directions have ended, or one side is gone.

    Args:
        client_filter: what the client says goes through it.
        target_filter: what the target says goes through it.
        client_ends: where that is cut, for a client that must get each message by itself.
    """

    __slots__ = ("_done", "_reason", "to_client", "to_target")

    def __init__(
        self,
        client: Stream,
        target: Stream,
        client_filter: MessageFilter | None = None,
        target_filter: MessageFilter | None = None,
        client_ends: MessageEnds | None = None,
    ) -> None:
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
        return self._done

    def stop(self) -> None:
        """Take nothing more from either side; what was taken is still delivered."""
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
