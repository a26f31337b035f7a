"""The judgement of a received message: which convention it falls under, and the first check it fails (DOMAIN 7).

Synchronous and without a trace: the service's route adds the record, the command line shows it as a diagnosis. Promises that the
assertion is isolated first, verified as its own document, and then read only from the octets that were verified; what an
unverified copy says is a hint that chooses whom to ask and is then forgotten (DESIGN 3).
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from appliance.conventions.authorize import authorize_received
from appliance.conventions.model import ProviderConvention
from appliance.conventions.registry import Registry
from appliance.errors import MalformedRequest, Reason, ResourceUnknown, VectorRefused
from appliance.native import (
    AssertionFields,
    Limits,
    ReceivedAssertion,
    SignatureClaim,
    SignatureRefused,
    StructureRefused,
    VerifiedOctets,
    XmlRefused,
    locate,
)
from appliance.trust.paths import TrustedSigner
from appliance.vectors.assertion import read_vector
from appliance.vectors.model import AcceptedVector

_SHA1: Final = frozenset(
    {
        "http://www.w3.org/2000/09/xmldsig#sha1",
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
    }
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be judged, and under which conventions.

    Attributes:
        octets: an assertion or a SOAP message.
        convention: the id of the only convention to judge by, when the caller knows it.
        service: the URI of the service that was called, when the caller knows it; the audience must be this one.
    """

    octets: bytes = field(repr=False)
    convention: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature found good: what it covers, and how and by whom it was made."""

    stated: AssertionFields
    claim: SignatureClaim
    legacy_sha1: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of it: exactly one of `accepted` and `refusal`, and what is known for the record.

    Attributes:
        assertion_sha256: hexadecimal, of the assertion as received; None when none was found.
        signed: present once the signature was found good, whatever came after.
    """

    accepted: AcceptedVector | None
    refusal: VectorRefused | None
    assertion_sha256: str | None = None
    signed: Signed | None = None


def judge(
    question: Question, registry: Registry, now: datetime, limits: Limits | None = None
) -> Judgement:
    """Judge a message at the instant `now`.

    Raises:
        MalformedRequest: not well-formed, with a DTD, or over a limit.
        ConventionViolation: there is no such provider convention.
        ResourceUnknown: there is no provider convention at all.
    """
    candidates = _choose_candidates(question, registry)
    try:
        received = _isolate(question.octets, limits)
    except VectorRefused as refusal:
        return Judgement(None, refusal)
    digest = received.sha256.hex()
    try:
        received_claim = _read_claim(received)
        inquiry = SignerInquiry(registry, received_claim, _hinted(candidates, received), now)
        verified = inquiry.verify()
        stated = _read_stated(verified)
    except VectorRefused as refusal:
        return Judgement(None, refusal, digest)
    signed = Signed(stated, received_claim, inquiry.legacy_sha1)
    try:
        accepted = authorize_received(
            read_vector(verified, stated, received_claim),
            candidates,
            inquiry.trusting,
            question.service,
            now,
            legacy_sha1=inquiry.legacy_sha1,
        )
    except VectorRefused as refusal:
        return Judgement(None, refusal, digest, signed)
    return Judgement(accepted, None, digest, signed)


def _choose_candidates(question: Question, registry: Registry) -> tuple[ProviderConvention, ...]:
    if question.convention is not None:
        return (registry.provider(question.convention),)
    candidates = registry.providers()
    if not candidates:
        raise ResourceUnknown(
            Reason.CONVENTION_UNKNOWN,
            "there is no provider convention, so nothing can be verified: add one to conventions/",
        )
    of_service = tuple(c for c in candidates if c.audience == question.service)
    return of_service or candidates


def _isolate(octets: bytes, limits: Limits | None) -> ReceivedAssertion:
    try:
        message = locate(octets, limits)
    except XmlRefused as exc:
        raise MalformedRequest(Reason(exc.reason), str(exc)) from exc
    if message.fault is not None:
        raise VectorRefused(Reason(message.fault), "the SOAP message carries no single assertion")
    if message.assertion is None:
        raise VectorRefused(Reason.NOT_A_VECTOR, "neither a SAML assertion nor a SOAP envelope")
    return message.assertion


def _read_claim(received: ReceivedAssertion) -> SignatureClaim:
    try:
        received.check_structure()
        return received.signature_claim()
    except StructureRefused as exc:
        raise VectorRefused(Reason.STRUCTURE_INVALID, str(exc)) from exc
    except SignatureRefused as exc:
        reason = Reason(exc.reason)
        if (
            reason is Reason.CERTIFICATE_INVALID
        ):  # DOMAIN 7, 4c: at least one certificate, decodable
            reason = Reason.CERTIFICATE_MISSING
        raise VectorRefused(reason, str(exc)) from exc


def _read_stated(verified: VerifiedOctets) -> AssertionFields:
    """Read what is signed; a signer may have signed what no reading is safe for."""
    try:
        return verified.read()
    except StructureRefused as exc:
        raise VectorRefused(Reason.STRUCTURE_INVALID, str(exc)) from exc


def _hinted(
    candidates: tuple[ProviderConvention, ...], received: ReceivedAssertion
) -> tuple[ProviderConvention, ...]:
    """Ask the conventions of the claimed issuer; where there is none, all of them, which then can only refuse."""
    claimed = received.claimed_issuer
    return tuple(c for c in candidates if c.issuer == claimed) or candidates


class SignerInquiry:
    """Verifies one signature, asking the trust of each convention that may be the vector's about the signer.

    Attributes:
        trusting: ids of the conventions whose trust accepted the signer.
        legacy_sha1: whether the signature or the chain relies on SHA-1.
    """

    def __init__(
        self,
        registry: Registry,
        claim: SignatureClaim,
        asked: tuple[ProviderConvention, ...],
        now: datetime,
    ) -> None:
        is_sha1 = not _SHA1.isdisjoint((claim.signature_algorithm, claim.digest_algorithm))
        self._registry: Final = registry
        self._claim: Final = claim
        self._asked: Final = tuple(c for c in asked if c.allow_sha1 or not is_sha1)
        self._now: Final = now
        self.trusting: frozenset[str] = frozenset()
        self.legacy_sha1 = is_sha1

    def verify(self) -> VerifiedOctets:
        """Verify the signature with the key of a trusted signer.

        Raises:
            VectorRefused: the first check that fails, from `algorithms` to `signature-value`.
        """
        legacy = any(convention.allow_sha1 for convention in self._asked)
        try:
            return self._claim.verify(self._ask, allow_sha1=legacy, allow_variant_b=legacy)
        except SignatureRefused as exc:
            raise VectorRefused(Reason(exc.reason), str(exc)) from exc

    def _ask(self, chain: list[bytes]) -> bytes:
        """Return the signer's key when at least one convention trusts the chain; the extension calls this once."""
        trusted: dict[str, TrustedSigner] = {}
        refusals: list[VectorRefused] = []
        for convention in self._asked:
            try:
                trusted[convention.id] = self._registry.trust_of(convention).check(chain, self._now)
            except VectorRefused as refusal:
                refusals.append(refusal)
        if not trusted:
            # What one trust says of a signer it knows is worth more than that another does not know it.
            raise min(refusals, key=lambda r: r.reason is Reason.CERTIFICATE_NOT_TRUSTED)
        self.trusting = frozenset(trusted)
        signer = next(iter(trusted.values()))
        self.legacy_sha1 |= signer.legacy_sha1
        return signer.public_key
