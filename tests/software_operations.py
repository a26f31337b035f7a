"""Operations for tests of the server: real assertions, signed with a key in memory; refusals and delays on demand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.x509.oid import NameOID

from appliance.conventions.model import NAME_ID_UNSPECIFIED, ClientConvention, Convention
from appliance.errors import ApplianceError, ConventionViolation, Reason
from appliance.metrics import exposition
from appliance.native import (
    AssertionContent,
    SecurityHeader,
    SignatureProfile,
    SignedAssertion,
    SoapMessage,
    prepare,
)
from appliance.operations.readlog import ReadLogOperation
from appliance.operations.secure import SecuredSoap
from appliance.server.ports import Operations, Verdict
from appliance.trace.record import Receipt
from appliance.vectors.model import (
    AuthorizedRequest,
    IssuedVector,
    RequestContext,
    SignedVector,
    UnsignedVector,
    VectorRequest,
)

RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
INSTANT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONVENTION = ClientConvention(
    id="demo-client",
    issuer="urn:interops:73282932000074:idp:demo:1",
    audience="http://service.demo.example/droits",
    recipient="urn:interops:sp:73282932000074:demo",
    levels=("urn:oasis:names:tc:SAML:2.0:ac:classes:Password",),
    pagms=frozenset({"PAGM_CONSULTATION", "PAGM_GESTION"}),
    attributes=frozenset(),
    id_style="xs-id",
    name_id_format=NAME_ID_UNSPECIFIED,
    no_user="NON_RENSEIGNE",
    lifetime=3600.0,
    back_dating=10.0,
    key="software",
    signature_algorithm=RSA_SHA256,
)


class SoftwareKey:
    """An RSA key in memory with a self-signed certificate."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "software key")])
        certificate = (
            x509.CertificateBuilder(name, name, self._key.public_key(), 1)
            .not_valid_before(INSTANT)
            .not_valid_after(INSTANT + timedelta(days=1))
            .sign(self._key, hashes.SHA256())
        )
        self.profile = SignatureProfile(
            signature_algorithm=RSA_SHA256,
            digest_algorithm="http://www.w3.org/2001/04/xmlenc#sha256",
            public_key=self._key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            certificates=[certificate.public_bytes(serialization.Encoding.DER)],
        )

    def sign(self, digest: bytes) -> bytes:
        """PKCS#1 v1.5 over a SHA-256 digest."""
        return self._key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


@dataclass
class SoftwareIssuer:
    """Issues under `CONVENTION`.

    Attributes:
        failures: by subject, what to raise instead of issuing.
        gate: when set, `issue` waits for it: a request in flight for as long as a test wants.
        entered: set when a request has arrived at the gate.
        contexts: of every request, in order.
    """

    key: SoftwareKey = field(default_factory=SoftwareKey)
    failures: dict[str, Exception] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    contexts: list[RequestContext] = field(default_factory=list)

    async def issue(self, request: VectorRequest, context: RequestContext) -> IssuedVector:
        """Issue one vector."""
        self.contexts.append(context)
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        return self._issue(request)

    async def issue_batch(
        self, requests: Sequence[VectorRequest], context: RequestContext
    ) -> list[IssuedVector | ApplianceError]:
        """Issue many; refusals keep their place."""
        self.contexts.append(context)
        results: list[IssuedVector | ApplianceError] = []
        for request in requests:
            try:
                results.append(self._issue(request))
            except ApplianceError as refusal:
                results.append(refusal)
        return results

    def _issue(self, request: VectorRequest) -> IssuedVector:
        if request.subject in self.failures:
            raise self.failures[request.subject]
        if request.convention != CONVENTION.id:
            raise ConventionViolation(
                Reason.CONVENTION_UNKNOWN, f"no convention {request.convention}"
            )
        unsigned = make_unsigned_vector(request, f"_{len(self.contexts)}")
        return IssuedVector(
            SignedVector(unsigned, self._sign(unsigned)), Receipt("tests", len(self.contexts))
        )

    def _sign(self, vector: UnsignedVector) -> SignedAssertion:
        request = vector.request
        content = AssertionContent(
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
            attributes={},
        )
        prepared = prepare(content, self.key.profile)
        return prepared.splice(self.key.sign(prepared.digest))


def make_unsigned_vector(request: VectorRequest, assertion_id: str) -> UnsignedVector:
    """A vector under `CONVENTION`, issued at noon."""
    authorized = AuthorizedRequest(
        convention=CONVENTION.id,
        issuer=CONVENTION.issuer,
        audience=CONVENTION.audience,
        recipient=CONVENTION.recipient,
        subject=request.subject,
        name_id=request.subject or CONVENTION.no_user,
        name_id_format=CONVENTION.name_id_format,
        pagms=request.pagms,
        level=CONVENTION.levels[0],
        authn_instant=None,
        attributes={},
        lifetime=CONVENTION.lifetime,
        back_dating=CONVENTION.back_dating,
        id_style=CONVENTION.id_style,
        key=CONVENTION.key,
        signature_algorithm=CONVENTION.signature_algorithm,
    )
    noon = "2026-03-01T12:00:00.000Z"
    return UnsignedVector(
        authorized,
        assertion_id,
        noon,
        "2026-03-01T11:59:50.000Z",
        "2026-03-01T13:00:00.000Z",
        noon,
    )


@dataclass
class ScriptedVerifier:
    """Returns the verdict it was given, or raises."""

    outcome: Verdict | Exception
    asked: list[tuple[bytes, str | None, str | None]] = field(default_factory=list)

    async def verify(
        self, octets: bytes, _context: RequestContext, convention: str | None, service: str | None
    ) -> Verdict:
        """Remember the question and answer."""
        self.asked.append((octets, convention, service))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class ScriptedHealth:
    """Ready unless told otherwise."""

    reasons: list[str] = field(default_factory=list)

    async def check(self) -> "ScriptedHealth":
        """Answer with itself."""
        return self


@dataclass
class FixedConventions:
    """A registry cell that always holds the same conventions."""

    conventions: tuple[Convention, ...] = (CONVENTION,)

    @property
    def current(self) -> "FixedConventions":
        """The registry: itself."""
        return self

    def all(self) -> tuple[Convention, ...]:
        """Every convention."""
        return self.conventions


@dataclass
class SoftwareSecuring:
    """Puts the issuer's vectors into messages."""

    issuer: SoftwareIssuer

    async def secure(
        self,
        message: SoapMessage,
        request: VectorRequest,
        context: RequestContext,
        existing: str = "refuse",
    ) -> SecuredSoap:
        """Issue and insert."""
        issued = await self.issuer.issue(request, context)
        header = SecurityHeader(issued.vector.assertion, existing=existing)
        return SecuredSoap(message.insert(header), issued)


def make_operations(
    issuer: SoftwareIssuer | None = None,
    verifier: ScriptedVerifier | None = None,
    health: ScriptedHealth | None = None,
    logs: Path | None = None,
) -> Operations:
    """Operations that work, with any of them replaced."""
    issuer = issuer or SoftwareIssuer()
    refused = ConventionViolation(Reason.CONVENTION_UNKNOWN, "no provider convention here")
    return Operations(
        issuer,
        SoftwareSecuring(issuer),
        verifier or ScriptedVerifier(refused),
        health or ScriptedHealth(),
        FixedConventions(),
        ReadLogOperation(logs or Path("/nonexistent"), ("loopback", "unix")),
        exposition,
    )
