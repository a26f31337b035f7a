"""Judging where a responder must be asked first: ask, and judge again.

Promises that all the asking for one vector has one deadline, and that a vector about which nobody answered in time is refused by name.
"""

import asyncio
from datetime import datetime
from typing import Final

from appliance.conventions.registry import Registry
from appliance.errors import Reason, VectorRefused
from appliance.native import Limits
from appliance.operations.judge import Judgement, Question, judge
from appliance.operations.signedparts import judge_parts
from appliance.trust.ocsp import OcspWanted

_MOST_RESPONDERS: Final = 4
"""Of one vector: the conventions of an issuer may name several."""
_THREAD_FROM: Final = 256 * 1024
"""Octets from which on a message is left to a thread."""
_WITHIN: Final = 5.0  # seconds; one responder is given up after three


async def judge_asking(
    question: Question, registry: Registry, now: datetime, limits: Limits | None = None
) -> Judgement:
    """Do as `judge`, asking the responders on the way, and judge the rest of the message where the convention has it signed.

    Raises:
        MalformedRequest, ConventionViolation, ResourceUnknown: as `judge`.
    """
    judgement = await _judge_vector(question, registry, now, limits)
    if len(question.octets) < _THREAD_FROM:
        return judge_parts(judgement, question, registry, now, limits)
    return await asyncio.to_thread(judge_parts, judgement, question, registry, now, limits)


async def _judge_vector(
    question: Question, registry: Registry, now: datetime, limits: Limits | None
) -> Judgement:
    try:
        return judge(question, registry, now, limits)
    except OcspWanted as exc:
        wanted = exc
    try:
        async with asyncio.timeout(_WITHIN):
            for _ in range(_MOST_RESPONDERS):
                await registry.ocsp.fetch(wanted.question, now)
                try:
                    return judge(question, registry, now, limits)
                except OcspWanted as exc:
                    wanted = exc
    except TimeoutError:
        return _unanswered(f"the OCSP responders have not all answered within {_WITHIN:g} s")
    return _unanswered("more OCSP responders than are asked at once")


def judge_with_ocsp(
    question: Question, registry: Registry, now: datetime, limits: Limits | None = None
) -> Judgement:
    """Do as `judge_asking` where there is no event loop: for the command line."""
    return asyncio.run(judge_asking(question, registry, now, limits))


def _unanswered(detail: str) -> Judgement:
    return Judgement(None, VectorRefused(Reason.REVOCATION_UNKNOWN, detail))
