"""What a convention lets a caller state, and which verified vector it accepts.

The only place that makes `AuthorizedRequest` and `AcceptedVector` (DESIGN invariant 3); both hold resolved facts, so nothing is
decided twice. `grants` and `rules` hold the single checks.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from cryptography import x509

from appliance.clock import Clock
from appliance.conventions.grants import (
    check_attributes,
    check_caller,
    check_pagms,
    check_period,
    check_subject,
    choose_level,
    choose_pagms,
    choose_reuse,
    grant_pagms,
    read_authn_instant,
)
from appliance.conventions.registry import Candidates, Registry
from appliance.conventions.rules import (
    check_identity_and_dates,
    check_known_pagms,
    check_level_and_pagms,
    check_service,
    check_signer,
    check_tls_peer,
)
from appliance.errors import Reason, VectorRefused
from appliance.trust.paths import TrustedSigner
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
        MalformedRequest: no convention could cover it.
    """
    check_caller(request.convention, context)
    convention = registry.client(request.convention)
    granted = grant_pagms(convention, context)
    now = clock.now()
    check_period(convention, now)
    pagms = choose_pagms(convention, request)
    check_pagms(convention, pagms, granted)
    if request.subject is not None:
        check_subject(convention, request.subject)
    check_attributes(convention, request.attributes)
    return AuthorizedRequest(
        convention=convention.id,
        issuer=convention.issuer,
        audience=convention.audience,
        recipient=convention.recipient,
        subject=request.subject,
        name_id=convention.no_user if request.subject is None else request.subject,
        name_id_format=convention.name_id_format,
        pagms=pagms,
        level=choose_level(convention, request.authn_context),
        authn_instant=read_authn_instant(request.authn_instant, clock),
        attributes=request.attributes,
        lifetime=convention.lifetime,
        back_dating=convention.back_dating,
        id_style=convention.id_style,
        key=convention.key_at(now),
        signature_algorithm=convention.signature_algorithm,
        saml_version=convention.saml_version,
        confirmation=convention.confirmation,
        variant=convention.variant,
        key_info=convention.key_info,
        reuse=choose_reuse(convention, request.reuse),
        convention_sha256=registry.fingerprint(convention) if convention.reuse else "",
        reuse_margin=convention.reuse_margin,
    )


class Signing(msgspec.Struct, frozen=True):
    """How and by whom a verified vector was signed, as far as trust goes.

    Attributes:
        trusting: id of each convention whose trust accepted the signer → what that trust knows of it.
        tls_peer: the name of the partner's TLS certificate, where it is known.
        legacy_sha1: whether the signature or the signer's chain relies on SHA-1.
        by_partner: whether the partner's own connection brought the vector.
    """

    trusting: Mapping[str, TrustedSigner]
    tls_peer: x509.Name | None
    legacy_sha1: bool
    by_partner: bool = False


def authorize_received(
    vector: VerifiedVector,
    candidates: Candidates,
    service: str | None,
    signing: Signing,
    now: datetime,
) -> AcceptedVector:
    """Accept a verified vector under one convention, or refuse it (DOMAIN 7, checks 5 to 14).

    Each check keeps the conventions that pass it and refuses when none is left. A vector whose issuer has no convention is held
    against one of each kind, so an earlier rule may still name its fault, and is refused at the issuer at the latest. Replay is not
    decided here.

    Args:
        vector: what the verified octets state.
        candidates: the provider conventions it may fall under.
        service: the URI of the service that was called, when known; Audience must be this one too.
        signing: what is known of the signer and the TLS peer.
        now: the instant to judge by.

    Raises:
        VectorRefused: the first rule that no convention passes.
    """
    of_issuer = candidates.of_issuer(vector.issuer)
    scope = check_identity_and_dates(vector, of_issuer or candidates.unlike, now)
    scope = check_service(vector, scope, service)
    scope = check_level_and_pagms(vector, scope)
    if not of_issuer:
        raise VectorRefused(
            Reason.ISSUER_UNKNOWN, f"no convention has the issuer `{shorten(vector.issuer)}`"
        )
    scope = check_signer(scope, signing.trusting, now)
    if signing.by_partner or signing.tls_peer is not None:
        scope = check_tls_peer(scope, signing.tls_peer)
    convention = check_known_pagms(vector, scope)[0]
    return AcceptedVector(
        vector=vector,
        convention=convention.id,
        subject=None if vector.name_id == convention.no_user else vector.name_id,
        pagms=tuple(pagm for pagm in vector.pagms if pagm in convention.pagms),
        attributes={
            name: values
            for name, values in vector.attributes.items()
            if name in convention.attributes
        },
        legacy_sha1=signing.legacy_sha1,
        replay=convention.replay,
    )
