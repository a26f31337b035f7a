"""The judgement of a received message: which convention it falls under, and the first check it fails (DOMAIN 7).

Synchronous and without a trace: the service's route adds the record, the command line shows it as a diagnosis. Promises that the
assertion is isolated first, verified as its own document, and then read only from the octets that were verified; what an
unverified copy says is a hint that chooses whom to ask and is then forgotten (DESIGN 3).
"""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
from cryptography import x509

from appliance.conventions.authorize import Signing, authorize_received
from appliance.conventions.model import ProviderConvention
from appliance.conventions.registry import Candidates, Registry, TrustGroup
from appliance.conventions.rules import keep
from appliance.errors import MalformedRequest, Reason, ResourceUnknown, VectorRefused
from appliance.native import (
    AssertionFields,
    Limits,
    ReceivedAssertion,
    ReceivedMessage,
    SignatureClaim,
    SignatureRefused,
    StructureRefused,
    VerifiedOctets,
    XmlRefused,
    locate,
)
from appliance.operations.checks import OF_ENVELOPE, not_asked
from appliance.trust.certificates import MOST_CERTIFICATES, UNREADABLE
from appliance.trust.ocsp import OcspQuestion
from appliance.trust.paths import TrustedSigner
from appliance.vectors.assertion import read_vector
from appliance.vectors.characters import shorten
from appliance.vectors.model import AcceptedVector

_SHA1: Final = frozenset(
    {
        "http://www.w3.org/2000/09/xmldsig#sha1",
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
    }
)


_ENVELOPE_FAULTS: Final = {
    Reason.SOAP_HEADER_MISSING: "the first element in the SOAP Envelope is not its Header",
    Reason.SECURITY_HEADER_MISSING: "the SOAP Header holds no wsse:Security",
    Reason.SEVERAL_SECURITY_HEADERS: "the message has several SOAP Headers, or several wsse:Security for the same actor",
    Reason.ASSERTION_MISSING: "the first wsse:Security holds no SAML assertion",
    Reason.SEVERAL_ASSERTIONS: "the message carries several SAML assertions in wsse:Security; send one vector a message",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be judged, and under which conventions.

    Attributes:
        octets: an assertion or a SOAP message; of one that passes, its head closed to a message.
        received: what `locate` found in it, when somebody has looked already.
        limits: its own, where they are not those of all.
        convention: the id of the only convention to judge by, when the caller knows it.
        service: the URI of the service that was called, when the caller knows it; the audience must be this one.
        tls_certificate: DER, what the partner showed in the TLS handshake, when the caller knows it.
        by_partner: the partner's own connection brought it, so that a convention that names its TLS peers wants to see one.
    """

    octets: bytes = field(repr=False)
    received: ReceivedMessage | None = field(default=None, repr=False, kw_only=True)
    limits: Limits | None = field(default=None, kw_only=True)
    convention: str | None = None
    service: str | None = None
    tls_certificate: bytes | None = field(default=None, repr=False)
    by_partner: bool = field(default=False, kw_only=True)


class Signed(msgspec.Struct, frozen=True):
    """A signature found good: what it covers, and how and by whom it was made."""

    stated: AssertionFields
    claim: SignatureClaim
    legacy_sha1: bool


class Judgement(msgspec.Struct, frozen=True):
    """What came of it: exactly one of `accepted` and `refusal`, and what is known for the record.

    Attributes:
        assertion_sha256: hexadecimal, of the assertion as received, in UTF-8; None when none was found.
        signed: present once the signature was found good, whatever came after.
        unasked: the checks that nobody asked for.
        signer: of an accepted vector, as the trust of its convention knows it.
    """

    accepted: AcceptedVector | None
    refusal: VectorRefused | None
    assertion_sha256: str | None = None
    signed: Signed | None = None
    unasked: frozenset[str] = frozenset()
    signer: TrustedSigner | None = None


def judge(
    question: Question, registry: Registry, now: datetime, limits: Limits | None = None
) -> Judgement:
    """Judge a message at the instant `now`.

    Raises:
        MalformedRequest: not well-formed, with a DTD, or over a limit.
        ConventionViolation: there is no such provider convention.
        ResourceUnknown: there is no provider convention at all.
        OcspWanted: a responder must be asked first.
    """
    candidates = _choose_candidates(question, registry)
    try:
        message = question.received or locate(question.octets, question.limits or limits)
    except XmlRefused as exc:
        raise MalformedRequest(Reason(exc.reason), str(exc)) from exc
    try:
        received = _isolate(message)
    except VectorRefused as refusal:
        return Judgement(None, refusal.as_value())
    judgement = _judge_assertion(received, question, candidates, registry, now)
    if message.kind == "assertion":
        return msgspec.structs.replace(judgement, unasked=judgement.unasked | OF_ENVELOPE)
    return judgement


def _judge_assertion(
    received: ReceivedAssertion,
    question: Question,
    candidates: Candidates,
    registry: Registry,
    now: datetime,
) -> Judgement:
    digest = received.sha256.hex()
    try:
        claim = _read_claim(received)
        inquiry = SignerInquiry(registry, claim, candidates, now)
        verified = inquiry.verify(received.claimed_issuer)
        signed = Signed(_read_stated(verified), claim, inquiry.legacy_sha1)
    except VectorRefused as refusal:
        return Judgement(None, refusal.as_value(), digest)
    signing = Signing(
        inquiry.trusting,
        _name_of(question.tls_certificate),
        inquiry.legacy_sha1,
        by_partner=question.by_partner,
    )
    try:
        vector = read_vector(verified, signed.stated, claim)
    except VectorRefused as refusal:
        return Judgement(None, refusal.as_value(), digest, signed)
    scope, has_tls_peer = candidates.of_issuer(vector.issuer), signing.tls_peer is not None
    try:
        accepted = authorize_received(vector, candidates, question.service, signing, now)
    except VectorRefused as refusal:
        unasked = not_asked(scope, vector.saml_version, has_tls_peer=has_tls_peer)
        return Judgement(None, refusal.as_value(), digest, signed, unasked)
    scope = tuple(each for each in scope if each.id == accepted.convention)
    unasked = not_asked(scope, vector.saml_version, has_tls_peer=has_tls_peer)
    signer = inquiry.trusting[accepted.convention]
    return Judgement(accepted, None, digest, signed, unasked, signer)


def _read_stated(verified: VerifiedOctets) -> AssertionFields:
    try:
        return verified.read()
    except StructureRefused as exc:
        raise VectorRefused(Reason.STRUCTURE_INVALID, str(exc)) from exc


@lru_cache(maxsize=256)  # a partner's connections show the same one again and again
def _name_of(certificate: bytes | None) -> x509.Name | None:
    return None if certificate is None else x509.load_der_x509_certificate(certificate).subject


def _choose_candidates(question: Question, registry: Registry) -> Candidates:
    if question.convention is not None:
        return registry.only(question.convention)
    candidates = registry.providers_of_service(question.service)
    if not candidates.all:
        raise ResourceUnknown(
            Reason.CONVENTION_UNKNOWN,
            "there is no provider convention, so nothing can be verified: add one to conventions/",
        )
    return candidates


def _isolate(message: ReceivedMessage) -> ReceivedAssertion:
    if message.fault is not None:
        reason = Reason(message.fault)
        raise VectorRefused(reason, _ENVELOPE_FAULTS[reason])
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


class SignerInquiry:
    """Verifies one signature, asking the trust of each convention that may be the vector's about the signer.

    Where no convention has the claimed issuer, every trust that knows one of the chain's CAs is asked; what follows can then only
    refuse, and what it costs does not grow with the number of conventions.

    Attributes:
        trusting: id of each convention whose trust accepted the signer → what that trust knows of it.
        legacy_sha1: whether the signature or the chain relies on SHA-1.
    """

    def __init__(
        self,
        registry: Registry,
        claim: SignatureClaim,
        candidates: Candidates,
        now: datetime,
    ) -> None:
        self._registry: Final = registry
        self._claim: Final = claim
        self._candidates: Final = candidates
        self._now: Final = now
        self._is_sha1: Final = not _SHA1.isdisjoint(
            (claim.signature_algorithm, claim.digest_algorithm)
        )
        self.trusting: dict[str, TrustedSigner] = {}
        self.legacy_sha1 = self._is_sha1

    def verify(self, claimed_issuer: str | None) -> VerifiedOctets:
        """Verify the signature with the key of a trusted signer; the issuer is a hint that chooses whom to ask.

        Raises:
            VectorRefused: the first check that fails, from `signature-profile` to `digest`.
        """
        groups = self._choose_groups(self._candidates.of_issuer(claimed_issuer))
        try:
            return self._claim.verify(
                lambda chain: self._ask(chain, groups),
                allow_sha1=any(group.trust.settings.allow_sha1 for group, _ in groups),
                allow_variant_b=any(group.takes_variant_b for group, _ in groups),
            )
        except SignatureRefused as exc:
            raise VectorRefused(Reason(exc.reason), str(exc)) from exc

    def _choose_groups(
        self, hinted: tuple[ProviderConvention, ...]
    ) -> list[tuple[TrustGroup, list[ProviderConvention]]]:
        """Return the trusts to ask, each with the conventions it is asked for."""
        if not hinted:
            known = self._registry.trusts_naming(_read_issuers(self._claim.certificates))
            return [(group, group.conventions) for group in known if self._may_hold(group)]
        groups: dict[TrustGroup, list[ProviderConvention]] = {}
        for convention in self._admitting(hinted):
            group = self._registry.trust_of(convention)
            if self._may_hold(group):
                groups.setdefault(group, []).append(convention)
        return list(groups.items())

    def _may_hold(self, group: TrustGroup) -> bool:
        return group.trust.settings.allow_sha1 or not self._is_sha1

    def _admitting(self, hinted: tuple[ProviderConvention, ...]) -> tuple[ProviderConvention, ...]:
        """Keep the conventions that take the shape and the algorithm of the signature."""
        scope = keep(
            hinted,
            lambda c: self._claim.variant in c.accepted_variants,
            Reason.SIGNATURE_PROFILE,
            lambda: f"the convention takes no signature of variant {self._claim.variant}",
        )
        return keep(
            scope,
            lambda c: (
                not c.signature_algorithms
                or self._claim.signature_algorithm in c.signature_algorithms
            ),
            Reason.ALGORITHM_NOT_ALLOWED,
            lambda: f"the convention does not take {shorten(self._claim.signature_algorithm)}",
        )

    def _ask(
        self, chain: list[bytes], groups: list[tuple[TrustGroup, list[ProviderConvention]]]
    ) -> bytes:
        """Return the signer's key when at least one trust accepts the chain; the extension calls this once."""
        signers: list[TrustedSigner] = []
        refusals: list[VectorRefused] = [] if groups else [_unknown_signer()]
        for group, conventions in groups:
            try:
                signer = group.trust.check(chain, self._now)
            except VectorRefused as refusal:
                refusals.append(refusal)
                continue
            pinning = [
                c
                for c in conventions
                if c in self._candidates and group.accepts(c, signer.fingerprint)
            ]
            takers = [c.id for c in pinning if self._ocsp_allows(c, signer, refusals)]
            if takers:
                signers.append(signer)
                self.trusting.update(
                    (c.id, msgspec.structs.replace(signer, ocsp=c.ocsp))
                    for c in pinning
                    if c.id in takers
                )
            elif not pinning:
                refusals.append(_not_pinned())
        if not signers:
            # What one trust says of a signer it knows is worth more than that another does not know it.
            raise min(refusals, key=lambda r: r.reason is Reason.CERTIFICATE_NOT_TRUSTED)
        self.legacy_sha1 |= signers[0].legacy_sha1
        return signers[0].public_key

    def _ocsp_allows(
        self, convention: ProviderConvention, signer: TrustedSigner, refusals: list[VectorRefused]
    ) -> bool:
        """Ask what the convention's responder says of the signer; why it is refused goes to the other refusals.

        Raises:
            OcspWanted: nothing is known yet.
        """
        if convention.ocsp is None:
            return True
        question = OcspQuestion(convention.ocsp, *signer.path[:2])
        status = self._registry.ocsp.status(question, self._now)
        if status == "revoked":
            refusals.append(
                VectorRefused(Reason.CERTIFICATE_REVOKED, "the OCSP responder says: revoked")
            )
        elif status == "unknown":
            refusals.append(
                VectorRefused(
                    Reason.REVOCATION_UNKNOWN,
                    "the OCSP responder gives no answer that counts: see the log",
                )
            )
        return status == "good"


def _read_issuers(chain: list[bytes]) -> list[x509.Name]:
    """Read the issuers of the certificates that can be read; whoever relies on one reads it again, strictly."""
    issuers: list[x509.Name] = []
    for octets in chain[:MOST_CERTIFICATES]:
        with contextlib.suppress(*UNREADABLE):
            issuers.append(x509.load_der_x509_certificate(octets).issuer)
    return issuers


def _unknown_signer() -> VectorRefused:
    return VectorRefused(
        Reason.CERTIFICATE_NOT_TRUSTED, "no certificate of the chain was issued by a CA we know"
    )


def _not_pinned() -> VectorRefused:
    return VectorRefused(
        Reason.CERTIFICATE_NOT_TRUSTED,
        "the signer's certificate is none of those the convention names",
    )
