"""What each path of CONTRACT 3 does once its caller is known: read the body, call the operation, state the result.

Knows JSON and media types; decides nothing about vectors. Batches are read and refused item by item.
"""

from typing import Final

import msgspec
from uvicorn._types import ASGIReceiveCallable

from appliance.errors import ApplianceError
from appliance.metrics import CONTENT_TYPE
from appliance.native import Limits
from appliance.operations.secure import read_soap
from appliance.server.admission import Admission, Fields
from appliance.server.answers import JSON_HEADERS, Answer, error_facts, json_answer
from appliance.server.openapi import describe_api
from appliance.server.ports import Operations
from appliance.server.refusals import note_refusals
from appliance.server.representations import (
    BatchAnswer,
    BatchItem,
    ConventionList,
    LiveAnswer,
    ReadyAnswer,
    assertion_answer,
    convention_facts,
    secured_answer,
    vector_facts,
    verdict_answer,
)
from appliance.server.requests import (
    check_json_type,
    check_xml_type,
    read_batch,
    read_query,
    read_secure_request,
    read_vector_request,
    wants_assertion,
)
from appliance.vectors.model import IssuedVector, RequestContext, VectorRequest

_METRICS_HEADERS: Final = ((b"content-type", CONTENT_TYPE.encode("ascii")),)


LOG_PREFIX: Final = "/v1/log/"


class ClientGone(Exception):
    """The peer hung up before its request was complete: there is nobody to answer."""


class Request(msgspec.Struct, frozen=True):
    """One admitted request, its body not yet read."""

    context: RequestContext
    fields: Fields
    query: bytes
    receive: ASGIReceiveCallable
    path: bytes = b""

    async def body(self) -> bytes:
        """Read the whole body; the protocol bounds its size and its slowness.

        Raises:
            ApplianceError: the protocol refuses the rest.
            ClientGone: the peer hung up.
        """
        parts: list[bytes] = []
        while True:
            event = await self.receive()
            if event["type"] != "http.request":
                raise ClientGone
            parts.append(event["body"])
            if not event["more_body"]:
                return parts[0] if len(parts) == 1 else b"".join(parts)


class Endpoints:
    """The endpoints of one worker; each takes an admitted request and returns its answer or raises an ApplianceError."""

    def __init__(self, operations: Operations, admission: Admission) -> None:
        self._operations: Final = operations
        self._admission: Final = admission
        self._limits: Final = Limits(octets=admission.settings.body_limit)
        self._description: Final = Answer(200, JSON_HEADERS, describe_api(admission.settings))
        self._live: Final = json_answer(LiveAnswer())

    async def issue(self, request: Request) -> Answer:
        """`POST /v1/vectors`."""
        read_query(request.query, ())
        check_json_type(request.fields)
        asked = read_vector_request(await request.body())
        issued = await self._operations.issue.issue(asked, request.context)
        if wants_assertion(request.fields.get(b"accept")):
            return assertion_answer(issued)
        return json_answer(vector_facts(issued))

    async def issue_batch(self, request: Request) -> Answer:
        """`POST /v1/vectors/batch`: the readable items go to the operation together, every result to its own place."""
        read_query(request.query, ())
        check_json_type(request.fields)
        items = read_batch(await request.body(), self._admission.settings.batch_limit)
        asked = [item for item in items if isinstance(item, VectorRequest)]
        context = request.context
        issued = iter(await self._operations.issue.issue_batch(asked, context))
        results = [next(issued) if isinstance(item, VectorRequest) else item for item in items]
        refusals = [result for result in results if isinstance(result, ApplianceError)]
        note_refusals(refusals, context.request_id, context.peer)
        return json_answer(BatchAnswer([_batch_item(each, context) for each in results]))

    async def secure(self, request: Request) -> Answer:
        """`POST /v1/soap/secure`."""
        query = read_query(request.query, ("convention",))
        check_xml_type(request.fields)
        asked = read_secure_request(request.fields, query)
        message = read_soap(await request.body(), self._limits)
        secured = await self._operations.secure.secure(message, asked, request.context)
        kind = request.fields.get(b"content-type", b"text/xml; charset=utf-8")
        return secured_answer(secured.issued, secured.message.octets, kind)

    async def verify(self, request: Request) -> Answer:
        """`POST /v1/verifications`."""
        query = read_query(request.query, ("convention", "service"))
        check_xml_type(request.fields)
        octets = await request.body()
        verdict = await self._operations.verify.verify(
            octets, request.context, query.get("convention"), query.get("service")
        )
        return json_answer(verdict_answer(verdict))

    async def list_conventions(self, request: Request) -> Answer:
        """`GET /v1/conventions`: those that the caller may use."""
        usable = request.context.caller.conventions
        return json_answer(
            ConventionList(
                [
                    convention_facts(each)
                    for each in self._operations.conventions.current.all()
                    if usable is None or each.id in usable
                ]
            )
        )

    async def read_log(self, request: Request) -> Answer:
        """`GET /v1/log/{log}/{resource}`: checkpoint, tiles and bundles (C2SP tlog-tiles), and proofs (C2SP tlog-proof)."""
        read_query(request.query, ())
        path = request.path.decode("ascii", "replace").removeprefix(LOG_PREFIX)
        log, _, resource = path.partition("/")
        read = await self._operations.logs.read(log, resource, request.context.caller)
        kind = b"text/plain; charset=utf-8" if read.is_text else b"application/octet-stream"
        caching = b"private, max-age=31536000, immutable" if read.is_final else b"no-store"
        return Answer(200, ((b"content-type", kind), (b"cache-control", caching)), read.octets)

    async def say_live(self, _request: Request) -> Answer:
        """`GET /healthz`."""
        return self._live

    async def say_ready(self, _request: Request) -> Answer:
        """`GET /readyz`: 503 names what is missing."""
        readiness = await self._operations.health.check()
        reasons = list(readiness.reasons)
        if self._admission.is_draining:
            reasons.append("draining")
        body = msgspec.json.encode(ReadyAnswer(not reasons, reasons))
        return Answer(503 if reasons else 200, JSON_HEADERS, body)

    async def expose_metrics(self, _request: Request) -> Answer:
        """`GET /metrics`."""
        return Answer(200, _METRICS_HEADERS, self._operations.exposition())

    async def describe(self, _request: Request) -> Answer:
        """`GET /openapi.json`."""
        return self._description


def _batch_item(result: IssuedVector | ApplianceError, context: RequestContext) -> BatchItem:
    if isinstance(result, IssuedVector):
        return BatchItem(vector=vector_facts(result))
    return BatchItem(error=error_facts(result, context.request_id))
