"""Clients that speak RFB without framing, once they are in: Java viewers after CONNECT, and native ones."""

from rfbproxy.reasons import Refused
from rfbproxy.stream import ClientStream
from rfbproxy.transport import CLOSE_TIMEOUT_S, TransportStream, end_sending


class RawStream(TransportStream, ClientStream):
    """A client's stream over its bare transport."""

    @property
    def has_halves(self) -> bool:
        """A client that sends no more still hears whether its token is good; after that RFB needs more of it."""
        return not self.is_authorised or bool(self._buffer)

    def close_because(self, refused: Refused) -> None:
        """Close, RFB having said all that can be said.

        The client closes first, for closing over unread bytes of its would take back what was sent.
        """
        if self.ended or self._closing is not None:
            self.close()
        elif not self.lost:
            self._closing = self._clock.callLater(CLOSE_TIMEOUT_S, self.abort)
            self.resume()
            end_sending(self.protocol.transport)

    def deliver(self, data: bytes) -> None:
        """See `Stream.deliver`; while it closes nobody listens any more."""
        if self._closing is None:
            super().deliver(data)

    def deliver_eof(self) -> None:
        """See `Stream.deliver_eof`."""
        super().deliver_eof()
        if self._closing is not None and not self.lost and self.protocol.transport is not None:
            self.protocol.transport.loseConnection()
