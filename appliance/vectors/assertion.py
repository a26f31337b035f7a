"""How an assertion is filled from an authorised request, and what is kept of a verified one."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from appliance.clock import Clock, format_instant
from appliance.errors import Reason, VectorRefused
from appliance.native import AssertionContent, AssertionFields, SignatureClaim, VerifiedOctets
from appliance.vectors.conditions import read_instant
from appliance.vectors.identifiers import write_assertion_id
from appliance.vectors.model import AuthorizedRequest, UnsignedVector, VerifiedVector

MOST_STATED: Final = 48 * 1024
"""Octets that the values of a received vector may take together in its record (JSON), so that the whole of it fits in one trace entry."""


def new_vector(
    request: AuthorizedRequest, clock: Clock, new_uuid: Callable[[], UUID]
) -> UnsignedVector:
    """Give an authorised request its identifier and its instants."""
    now = clock.now()
    issue_instant = format_instant(now)
    authenticated = request.authn_instant
    return UnsignedVector(
        request=request,
        assertion_id=write_assertion_id(new_uuid(), request.id_style),
        issue_instant=issue_instant,
        not_before=format_instant(now - timedelta(seconds=request.back_dating)),
        not_on_or_after=format_instant(now + timedelta(seconds=request.lifetime)),
        authn_instant=issue_instant if authenticated is None else format_instant(authenticated),
    )


def content_of(vector: UnsignedVector) -> AssertionContent:
    """Hand a vector to the extension, which escapes every string it writes."""
    request = vector.request
    return AssertionContent(
        id=vector.assertion_id,
        issue_instant=vector.issue_instant,
        issuer=request.issuer,
        name_id=request.name_id,
        name_id_format=request.name_id_format,
        recipient=request.recipient,
        audience=request.audience,
        not_before=vector.not_before,
        not_on_or_after=vector.not_on_or_after,
        authn_instant=vector.authn_instant,
        authn_context=request.level,
        pagms=request.pagms,
        attributes=request.attributes,
        saml_version=request.saml_version,
        confirmation=request.confirmation,
    )


def read_vector(
    verified: VerifiedOctets, stated: AssertionFields, claim: SignatureClaim
) -> VerifiedVector:
    """Read a vector from `stated`, which `verified.read()` gave; the claim adds how and by whom it was signed.

    Raises:
        VectorRefused: `vector-too-large` or `date-invalid`.
    """
    _check_extent(stated)
    return VerifiedVector(
        octets=verified,
        assertion_id=stated.id,
        issue_instant=stated.issue_instant,
        issuer=stated.issuer,
        name_id=stated.name_id,
        name_id_format=stated.name_id_format,
        confirmation_methods=tuple(stated.confirmation_methods),
        confirmation_not_before=_read_optional(
            "SubjectConfirmationData/@NotBefore", stated.confirmation_not_before
        ),
        confirmation_not_on_or_after=_read_optional(
            "SubjectConfirmationData/@NotOnOrAfter", stated.confirmation_not_on_or_after
        ),
        recipient=stated.recipient,
        audiences=tuple(stated.audiences),
        not_before=_read_mandatory("Conditions/@NotBefore", stated.not_before),
        not_on_or_after=_read_mandatory("Conditions/@NotOnOrAfter", stated.not_on_or_after),
        authn_instant=stated.authn_instant,
        level=stated.authn_context,
        pagm_attributes=stated.pagm_attribute_count,
        pagms=tuple(stated.pagms),
        attributes={name: tuple(values) for name, values in stated.attributes.items()},
        signature_algorithm=claim.signature_algorithm,
        digest_algorithm=claim.digest_algorithm,
        variant=claim.variant,
        certificates=tuple(claim.certificates),
        saml_version="1.1" if stated.version == "1.1" else "2.0",
    )


def _check_extent(stated: AssertionFields) -> None:
    texts: Sequence[str | None] = (
        stated.id,
        stated.issue_instant,
        stated.not_before,
        stated.not_on_or_after,
        stated.issuer,
        *(stated.name_id, stated.name_id),  # as name_id, and as subject
        stated.recipient,
        stated.authn_instant,
        stated.authn_context,
        *stated.audiences,
        *stated.pagms,
    )
    octets = len(msgspec.json.encode(texts))
    if octets > MOST_STATED:
        raise VectorRefused(
            Reason.VECTOR_TOO_LARGE,
            f"the values of the vector take {octets} octets in its trace, {MOST_STATED} fit",
        )


def _read_mandatory(name: str, text: str | None) -> datetime:
    if text is None:
        raise VectorRefused(Reason.DATE_INVALID, f"{name} is missing")
    try:
        return read_instant(text)
    except ValueError as exc:
        raise VectorRefused(Reason.DATE_INVALID, f"{name} `{text[:64]}`: {exc}") from exc


def _read_optional(name: str, text: str | None) -> datetime | None:
    return None if text is None else _read_mandatory(name, text)
