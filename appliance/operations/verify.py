"""The route of a received vector: judge it, trace the decision, then answer."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from appliance import metrics
from appliance.clock import Clock, format_instant
from appliance.conventions.registry import RegistryCell
from appliance.native import Limits
from appliance.operations.checks import Check, checks_of
from appliance.operations.entries import received_entry
from appliance.operations.faults import Fault, fault_of
from appliance.operations.judge import Judgement, Question, judge
from appliance.operations.tracing import TraceWriter, wait_durable
from appliance.trace.record import Receipt
from appliance.vectors.model import AcceptedVector, RequestContext

_counter: Final = cache(metrics.VERIFICATIONS.labels)  # by convention and fault: closed lists both


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on a received vector: exactly one of `accepted` and `fault`.

    Attributes:
        checks: every check in order; those after the first failure are `not-run`.
        receipt: where the decision stands in the trace; None for a diagnosis.
    """

    accepted: AcceptedVector | None
    fault: Fault | None
    checks: tuple[Check, ...]
    receipt: Receipt | None


class VerifyOperation:
    """Decides on received vectors."""

    def __init__(
        self, registry: RegistryCell, trace: TraceWriter, clock: Clock, limits: Limits | None = None
    ) -> None:
        self._registry: Final = registry
        self._trace: Final = trace
        self._clock: Final = clock
        self._limits: Final = limits

    async def verify(
        self, octets: bytes, context: RequestContext, convention: str | None, service: str | None
    ) -> Verdict:
        """Judge an assertion or a SOAP message; the verdict returns when its trace is durable.

        Raises:
            MalformedRequest: not well-formed, with a DTD, or over a limit; counted, not traced.
            ConventionViolation: there is no such provider convention.
            ResourceUnknown: there is no provider convention at all.
            SpoolFull, SpoolUnavailable: the decision cannot be traced, so it is not given.
        """
        now = self._clock.now()
        judgement = judge(
            Question(octets, convention, service), self._registry.current, now, self._limits
        )
        verdict = verdict_of(judgement)
        entry = received_entry(judgement, context, verdict.fault, format_instant(now))
        receipt = await wait_durable(self._trace.append(entry))
        convention = "" if verdict.accepted is None else verdict.accepted.convention
        _counter(convention, "" if verdict.fault is None else verdict.fault.code).inc()
        return Verdict(verdict.accepted, verdict.fault, verdict.checks, receipt)


def verdict_of(judgement: Judgement) -> Verdict:
    """State a judgement as a verdict that leaves no trace."""
    refusal = judgement.refusal
    fault = None if refusal is None else fault_of(refusal)
    return Verdict(judgement.accepted, fault, checks_of(refusal), None)
