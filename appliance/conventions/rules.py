"""The rules a verified vector must pass, in the order of DOMAIN 7 (checks 5 to 14).

Each rule takes the conventions the vector may still be accepted under and returns those that pass; when none is left it raises
`VectorRefused` with the rule's reason. So one rule serves one convention, several of the same issuer, or all of them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from appliance.conventions.model import ProviderConvention
from appliance.errors import Reason, VectorRefused
from appliance.vectors.characters import shorten
from appliance.vectors.conditions import is_over, is_reached
from appliance.vectors.identifiers import is_of_style
from appliance.vectors.model import VerifiedVector

Scope = tuple[ProviderConvention, ...]
"""The conventions a vector may still be accepted under."""

_BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"


def check_identity_and_dates(vector: VerifiedVector, scope: Scope, now: datetime) -> Scope:
    """Check the identifier, the validity period, its length, and how the subject is confirmed."""
    scope = keep(
        scope,
        lambda c: is_of_style(vector.assertion_id, c.id_style),
        Reason.ID_STYLE,
        f"ID `{shorten(vector.assertion_id)}` is not of the style that the convention takes",
    )
    scope = keep(
        scope,
        lambda c: is_reached(vector.not_before, now, c.skew),
        Reason.NOT_YET_VALID,
        f"valid from {vector.not_before.isoformat()} on; it is {now.isoformat()}",
    )
    scope = keep(
        scope,
        lambda c: not is_over(vector.not_on_or_after, now, c.skew),
        Reason.EXPIRED,
        f"expired at {vector.not_on_or_after.isoformat()}; it is {now.isoformat()}",
    )
    lifetime = (vector.not_on_or_after - vector.not_before).total_seconds()
    scope = keep(
        scope,
        lambda c: c.maximum_lifetime is None or lifetime <= c.maximum_lifetime,
        Reason.LIFETIME_TOO_LONG,
        f"valid for {lifetime:.0f} s, longer than the convention takes",
    )
    return keep(
        scope,
        lambda c: _is_confirmed(vector, now, c.skew),
        Reason.CONFIRMATION_INVALID,
        "SubjectConfirmation must be one, of method bearer, and within its own dates",
    )


def _is_confirmed(vector: VerifiedVector, now: datetime, skew: float) -> bool:
    begins, ends = vector.confirmation_not_before, vector.confirmation_not_on_or_after
    return (
        vector.confirmation_methods == (_BEARER,)
        and (begins is None or is_reached(begins, now, skew))
        and (ends is None or not is_over(ends, now, skew))
    )


def check_service(vector: VerifiedVector, scope: Scope, service: str | None) -> Scope:
    """Check whom the vector is for, compared exactly (DOMAIN 2.5); Audience must be `service` too where that is known."""
    audience = vector.audiences[0] if vector.audiences else None
    scope = keep(
        scope,
        lambda c: audience == c.audience and service in {None, audience},
        Reason.AUDIENCE_MISMATCH,
        f"Audience is `{shorten(audience or '')}`, not the service of the convention",
    )
    if len(vector.audiences) > 1:
        raise VectorRefused(
            Reason.SEVERAL_AUDIENCES, "a vector is for one audience; this one names more"
        )
    return keep(
        scope,
        lambda c: vector.recipient == c.recipient,
        Reason.RECIPIENT_MISMATCH,
        f"Recipient is `{shorten(vector.recipient or '')}`, not that of the convention",
    )


def check_level_and_pagms(vector: VerifiedVector, scope: Scope) -> Scope:
    """Check the authentication level, and that PAGMs are stated once."""
    scope = keep(
        scope,
        lambda c: vector.level in c.levels,
        Reason.LEVEL_MISMATCH,
        f"AuthnContextClassRef is `{shorten(vector.level or '')}`, not a level of the convention",
    )
    if not any(vector.pagms):
        raise VectorRefused(Reason.PAGM_ABSENT, "the vector states no PAGM")
    if vector.pagm_attributes > 1:
        raise VectorRefused(Reason.PAGM_DUPLICATED, "several Attribute elements are named PAGM")
    return scope


def keep(
    scope: Scope, passes: Callable[[ProviderConvention], bool], reason: Reason, detail: str
) -> Scope:
    """Return the conventions that pass a rule.

    Raises:
        VectorRefused: none does.
    """
    kept = tuple(convention for convention in scope if passes(convention))
    if not kept:
        raise VectorRefused(reason, detail)
    return kept
