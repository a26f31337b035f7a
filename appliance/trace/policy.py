"""What a convention says of its traces: how long they are kept, and how much of a person."""

from dataclasses import dataclass
from typing import Final

from appliance.trace.record import TraceLevel

STANDARD: Final = "6y"
"""The retention class of what no convention claims: the longest the order of 6 July 2007 allows (DOMAIN 8.2)."""

_STRICTNESS: Final[tuple[TraceLevel, ...]] = ("full", "pseudonymous", "minimal")


@dataclass(frozen=True, slots=True)
class TracePolicy:
    """Retention class and level of the entries about one convention."""

    retention: str = STANDARD
    level: TraceLevel = "full"


DEFAULT_POLICY: Final = TracePolicy()


def strictest(policies: list[TracePolicy]) -> TracePolicy:
    """Return the policy that keeps least of a person; the default when there is none."""
    return max(policies, key=lambda policy: _STRICTNESS.index(policy.level), default=DEFAULT_POLICY)
