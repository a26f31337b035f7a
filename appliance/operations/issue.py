"""The route of a request for vectors: authorize, write, sign, check, trace, answer.

Promises that nothing is signed outside a convention, that every signature is verified before it is used (the extension's splice),
and that a vector, or the refusal of one, is returned only when its trace is durable. A batch takes each step once for all of it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol
from uuid import UUID

import msgspec

from appliance import metrics
from appliance.clock import Clock, format_instant
from appliance.conventions.authorize import authorize_issue
from appliance.conventions.registry import Registry, RegistryCell
from appliance.errors import (
    ApplianceError,
    ConventionViolation,
    HsmUnavailable,
    Reason,
    RequestError,
    RequestTooLarge,
)
from appliance.log import Log
from appliance.native import PreparedSignature, SignatureProfile, SignatureRefused, prepare_batch
from appliance.operations.entries import created_entry, request_refused_entry
from appliance.operations.tracing import TraceWriter, wait_durable
from appliance.signing.job import SigningJob, SigningResult
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.vectors.assertion import content_of, new_vector
from appliance.vectors.model import (
    IssuedVector,
    RequestContext,
    SignedVector,
    UnsignedVector,
    VectorRequest,
)

_LOG: Final = Log("issue")
_counter: Final = cache(metrics.VECTORS.labels)  # by convention and outcome: closed lists both


class Signer(Protocol):
    """What issuing needs of the signing queue."""

    async def sign_many(self, jobs: Sequence[SigningJob]) -> Sequence[SigningResult]:
        """Sign many digests; each position holds its signature or why there is none.

        Raises:
            ApplianceError: none of them can be signed.
        """

    def doubt(self, key: str) -> None:
        """Take note that a signature of the key does not verify."""


class SigningKeys(Protocol):
    """What issuing needs of the keyring."""

    def profile(self, key: str, signature_algorithm: str) -> SignatureProfile:
        """Return how a key signs."""

    def certificate_sha256(self, key: str) -> str:
        """Return the digest of the signer's certificate, hexadecimal."""

    def hashes_in_token(self, key: str) -> bool:
        """Return whether the signer must be given what the digest is of."""


@dataclass(frozen=True, slots=True)
class IssueSettings:
    """Parameters of issuing.

    Attributes:
        sign_within: seconds from the request to its signature; the age the queue allows, and a margin for the token.
    """

    sign_within: float = 3.0


@dataclass(frozen=True, slots=True)
class _Draft:
    """A vector to be signed, how, and its trace but for the digest of what will be signed."""

    vector: UnsignedVector
    profile: SignatureProfile
    entry: TraceEntry


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a request comes to once its entry is durable: a vector or a refusal."""

    outcome: SignedVector | RequestError
    entry: TraceEntry


class IssueOperation:
    """Issues vectors under the client conventions."""

    def __init__(  # noqa: PLR0913 - wiring passes each part by name
        self,
        *,
        registry: RegistryCell,
        keys: SigningKeys,
        signer: Signer,
        trace: TraceWriter,
        clock: Clock,
        new_uuid: Callable[[], UUID],
        settings: IssueSettings,
    ) -> None:
        self._registry: Final = registry
        self._keys: Final = keys
        self._signer: Final = signer
        self._trace: Final = trace
        self._clock: Final = clock
        self._new_uuid: Final = new_uuid
        self._settings: Final = settings

    async def issue(self, request: VectorRequest, context: RequestContext) -> IssuedVector:
        """Issue one vector; it returns, or the refusal is raised, when its trace is durable.

        Raises:
            ConventionViolation: the convention forbids it; nothing was signed.
            RequestTooLarge: its trace would not fit in an entry; nothing was signed.
            QueueFull, HsmUnavailable: it was not signed.
            SpoolFull, SpoolUnavailable: it cannot be traced, so it does not leave.
        """
        [result] = await self.issue_batch([request], context)
        if isinstance(result, ApplianceError):
            raise result
        return result

    async def issue_batch(
        self, requests: Sequence[VectorRequest], context: RequestContext
    ) -> list[IssuedVector | ApplianceError]:
        """Issue many vectors; each position holds its vector, or the error that `issue` would raise."""
        registry = self._registry.current
        drafts = [self._draft(registry, request, context) for request in requests]
        signed = iter(await self._sign([draft for draft in drafts if isinstance(draft, _Draft)]))
        decided = [next(signed) if isinstance(draft, _Draft) else draft for draft in drafts]
        return await self._make_durable(decided)

    def _draft(
        self, registry: Registry, request: VectorRequest, context: RequestContext
    ) -> _Draft | _Decided:
        """Decide on a request; what is allowed is given its identifier, its instants and its trace entry."""
        try:
            authorized = authorize_issue(registry, request, context, self._clock)
            vector = new_vector(authorized, self._clock, self._new_uuid)
            entry = created_entry(vector, context, self._keys.certificate_sha256(authorized.key))
            write_entry(entry)  # refuses what could not be traced, before it is signed
        except (ConventionViolation, RequestTooLarge) as refusal:
            time = format_instant(self._clock.now())
            return _Decided(refusal, request_refused_entry(request, context, refusal, time))
        profile = self._keys.profile(authorized.key, authorized.signature_algorithm)
        return _Draft(vector, profile, entry)

    async def _sign(self, drafts: Sequence[_Draft]) -> list[_Decided | ApplianceError]:
        """Sign drafts, or say of each why it could not be signed."""
        if not drafts:
            return []
        prepared = _prepare(drafts)
        deadline = self._clock.monotonic() + self._settings.sign_within
        jobs = [
            self._make_job(draft, ready, deadline)
            for draft, ready in zip(drafts, prepared, strict=True)
        ]
        try:
            signatures = await self._signer.sign_many(jobs)
        except ApplianceError as exc:
            return [exc] * len(drafts)
        return list(map(self._splice, drafts, prepared, signatures))

    def _make_job(self, draft: _Draft, ready: PreparedSignature, deadline: float) -> SigningJob:
        key = draft.vector.request.key
        octets = ready.signed_info if self._keys.hashes_in_token(key) else b""
        return SigningJob(key, draft.profile.hash_name, ready.digest, deadline, octets)

    def _splice(
        self, draft: _Draft, prepared: PreparedSignature, signature: SigningResult
    ) -> _Decided | ApplianceError:
        """Put a signature in its place, once it verifies, and complete the trace entry."""
        if isinstance(signature, ApplianceError):
            return signature
        key = draft.vector.request.key
        try:
            assertion = prepared.splice(signature)
        except SignatureRefused as exc:
            # A faulty signature can give an RSA key away (DESIGN 3): it stays here, and its lane proves the key anew.
            _LOG.error("signature-does-not-verify", exc, key=key)
            self._signer.doubt(key)
            return HsmUnavailable(
                Reason.HSM_UNAVAILABLE,
                f"the token made a signature that key `{key}` does not verify",
            )
        entry = msgspec.structs.replace(draft.entry, assertion_sha256=assertion.sha256.hex())
        return _Decided(SignedVector(draft.vector, assertion), entry)

    async def _make_durable(
        self, decided: Sequence[_Decided | ApplianceError]
    ) -> list[IssuedVector | ApplianceError]:
        """Trace what was decided; where that fails, nothing of it is answered."""
        entries = [each.entry for each in decided if isinstance(each, _Decided)]
        if not entries:
            return [each for each in decided if isinstance(each, ApplianceError)]
        try:
            receipts = await wait_durable(self._trace.append_many(entries))
        except ApplianceError as exc:
            return [exc if isinstance(each, _Decided) else each for each in decided]
        proofs = iter(receipts)
        return [
            _answer(each, next(proofs)) if isinstance(each, _Decided) else each for each in decided
        ]


def _prepare(drafts: Sequence[_Draft]) -> list[PreparedSignature]:
    """Write and digest the assertions, in one crossing for each way of signing."""
    alike: defaultdict[SignatureProfile, list[int]] = defaultdict(list)
    for at, draft in enumerate(drafts):
        alike[draft.profile].append(at)
    prepared: dict[int, PreparedSignature] = {}
    for profile, positions in alike.items():
        contents = [content_of(drafts[at].vector) for at in positions]
        prepared.update(zip(positions, prepare_batch(contents, profile), strict=True))
    return [prepared[at] for at in range(len(drafts))]


def _answer(decided: _Decided, receipt: Receipt) -> IssuedVector | ApplianceError:
    outcome = decided.outcome
    if isinstance(outcome, RequestError):
        _counter("", "refused").inc()
        return outcome
    _counter(outcome.unsigned.request.convention, "created").inc()
    return IssuedVector(outcome, receipt)
