"""What a convention lets a caller state, and which verified vector it accepts.

The only place that makes `AuthorizedRequest` and `AcceptedVector` (DESIGN invariant 3); both hold resolved facts, so nothing is
decided twice. `grants` and `rules` hold the single checks.
"""

from datetime import datetime

from appliance.clock import Clock
from appliance.conventions.grants import (
    check_attributes,
    check_caller,
    check_pagms,
    check_subject,
    choose_level,
    read_authn_instant,
)
from appliance.conventions.registry import Registry
from appliance.conventions.rules import (
    Scope,
    check_identity_and_dates,
    check_level_and_pagms,
    check_service,
    keep,
)
from appliance.errors import ConventionViolation, Reason, VectorRefused
from appliance.vectors.characters import shorten
from appliance.vectors.model import (
    AcceptedVector,
    AuthorizedRequest,
    RequestContext,
    VectorRequest,
    VerifiedVector,
)


def authorize_issue(
    registry: Registry, request: VectorRequest, context: RequestContext, clock: Clock
) -> AuthorizedRequest:
    """Resolve a request against its convention; whether the caller may use it is asked first, so others learn nothing about it.

    Raises:
        ConventionViolation: the convention, or what it grants this caller, does not cover the request.
    """
    check_caller(request.convention, context)
    convention = registry.client(request.convention)
    check_pagms(convention, request.pagms)
    if request.subject is not None:
        check_subject(convention, request.subject)
    check_attributes(convention, request.attributes)
    if request.reuse:
        raise ConventionViolation(
            Reason.REUSE_NOT_GRANTED,
            f"`{convention.id}` does not grant reuse: ask for a new vector each time",
        )
    return AuthorizedRequest(
        convention=convention.id,
        issuer=convention.issuer,
        audience=convention.audience,
        recipient=convention.recipient,
        subject=request.subject,
        name_id=convention.no_user if request.subject is None else request.subject,
        name_id_format=convention.name_id_format,
        pagms=request.pagms,
        level=choose_level(convention, request.authn_context),
        authn_instant=read_authn_instant(request.authn_instant, clock),
        attributes=request.attributes,
        lifetime=convention.lifetime,
        back_dating=convention.back_dating,
        id_style=convention.id_style,
        key=convention.key,
        signature_algorithm=convention.signature_algorithm,
    )


def authorize_received(
    vector: VerifiedVector,
    candidates: Scope,
    trusting: frozenset[str],
    service: str | None,
    now: datetime,
    *,
    legacy_sha1: bool,
) -> AcceptedVector:
    """Accept a verified vector under one convention, or refuse it (DOMAIN 7, checks 5 to 14).

    Each check keeps the conventions that pass it and refuses when none is left. A vector whose issuer has no convention is held
    against all of them, so an earlier rule may still name its fault, and is refused at the issuer at the latest.

    Args:
        vector: what the verified octets state.
        candidates: the provider conventions it may fall under, in the order of their ids.
        trusting: ids of the conventions whose trust accepted the signer.
        service: the URI of the service that was called, when known; Audience must be this one too.
        now: the instant to judge by.
        legacy_sha1: whether the signature or the signer's chain relies on SHA-1.

    Raises:
        VectorRefused: the first rule that no convention passes.
    """
    of_issuer = tuple(c for c in candidates if c.issuer == vector.issuer)
    scope = check_identity_and_dates(vector, of_issuer or candidates, now)
    scope = check_service(vector, scope, service)
    scope = check_level_and_pagms(vector, scope)
    if not of_issuer:
        raise VectorRefused(
            Reason.ISSUER_UNKNOWN, f"no convention has the issuer `{shorten(vector.issuer)}`"
        )
    scope = keep(
        scope,
        lambda c: c.id in trusting,
        Reason.SIGNER_NOT_OF_CONVENTION,
        "the signer is trusted by another convention, not by the one of this issuer and audience",
    )
    scope = keep(
        scope,
        lambda c: not c.pagms.isdisjoint(vector.pagms),
        Reason.PAGM_UNKNOWN,
        "none of the PAGMs is known to the convention",
    )
    convention = scope[0]
    return AcceptedVector(
        vector=vector,
        convention=convention.id,
        pagms=tuple(pagm for pagm in vector.pagms if pagm in convention.pagms),
        legacy_sha1=legacy_sha1,
    )
