"""The rules a verified vector must pass, in the order of DOMAIN 7 (checks 5 to 14).

Each rule takes the conventions the vector may still be accepted under and returns those that pass; when none is left it raises
`VectorRefused` with the rule's reason. So one rule serves one convention, several of the same issuer, or all of them.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from cryptography import x509

from appliance.conventions.model import ProviderConvention
from appliance.errors import Reason, VectorRefused
from appliance.trust.names import any_matches
from appliance.trust.paths import TrustedSigner
from appliance.vectors.characters import shorten
from appliance.vectors.conditions import is_over, is_reached
from appliance.vectors.identifiers import is_of_style
from appliance.vectors.model import VerifiedVector

Scope = tuple[ProviderConvention, ...]
"""The conventions a vector may still be accepted under."""

_METHODS: Final = {  # SAML 2.0 profiles 3, SAML 1.1 bindings 5: the URI names the version that defined it
    "2.0": "urn:oasis:names:tc:SAML:2.0:cm:",
    "1.1": "urn:oasis:names:tc:SAML:1.0:cm:",
}


def check_identity_and_dates(vector: VerifiedVector, scope: Scope, now: datetime) -> Scope:
    """Check the version, the identifier, the validity period, its length, and how the subject is named and confirmed."""
    scope = keep(
        scope,
        lambda c: vector.saml_version in c.saml_versions,
        Reason.SAML_VERSION,
        lambda: f"the convention takes no SAML {vector.saml_version} assertions",
    )
    scope = keep(
        scope,
        lambda c: is_of_style(vector.assertion_id, c.id_style),
        Reason.ID_STYLE,
        lambda: (
            f"ID `{shorten(vector.assertion_id)}` is not of the style that the convention takes"
        ),
    )
    scope = keep(
        scope,
        lambda c: is_reached(vector.not_before, now, c.skew),
        Reason.NOT_YET_VALID,
        lambda: f"valid from {vector.not_before.isoformat()} on; it is {now.isoformat()}",
    )
    scope = keep(
        scope,
        lambda c: not is_over(vector.not_on_or_after, now, c.skew),
        Reason.EXPIRED,
        lambda: f"expired at {vector.not_on_or_after.isoformat()}; it is {now.isoformat()}",
    )
    lifetime = (vector.not_on_or_after - vector.not_before).total_seconds()
    scope = keep(
        scope,
        lambda c: c.maximum_lifetime is None or lifetime <= c.maximum_lifetime,
        Reason.LIFETIME_TOO_LONG,
        lambda: f"valid for {lifetime:.0f} s, longer than the convention takes",
    )
    scope = keep(
        scope,
        lambda c: _is_confirmed(vector, now, c),
        Reason.CONFIRMATION_INVALID,
        lambda: (
            "the subject must be confirmed once, by a method of the convention, and within its own dates, of which NotOnOrAfter must be there"
        ),
    )
    return keep(
        scope,
        lambda c: not c.name_id_formats or vector.name_id_format in c.name_id_formats,
        Reason.NAME_ID_FORMAT,
        lambda: (
            f"the Format of NameID is `{shorten(vector.name_id_format or '')}`, not one of the convention"
        ),
    )


def _is_confirmed(vector: VerifiedVector, now: datetime, convention: ProviderConvention) -> bool:
    begins, ends = vector.confirmation_not_before, vector.confirmation_not_on_or_after
    family, skew = _METHODS[vector.saml_version], convention.skew
    # A bearer's confirmation has an end (SAML 2.0 profiles, 4.1.4.2; DOMAIN 2.2); SAML 1.1 has no place for one.
    is_dated = ends is not None or vector.saml_version == "1.1"
    allowed = convention.confirmations[vector.saml_version]
    return (
        len(vector.confirmation_methods) == 1
        and vector.confirmation_methods[0].startswith(family)
        and vector.confirmation_methods[0][len(family) :] in allowed
        and is_dated
        and (begins is None or is_reached(begins, now, skew))
        and (ends is None or not is_over(ends, now, skew))
    )


def check_service(vector: VerifiedVector, scope: Scope, service: str | None) -> Scope:
    """Check whom the vector is for, compared exactly (DOMAIN 2.5); Audience must be `service` too where that is known.

    A SAML 1.1 assertion has no place for a Recipient.
    """
    audience = vector.audiences[0] if vector.audiences else None
    scope = keep(
        scope,
        lambda c: audience == c.audience and service in {None, audience},
        Reason.AUDIENCE_MISMATCH,
        lambda: _audience_detail(audience or "", scope, service),
    )
    if len(vector.audiences) > 1:
        raise VectorRefused(
            Reason.SEVERAL_AUDIENCES, "a vector is for one audience; this one names more"
        )
    return keep(
        scope,
        lambda c: vector.saml_version == "1.1" or vector.recipient == c.recipient,
        Reason.RECIPIENT_MISMATCH,
        lambda: f"Recipient is `{shorten(vector.recipient or '')}`, not that of the convention",
    )


def _audience_detail(audience: str, scope: Scope, service: str | None) -> str:
    """Say which audience was expected: the service called, where that is another, else the convention's."""
    found = f"Audience is `{shorten(audience)}`"
    if service not in {None, audience}:
        return f"{found}, not the service called, `{shorten(service or '')}`"
    if len(scope) == 1:
        return f"{found}, not that of convention `{scope[0].id}`, `{scope[0].audience}`"
    return f"{found}, not the service of any convention that may be meant"


def check_level_and_pagms(vector: VerifiedVector, scope: Scope) -> Scope:
    """Check the authentication level, and that PAGMs are stated once."""
    scope = keep(
        scope,
        lambda c: vector.level in c.levels,
        Reason.LEVEL_MISMATCH,
        lambda: (
            f"AuthnContextClassRef is `{shorten(vector.level or '')}`, not a level of the convention"
        ),
    )
    if not any(vector.pagms):
        raise VectorRefused(Reason.PAGM_ABSENT, "the vector states no PAGM")
    if vector.pagm_attributes > 1:
        raise VectorRefused(Reason.PAGM_DUPLICATED, "several Attribute elements are named PAGM")
    return scope


def check_signer(scope: Scope, trusting: Mapping[str, TrustedSigner], now: datetime) -> Scope:
    """Check that the convention is in force, and that the signer is its own (DOMAIN 7, checks 13)."""
    scope = keep(
        scope,
        lambda c: c.period.covers(now),
        Reason.CONVENTION_NOT_IN_FORCE,
        lambda: (
            "the convention of this issuer and audience is not in force now: see valid_from and valid_until"
        ),
    )
    scope = keep(
        scope,
        lambda c: c.id in trusting,
        Reason.SIGNER_NOT_OF_CONVENTION,
        lambda: (
            "the signer is trusted by another convention, not by the one of this issuer and audience"
        ),
    )
    scope = keep(
        scope,
        lambda c: not c.anchor_names or any_matches(c.anchor_names, trusting[c.id].anchor),
        Reason.ANCHOR_NOT_OF_CONVENTION,
        lambda: "the trust anchor is none that `trust.anchor_names` names",
    )
    return keep(
        scope,
        lambda c: not c.signer_names or any_matches(c.signer_names, trusting[c.id].subject),
        Reason.SIGNER_NAME,
        lambda: "the signer's name is none that `trust.signer_names` names",
    )


def check_tls_peer(scope: Scope, tls_peer: x509.Name | None) -> Scope:
    """Check that the partner's connection is one of the issuer's; where the convention names TLS peers, a connection without one is none."""
    return keep(
        scope,
        lambda c: not c.tls_peers or (tls_peer is not None and any_matches(c.tls_peers, tls_peer)),
        Reason.TLS_PEER,
        lambda: "the TLS peer is none that `trust.tls_peers` names for this issuer",
    )


def check_known_pagms(vector: VerifiedVector, scope: Scope) -> Scope:
    """Check that one PAGM is known to the convention, or all where it says so."""
    return keep(
        scope,
        lambda c: (
            not c.pagms.isdisjoint(vector.pagms)
            if c.unknown_pagms == "ignore"
            else c.pagms.issuperset(vector.pagms)
        ),
        Reason.PAGM_UNKNOWN,
        lambda: "none of the PAGMs is known to the convention, or one is not where all must be",
    )


def keep(
    scope: Scope,
    passes: Callable[[ProviderConvention], bool],
    reason: Reason,
    detail: Callable[[], str],
) -> Scope:
    """Return the conventions that pass a rule; what would be said is written only where none does.

    Raises:
        VectorRefused: none does.
    """
    kept = tuple([convention for convention in scope if passes(convention)])
    if not kept:
        raise VectorRefused(reason, detail())
    return kept
