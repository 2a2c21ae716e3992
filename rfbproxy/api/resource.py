"""The API on twisted.web: who asks, what for, and the answer, which a thread of the store's works out."""

import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from rfbproxy.api.access import TokenFile, offered_token
from rfbproxy.api.bodies import read_body
from rfbproxy.api.faults import INTERNAL, Fault, fault_of
from rfbproxy.api.json_body import BODY_LIMIT
from rfbproxy.api.openapi import OPEN_PATHS, document
from rfbproxy.api.routes import Asked, Route, find_route
from rfbproxy.api.versions import HEADER, NEWEST, OLD_HEADER, Version, text_of, wanted_version
from rfbproxy.client.factory import source_of
from rfbproxy.client.files import answer, say
from rfbproxy.consoles import Consoles, Json
from rfbproxy.errors import ConsoleProxyError

_SWALLOWED = 16 * 1024 * 1024  # bytes of a body that is too large, so that whoever sends it can read the answer
_JSON = "application/json"
_KINDS = (_JSON, "application/vnd.openstack.compute+json")  # nova takes both

T = TypeVar("T")
OnThread = Callable[[Callable[[], Json]], Awaitable[Json]]

_log = Logger()


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


@dataclass(frozen=True, slots=True)
class ApiRules:
    """What the API is made of.

    Attributes:
        consoles: what requests are about.
        on_thread: runs a function that asks the store, and gives what it returns; fails with `StoreError`.
        access: who may ask.
        enabled: protocols whose consoles can be opened here, `vnc` or `spice`.
        ready: awaited by `/readyz`; a sentence says what is not ready, None that all is well.
        tls_only: whether requests in clear are refused, health checks excepted.
    """

    consoles: Consoles
    on_thread: OnThread
    access: TokenFile
    enabled: Collection[str]
    ready: Callable[[], Awaitable[str | None]]
    tls_only: bool = False


class Api(Resource):
    """Everything under `/` of `api_listen`."""

    isLeaf = True

    def __init__(self, rules: ApiRules) -> None:
        super().__init__()
        self._rules = rules
        self._document = json.dumps(document()).encode()

    def render(self, request: ApiRequest) -> int:
        """Answer one request; nothing of it is logged but what it changed."""
        headers = request.responseHeaders
        headers.setRawHeaders("cache-control", ["no-store"])
        headers.setRawHeaders("x-content-type-options", ["nosniff"])
        headers.removeHeader("server")
        Deferred.fromCoroutine(self._answer(request))
        return NOT_DONE_YET

    async def _answer(self, request: ApiRequest) -> None:
        gone = request.notifyFinish()
        gone.addErrback(lambda failure: None)
        try:
            respond = await self._respond(request)
        except Fault as fault:
            respond = _refusal(request, fault)
        except ConsoleProxyError as error:
            _log.warn("API: {error}", error=error)
            respond = _refusal(request, fault_of(error))
        except Exception:
            _log.failure("API: a request failed")
            respond = _refusal(request, Fault(500, INTERNAL))
        if not gone.called:
            respond()

    async def _respond(self, request: ApiRequest) -> Callable[[], object]:
        path = request.path.decode("latin-1")
        if path in OPEN_PATHS and request.method in (b"GET", b"HEAD"):
            return await self._respond_openly(request, path)
        if self._rules.tls_only and not request.isSecure():
            raise Fault(403, "This API is to be asked inside TLS alone.")
        self._check_access(request)
        if path in OPEN_PATHS:
            raise Fault(405, "The method is not allowed for this resource.", {"Allow": "GET"})
        route, in_path = find_route(request.method.decode("latin-1"), request.path)
        version = _version(request, route)
        body = _body(request) if route.body is not None else b""

        def work() -> Json:
            read = read_body(body, route.body) if route.body is not None else None
            return route.answer(
                Asked(self._rules.consoles, in_path, read, version, self._rules.enabled, bool(request.query))
            )

        result = await self._rules.on_thread(work)
        if route.method != "GET":
            source = source_of(request.getClientAddress())
            _log.info("API: {method} {route} by {source}", method=route.method, route=route.path, source=source)
        return lambda: answer(request, http.OK, _JSON, json.dumps(result).encode())

    async def _respond_openly(self, request: ApiRequest, path: str) -> Callable[[], object]:
        if path == "/openapi.json":
            return lambda: answer(request, http.OK, _JSON, self._document)
        problem = await self._rules.ready() if path == "/readyz" else None
        if problem is not None:
            return lambda: say(request, http.SERVICE_UNAVAILABLE, problem)
        return lambda: say(request, http.OK, "alive" if path == "/healthz" else "ready")

    def _check_access(self, request: ApiRequest) -> None:
        headers = request.requestHeaders
        offered = offered_token(headers.getRawHeaders(b"authorization", []), headers.getRawHeaders(b"x-auth-token", []))
        if not self._rules.access.admits(offered):
            raise Fault(401, "The request you have made requires authentication.", {"WWW-Authenticate": "Bearer"})


def _version(request: ApiRequest, route: Route) -> Version:
    """Nova's microversion of a request, which the answer names too."""
    if route.versions is None:
        return NEWEST
    wanted, answered = request.requestHeaders, request.responseHeaders
    answered.setRawHeaders("vary", [f"{HEADER}, {OLD_HEADER}"])
    version = wanted_version(wanted.getRawHeaders(HEADER, []), wanted.getRawHeaders(OLD_HEADER, []), route.versions)
    answered.setRawHeaders(HEADER, [f"compute {text_of(version)}"])
    answered.setRawHeaders(OLD_HEADER, [text_of(version)])
    return version


def _body(request: ApiRequest) -> bytes:
    if request.body_length > BODY_LIMIT:
        raise Fault(413, f"The body has more than {BODY_LIMIT} bytes.")
    kind = (request.getHeader("content-type") or _JSON).partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise Fault(415, f"Unsupported Content-Type; {_JSON} is supported.")
    return request.content.read()


def _refusal(request: ApiRequest, fault: Fault) -> Callable[[], object]:
    for name, value in fault.headers.items():
        request.responseHeaders.setRawHeaders(name, [value])
    if request.body_length > BODY_LIMIT:
        request.responseHeaders.setRawHeaders("connection", ["close"])
    return lambda: answer(request, fault.status, _JSON, json.dumps(fault.body()).encode())
