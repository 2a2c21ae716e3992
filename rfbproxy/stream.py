"""A peer's bytes, both ways, with its framing removed: what `client` and `target` give to `session`.

While the handshakes run, the session pulls with `receive`; once it relays, bytes are pushed into a `Sink`. In both
phases memory stays bounded: a stream that nobody reads from pauses its peer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol as Interface

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer

from rfbproxy.errors import LocalProtocolError
from rfbproxy.loan import Loan
from rfbproxy.reasons import Refused

BUFFER_LIMIT = 65536  # bytes kept for a session that has not asked for them yet


class Sink(Interface):
    """What a relaying stream pushes into."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of the peer."""

    def eof_received(self) -> None:
        """Learn that the peer will send no more, but may still read."""

    def connection_lost(self) -> None:
        """Learn that the peer is gone, both ways."""


class TlsSide(Interface):
    """One side's wishes about TLS. It is a connection creator too: Twisted's `IOpenSSL…ConnectionCreator`."""

    def check(self, connection: SSL.Connection) -> None:
        """Judge the peer once TLS stands; raises `SecurityFailure`."""

    def explain(self) -> str:
        """What is known of a failure beyond OpenSSL's words; empty if nothing is."""


class Stream(ABC):
    """One peer's byte stream; the adapter that owns the connection calls the `deliver` methods."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: Callable[[bytes], None] | None = None  # for the next bytes, so none are kept
        self._sink: Sink | None = None
        self._paused = False
        self.ended = False  # nothing more will be received
        self.lost = False  # nothing more can be sent either
        self.broken: str | None = None  # how the peer broke the protocol around the bytes, if that is why they ended
        self.tls_failure: str | None = None  # why TLS inside this stream failed, once it has
        self.on_end: Callable[[], None] | None = None  # told once that the peer is gone, if that is before `push_to`

    def deliver(self, data: bytes) -> None:
        """Bytes of the peer came in."""
        if self._sink is not None:
            self._sink.data_received(data)
            return
        if self._waiting is not None and data:
            give, self._waiting = self._waiting, None
            give(data)
            return
        self._buffer += data
        if len(self._buffer) > BUFFER_LIMIT and not self._paused:
            self._paused = True
            self.pause()

    def deliver_eof(self) -> None:
        """The peer will send nothing more."""
        if self.ended:
            return
        self.ended = True
        if self._sink is not None:
            self._sink.eof_received()
            return
        if self.lost or not self.has_halves:
            self._tell_end()
        if self._waiting is not None:
            self._answer()

    def deliver_lost(self) -> None:
        """The connection is gone, both ways."""
        if self.lost:
            return
        self.lost = True
        if not self.ended:
            self.deliver_eof()
        elif self._sink is None:
            self._tell_end()
        if self._sink is not None:
            self._sink.connection_lost()

    def _tell_end(self) -> None:
        tell, self.on_end = self.on_end, None
        if tell is not None:
            tell()

    @property
    def has_halves(self) -> bool:
        """Whether a peer that sends no more may still be waiting for an answer in the handshake."""
        return False

    def receive(self, give: Callable[[bytes], None] | None) -> None:
        """Give the next bytes, as many as there are, once there are any; `b""` at the end of the stream.

        Args:
            give: is called once, in place of whoever waited before; None: nobody waits any more.
        """
        self._waiting = give
        if give is not None and (self._buffer or self.ended):
            self._answer()

    def push_to(self, sink: Sink) -> None:
        """Push everything from here on into `sink`, first what is waiting already."""
        self._sink = sink
        data = self._take()
        if data:
            sink.data_received(data)
        if self.ended:
            sink.eof_received()
        if self.lost:
            sink.connection_lost()

    @property
    def has_socket(self) -> bool:
        """Whether there is a socket that could be lent."""
        return False

    def lend(self) -> Loan | None:
        """Lend the socket to a pump, once the stream pushes; None while there is more to do than to move bytes."""
        return None

    def unread(self, data: bytes) -> None:
        """Give back bytes that `receive` gave but a handshake did not need; they come first again."""
        self._buffer[:0] = data

    def _answer(self) -> None:
        give, self._waiting = self._waiting, None
        if give is not None:
            give(self._take())

    def _take(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._paused:
            self._paused = False
            self.resume()
        return data

    def start_tls(self, side: TlsSide) -> Deferred[None]:
        """Put TLS between this stream and its peer; fires once it stands and the peer is who it should be.

        Fails with `SecurityFailure` where it does not come to stand.

        Raises:
            RemoteProtocolError: bytes came in clear that would be taken for what the peer says inside TLS.
        """
        raise LocalProtocolError("there is no TLS inside this stream")

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes to the peer; never blocks, the producer registered by `feed_from` hears of back-pressure."""

    @abstractmethod
    def send_eof(self) -> None:
        """Tell the peer, after all bytes sent so far, that no more will come; it may still send."""

    @abstractmethod
    def close(self) -> None:
        """End the connection after all bytes sent so far."""

    @abstractmethod
    def abort(self) -> None:
        """End the connection now, whatever is still owed."""

    @abstractmethod
    def pause(self) -> None:
        """Take no more bytes from the peer until `resume`."""

    @abstractmethod
    def resume(self) -> None:
        """Take bytes from the peer again."""

    @abstractmethod
    def feed_from(self, producer: IPushProducer | None) -> None:
        """Say which producer is told to pause while the peer does not keep up; None: no longer."""


class ClientStream(Stream):
    """A client's stream, which can say why it is closed in the words of its way in.

    Attributes:
        greets_at_once: whether the client may be greeted before its target has accepted the login; one that may not
            waits for `accept`.
        on_authorised: told once the client's token is good.
        is_authorised: whether it is.
        inner_tls: the proxy's side of TLS inside RFB, for a client that gives its token there.
        inside_tls: whether the client has put TLS inside the tunnel that it came by.
        crowded_out: whether the connection was dropped before, because too many wait.
        silent: whether nothing ever came from a client that is greeted first, as from a port scanner.
    """

    greets_at_once: bool = True
    on_authorised: Callable[[], None] | None = None
    is_authorised: bool = False
    inner_tls: TlsSide | None = None
    inside_tls: bool = False
    crowded_out: bool = False
    silent: bool = False

    @property
    def token_inside(self) -> bool:
        """Whether the client gives its token inside the handshake."""
        return self.inner_tls is not None

    def accept(self) -> None:
        """Tell the client, in the words of its way in, that desktop protocol follows."""

    @abstractmethod
    def close_because(self, refused: Refused) -> None:
        """End the connection with the reason's code and sentence, after all bytes sent so far."""
