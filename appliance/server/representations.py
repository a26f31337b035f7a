"""What goes out as JSON or as header fields: vectors, verdicts, conventions (CONTRACT 3)."""

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote

import msgspec

from appliance.clock import format_instant
from appliance.conventions.model import ClientConvention, Convention
from appliance.server.answers import Answer, ErrorFacts
from appliance.server.ports import Verdict
from appliance.server.requests import ASSERTION_TYPE
from appliance.vectors.model import AcceptedVector, IssuedVector, Receipt


class TraceFacts(msgspec.Struct, frozen=True):
    """Where the event stands in the trace."""

    log: str
    index: int


class VectorFacts(msgspec.Struct, frozen=True):
    """An issued vector; `subject` is null when it is for the application itself."""

    id: str
    convention: str
    issuer: str
    audience: str
    recipient: str
    subject: str | None
    pagms: tuple[str, ...]
    not_before: str
    not_on_or_after: str
    reused: bool
    assertion: str
    trace: TraceFacts


class BatchItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One result of a batch: a vector or an error."""

    vector: VectorFacts | None = None
    error: ErrorFacts | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """The results, in the order of the requests."""

    results: list[BatchItem]


class ReceivedFacts(msgspec.Struct, frozen=True):
    """An accepted vector, read from the octets that its signature covers.

    `subject` is null where the vector speaks for the application itself; `pagms` and `attributes` are those the convention knows.
    """

    id: str
    issuer: str
    audience: str | None
    recipient: str | None
    subject: str | None
    name_id_format: str | None
    pagms: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    authn_context: str | None
    authn_instant: str | None
    issue_instant: str
    not_before: str
    not_on_or_after: str
    signature_algorithm: str
    legacy_sha1: bool


class FaultFacts(msgspec.Struct, frozen=True):
    """The InterOPS fault."""

    code: str
    namespace: str
    reason: str
    string: str


class CheckFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check and what came of it."""

    name: str
    outcome: Literal["passed", "flagged", "failed", "not-run"]
    detail: str | None = None


class VerdictAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`accepted` with convention and vector, or `refused` with the fault; `trace` is absent from a mere diagnosis."""

    verdict: Literal["accepted", "refused"]
    convention: str | None = None
    vector: ReceivedFacts | None = None
    fault: FaultFacts | None = None
    checks: list[CheckFacts] = []
    trace: TraceFacts | None = None


class ConventionFacts(msgspec.Struct, frozen=True):
    """What a caller may need to know of a convention."""

    id: str
    role: Literal["client", "provider"]
    issuer: str
    audience: str
    recipient: str
    levels: list[str]
    pagms: list[str]


class ConventionList(msgspec.Struct, frozen=True):
    """The conventions that the caller may use."""

    conventions: list[ConventionFacts]


class ReadyAnswer(msgspec.Struct, frozen=True):
    """Whether requests would be served now, else why not."""

    ready: bool
    reasons: list[str]


class LiveAnswer(msgspec.Struct, frozen=True):
    """The process lives."""

    live: bool = True


_encode: Final = msgspec.json.Encoder().encode
_SAFE_IN_HEADER: Final = "!#$&'()*+,-./:;<=>?@[]^_`{|}~ \"\\"
"""Visible ASCII and the space stay as they are in a header value; `%` and all else are percent-encoded UTF-8."""


def vector_facts(issued: IssuedVector) -> VectorFacts:
    """State an issued vector."""
    unsigned = issued.vector.unsigned
    request = unsigned.request
    return VectorFacts(
        unsigned.assertion_id,
        request.convention,
        request.issuer,
        request.audience,
        request.recipient,
        request.subject,
        request.pagms,
        unsigned.not_before,
        unsigned.not_on_or_after,
        issued.reused,
        issued.vector.assertion.octets.decode(),
        _trace_facts(issued.receipt),
    )


def write_vector(issued: IssuedVector) -> bytes:
    """Write the JSON that `POST /v1/vectors` answers."""
    return _encode(vector_facts(issued))


def assertion_answer(issued: IssuedVector) -> Answer:
    """Answer with the assertion's octets; what else there is to say goes into header fields."""
    return secured_answer(issued, issued.vector.assertion.octets, ASSERTION_TYPE.encode("ascii"))


def secured_answer(issued: IssuedVector, octets: bytes, kind: bytes) -> Answer:
    """Answer with octets that hold a vector; what there is to say of it goes into header fields."""
    unsigned = issued.vector.unsigned
    request = unsigned.request
    said = [
        (b"vector-id", unsigned.assertion_id),
        (b"vector-convention", request.convention),
        (b"vector-issuer", request.issuer),
        (b"vector-audience", request.audience),
        (b"vector-recipient", request.recipient),
        *((b"vector-subject", subject) for subject in (request.subject,) if subject is not None),
        *((b"vector-pagm", pagm) for pagm in request.pagms),
        (b"vector-not-before", unsigned.not_before),
        (b"vector-not-on-or-after", unsigned.not_on_or_after),
        (b"vector-reused", "true" if issued.reused else "false"),
        (b"trace-log", issued.receipt.log),
        (b"trace-index", str(issued.receipt.index)),
    ]
    headers = ((name, quote(value, safe=_SAFE_IN_HEADER).encode("ascii")) for name, value in said)
    return Answer(200, ((b"content-type", kind), *headers), octets)


def verdict_answer(verdict: Verdict) -> VerdictAnswer:
    """State a verdict."""
    accepted, fault = verdict.accepted, verdict.fault
    return VerdictAnswer(
        verdict="accepted" if accepted is not None else "refused",
        convention=None if accepted is None else accepted.convention,
        vector=None if accepted is None else _received_facts(accepted),
        fault=None
        if fault is None
        else FaultFacts(fault.code, fault.namespace, fault.reason, fault.string),
        checks=[CheckFacts(each.name, each.outcome, each.detail) for each in verdict.checks],
        trace=None if verdict.receipt is None else _trace_facts(verdict.receipt),
    )


def _received_facts(accepted: AcceptedVector) -> ReceivedFacts:
    vector = accepted.vector
    return ReceivedFacts(
        id=vector.assertion_id,
        issuer=vector.issuer,
        audience=vector.audiences[0] if vector.audiences else None,
        recipient=vector.recipient,
        subject=accepted.subject,
        name_id_format=vector.name_id_format,
        pagms=accepted.pagms,
        attributes=accepted.attributes,
        authn_context=vector.level,
        authn_instant=vector.authn_instant,
        issue_instant=vector.issue_instant,
        not_before=format_instant(vector.not_before),
        not_on_or_after=format_instant(vector.not_on_or_after),
        signature_algorithm=vector.signature_algorithm,
        legacy_sha1=accepted.legacy_sha1,
    )


def convention_facts(convention: Convention) -> ConventionFacts:
    """State a convention."""
    is_client = isinstance(convention, ClientConvention)
    return ConventionFacts(
        convention.id,
        "client" if is_client else "provider",
        convention.issuer,
        convention.audience,
        convention.recipient,
        list(convention.levels) if is_client else sorted(convention.levels),
        sorted(convention.pagms),
    )


def _trace_facts(receipt: Receipt) -> TraceFacts:
    return TraceFacts(receipt.log, receipt.index)
