"""What goes back: an `Answer`, and the one table that turns an error class into a status (DESIGN section 7).

Promises that every refusal is the same JSON object, that push-back and unavailability carry `Retry-After`, and that an error of
ours tells the outside nothing but its request id.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from appliance.errors import (
    ApplianceError,
    ConventionViolation,
    ForeignRequest,
    MalformedRequest,
    Pushback,
    Reason,
    RequestTooLarge,
    RequestTooSlow,
    ResourceUnknown,
    Unavailable,
    UnknownCaller,
)

Headers = tuple[tuple[bytes, bytes], ...]

STATUS: Final[Mapping[type[ApplianceError], int]] = {
    MalformedRequest: 400,
    UnknownCaller: 401,
    ForeignRequest: 403,
    ConventionViolation: 403,
    ResourceUnknown: 404,
    RequestTooSlow: 408,
    RequestTooLarge: 413,
    Pushback: 503,
    Unavailable: 503,
}
"""Looked up along the class's ancestors; what is not here is our own fault: 500."""

JSON_HEADERS: Final[Headers] = ((b"content-type", b"application/json"),)

_INTERNAL: Final = "The appliance failed; its log has the cause under this request id."
_REQUEST_ID: Final = b"x-request-id"
_encode: Final = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer, complete; `content-length` and the request id are added when it is written."""

    status: int
    headers: Headers
    body: bytes


class ErrorFacts(msgspec.Struct, frozen=True):
    """Why the request was refused (CONTRACT 3)."""

    reason: str
    detail: str
    request_id: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every refusal."""

    error: ErrorFacts


def json_answer(body: msgspec.Struct) -> Answer:
    """Answer 200 with a JSON object."""
    return Answer(200, JSON_HEADERS, _encode(body))


def error_facts(error: ApplianceError, request_id: str) -> ErrorFacts:
    """Say what the outside may know of an error."""
    if status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR:
        return ErrorFacts(Reason.INTERNAL, _INTERNAL, request_id)
    return ErrorFacts(error.reason, error.detail, request_id)


def error_answer(error: ApplianceError, request_id: str, allow: bytes = b"") -> Answer:
    """Answer a refusal or a failure; `allow` lists the methods that a path does take."""
    headers = JSON_HEADERS
    if isinstance(error, Pushback | Unavailable):
        headers += ((b"retry-after", b"%d" % error.retry_after),)
    elif isinstance(error, UnknownCaller):
        headers += ((b"www-authenticate", b"Bearer"),)
    if allow:
        headers += ((b"allow", allow),)
    body = _encode(ErrorAnswer(error_facts(error, request_id)))
    return Answer(status_of(error), headers, body)


def status_of(error: ApplianceError) -> int:
    """Look the error's class up in the table."""
    if error.reason is Reason.METHOD_NOT_ALLOWED:
        return 405
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def write_head(answer: Answer, request_id: str) -> list[tuple[bytes, bytes]]:
    """List the header fields of an answer, in the order they are written."""
    return [
        *answer.headers,
        (b"content-length", b"%d" % len(answer.body)),
        (_REQUEST_ID, request_id.encode("ascii")),
    ]
