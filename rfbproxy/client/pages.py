"""What a browser gets over plain HTTP: the console page, noVNC's code, the operator's folder, and the health checks."""

import json
import mimetypes
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.static import NoRangeStaticProducer

PAGE = "console.html"
PAGE_NAMES = ("vnc.html", "vnc_auto.html", "vnc_lite.html")  # the pages that nova's base URLs name
ASSETS = "_console"
EMPTY_JSON = ("defaults.json", "mandatory.json")  # noVNC 1.6 and later ask for them beside their page
METHODS = "GET, HEAD, OPTIONS"

_TYPES = {
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
# The page's own policy; noVNC draws cursors and JPEG rectangles from data: URLs.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; "
)

_log = Logger()


@dataclass(frozen=True, slots=True)
class Folders:
    """Where files are served from.

    Attributes:
        own: our page.
        novnc: noVNC's package, with `core/rfb.js`; None where it is not installed.
        operator: the `web` option; None where it is not set.
    """

    own: Path
    novnc: Path | None
    operator: Path | None = None


class Pages(Resource):
    """Everything under `/` of a listener that allows pages.

    Args:
        folders: where the files are.
        allowed_origins: bare host names of pages that may frame the console (`[console] allowed_origins`).
        ready: awaited by `/readyz`; a sentence says what is not ready, None that all is well.
    """

    isLeaf = True

    def __init__(
        self, folders: Folders, allowed_origins: Sequence[str], ready: Callable[[], Awaitable[str | None]]
    ) -> None:
        super().__init__()
        self._folders = folders
        self._ready = ready
        ancestors = " ".join(f"http://{name}:* https://{name}:*" for name in allowed_origins)
        self._frame_ancestors = f"frame-ancestors 'self' {ancestors}".strip()

    def render(self, request: Request) -> int | bytes:
        """Answer one request; nothing of its query is read, and nothing of it is logged."""
        headers = request.responseHeaders
        headers.setRawHeaders("cache-control", ["no-cache"])
        headers.setRawHeaders("x-content-type-options", ["nosniff"])
        headers.setRawHeaders("referrer-policy", ["no-referrer"])
        headers.setRawHeaders("content-security-policy", [self._frame_ancestors])
        headers.removeHeader("server")
        headers.removeHeader("date")
        if request.method not in (b"GET", b"HEAD", b"OPTIONS"):
            headers.setRawHeaders("allow", [METHODS])
            headers.setRawHeaders("connection", ["close"])
            return _say(request, http.NOT_ALLOWED, f"Only {METHODS} are answered here.")
        if request.method == b"OPTIONS":
            headers.setRawHeaders("allow", [METHODS])
            request.setResponseCode(http.NO_CONTENT)
            return b""
        path = _segments(request.path)
        if path is None:
            return _say(request, http.BAD_REQUEST, "This path is not a path of a page.")
        if path == ["healthz"]:
            return _say(request, http.OK, "alive")
        if path == ["readyz"]:
            checking = Deferred.fromCoroutine(self._report_ready(request))
            checking.addErrback(lambda failure: _log.failure("readiness check failed", failure))
            return NOT_DONE_YET
        return self._file(request, path)

    async def _report_ready(self, request: Request) -> None:
        gone = request.notifyFinish()
        gone.addErrback(lambda failure: None)
        problem = await self._ready()
        if gone.called:
            return
        request.write(_say(request, http.OK if problem is None else http.SERVICE_UNAVAILABLE, problem or "ready"))
        request.finish()

    def _file(self, request: Request, path: list[str]) -> int | bytes:
        folders = self._folders
        file = None
        if path in ([""], [ASSETS, PAGE]):
            file, policy = folders.own / PAGE, _PAGE_POLICY
        elif path[0] == ASSETS:
            policy = _PAGE_POLICY
            if path[1:2] == ["novnc"]:
                file = folders.novnc and _inside(folders.novnc, path[2:])
            else:
                file = _inside(folders.own, path[1:])
        else:
            policy = ""  # the operator's pages may need more than ours
            if folders.operator is not None:
                file = _inside(folders.operator, path)
                if file is None and _is_folder(folders.operator, path):
                    return _to_folder(request, path[-1])
            if file is None and len(path) == 1 and path[0] in PAGE_NAMES:
                file, policy = folders.own / PAGE, _PAGE_POLICY
            if file is None and len(path) == 1 and path[0] in EMPTY_JSON:
                request.responseHeaders.setRawHeaders("content-type", ["application/json"])
                return json.dumps({}).encode()
        if file is None:
            return _say(request, http.NOT_FOUND, "There is no such page.")
        request.responseHeaders.setRawHeaders("content-security-policy", [policy + self._frame_ancestors])
        return _send_file(request, file)


class PageSite(Site):
    """twisted.web's site without its access log, which would hold tokens."""

    def log(self, request: http.Request) -> None:
        """Log nothing: a page's URL holds the token."""


def _segments(path: bytes) -> list[str] | None:
    """The path's parts, percent-decoded once; None where it is no clean absolute path.

    `//host/..` must never become a redirect to that host (CVE-2021-3654); `..`, NUL and backslashes name no page.
    """
    if not path.startswith(b"/") or path.startswith(b"//"):
        return None
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in path[1:].split(b"/")]
    except UnicodeDecodeError:
        return None
    for segment in segments:
        if segment in (".", "..") or any(ord(character) < 0x20 or character in "/\\\x7f" for character in segment):
            return None
    return segments


def _inside(root: Path, segments: list[str]) -> Path | None:
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


def _is_folder(root: Path, segments: list[str]) -> bool:
    """Whether a slash is missing: `segments` name a folder under `root` that has an index."""
    return segments[-1] != "" and _inside(root, [*segments, ""]) is not None


def _to_folder(request: Request, name: str) -> bytes:
    """Redirect to the same folder with its slash, relatively: it cannot name another host, and a URL prefix stays."""
    query = request.uri.partition(b"?")[1:]
    last = request.path.rpartition(b"/")[2]
    request.responseHeaders.setRawHeaders("location", [b"./" + last + b"/" + b"".join(query)])
    return _say(request, http.MOVED_PERMANENTLY, f"The folder is {name}/.")


def _send_file(request: Request, file: Path) -> int | bytes:
    try:
        opened = file.open("rb")
    except OSError as error:
        _log.warn("page {file} cannot be read: {error}", file=str(file), error=error)
        return _say(request, http.NOT_FOUND, "There is no such page.")
    status = os.fstat(opened.fileno())
    if not S_ISREG(status.st_mode):
        opened.close()
        return _say(request, http.NOT_FOUND, "There is no such page.")
    kind = _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    request.responseHeaders.setRawHeaders("content-type", [kind])
    if request.setETag(f'"{status.st_mtime_ns:x}-{status.st_size:x}"'.encode()) is http.CACHED:
        opened.close()
        return b""
    request.setHeader(b"content-length", str(status.st_size).encode())
    if request.method == b"HEAD":
        opened.close()
        return b""
    NoRangeStaticProducer(request, opened).start()
    return NOT_DONE_YET


def _say(request: Request, status: int, sentence: str) -> bytes:
    request.setResponseCode(status)
    request.responseHeaders.setRawHeaders("content-type", ["text/plain; charset=utf-8"])
    return f"{sentence}\n".encode()
