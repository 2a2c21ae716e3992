"""The API on twisted.web: who asks, what for, and the answer, which a thread of the store's works out."""

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from rfbproxy.api import discovery
from rfbproxy.api.access import Access, offered_token
from rfbproxy.api.bodies import read_body
from rfbproxy.api.faults import INTERNAL, Fault, fault_of
from rfbproxy.api.json_body import BODY_LIMIT
from rfbproxy.api.openapi import DISCOVERY_PATHS, HEALTH_PATHS, METRICS_PATH, OPEN_PATHS, document
from rfbproxy.api.request import ApiRequest
from rfbproxy.api.routes import Asked, Route, find_route
from rfbproxy.api.versions import HEADER, NEWEST, OLD_HEADER, OLDEST, Version, text_of, wanted_version
from rfbproxy.client.factory import source_of
from rfbproxy.client.files import answer, say
from rfbproxy.consoles import Consoles, Json
from rfbproxy.errors import ConsoleProxyError
from rfbproxy.exposition import CONTENT_TYPE, exposition
from rfbproxy.metrics import Snapshot

_JSON = "application/json"
_KINDS = (_JSON, "application/vnd.openstack.compute+json")  # nova takes both

T = TypeVar("T")
OnThread = Callable[[Callable[[], Json]], Awaitable[Json]]

_log = Logger()


@dataclass(frozen=True, slots=True)
class ApiRules:
    """What the API is made of.

    Attributes:
        consoles: what requests are about.
        on_thread: runs a function that asks the store, and gives what it returns; fails with `StoreError`.
        access: who may ask.
        clock: the reactor's.
        enabled: protocols whose consoles can be opened here, `vnc` or `spice`.
        ready: awaited by `/readyz`; a sentence says what is not ready, None that all is well.
        figures: snapshots of all processes of the service, of which `/metrics` is made.
        tls_only: whether requests in clear are refused, health checks excepted.
    """

    consoles: Consoles
    on_thread: OnThread
    access: Access
    clock: IReactorTime
    enabled: Collection[str]
    ready: Callable[[], Awaitable[str | None]]
    figures: Callable[[], Awaitable[Sequence[Snapshot]]]
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
        is_get = request.method in (b"GET", b"HEAD")
        if path in HEALTH_PATHS and is_get:
            return await self._respond_on_health(request, path)
        if self._rules.tls_only and not request.isSecure():
            raise Fault(403, "This API is to be asked inside TLS alone.")
        if path in OPEN_PATHS and is_get:
            return self._respond_openly(request, path)
        await self._check_access(request, for_metrics=path == METRICS_PATH and is_get)
        if path == METRICS_PATH and is_get:
            page = exposition(await self._rules.figures())
            return lambda: answer(request, http.OK, CONTENT_TYPE, page)
        if path in (*OPEN_PATHS, METRICS_PATH):
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

    async def _respond_on_health(self, request: ApiRequest, path: str) -> Callable[[], object]:
        problem = await self._rules.ready() if path == "/readyz" else None
        if problem is not None:
            return lambda: say(request, http.SERVICE_UNAVAILABLE, problem)
        return lambda: say(request, http.OK, "alive" if path == "/healthz" else "ready")

    def _respond_openly(self, request: ApiRequest, path: str) -> Callable[[], object]:
        body = self._document
        if path in DISCOVERY_PATHS:
            base = discovery.base_url(_last(request, "host"), encrypted=request.isSecure())
            if path != "/":
                _tell_version(request, (OLDEST, NEWEST))
            body = json.dumps(discovery.versions(base) if path == "/" else discovery.version(base)).encode()
        return lambda: answer(request, http.OK, _JSON, body)

    async def _check_access(self, request: ApiRequest, *, for_metrics: bool) -> None:
        access, clock, source = self._rules.access, self._rules.clock, source_of(request.getClientAddress())
        if delay_s := access.delay_s(source, clock.seconds()):
            await deferLater(clock, delay_s)
        headers = request.requestHeaders
        offered = offered_token(headers.getRawHeaders(b"authorization", []), headers.getRawHeaders(b"x-auth-token", []))
        if not access.admits(offered, source, clock.seconds(), for_metrics=for_metrics):
            raise Fault(401, "The request you have made requires authentication.", {"WWW-Authenticate": "Bearer"})
        request.admitted()


def _version(request: ApiRequest, route: Route) -> Version:
    """Nova's microversion of a request, which the answer names too."""
    return NEWEST if route.versions is None else _tell_version(request, route.versions)


def _tell_version(request: ApiRequest, of_route: tuple[Version, Version]) -> Version:
    answered = request.responseHeaders
    answered.setRawHeaders("vary", [f"{HEADER}, {OLD_HEADER}"])
    version = wanted_version(_sent(request, HEADER), _sent(request, OLD_HEADER), of_route)
    answered.setRawHeaders(HEADER, [f"compute {text_of(version)}"])
    answered.setRawHeaders(OLD_HEADER, [text_of(version)])
    return version


def _sent(request: ApiRequest, name: str) -> list[str]:
    """What was sent in a header, whatever bytes these are; twisted.web fails for those that are no UTF-8."""
    return [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(name.encode(), [])]


def _last(request: ApiRequest, name: str) -> str | None:
    return next(reversed(_sent(request, name)), None)


def _body(request: ApiRequest) -> bytes:
    if request.body_length > BODY_LIMIT:
        raise Fault(413, f"The body has more than {BODY_LIMIT} bytes.")
    kind = (_last(request, "content-type") or _JSON).partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise Fault(415, f"Unsupported Content-Type; {_JSON} is supported.")
    return request.content.read()


def _refusal(request: ApiRequest, fault: Fault) -> Callable[[], object]:
    for name, value in fault.headers.items():
        request.responseHeaders.setRawHeaders(name, [value])
    if request.body_length > BODY_LIMIT:
        request.responseHeaders.setRawHeaders("connection", ["close"])
    return lambda: answer(request, fault.status, _JSON, json.dumps(fault.body()).encode())
