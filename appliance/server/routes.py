"""The API of CONTRACT 3 as a bare ASGI application: find the route, admit the caller, call the operation, answer.

Promises one answer to every request, the request id in it, and that no exception of ours reaches the peer as anything but a 500 with a
sentence. Knows HTTP and JSON; decides nothing about vectors.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from appliance.clock import Clock
from appliance.errors import ApplianceError, Pushback, Reason, ResourceUnknown, internal_error
from appliance.log import Log
from appliance.metrics import REQUEST_SECONDS, REQUESTS
from appliance.server.admission import Admission, Arrival, check_foreign
from appliance.server.answers import Answer, write_head
from appliance.server.callers import CallerDirectory
from appliance.server.endpoints import LOG_PREFIX, ClientGone, Endpoints, Request
from appliance.server.ports import Operations
from appliance.server.refusals import answer_refusal
from appliance.server.request_id import FIELD, choose_request_id
from appliance.vectors.model import RequestContext

_log: Final = Log("server")
_NO_ROUTE: Final = "none"
_LOG_PREFIX: Final = LOG_PREFIX.encode("ascii")
_LOG_ROUTE: Final = f"{LOG_PREFIX}{{log}}/{{resource}}"


@dataclass(frozen=True, slots=True)
class Route:
    """A path, its method (HEAD goes with GET) and what answers it."""

    path: str
    method: str
    endpoint: Callable[[Request], Awaitable[Answer]]

    @property
    def methods(self) -> tuple[str, ...]:
        """What the Allow field lists."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


def list_routes(endpoints: Endpoints) -> tuple[Route, ...]:
    """List the whole API of this listener."""
    return (
        Route("/v1/vectors", "POST", endpoints.issue),
        Route("/v1/vectors/batch", "POST", endpoints.issue_batch),
        Route("/v1/soap/secure", "POST", endpoints.secure),
        Route("/v1/verifications", "POST", endpoints.verify),
        Route("/v1/conventions", "GET", endpoints.list_conventions),
        Route(_LOG_ROUTE, "GET", endpoints.read_log),
        Route("/healthz", "GET", endpoints.say_live),
        Route("/readyz", "GET", endpoints.say_ready),
        Route("/metrics", "GET", endpoints.expose_metrics),
        Route("/openapi.json", "GET", endpoints.describe),
    )


class ApiApplication:
    """The ASGI application of one worker.

    Attributes:
        callers: who may call; a reload puts another directory here.
        routes: the whole API of this listener.
    """

    def __init__(
        self, operations: Operations, callers: CallerDirectory, admission: Admission, clock: Clock
    ) -> None:
        self.callers = callers
        self._clock: Final = clock
        endpoints = Endpoints(operations, admission)
        self.routes: Final = list_routes(endpoints)
        self._by_path: Final = {route.path.encode("ascii"): route for route in self.routes}
        labels = [_NO_ROUTE, *(route.path for route in self.routes)]
        self._seconds: Final = {label: REQUEST_SECONDS.labels(label) for label in labels}
        self._counts: Final = {(label, 200): REQUESTS.labels(label, "200") for label in labels}

    def __repr__(self) -> str:
        return f"ApiApplication({', '.join(route.path for route in self.routes)})"

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request."""
        began = self._clock.monotonic()
        scope = cast("HTTPScope", scope)  # lifespan is off and upgrades are never taken
        arrival = cast("Arrival", scope["extensions"]["appliance"]["arrival"])
        request_id = choose_request_id(arrival.fields.get(FIELD))
        route = self._find(scope["raw_path"])
        try:
            answer = await self._answer(scope, route, arrival, request_id, receive)
        except ClientGone:
            _log.debug("client-gone", request_id=request_id, peer=arrival.peer.address)
            return
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - where every failure becomes an answer
            answer = _refuse(exc, route, request_id, arrival.peer.address)
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": write_head(answer, request_id),
            }
        )
        await send({"type": "http.response.body", "body": answer.body})
        label = _NO_ROUTE if route is None else route.path
        self._note(label, answer.status, self._clock.monotonic() - began, request_id)

    def _find(self, path: bytes) -> Route | None:
        if path.startswith(_LOG_PREFIX):
            return self._by_path[_LOG_ROUTE.encode("ascii")]
        return self._by_path.get(path)

    async def _answer(
        self,
        scope: HTTPScope,
        route: Route | None,
        arrival: Arrival,
        request_id: str,
        receive: ASGIReceiveCallable,
    ) -> Answer:
        peer, fields = arrival.peer, arrival.fields
        check_foreign(peer, fields)
        caller = self.callers.recognise(peer, fields.get(b"authorization"))
        if route is None:
            raise ResourceUnknown(
                Reason.NOT_FOUND, "there is no such path; /openapi.json lists those there are"
            )
        if scope["method"] not in route.methods:
            raise ResourceUnknown(
                Reason.METHOD_NOT_ALLOWED, f"{route.path} takes {' and '.join(route.methods)} only"
            )
        context = RequestContext(request_id, caller, peer.address)
        request = Request(context, fields, scope["query_string"], receive, scope["raw_path"])
        return await route.endpoint(request)

    def _note(self, label: str, status: int, seconds: float, request_id: str) -> None:
        self._seconds[label].observe(seconds)
        count = self._counts.get((label, status))
        if count is None:
            count = self._counts[label, status] = REQUESTS.labels(label, str(status))
        count.inc()
        if _log.is_debug():
            _log.debug(
                "request", route=label, status=status, seconds=seconds, request_id=request_id
            )


def _refuse(exc: BaseException, route: Route | None, request_id: str, peer: str) -> Answer:
    if isinstance(exc, asyncio.CancelledError):  # uvicorn cancels what outlasts the drain timeout
        exc = Pushback(Reason.DRAINING, "this instance stopped before it had an answer; ask again")
    error = exc if isinstance(exc, ApplianceError) else internal_error(exc)
    allow = b""
    if error.reason is Reason.METHOD_NOT_ALLOWED and route is not None:
        allow = ", ".join(route.methods).encode("ascii")
    return answer_refusal(error, request_id, peer, allow)
