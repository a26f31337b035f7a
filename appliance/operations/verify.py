"""The route of a received vector: judge it, ask whether it came before, trace the decision, then answer."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, Protocol

import msgspec

from appliance import metrics
from appliance.cache.replay_guard import Received
from appliance.clock import Clock
from appliance.conventions.registry import RegistryCell
from appliance.errors import Reason, ReplayGuardFull, ReplayGuardUnavailable, VectorRefused
from appliance.log import Log
from appliance.native import Limits
from appliance.operations.asking import judge_asking
from appliance.operations.checks import NOT_ASKED_REPLAY, Check, checks_of
from appliance.operations.entries import received_entry
from appliance.operations.faults import Fault, fault_of
from appliance.operations.judge import Judgement, Question
from appliance.operations.tracing import TraceWriter, wait_durable
from appliance.trace.record import Receipt
from appliance.vectors.model import AcceptedVector, RequestContext

_LOG: Final = Log("verify")
_DATES_END: Final = datetime.max.replace(tzinfo=UTC)
_replays: Final = cache(metrics.REPLAYS.labels)
_counter: Final = cache(metrics.VERIFICATIONS.labels)  # by convention and fault: closed lists both


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on a received vector: exactly one of `accepted` and `fault`.

    Attributes:
        checks: every check in order; those after the first failure are `not-run`.
        receipt: where the decision stands in the trace; None for a diagnosis, and for a refusal that is only counted because
            its peer was refused too often.
    """

    accepted: AcceptedVector | None
    fault: Fault | None
    checks: tuple[Check, ...]
    receipt: Receipt | None


class ReplayGate(Protocol):
    """Who knows which vectors came before: `cache.replay_guard`, or what several appliances share."""

    async def record(self, received: Received, now: datetime) -> bool:
        """Record a vector at once for everybody; False when it came before, or may have.

        Raises:
            ReplayGuardFull: there is no room for it.
            ReplayGuardUnavailable: nobody can tell.
        """


class VerifyOperation:
    """Decides on received vectors."""

    def __init__(
        self,
        registry: RegistryCell,
        trace: TraceWriter,
        clock: Clock,
        replay: ReplayGate,
        limits: Limits | None = None,
    ) -> None:
        self._registry: Final = registry
        self._trace: Final = trace
        self._clock: Final = clock
        self._replay: Final = replay
        self._limits: Final = limits

    async def verify(
        self, octets: bytes, context: RequestContext, convention: str | None, service: str | None
    ) -> Verdict:
        """Judge an assertion or a SOAP message; the verdict returns when its trace is durable.

        Raises:
            MalformedRequest: not well-formed, with a DTD, or over a limit; counted, not traced.
            ConventionViolation: there is no such provider convention.
            ResourceUnknown: there is no provider convention at all.
            ReplayGuardFull, ReplayGuardUnavailable: the vector may come once only, and nobody can tell whether it did.
            SpoolFull, SpoolUnavailable: the decision cannot be traced, so it is not given.
        """
        now = self._clock.now()
        question = Question(octets, convention, service, context.tls_certificate)
        judgement = await judge_asking(question, self._registry.current, now, self._limits)
        judgement, is_replayed = await self._check_replay(judgement, now)
        verdict = _state(judgement)
        receipt = None
        if verdict.fault is None or self._trace.admits_refusal(context.peer):
            if judgement.signed is not None:
                self._trace.keep_certificate(judgement.signed.claim.certificates[0])
            entry = received_entry(judgement, context, verdict.fault, service, now)
            if is_replayed:
                entry = msgspec.structs.replace(entry, replayed=True)
            receipt = await wait_durable(self._trace.append(self._trace.prepare(entry)))
        convention = "" if verdict.accepted is None else verdict.accepted.convention
        _counter(convention, "" if verdict.fault is None else verdict.fault.code).inc()
        return Verdict(verdict.accepted, verdict.fault, verdict.checks, receipt)

    async def _check_replay(self, judgement: Judgement, now: datetime) -> tuple[Judgement, bool]:
        """Record an accepted vector, the last of all checks; one that came before is refused where the convention says so."""
        accepted = judgement.accepted
        if accepted is None or accepted.replay == "off":
            return judgement, False
        vector = accepted.vector
        expires = _last_use(vector.not_on_or_after, accepted.skew)
        received = Received(vector.issuer, vector.assertion_id, expires)
        try:
            if await self._replay.record(received, now):
                return judgement, False
        except (ReplayGuardFull, ReplayGuardUnavailable) as exc:
            if accepted.replay == "refuse":
                raise
            _LOG.warning("replay-not-noticed", convention=accepted.convention, detail=exc.detail)
            return judgement, False
        _replays(accepted.convention).inc()
        if accepted.replay == "log":
            return judgement, True
        refusal = VectorRefused(
            Reason.REPLAYED, "a vector of this issuer with this ID was accepted before"
        )
        return replace(judgement, accepted=None, refusal=refusal), True


def _last_use(end: datetime, skew: float) -> datetime:
    """Name one millisecond past the last instant at which the rules would take a vector; where dates end, their end."""
    tolerated = timedelta(seconds=skew, milliseconds=1)
    return end + tolerated if end < _DATES_END - tolerated else _DATES_END


def verdict_of(judgement: Judgement) -> Verdict:
    """State a judgement as a verdict that leaves no trace and asked no replay guard."""
    verdict = _state(judgement)
    if judgement.accepted is not None and judgement.accepted.replay == "refuse":
        return replace(verdict, checks=(*verdict.checks[:-1], NOT_ASKED_REPLAY))
    return verdict


def _state(judgement: Judgement) -> Verdict:
    refusal = judgement.refusal
    fault = None if refusal is None else fault_of(refusal)
    return Verdict(judgement.accepted, fault, checks_of(refusal, is_alone=judgement.is_alone), None)
