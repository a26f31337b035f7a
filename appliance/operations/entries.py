"""What the trace says of an event: the fields of DOMAIN 8.4, taken from where each is known for certain.

Promises that a request's own words are cut to a bound before they are traced as refused, and that of a vector only what its
signature covers is repeated: of an unverified one, nothing but the digest of its octets.
"""

import hashlib
from datetime import datetime
from typing import Final, Protocol, TypedDict

import msgspec

from appliance.cache.vector_cache import Creation
from appliance.clock import format_instant
from appliance.errors import Reason, RequestError
from appliance.native import AssertionFields
from appliance.operations.checks import failed_check
from appliance.operations.faults import Fault
from appliance.operations.judge import Judgement
from appliance.trace.record import TraceEntry
from appliance.vectors.characters import shorten
from appliance.vectors.model import RequestContext, UnsignedVector, VectorRequest

UNSIGNED: Final = "0" * 64
"""Stands for the digest of an assertion that is not signed yet; of the same length, so that the size is known before."""

_MOST_REPEATED: Final = 32


class VectorExchange(msgspec.Struct, frozen=True):
    """A message with a vector on its way to `component`, a partner or an application of ours."""

    convention: str
    issuer: str
    assertion_id: str
    component: str


class _Whence(TypedDict):
    request_id: str
    caller: str
    peer: str
    tls_peer: str | None


class TracedKey(Protocol):
    """What the trace says of a signing key."""

    @property
    def certificate_sha256(self) -> str:
        """Fingerprint of the certificate, hexadecimal."""

    @property
    def key_sha256(self) -> str:
        """Fingerprint of the public key (SubjectPublicKeyInfo), hexadecimal."""


def created_entry(vector: UnsignedVector, context: RequestContext, key: TracedKey) -> TraceEntry:
    """State the creation of a vector, its digest still open (`UNSIGNED`)."""
    request = vector.request
    return TraceEntry(
        event="created",
        time=vector.issue_instant,
        **_whence(context),
        convention=request.convention,
        assertion_id=vector.assertion_id,
        assertion_sha256=UNSIGNED,
        issuer=request.issuer,
        audience=request.audience,
        recipient=request.recipient,
        subject=request.subject,
        name_id=request.name_id,
        pagms=request.pagms,
        level=request.level,
        issue_instant=vector.issue_instant,
        authn_instant=vector.authn_instant,
        not_before=vector.not_before,
        not_on_or_after=vector.not_on_or_after,
        key=request.key,
        key_sha256=key.key_sha256,
        certificate_sha256=key.certificate_sha256,
        algorithm=request.signature_algorithm,
    )


def reused_entry(
    vector: UnsignedVector, creation: Creation, context: RequestContext, time: str
) -> TraceEntry:
    """State that a vector was given out again; what it says beside its issuer stands where its creation was traced."""
    return TraceEntry(
        event="reused",
        time=time,
        **_whence(context),
        convention=vector.request.convention,
        issuer=vector.request.issuer,
        assertion_id=vector.assertion_id,
        creation_log=creation.log,
        creation_index=creation.index,
    )


def message_signed_entry(
    vector: UnsignedVector,
    context: RequestContext,
    key: TracedKey,
    digest: bytes,
    time: str,
) -> TraceEntry:
    """State that parts of a message were signed beside the vector; `digest` is that of what the token signed."""
    request = vector.request
    return TraceEntry(
        event="message-signed",
        time=time,
        **_whence(context),
        convention=request.convention,
        issuer=request.issuer,
        assertion_id=vector.assertion_id,
        key=request.key,
        key_sha256=key.key_sha256,
        certificate_sha256=key.certificate_sha256,
        algorithm=request.signature_algorithm,
        detail=f"SignedInfo {digest.hex()}",
    )


def request_refused_entry(
    request: VectorRequest, context: RequestContext, refusal: RequestError, time: str
) -> TraceEntry:
    """State that a request was refused."""
    return TraceEntry(
        event="request-refused",
        time=time,
        **_whence(context),
        convention=_repeat(request.convention),
        subject=None if request.subject is None else _repeat(request.subject),
        pagms=tuple(map(_repeat, request.pagms[:_MOST_REPEATED])),
        level=None if request.authn_context is None else _repeat(request.authn_context),
        verdict="refused",
        reason=refusal.reason.value,
    )


def message_refused_entry(
    context: RequestContext, reason: Reason, path: str, convention: str | None, time: str
) -> TraceEntry:
    """State that a message in line was refused before a vector was made for it, or judged in it."""
    return TraceEntry(
        event="request-refused",
        time=time,
        **_whence(context),
        convention=convention,
        component=path or None,
        verdict="refused",
        reason=reason.value,
    )


def answered_entry(
    exchange: VectorExchange, context: RequestContext, outcome: int | Reason, time: str
) -> TraceEntry:
    """State what came back on a message with a vector: an HTTP status, or why nothing did."""
    return TraceEntry(
        event="answered",
        time=time,
        **_whence(context),
        convention=exchange.convention,
        issuer=exchange.issuer,
        assertion_id=exchange.assertion_id,
        component=exchange.component,
        status=outcome if isinstance(outcome, int) else None,
        reason=outcome.value if isinstance(outcome, Reason) else None,
    )


def received_entry(
    judgement: Judgement,
    context: RequestContext,
    fault: Fault | None,
    service: str | None,
    now: datetime,
) -> TraceEntry:
    """State the decision on a received vector; `service` is the one the caller says was called."""
    refusal = judgement.refusal
    entry = TraceEntry(
        event="received",
        time=format_instant(now),
        service=None if service is None else _repeat(service),
        rule=None if refusal is None else failed_check(refusal),
        **_whence(context),
        convention=None if judgement.accepted is None else judgement.accepted.convention,
        assertion_sha256=judgement.assertion_sha256,
        verdict="accepted" if fault is None else "refused",
        fault=None if fault is None else fault.code,
        reason=None if fault is None else fault.reason.value,
    )
    signed = judgement.signed
    if signed is None:
        return entry
    signer, *others = (hashlib.sha256(each).hexdigest() for each in signed.claim.certificates)
    entry = msgspec.structs.replace(
        entry,
        certificate_sha256=signer,
        chain_sha256=tuple(others[:_MOST_REPEATED]),
        algorithm=signed.claim.signature_algorithm,
        legacy_sha1=signed.legacy_sha1,
    )
    if judgement.signer is not None:
        entry = msgspec.structs.replace(
            entry,
            crl_sha256=judgement.signer.crls,
            crl_in_grace=judgement.signer.in_grace,
            ocsp=judgement.signer.ocsp,
        )
    too_large = fault is not None and fault.reason is Reason.VECTOR_TOO_LARGE
    return entry if too_large else _add_stated(entry, signed.stated)


def _add_stated(entry: TraceEntry, stated: AssertionFields) -> TraceEntry:
    return msgspec.structs.replace(
        entry,
        assertion_id=stated.id,
        issuer=stated.issuer,
        audience=next(iter(stated.audiences), None),
        recipient=stated.recipient,
        subject=stated.name_id,
        name_id=stated.name_id,
        pagms=tuple(stated.pagms),
        level=stated.authn_context,
        issue_instant=stated.issue_instant,
        authn_instant=stated.authn_instant,
        not_before=stated.not_before,
        not_on_or_after=stated.not_on_or_after,
    )


def _whence(context: RequestContext) -> _Whence:
    """Who asked, from where: what every entry about a request says."""
    certificate = context.tls_certificate
    return {
        "request_id": context.request_id,
        "caller": context.caller.name,
        "peer": context.peer,
        "tls_peer": None if certificate is None else hashlib.sha256(certificate).hexdigest(),
    }


def _repeat(text: str) -> str:
    """Cut a request's own words; a lone surrogate, which an argument list can hold, becomes its escape."""
    return shorten(text.encode("utf-8", "backslashreplace").decode())
