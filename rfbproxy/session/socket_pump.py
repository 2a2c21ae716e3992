"""The socket pump: bytes go from socket to socket in one turn of the reactor, without the transports between.

It borrows the sockets of a session's two streams. What is read is sent at once, and nothing is kept of it; only where a
sink does not take it all, the rest is owed, and its source is not read until that is gone.

Only the steady state is dealt with here. At anything else (an end, an error, a broken protocol, the relay's stop) the
streams get their sockets back, with what is owed, and deal with it as they do without a pump.
"""

from rfbproxy.loan import Loan
from rfbproxy.session.ends import CopyingEnd, FramedEnd, OpenEnd, WatchedEnd
from rfbproxy.session.flow import Flow
from rfbproxy.session.socket_end import End
from rfbproxy.session.tls_ends import TlsCopyingEnd, TlsFramedEnd, TlsWatchedEnd
from rfbproxy.stream import Stream


class SocketPump:
    """Carries the bytes of two flows while it has the sockets of both streams.

    Args:
        one, other: a loan, and the flow of what is read there.

    Attributes:
        over: whether the streams have their sockets again.
    """

    __slots__ = ("_ends", "over")

    def __init__(self, one: tuple[Loan, Flow], other: tuple[Loan, Flow]) -> None:
        self.over = False
        is_open = one[0].tls is None and other[0].tls is None
        ends = self._ends = _end(self, *one, is_open=is_open), _end(self, *other, is_open=is_open)
        ends[0].read_for(ends[1])
        ends[1].read_for(ends[0])

    def give_back(self) -> None:
        """Let both streams have their sockets again, with all that is owed to them."""
        if self.over:
            return
        self.over = True
        for end in self._ends:
            end.return_socket()


def between(client: Stream, to_target: Flow, target: Stream, to_client: Flow) -> SocketPump | None:
    """A pump for these streams; None as long as one of them has something to do that is not a pump's."""
    client_loan, target_loan = client.lend(), target.lend()
    if client_loan is None or target_loan is None:
        return None
    return SocketPump((client_loan, to_target), (target_loan, to_client))


def _end(pump: SocketPump, loan: Loan, flow: Flow, *, is_open: bool) -> End:
    """The end that a loan and its flow need; `is_open`: there is no TLS at either end."""
    is_tls = loan.tls is not None
    if loan.framed is not None:
        kind: type[End] = TlsFramedEnd if is_tls else FramedEnd
    elif flow.is_watched:
        kind = TlsWatchedEnd if is_tls else WatchedEnd
    elif is_tls:
        kind = TlsCopyingEnd
    else:
        kind = OpenEnd if is_open else CopyingEnd
    return kind(pump, loan, flow)
