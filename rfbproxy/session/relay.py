"""Desktop data both ways, after the handshakes: a `Relay` is two `Flow`s, one a direction.

Memory is bounded by back-pressure: the sink's transport pauses a flow when its buffer is full, and the flow pauses its
source. A half-close travels through: the end of one direction does not end the other.
A client's direction goes through a filter that follows its messages; without one, bytes are opaque.
"""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason
from rfbproxy.rfb import ClientMessageFilter
from rfbproxy.stream import Stream


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

    __slots__ = ("_filter",)

    def __init__(self, relay: "Relay", source: Stream, sink: Stream, message_filter: ClientMessageFilter) -> None:
        super().__init__(relay, source, sink)
        self._filter = message_filter

    def data_received(self, data: bytes) -> None:
        """See `stream.Sink`."""
        if self.ended:
            return
        try:
            passed = self._filter.receive_data(data)
        except RemoteProtocolError as error:
            super().data_received(self._filter.data_to_send())
            self._relay.source_broke(error)
            return
        if passed:
            super().data_received(passed)


class Relay:
    """Carries bytes between a client and a target until both directions have ended, or one side is gone.

    Args:
        message_filter: what the client says goes through it.
    """

    __slots__ = ("_done", "_reason", "to_client", "to_target")

    def __init__(self, client: Stream, target: Stream, message_filter: ClientMessageFilter | None = None) -> None:
        self.to_client = Flow(self, target, client)
        self.to_target = (
            Flow(self, client, target) if message_filter is None else FilteredFlow(self, client, target, message_filter)
        )
        self._reason: CloseReason | None = None
        self._done: Deferred[CloseReason] = Deferred(lambda _: self.stop())

    def start(self) -> Deferred[CloseReason]:
        """Relay; fires with `target-closed` or `client-closed`, whoever ended first. Cancelling it stops the relay.

        It fails with `RemoteProtocolError` where the client breaks its protocol.
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

    def source_broke(self, error: RemoteProtocolError) -> None:
        """The client broke its protocol: nothing of what it sends can be understood any more."""
        self.stop()
        if not self._done.called:
            self._done.errback(error)

    def _because_of(self, flow: Flow) -> None:
        if self._reason is None:
            self._reason = CloseReason.TARGET_CLOSED if flow is self.to_client else CloseReason.CLIENT_CLOSED

    def _finish(self) -> None:
        if not self._done.called:
            self._done.callback(self._reason or CloseReason.CLIENT_CLOSED)
