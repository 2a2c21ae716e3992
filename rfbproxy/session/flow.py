"""One direction of a session, as the streams push it: the transport pump.

Memory is bounded by back-pressure: the sink's transport pauses a flow when its buffer is full, and the flow pauses its
source. A direction may go through a filter that follows its messages; without one, bytes are opaque.
"""

from typing import Protocol as Interface

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from rfbproxy.errors import RemoteProtocolError
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


class Whole(Interface):
    """What a flow is one half of."""

    def passed_on(self) -> None:
        """Bytes went through."""

    def flow_ended(self, flow: "Flow") -> None:
        """The source has sent its last byte."""

    def peer_lost(self, flow: "Flow") -> None:
        """The source is gone, and so is the sink of the other flow."""

    def source_broke(self, flow: "Flow", error: RemoteProtocolError) -> None:
        """The source broke its protocol: nothing of what it sends can be understood any more."""


@implementer(IPushProducer)
class Flow:
    """One direction: what `source` sends, `sink` gets.

    Attributes:
        relayed: bytes so far.
        is_watched: whether it follows messages.
        blocked: whether the sink does not keep up, so that the source is paused.
        ended: whether the source has sent its last byte.
    """

    __slots__ = ("_relay", "_sink", "_source", "blocked", "ended", "relayed")
    is_watched = False

    def __init__(self, relay: Whole, source: Stream, sink: Stream) -> None:
        self._relay = relay
        self._source = source
        self._sink = sink
        self.relayed = 0
        self.blocked = False
        self.ended = False

    @property
    def is_cut(self) -> bool:
        """Whether the sink gets each message by itself."""
        return False

    def start(self) -> None:
        """Take over from the handshake."""
        self._sink.feed_from(self)
        self._source.push_to(self)

    def data_received(self, data: bytes) -> None:
        """See `stream.Sink`."""
        if self.ended:
            return
        if passed := self.filtered(data):
            self.pass_on(passed)
        self._relay.passed_on()

    def filtered(self, data: bytes) -> bytes:
        """What of these bytes goes on."""
        return data

    def pass_on(self, data: bytes) -> None:
        """Send what the sink is to have, unless that is over."""
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
    is_watched = True

    def __init__(
        self, relay: Whole, source: Stream, sink: Stream, message_filter: MessageFilter, ends: MessageEnds | None
    ) -> None:
        super().__init__(relay, source, sink)
        self._filter = message_filter
        self._ends = ends

    @property
    def is_cut(self) -> bool:
        """See `Flow.is_cut`."""
        return self._ends is not None

    def filtered(self, data: bytes) -> bytes:
        """See `Flow.filtered`; a source that breaks its protocol ends the relay, after what it said before that."""
        try:
            return self._filter.receive_data(data)
        except RemoteProtocolError as error:
            if before := self._filter.data_to_send():
                super().pass_on(before)
            self._relay.source_broke(self, error)
            return b""

    def pass_on(self, data: bytes) -> None:
        """See `Flow.pass_on`."""
        for piece in [data] if self._ends is None else self._ends.cut(data):
            super().pass_on(piece)
