"""The checks of a received vector, named, in the order in which they run (DOMAIN 7).

Because checks run in this order and stop at the first failure, the reason of a refusal alone tells the outcome of each: those
before it passed, those after it did not run. Nor did what nobody asked for: the checks of an envelope on an assertion that came alone,
and those that the convention leaves open. A vector that came before and is accepted all the same is `flagged`. The names are stable;
people script against them.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Final, Literal

import msgspec

from appliance.conventions.model import ProviderConvention
from appliance.errors import Reason, VectorRefused

Outcome = Literal["passed", "flagged", "failed", "not-run"]


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check with its outcome; only a failed or flagged one has a detail."""

    name: str
    outcome: Outcome
    detail: str | None = None


_REASONS: Final[Mapping[str, tuple[Reason, ...]]] = {
    "message-kind": (Reason.NOT_A_VECTOR,),
    "soap-header": (Reason.SOAP_HEADER_MISSING,),
    "security-header": (Reason.SECURITY_HEADER_MISSING, Reason.SEVERAL_SECURITY_HEADERS),
    "assertion": (Reason.ASSERTION_MISSING, Reason.SEVERAL_ASSERTIONS),
    "structure": (Reason.STRUCTURE_INVALID,),
    "signature-present": (Reason.SIGNATURE_MISSING, Reason.SEVERAL_SIGNATURES),
    "certificate-present": (Reason.CERTIFICATE_MISSING,),
    "signature-profile": (Reason.SIGNATURE_PROFILE,),
    "algorithms": (Reason.ALGORITHM_NOT_ALLOWED,),
    "signer-certificate": (Reason.CERTIFICATE_INVALID, Reason.CERTIFICATE_SELF_SIGNED),
    "certificate-path": (
        Reason.CERTIFICATE_NOT_TRUSTED,
        Reason.CERTIFICATE_REVOKED,
        Reason.REVOCATION_UNKNOWN,
    ),
    "signature-value": (Reason.SIGNATURE_INVALID,),
    "digest": (Reason.DIGEST_MISMATCH,),
    "extent": (Reason.VECTOR_TOO_LARGE,),
    "saml-version": (Reason.SAML_VERSION,),
    "dates-readable": (Reason.DATE_INVALID,),
    "id-style": (Reason.ID_STYLE,),
    "not-before": (Reason.NOT_YET_VALID,),
    "not-on-or-after": (Reason.EXPIRED,),
    "lifetime": (Reason.LIFETIME_TOO_LONG,),
    "subject-confirmation": (Reason.CONFIRMATION_INVALID,),
    "name-id-format": (Reason.NAME_ID_FORMAT,),
    "audience": (Reason.AUDIENCE_MISMATCH,),
    "single-audience": (Reason.SEVERAL_AUDIENCES,),
    "recipient": (Reason.RECIPIENT_MISMATCH,),
    "authentication-level": (Reason.LEVEL_MISMATCH,),
    "pagm-present": (Reason.PAGM_ABSENT,),
    "single-pagm-attribute": (Reason.PAGM_DUPLICATED,),
    "issuer": (Reason.ISSUER_UNKNOWN,),
    "convention-in-force": (Reason.CONVENTION_NOT_IN_FORCE,),
    "signer-of-convention": (Reason.SIGNER_NOT_OF_CONVENTION, Reason.ANCHOR_NOT_OF_CONVENTION),
    "signer-name": (Reason.SIGNER_NAME,),
    "tls-peer": (Reason.TLS_PEER,),
    "pagm-known": (Reason.PAGM_UNKNOWN,),
    "message-signature": (Reason.MESSAGE_SIGNATURE,),
    "replay": (Reason.REPLAYED,),
}
_NAMES: Final = tuple(_REASONS)
_FAILS_AT: Final = {
    reason: at for at, reasons in enumerate(_REASONS.values()) for reason in reasons
}
ALL_PASSED: Final = tuple(Check(name, "passed") for name in _NAMES)

CAME_BEFORE: Final = Check(
    "replay", "flagged", "a vector of this issuer with this ID was accepted before"
)
"""What is said of a vector that comes again where the convention merely logs that."""

REPLAY: Final = frozenset({"replay"})
OF_ENVELOPE: Final = frozenset({"soap-header", "security-header"})
_NOTHING: Final[frozenset[str]] = frozenset()
_WHERE_ASKED: Final[Mapping[str, Callable[[ProviderConvention], bool]]] = {
    "lifetime": lambda c: c.maximum_lifetime is not None,
    "name-id-format": lambda c: bool(c.name_id_formats),
    "signer-name": lambda c: bool(c.signer_names),
    "tls-peer": lambda c: bool(c.tls_peers),
    "message-signature": lambda c: bool(c.soap_signed),
    "replay": lambda c: c.replay != "off",
}
"""Checks that a convention may leave open → whether it does not."""


def not_asked(
    conventions: Collection[ProviderConvention], saml_version: str, *, has_tls_peer: bool
) -> frozenset[str]:
    """Name the checks that none of the conventions a vector may fall under asks for, or that there is nothing to check by."""
    unasked = {
        name
        for name, is_asked in _WHERE_ASKED.items()
        if conventions and not any(map(is_asked, conventions))
    }
    if saml_version == "1.1":  # it has no place for a Recipient
        unasked.add("recipient")
    if not has_tls_peer:
        unasked.add("tls-peer")
    return frozenset(unasked)


def failed_check(refusal: VectorRefused) -> str:
    """Name the check that failed."""
    return _NAMES[_FAILS_AT[refusal.reason]]


def checks_of(
    refusal: VectorRefused | None, unasked: frozenset[str] = _NOTHING
) -> tuple[Check, ...]:
    """Return every check with its outcome; all that ran passed when nothing was refused."""
    passed = _passed_but(unasked)
    if refusal is None:
        return passed
    at = _FAILS_AT[refusal.reason]
    failed = Check(_NAMES[at], "failed", refusal.detail)
    return (
        *passed[:at],
        failed,
        *(Check(name, "not-run") for name in _NAMES[at + 1 :]),
    )


@cache  # one for each set of checks that conventions can leave open: a few dozen
def _passed_but(unasked: frozenset[str]) -> tuple[Check, ...]:
    return tuple(
        Check(check.name, "not-run") if check.name in unasked else check for check in ALL_PASSED
    )
