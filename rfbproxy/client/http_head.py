"""The head of an HTTP request, read without I/O and with limits (RFC 9112), so that no byte after it is lost."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.wire import Conversation, Reading

LINE_LIMIT = 8192  # bytes of the request line
HEAD_LIMIT = 32768  # bytes of the whole head
HEADERS_LIMIT = 100

_LONG_LINE = f"The request line is longer than {LINE_LIMIT} bytes."
_LONG_HEAD = f"The headers are over {HEAD_LIMIT} bytes."
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01])")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):([^\x00-\x08\x0a-\x1f\x7f]*)")


class HttpError(RemoteProtocolError):
    """The request cannot be served: `status` and the message go to the client, with where to go instead if anywhere."""

    def __init__(self, status: int, sentence: str, location: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.location = location

    def answer(self, connection: str = "close", *headers: str) -> bytes:
        """The whole answer, after which the connection ends."""
        body = f"{self.sentence}\n".encode()
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
            f"Connection: {connection}",
            *([f"Location: {self.location}"] if self.location is not None else []),
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's line and headers. `raw` holds the token: it is never printed."""

    method: str
    target: str = field(repr=False)  # as sent; latin-1
    version: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # names in lower case, values stripped, latin-1
    raw: bytes = field(repr=False)

    def get(self, name: str) -> str | None:
        """The header's values, joined by ", " as RFC 9110 section 5.3 allows; None if there is none."""
        values = self.get_all(name)
        return ", ".join(values) if values else None

    def get_all(self, name: str) -> list[str]:
        """The values of a header whose lines must not be joined by commas, such as Cookie."""
        return [value for key, value in self.headers if key == name]

    def get_one(self, name: str) -> str | None:
        """The value of a header that may come once only.

        Raises:
            HttpError: 400, it came twice.
        """
        values = self.get_all(name)
        if len(values) > 1:
            raise HttpError(400, f"The header {name} came {len(values)} times; once is allowed.")
        return values[0] if values else None

    @property
    def wants_websocket(self) -> bool:
        """Whether the client asks for a WebSocket (RFC 6455 section 4.2.1)."""
        upgrade = self.get("upgrade") or ""
        return self.method == "GET" and "websocket" in (word.strip().lower() for word in upgrade.split(","))

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head (RFC 9112 section 6.3)."""
        return self.get("transfer-encoding") is not None or self.get("content-length") not in (None, "0")


class HeadReader(Conversation):
    """Read one request head; the event is a `RequestHead`, and `unread` gives the bytes after it.

    Raises from `receive_data`:
        HttpError: 400 not HTTP/1; 414 the request line, 431 the headers are beyond their limit.
    """

    def _converse(self) -> Reading[None]:
        line = yield from self._line(LINE_LIMIT, 414, _LONG_LINE)
        if not line:  # RFC 9112 section 2.2: one empty line before the request is ignored
            line = yield from self._line(LINE_LIMIT, 414, _LONG_LINE)
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise HttpError(400, "This is not an HTTP/1 request.")
        raw = [line]
        headers: list[tuple[str, str]] = []
        left = HEAD_LIMIT - len(line)
        while line := (yield from self._line(left, 431, _LONG_HEAD)):
            header = _HEADER.fullmatch(line)
            if header is None:
                raise HttpError(400, "A header line of the request is malformed.")
            if len(headers) == HEADERS_LIMIT:
                raise HttpError(431, f"The request has more than {HEADERS_LIMIT} headers.")
            headers.append((header[1].decode("ascii").lower(), header[2].strip(b" \t").decode("latin-1")))
            raw.append(line)
            left -= len(line) + 2
        self._event(
            RequestHead(
                match[1].decode("ascii"),
                match[2].decode("latin-1"),
                match[3].decode("ascii"),
                tuple(headers),
                b"\r\n".join([*raw, b"", b""]),
            )
        )

    def _line(self, limit: int, status: int, too_long: str) -> Reading[bytes]:
        """One line without its end; a bare LF is accepted (RFC 9112 section 2.2)."""
        try:
            line = yield from self._reader.take_until(b"\n", max(1, limit))
        except RemoteProtocolError as error:
            if len(self._reader) >= limit:
                raise HttpError(status, too_long) from error
            raise
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]
