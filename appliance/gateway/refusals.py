"""What a caller in line is told of a refusal or a failure: a SOAP fault in its own version, and the status that SOAP gives it.

HTTP has a say only where no message was looked at: who calls, which path, how large, how slow.
"""

from collections.abc import Mapping
from typing import Final

from appliance.errors import (
    ApplianceError,
    InternalError,
    Pushback,
    Reason,
    RequestError,
    RequestTooLarge,
    RequestTooSlow,
    ResourceUnknown,
    Unavailable,
    UnknownCaller,
    VectorRefused,
)
from appliance.gateway.fields import REQUEST_ID
from appliance.operations.faults import fault_of
from appliance.soap.fault import CONTENT_TYPES, Blame, SoapFault, Version, status_of, write_fault

Refusal = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, fields, body."""

_OF_HTTP: Final[Mapping[type[ApplianceError], int]] = {
    UnknownCaller: 401,
    ResourceUnknown: 404,
    RequestTooSlow: 408,
    RequestTooLarge: 413,
}
_OURS: Final = "The appliance failed; its log has the cause under this request id."


def guess_version(content_type: bytes) -> Version:
    """Tell from its type which SOAP a message is that has not been read."""
    return "1.2" if content_type.lower().startswith(b"application/soap+xml") else "1.1"


def write_refusal(error: ApplianceError, version: Version, request_id: str) -> Refusal:
    """Answer an error."""
    fault = _fault_of(error)
    fields = [(b"content-type", CONTENT_TYPES[version]), (REQUEST_ID, request_id.encode("ascii"))]
    if isinstance(error, Pushback | Unavailable):
        fields.append((b"retry-after", b"%d" % error.retry_after))
    elif isinstance(error, UnknownCaller):
        fields.append((b"www-authenticate", b"Bearer"))
    elif error.reason is Reason.METHOD_NOT_ALLOWED:
        fields.append((b"allow", b"POST, GET"))
        return 405, fields, write_fault(fault, version)
    status = _OF_HTTP.get(type(error)) or status_of(fault, version)
    return status, fields, write_fault(fault, version)


def _fault_of(error: ApplianceError) -> SoapFault:
    if isinstance(error, VectorRefused):
        told = fault_of(error)
        return SoapFault(
            "sender", told.string, code=told.code, namespace=told.namespace, language="fr"
        )
    if isinstance(error, InternalError):
        return SoapFault("receiver", _OURS, reason=Reason.INTERNAL.value)
    blame: Blame = "sender" if isinstance(error, RequestError) else "receiver"
    return SoapFault(blame, error.detail, reason=error.reason.value)
