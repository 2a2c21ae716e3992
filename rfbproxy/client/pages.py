"""What plain HTTP gets: the console page and its viewer, the operator's folder, viewer files, and the health checks."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import cast
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from rfbproxy.client.files import answer, inside, is_folder, nothing, say, send_file
from rfbproxy.client.folders import Folders, Protocol
from rfbproxy.client.http_head import HEAD_LIMIT
from rfbproxy.client.request import token_of_url

PAGE = "console.html"
PAGE_NAMES = ("vnc.html", "vnc_auto.html", "vnc_lite.html")  # the pages that nova's base URLs name
ASSETS = "_console"
EMPTY_JSON = ("defaults.json", "mandatory.json")  # noVNC 1.6 and later ask for them beside their page
VIEWER_FILE = "console.vv"
PAGE_METHODS = ("GET", "HEAD", "OPTIONS")
_ALLOWED = ", ".join(PAGE_METHODS)

# The page's own policy; both viewers draw cursors and JPEG images from data: URLs, sound and video of SPICE are blobs.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; "
)
_PAGE_POLICIES: dict[Protocol, str] = {"vnc": _PAGE_POLICY, "spice": f"{_PAGE_POLICY}media-src blob:; "}
_ABSOLUTE = re.compile(rb"https?://[^/]*(/.*)?\Z", re.IGNORECASE)

ViewerFile = Callable[[str, str], Awaitable[bytes | tuple[int, str]]]

_log = Logger()


class Pages(Resource):
    """Everything under `/` of a listener that allows pages.

    Args:
        folders: where the files are.
        allowed_origins: bare host names of pages that may frame the console (`[console] allowed_origins`).
        ready: awaited by `/readyz`; a sentence says what is not ready, None that all is well.
        strict_transport: whether browsers are told to use https alone, once they did (RFC 6797).
        protocol: of the listener's consoles.
        viewer_file: makes `/console.vv` for a token and the address of who asks, or a status and a sentence why not;
            None: there is no such file.
    """

    isLeaf = True

    def __init__(
        self,
        folders: Folders,
        allowed_origins: Sequence[str],
        ready: Callable[[], Awaitable[str | None]],
        *,
        strict_transport: bool = False,
        protocol: Protocol = "vnc",
        viewer_file: ViewerFile | None = None,
    ) -> None:
        super().__init__()
        self._protocol = protocol
        self._viewer_file = viewer_file
        self._strict_transport = strict_transport
        self._folders = folders
        self._ready = ready
        ancestors = " ".join(f"http://{name}:* https://{name}:*" for name in allowed_origins)
        self._frame_ancestors = f"frame-ancestors 'self' {ancestors}".strip()

    def render(self, request: Request) -> int:
        """Answer one request, and log nothing of it; of its query only a viewer file needs the token."""
        headers = request.responseHeaders
        headers.setRawHeaders("cache-control", ["no-cache"])
        headers.setRawHeaders("x-content-type-options", ["nosniff"])
        headers.setRawHeaders("referrer-policy", ["no-referrer"])
        headers.setRawHeaders("content-security-policy", [self._frame_ancestors])
        headers.removeHeader("server")
        if self._strict_transport and request.isSecure():
            headers.setRawHeaders("strict-transport-security", ["max-age=31536000"])
        if request.method.decode("latin-1") not in PAGE_METHODS:
            headers.setRawHeaders("allow", [_ALLOWED])
            return say(request, http.NOT_ALLOWED, f"Only {_ALLOWED} are answered here.")
        if request.method == b"OPTIONS":
            headers.setRawHeaders("allow", [_ALLOWED])
            return nothing(request, http.NO_CONTENT)
        path = _segments(request.path)
        if path is None:
            return say(request, http.BAD_REQUEST, "This path is not a path of a page.")
        if path == ["healthz"]:
            return say(request, http.OK, "alive")
        if path == ["readyz"]:
            Deferred.fromCoroutine(self._report_ready(request))
            return NOT_DONE_YET
        if path == [VIEWER_FILE] and self._viewer_file is not None:
            token = token_of_url(request.uri.decode("latin-1"))
            if token is None:
                return say(request, http.BAD_REQUEST, "There is no token in this URL.")
            Deferred.fromCoroutine(self._send_viewer_file(request, self._viewer_file, token))
            return NOT_DONE_YET
        return self._file(request, path)

    async def _report_ready(self, request: Request) -> None:
        has_left = _watch(request)
        try:
            problem = await self._ready()
        except Exception:
            _log.failure("readiness check failed")
            problem = "The check itself failed."
        if not has_left():
            say(request, http.OK if problem is None else http.SERVICE_UNAVAILABLE, problem or "ready")

    async def _send_viewer_file(self, request: Request, make: ViewerFile, token: str) -> None:
        has_left = _watch(request)
        try:
            made = await make(token, cast(PageChannel, request.channel).source)
        except Exception:
            _log.failure("viewer file failed")
            made = http.INTERNAL_SERVER_ERROR, "The file could not be made."
        if has_left():
            return
        request.responseHeaders.setRawHeaders("cache-control", ["no-store"])  # it holds secrets
        if isinstance(made, bytes):
            request.responseHeaders.setRawHeaders("content-disposition", [f'attachment; filename="{VIEWER_FILE}"'])
            answer(request, http.OK, "application/x-virt-viewer", made)
        else:
            say(request, *made)

    def _file(self, request: Request, path: list[str]) -> int:
        folders = self._folders
        page_policy = _PAGE_POLICIES[self._protocol]
        file = None
        if path in ([""], [ASSETS, PAGE]):
            file, policy = folders.own / PAGE, page_policy
        elif path[0] == ASSETS:
            file, policy = folders.asset(self._protocol, path[1:]), page_policy
        else:
            policy = ""  # the operator's pages, and spice-html5's, may need more than ours
            if folders.operator is not None:
                file = inside(folders.operator, path)
                if file is None and is_folder(folders.operator, path):
                    return _to_folder(request, path[-1])
            if file is None and self._protocol == "spice":
                file = folders.spice_page(path)
            elif file is None and len(path) == 1 and path[0] in PAGE_NAMES:
                file, policy = folders.own / PAGE, page_policy
            if file is None and len(path) == 1 and path[0] in EMPTY_JSON:
                return answer(request, http.OK, "application/json", b"{}")
        if file is None:
            return say(request, http.NOT_FOUND, "There is no such page.")
        request.responseHeaders.setRawHeaders("content-security-policy", [policy + self._frame_ancestors])
        return send_file(request, file)


class PageRequest(Request):
    """One request for a page."""

    def process(self) -> None:
        """Reduce the target to its path, whichever of its four forms it has (RFC 9112 section 3.2).

        A prefix that a proxy put before the path, and left there, is taken away.
        """
        if not self.path.startswith(b"/"):
            absolute = _ABSOLUTE.match(self.path)
            self.path = (absolute[1] or b"/") if absolute else b""
        prefix = cast(PageChannel, self.channel).prefix
        if prefix and self.path.startswith(prefix + b"/"):
            self.path = self.path.removeprefix(prefix)
        super().process()


class PageSite(Site):
    """twisted.web's site without its access log, which would hold tokens."""

    requestFactory = PageRequest  # noqa: N815

    def log(self, request: http.Request) -> None:
        """Log nothing: a page's URL holds the token."""


class PageChannel(http.HTTPChannel):
    """twisted.web for exactly one request, so that the connection's next request is looked at afresh."""

    MAX_LENGTH = HEAD_LIMIT  # the head was judged before; these limits must not be narrower
    totalHeadersSize = 2 * HEAD_LIMIT
    timeOut = None  # noqa: N815 - the connection has its own deadlines

    def __init__(self, site: Site, served: Callable[[], None], source: str, *, prefix: bytes = b"") -> None:
        super().__init__()
        self.site = site
        self.factory = site
        self.requestFactory = site.requestFactory
        self.source = source  # address of who asks
        self.prefix = prefix  # of the URL's path, before the paths of this service
        self._served = served
        self._done = False

    def requestDone(self, request: http.Request) -> None:
        """Give the connection back, unless it ends with this request."""
        self._done = bool(self.persistent)
        super().requestDone(request)
        self._give_back()

    def resumeProducing(self) -> None:
        """Give the connection back if that waited for the client to take the answer."""
        super().resumeProducing()
        self._give_back()

    def _give_back(self) -> None:
        """Let the next request be heard, unless the client has not taken the answers to those before it."""
        if self._done and not self._waitingForTransport:
            self._done = False
            self.transport.unregisterProducer()  # type: ignore[union-attr]
            self._served()


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


def _watch(request: Request) -> Callable[[], bool]:
    """What tells later whether the client has left meanwhile."""
    gone = request.notifyFinish()
    gone.addErrback(lambda failure: None)
    return lambda: bool(gone.called)


def _to_folder(request: Request, name: str) -> int:
    """Redirect to the same folder with its slash, relatively: it cannot name another host, and a URL prefix stays."""
    query = request.uri.partition(b"?")[1:]
    last = request.path.rpartition(b"/")[2]
    request.responseHeaders.setRawHeaders("location", [b"./" + last + b"/" + b"".join(query)])
    return say(request, http.MOVED_PERMANENTLY, f"The folder is {name}/.")
