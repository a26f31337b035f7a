"""The route of a request for vectors: authorize, look for one at hand, write, sign, check, trace, answer.

Promises that nothing is signed outside a convention, that an RSA signature is verified before it is used (the extension's splice) and
ECDSA ones are sampled (`appliance.signing.release`), and that a vector, new or given out again, or the refusal of one, is returned only
when its trace is durable. A batch takes each step once for all of it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, Protocol
from uuid import UUID

import msgspec

from appliance import metrics
from appliance.cache.vector_cache import CachedVector, Creation, VectorCache, read_cached, reuse_key
from appliance.clock import Clock, format_instant
from appliance.conventions.authorize import authorize_issue
from appliance.conventions.registry import Registry, RegistryCell
from appliance.errors import (
    ApplianceError,
    HsmUnavailable,
    InternalError,
    QueueFull,
    Reason,
    RequestError,
)
from appliance.log import Log
from appliance.native import PreparedSignature, SignatureProfile, SignatureRefused, prepare_batch
from appliance.operations.entries import (
    TracedKey,
    created_entry,
    request_refused_entry,
    reused_entry,
)
from appliance.operations.tracing import TraceWriter, wait_durable
from appliance.signing.job import SigningJob, SigningResult
from appliance.signing.release import ReleaseCheck
from appliance.trace.record import Receipt, TraceEntry
from appliance.vectors.assertion import content_of, new_vector
from appliance.vectors.model import (
    IssuedVector,
    RequestContext,
    SignedVector,
    UnsignedVector,
    VectorRequest,
)

_LOG: Final = Log("issue")
_LANDS_WITHIN: Final = 6.0  # seconds a signed vector may take to become durable, and a margin
_counter: Final = cache(metrics.VECTORS.labels)  # by convention and outcome: closed lists both


class Signer(Protocol):
    """What issuing needs of the signing queue."""

    async def sign_many(self, jobs: Sequence[SigningJob]) -> Sequence[SigningResult]:
        """Sign many digests; each position holds its signature or why there is none.

        Raises:
            ApplianceError: none of them can be signed.
        """

    def check_room(self) -> None:
        """See that the queue would take a job now, before work is spent on one.

        Raises:
            QueueFull: it would not.
        """

    def doubt(self, key: str) -> None:
        """Take note that a signature of the key does not verify."""


class SigningKeys(Protocol):
    """What issuing needs of the keyring."""

    def profile(
        self,
        key: str,
        signature_algorithm: str,
        key_info: Literal["chain", "leaf"],
        variant: Literal["A", "B"],
    ) -> SignatureProfile:
        """Return how a key signs, which of its certificates it shows, and in which shape."""

    def trace_facts(self, key: str) -> TracedKey:
        """Return what the trace says of a key."""

    def hashes_in_token(self, key: str) -> bool:
        """Return whether the signer must be given what the digest is of."""


@dataclass(frozen=True, slots=True)
class IssueSettings:
    """Parameters of issuing.

    Attributes:
        sign_within: seconds from the request to its signature; the age the queue allows, and a margin for the token.
    """

    sign_within: float = 3.0


class _Draft(msgspec.Struct, frozen=True):
    """A vector to be signed, how, and its trace but for the digest of what will be signed.

    Attributes:
        certificate: fingerprint of the one that is shown.
        key: under which it may be given out again; None where it may not. Others may be waiting for it.
    """

    vector: UnsignedVector
    profile: SignatureProfile
    certificate: str
    entry: TraceEntry
    key: bytes | None


class _Follower(msgspec.Struct, frozen=True):
    """A request that waits for the vector another request has asked for; it takes one no nearer its end than `margin`."""

    flight: asyncio.Future[CachedVector]
    request: VectorRequest
    context: RequestContext
    margin: float


class _Decided(msgspec.Struct, frozen=True):
    """What a request comes to once its entry is durable: a vector, new or given out again, or a refusal.

    Attributes:
        entry: None for a refusal beyond what its peer may make us write.
    """

    outcome: SignedVector | CachedVector | RequestError
    entry: TraceEntry | None


_Step = _Draft | _Decided | _Follower | QueueFull


class IssueOperation:
    """Issues vectors under the client conventions."""

    def __init__(  # noqa: PLR0913 - wiring passes each part by name
        self,
        *,
        registry: RegistryCell,
        keys: SigningKeys,
        signer: Signer,
        trace: TraceWriter,
        vectors: VectorCache,
        clock: Clock,
        new_uuid: Callable[[], UUID],
        settings: IssueSettings,
    ) -> None:
        self._vectors: Final = vectors
        self._registry: Final = registry
        self._keys: Final = keys
        self._signer: Final = signer
        self._trace: Final = trace
        self._clock: Final = clock
        self._new_uuid: Final = new_uuid
        self._settings: Final = settings
        self._release: Final = ReleaseCheck()

    async def issue(self, request: VectorRequest, context: RequestContext) -> IssuedVector:
        """Issue one vector; it returns, or the refusal is raised, when its trace is durable.

        Raises:
            ConventionViolation: the convention forbids it; nothing was signed.
            MalformedRequest: no convention could allow it; nothing was signed.
            RequestTooLarge: its trace would not fit in an entry; nothing was signed.
            QueueFull, HsmUnavailable: it was not signed.
            SpoolFull, SpoolUnavailable: it cannot be traced, so it does not leave.
        """
        [result] = await self.issue_batch([request], context)
        if isinstance(result, IssuedVector):
            return result
        try:
            raise result
        finally:
            del result  # `ApplianceError.as_value` says why

    async def issue_batch(
        self, requests: Sequence[VectorRequest], context: RequestContext
    ) -> list[IssuedVector | ApplianceError]:
        """Issue many vectors; each position holds its vector, or the error that `issue` would raise."""
        registry = self._registry.current
        steps = [self._draft(registry, request, context) for request in requests]
        leading = [step for step in steps if isinstance(step, _Draft) and step.key is not None]
        try:
            if leading:
                steps = [await self._look_around(step, context) for step in steps]
            answers = await self._settle(steps)
            await self._land(steps, answers)
        finally:
            for draft in leading:
                self._vectors.crash(draft.key or b"", _left_alone())
        return await self._serve_followers(steps, answers)

    def _draft(self, registry: Registry, request: VectorRequest, context: RequestContext) -> _Step:
        """Decide on a request; what is allowed and not at hand is given its identifier, its instants and its trace entry."""
        try:
            authorized = authorize_issue(registry, request, context, self._clock)
            traced = self._keys.trace_facts(authorized.key)
            key = reuse_key(authorized, traced.certificate_sha256) if authorized.reuse else None
            if key is not None:
                cached = self._vectors.find(key, self._clock.now(), authorized.reuse_margin)
                if cached is not None:
                    return self._give_again(cached, context)
            else:
                self._signer.check_room()
            vector = new_vector(authorized, self._clock, self._new_uuid)
            # Refuses what could not be traced, before it is signed.
            entry = self._trace.prepare(created_entry(vector, context, traced))
        except RequestError as refusal:
            return self._refuse(request, context, refusal.as_value())
        except QueueFull as refusal:
            return refusal.as_value()
        flight = None if key is None else self._vectors.flight(key)
        if flight is not None:
            return _Follower(flight, request, context, authorized.reuse_margin)
        profile = self._keys.profile(
            authorized.key,
            authorized.signature_algorithm,
            authorized.key_info,
            authorized.variant,
        )
        return _Draft(vector, profile, traced.certificate_sha256, entry, key)

    def _give_again(self, cached: CachedVector, context: RequestContext) -> _Decided:
        time = format_instant(self._clock.now())
        entry = reused_entry(cached.vector.unsigned, cached.creation, context, time)
        return _Decided(cached, self._trace.prepare(entry))

    def _refuse(
        self, request: VectorRequest, context: RequestContext, refusal: RequestError
    ) -> _Decided:
        """Decide on a request that is refused; beyond what its peer may make us write, only the count is kept."""
        if not self._trace.admits_refusal(context.peer):
            return _Decided(refusal, None)
        time = format_instant(self._clock.now())
        entry = request_refused_entry(request, context, refusal, time)
        return _Decided(refusal, self._trace.prepare(entry))

    async def _look_around(self, step: _Step, context: RequestContext) -> _Step:
        """Before signing what may be shared, look whether another process has it."""
        if not isinstance(step, _Draft) or step.key is None:
            return step
        request = step.vector.request
        cached = await self._vectors.find_shared(
            step.key, lambda octets: read_cached(octets, request, step.profile)
        )
        if cached is None or not self._vectors.may_give(
            cached, self._clock.now(), request.reuse_margin
        ):
            return step
        await self._vectors.land(step.key, cached, is_new=False)
        return self._give_again(cached, context)

    async def _settle(self, steps: Sequence[_Step]) -> list[IssuedVector | ApplianceError | None]:
        """Sign what is to be signed and make all of it durable; followers keep an empty place."""
        signed = iter(await self._sign([step for step in steps if isinstance(step, _Draft)]))
        decided = [
            next(signed) if isinstance(step, _Draft) else step
            for step in steps
            if not isinstance(step, _Follower)
        ]
        answers = iter(await self._make_durable(decided))
        return [None if isinstance(step, _Follower) else next(answers) for step in steps]

    async def _land(
        self,
        steps: Sequence[_Step],
        answers: Sequence[IssuedVector | ApplianceError | None],
    ) -> None:
        """Keep what may be given out again, now that its trace is durable, and give it to those who wait."""
        for step, answer in zip(steps, answers, strict=True):
            if not isinstance(step, _Draft) or step.key is None:
                continue
            if isinstance(answer, IssuedVector):
                creation = Creation(answer.receipt.log, answer.receipt.index)
                cached = CachedVector.of(answer.vector, creation)
                await self._vectors.land(step.key, cached, is_new=True)
            elif answer is not None:
                self._vectors.crash(step.key, answer)

    async def _serve_followers(
        self,
        steps: Sequence[_Step],
        answers: Sequence[IssuedVector | ApplianceError | None],
    ) -> list[IssuedVector | ApplianceError]:
        """Answer those who waited, each with a trace entry of its own."""
        waited = [await self._follow(step) for step in steps if isinstance(step, _Follower)]
        followed = iter(await self._make_durable(waited))
        return [next(followed) if answer is None else answer for answer in answers]

    async def _follow(self, step: _Follower) -> _Decided | ApplianceError:
        try:
            within = self._settings.sign_within + _LANDS_WITHIN
            cached = await asyncio.wait_for(asyncio.shield(step.flight), within)
        except ApplianceError as exc:
            return exc.as_value()
        except TimeoutError:
            return _left_alone()
        if self._vectors.may_give(cached, self._clock.now(), step.margin):
            return self._give_again(cached, step.context)
        return await self._sign_alone(step)

    async def _sign_alone(self, step: _Follower) -> _Decided | ApplianceError:
        """Make a vector for one who waited too long for that of another: its own, for nobody else."""
        request = msgspec.structs.replace(step.request, reuse=False)
        own = self._draft(self._registry.current, request, step.context)
        if isinstance(own, _Draft):
            [signed] = await self._sign([own])
            return signed
        return _left_alone() if isinstance(own, _Follower) else own

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
            return [exc.as_value()] * len(drafts)
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
        key, certificate = draft.vector.request.key, draft.certificate
        # What will be given out again and again is never taken on trust.
        on_trust = draft.key is None and self._release.may_trust(certificate)
        try:
            assertion = prepared.splice(signature, on_trust=on_trust)
        except SignatureRefused as exc:
            # A faulty signature can give an RSA key away (DESIGN 3): it stays here, and its lane proves the key anew.
            _LOG.error("signature-does-not-verify", exc, key=key)
            self._release.note_fault(certificate)
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
        entries = [e.entry for e in decided if isinstance(e, _Decided) and e.entry is not None]
        try:
            receipts = await wait_durable(self._trace.append_many(entries)) if entries else []
        except ApplianceError as exc:
            failure = exc.as_value()
            return [failure if isinstance(each, _Decided) else each for each in decided]
        proofs = iter(receipts)
        return [
            _answer(each, None if each.entry is None else next(proofs))
            if isinstance(each, _Decided)
            else each
            for each in decided
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


def _left_alone() -> HsmUnavailable:
    return HsmUnavailable(
        Reason.HSM_UNAVAILABLE,
        "the request that would have made this vector was given up; ask again",
    )


def _answer(decided: _Decided, receipt: Receipt | None) -> IssuedVector | ApplianceError:
    outcome = decided.outcome
    if isinstance(outcome, RequestError):
        _counter("", "refused").inc()
        return outcome
    if receipt is None:
        raise InternalError(Reason.INTERNAL, "a vector without a trace")
    if isinstance(outcome, CachedVector):
        _counter(outcome.vector.unsigned.request.convention, "reused").inc()
        return IssuedVector(outcome.vector, receipt, reused=True)
    _counter(outcome.unsigned.request.convention, "created").inc()
    return IssuedVector(outcome, receipt)
