"""Ends of a socket pump whose socket carries TLS: what is read is opened, what is sent is sealed, in the same turn.

OpenSSL keeps no more than the beginning of a record. What it does not like is the transport's to deal with.
"""

from typing import Any

from OpenSSL import SSL
from twisted.python.failure import Failure

from rfbproxy.session.ends import READ_SIZE, CopyingEnd, FramedEnd, WatchedEnd, buffer
from rfbproxy.session.socket_end import End
from rfbproxy.websocket import header

RECORD_SIZE = 16 * 1024  # bytes in a record at most (RFC 8446 section 5.1)
RECORD_OVERHEAD = 1024  # bytes around them, and more
OWED_LIMIT = 1024 * 1024  # bytes, for one that makes OpenSSL answer, and reads no answer

_records = memoryview(bytearray(READ_SIZE))  # of whichever end has its turn; opened, they fit into `buffer`


class TlsEnd(End):
    """What all of them do instead."""

    __slots__ = ()

    # Reading

    def doRead(self) -> Any:
        """See `End.doRead`; what OpenSSL has to say to it is sent, too, as to a KeyUpdate (RFC 8446 section 4.6.3)."""
        lost = super().doRead()
        failure, self._failure = self._failure, None
        if failure is not None:
            self._pump.give_back()
            self._loan.failed(failure)
        elif not self._pump.over:
            self._send_records(READ_SIZE)
        return lost

    def _receive(self, room: memoryview) -> memoryview:
        """Read as many bytes of records as there is room for, and give what is inside those that are whole."""
        size = self._socket.recv_into(_records[: len(room)])
        if not size:
            return room[:0]
        self._tls.bio_write(_records[:size])
        opened = 0
        try:
            while True:
                opened += self._tls.recv_into(buffer[opened:], RECORD_SIZE)
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._failure = Failure()
        if not opened:
            raise BlockingIOError
        return buffer[:opened]

    # Sending

    def write(self, data: bytes) -> None:
        """See `loan.Borrower`."""
        if self._pump.over:
            self._loan.transport.write(data)
        else:
            self._send(data)

    def send(self, data: bytes | memoryview) -> None:
        """See `End.send`."""
        self._send(b"".join((header(len(data)), data)) if self._is_framed else data)

    def _send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.send(rest) :]
        except SSL.Error:
            pass
        self._send_records(len(data) + (len(data) // RECORD_SIZE + 1) * RECORD_OVERHEAD)
        if rest:
            self._pump.give_back()
            self._loan.transport.write(bytes(rest))  # which finds out what is wrong

    def _send_records(self, limit: int) -> None:
        """Send the records that OpenSSL has made, if there are any: not more than `limit` bytes."""
        try:
            records = self._tls.bio_read(limit)
        except SSL.WantReadError:
            return
        if not self._owed:
            super()._send(records)
            return
        self._owed += records
        if len(self._owed) > OWED_LIMIT:
            self._pump.give_back()
            self._loan.transport.abortConnection()


class TlsCopyingEnd(TlsEnd, CopyingEnd):
    """A `CopyingEnd` inside TLS."""

    __slots__ = ()


class TlsWatchedEnd(TlsEnd, WatchedEnd):
    """A `WatchedEnd` inside TLS."""

    __slots__ = ()


class TlsFramedEnd(TlsEnd, FramedEnd):
    """A `FramedEnd` inside TLS."""

    __slots__ = ()
