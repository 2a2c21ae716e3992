"""One request to the API, and the HTTP connection that it comes by."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from rfbproxy.api.json_body import BODY_LIMIT

_SWALLOWED = 16 * 1024 * 1024  # bytes of a body that is too large, so that whoever sends it can read the answer


class ApiChannel(HTTPChannel):
    """HTTP/1.1 on one connection.

    Attributes:
        admitted: called when a good token has come by it.
    """

    admitted: Callable[[], None]


class ApiRequest(Request):
    """One request, whose body is kept in memory up to the limit and never taken for a form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.content: BytesIO = BytesIO()
        self.body_length = 0

    def gotLength(self, length: int | None) -> None:
        """Nothing: no more than the limit is kept of a body, whatever length it claims."""

    def handleContentChunk(self, data: bytes) -> None:
        """Keep what is within the limit."""
        self.body_length += len(data)
        if self.body_length <= BODY_LIMIT:
            super().handleContentChunk(data)
        elif self.body_length > _SWALLOWED:
            self.channel.transport.abortConnection()  # type: ignore[union-attr]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Begin to answer."""
        self.content.seek(0, 0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query = path.partition(b"?")
        self.process()

    def admitted(self) -> None:
        """Its token is good."""
        cast(ApiChannel, self.channel).admitted()
