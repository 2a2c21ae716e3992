"""The CONNECT that some hypervisors want before RFB begins (XenAPI's `internal_access_path`; nova/console)."""

import re
from dataclasses import dataclass

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.wire import Conversation, Reading

HEAD_LIMIT = 8192  # bytes of the target's answer

_PATH = re.compile(r"[\x21-\x7e]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")


class PreambleRefused(RemoteProtocolError):
    """The target answered properly, but not with 200."""


@dataclass(frozen=True, slots=True)
class PreambleAccepted:
    """The target goes on as an RFB server."""


class ConnectPreamble(Conversation):
    """Ask the target for `path`, and read exactly the head of its answer; what follows it is RFB.

    The event is `PreambleAccepted`.

    Args:
        path: the token's `internal_access_path`; it holds a session secret on XenServer, and is never printed.

    Raises from the constructor:
        Refused: internal, the path cannot be put on a request line.

    Raises from `receive_data`:
        PreambleRefused: a status other than 200.
        RemoteProtocolError: no HTTP answer, or a head beyond the limit.
        EndOfStream: closed before the head's end.
    """

    def __init__(self, path: str) -> None:
        if not _PATH.fullmatch(path):
            raise Refused(CloseReason.INTERNAL, "internal_access_path holds characters that no request line can carry")
        self._path = path.encode("ascii")
        super().__init__()

    def _converse(self) -> Reading[None]:
        self._send(b"CONNECT " + self._path + b" HTTP/1.1\r\n\r\n")
        head = yield from self._reader.take_until(b"\r\n\r\n", HEAD_LIMIT)
        match = _STATUS_LINE.match(head)
        if match is None:
            # No more than this is shown: an answer that is an echo holds the path.
            raise RemoteProtocolError(f"target answers CONNECT with {head[:8]!r}, due is 'HTTP/1.x 200'")
        if match[1] != b"200":
            raise PreambleRefused(f"target answers CONNECT with status {match[1].decode()}, due is 200")
        self._event(PreambleAccepted())
