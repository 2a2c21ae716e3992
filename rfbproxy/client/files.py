"""Files as answers to HTTP requests, and short answers of other kinds."""

import mimetypes
import os
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web import http
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

_CHUNK = 65536

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".oga": "audio/ogg",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}

_log = Logger()


def inside(root: Path, segments: list[str]) -> Path | None:
    """The regular file under `root`, or `index.html` for a folder with its slash; links must not lead out."""
    if any(segment.startswith(".") for segment in segments) or "" in segments[:-1]:
        return None
    if not segments or segments[-1] == "":
        segments = [*segments[:-1], "index.html"]
    real_root = os.path.realpath(root)
    file = os.path.realpath(os.path.join(real_root, *segments))  # noqa: PTH118 - one system call less
    if os.path.commonpath((real_root, file)) != real_root or not os.path.isfile(file):  # noqa: PTH113
        return None
    return Path(file)


def is_folder(root: Path, segments: list[str]) -> bool:
    """Whether a slash is missing: `segments` name a folder under `root` that has an index."""
    return segments[-1] != "" and inside(root, [*segments, ""]) is not None


def send_file(request: Request, path: Path) -> int:
    """Answer with a file, or with 404 if it cannot be read or is none any more."""
    try:
        file = path.open("rb")
    except OSError as error:
        _log.warn("page {file} cannot be read: {error}", file=str(path), error=error)
        return say(request, http.NOT_FOUND, "There is no such page.")
    status = os.fstat(file.fileno())
    if not S_ISREG(status.st_mode):
        file.close()
        return say(request, http.NOT_FOUND, "There is no such page.")
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    request.responseHeaders.setRawHeaders("etag", [etag])
    if _client_has(request, etag):
        file.close()
        return nothing(request, http.NOT_MODIFIED)
    kind = TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    request.responseHeaders.setRawHeaders("content-type", [kind])
    request.responseHeaders.setRawHeaders("content-length", [str(status.st_size)])
    if request.method == b"HEAD":
        file.close()
        request.finish()
    else:
        FileProducer(request, file).start()
    return NOT_DONE_YET


def _client_has(request: Request, etag: str) -> bool:
    """Whether If-None-Match names the file (RFC 9110 section 13.1.2: a weak comparison, of a list)."""
    known = (request.getHeader("if-none-match") or "").split(",")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in known)


@implementer(IPushProducer)
class FileProducer:
    """Writes a file to a request, as fast as the client takes it."""

    def __init__(self, request: Request, file: BinaryIO) -> None:
        self._request = request
        self._file = file
        self._paused = False

    def start(self) -> None:
        """Begin; the file is closed when the request has ended, however it did."""
        self._request.notifyFinish().addBoth(lambda _: self._file.close())
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = False
        while not self._paused:
            if chunk := self._file.read(_CHUNK):
                self._request.write(chunk)
            else:
                self._paused = True
                self._request.unregisterProducer()
                self._request.finish()

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True


def say(request: Request, status: int, sentence: str) -> int:
    """Answer with a sentence for people."""
    return answer(request, status, "text/plain; charset=utf-8", f"{sentence}\n".encode())


def answer(request: Request, status: int, kind: str, body: bytes) -> int:
    """Answer with a body, which is not sent to HEAD (twisted.web would log the URL of a HEAD with a body)."""
    request.setResponseCode(status)
    request.responseHeaders.setRawHeaders("content-type", [kind])
    request.responseHeaders.setRawHeaders("content-length", [str(len(body))])
    request.write(body)
    request.finish()
    return NOT_DONE_YET


def nothing(request: Request, status: int) -> int:
    """Answer without a body, and without the length of one (RFC 9110 section 8.6)."""
    request.setResponseCode(status)
    request.finish()
    return NOT_DONE_YET
