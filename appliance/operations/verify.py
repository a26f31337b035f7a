"""The route of a received vector: judge it, ask whether it came before, trace the decision, then answer.

Whether it came before is part of the decision, so the guard is asked, and told, before the decision can be traced. When the trace then
refuses, nothing is answered and the guard is told to forget the vector: it may come again, and is decided on anew. A process that is
killed in between can tell the guard nothing: the vector counts as one that came, which is refused where once is the rule. So no
vector is ever accepted twice; at worst one that nobody was told of must be issued anew.
"""

from datetime import datetime
from functools import cache
from typing import Final, Literal, Protocol

import msgspec

from appliance import metrics
from appliance.cache.replay_guard import Received
from appliance.clock import Clock
from appliance.conventions.model import ProviderConvention
from appliance.conventions.registry import Registry, RegistryCell
from appliance.errors import (
    ApplianceError,
    Reason,
    ReplayGuardFull,
    ReplayGuardUnavailable,
    VectorRefused,
)
from appliance.log import Log
from appliance.native import Limits
from appliance.operations.asking import judge_asking
from appliance.operations.checks import CAME_BEFORE, REPLAY, Check, checks_of
from appliance.operations.entries import received_entry
from appliance.operations.faults import Fault, fault_of
from appliance.operations.judge import Judgement, Question, Signed
from appliance.operations.tracing import TraceWriter, wait_durable
from appliance.trace.record import Receipt, TraceEntry
from appliance.vectors.model import AcceptedVector, RequestContext

_LOG: Final = Log("verify")
_THREAD_FROM: Final = 256 * 1024
_replays: Final = cache(metrics.REPLAYS.labels)
_counter: Final = cache(metrics.VERIFICATIONS.labels)  # by convention and fault: closed lists both


class Verdict(msgspec.Struct, frozen=True):
    """The decision on a received vector: exactly one of `accepted` and `fault`.

    Attributes:
        checks: every check in order; those after the first failure are `not-run`.
        receipt: where the decision stands in the trace; None for a diagnosis, and for a refusal that is only counted because
            its peer was refused too often.
        refusal: what the fault stands for.
    """

    accepted: AcceptedVector | None
    fault: Fault | None
    checks: tuple[Check, ...]
    receipt: Receipt | None
    refusal: VectorRefused | None = None


class ReplayGate(Protocol):
    """Who knows which vectors came before: `cache.replay_guard`, or what several appliances share."""

    async def record(self, received: Received, now: datetime) -> bool:
        """Record a vector at once for everybody; False when it came before, or may have.

        Raises:
            ReplayGuardFull: there is no room for it.
            ReplayGuardUnavailable: nobody can tell.
        """

    async def forget(self, received: Received) -> None:
        """Take a vector back that was recorded and not decided on after all.

        Raises:
            ReplayGuardUnavailable: nobody can tell whether that is done.
        """


class _Replay(msgspec.Struct, frozen=True):
    """What the guard says of an accepted vector.

    Attributes:
        answer: None where it was not asked, or cannot tell.
        recorded: what it has newly recorded.
    """

    answer: Literal["fresh", "again"] | None = None
    recorded: Received | None = None


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
        question = Question(octets, convention, service, context.tls_certificate)
        return await self.decide(question, context)

    async def decide(self, question: Question, context: RequestContext) -> Verdict:
        """Decide on a question; as `verify`, whose refusals it has too."""
        now = self._clock.now()
        registry = self._registry.current
        judgement = await judge_asking(question, registry, now, self._limits)
        replay = await self._ask_guard(judgement, registry, now)
        if replay.answer == "again":
            judgement = _judge_again(judgement)
        verdict = _state(judgement, replay.answer)
        receipt = None
        if verdict.fault is None or self._trace.admits_refusal(context.peer):
            entry = received_entry(judgement, context, verdict.fault, question.service, now)
            if replay.answer == "again":
                entry = msgspec.structs.replace(entry, replayed=True)
            receipt = await self._make_durable(entry, judgement.signed, replay.recorded)
        convention = "" if verdict.accepted is None else verdict.accepted.convention
        _counter(convention, "" if verdict.fault is None else verdict.fault.code).inc()
        return msgspec.structs.replace(verdict, receipt=receipt)

    async def refuse(
        self, refusal: VectorRefused, context: RequestContext, service: str | None
    ) -> Verdict:
        """Record the refusal of a peer whose message is not looked at.

        Raises:
            SpoolFull, SpoolUnavailable: it cannot be traced.
        """
        judgement = Judgement(None, refusal)
        verdict = _state(judgement, None)
        if self._trace.admits_refusal(context.peer):
            entry = received_entry(judgement, context, verdict.fault, service, self._clock.now())
            await wait_durable(self._trace.append(self._trace.prepare(entry)))
        _counter("", "" if verdict.fault is None else verdict.fault.code).inc()
        return verdict

    def needs_whole(self, convention: str | None, service: str | None) -> bool:
        """Tell whether a message may fall under a convention that has its Body signed."""
        registry = self._registry.current
        named = None if convention is None else registry.find(convention)
        if named is not None:
            return isinstance(named, ProviderConvention) and "body" in named.soap_signed
        return registry.providers_of_service(service).wants_body_signed

    async def _make_durable(
        self, entry: TraceEntry, signed: Signed | None, recorded: Received | None
    ) -> Receipt:
        """Trace a decision; one that cannot be traced is not given, and its vector not used up."""
        try:
            if signed is not None:
                self._trace.keep_certificate(signed.claim.certificates[0])
            return await wait_durable(self._trace.append(self._trace.prepare(entry)))
        except ApplianceError:
            if recorded is not None:
                await self._take_back(recorded)
            raise

    async def _ask_guard(self, judgement: Judgement, registry: Registry, now: datetime) -> _Replay:
        """Record an accepted vector, the last of all checks."""
        accepted = judgement.accepted
        if accepted is None or accepted.replay == "off":
            return _Replay()
        vector = accepted.vector
        received = Received(
            vector.issuer, vector.assertion_id, vector.not_on_or_after, registry.longest_skew
        )
        try:
            if await self._replay.record(received, now):
                return _Replay("fresh", received)
        except (ReplayGuardFull, ReplayGuardUnavailable) as exc:
            if accepted.replay == "refuse":
                raise
            _LOG.warning("replay-not-noticed", convention=accepted.convention, detail=exc.detail)
            return _Replay()
        _replays(accepted.convention).inc()
        return _Replay("again")

    async def _take_back(self, received: Received) -> None:
        """Have the guard forget a vector on which no decision was given; where it cannot, the vector counts as one that came."""
        try:
            await self._replay.forget(received)
        except ReplayGuardUnavailable as exc:
            _LOG.warning("replay-not-taken-back", detail=exc.detail)


def _judge_again(judgement: Judgement) -> Judgement:
    """Refuse a vector that came before where the convention says so."""
    if judgement.accepted is None or judgement.accepted.replay == "log":
        return judgement
    refusal = VectorRefused(
        Reason.REPLAYED, "a vector of this issuer with this ID was accepted before"
    )
    return msgspec.structs.replace(judgement, accepted=None, refusal=refusal)


def verdict_of(judgement: Judgement) -> Verdict:
    """State a judgement as a verdict that leaves no trace and asked no replay guard."""
    return _state(judgement, None)


def _state(judgement: Judgement, replay: Literal["fresh", "again"] | None) -> Verdict:
    refusal = judgement.refusal
    unasked = judgement.unasked if replay is not None else judgement.unasked | REPLAY
    checks = checks_of(refusal, unasked)
    if replay == "again" and refusal is None:
        checks = (*checks[:-1], CAME_BEFORE)
    fault = None if refusal is None else fault_of(refusal)
    return Verdict(judgement.accepted, fault, checks, None, refusal)
