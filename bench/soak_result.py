"""What a soak came to: a row a cycle, how memory went, and everything that should not have been."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from bench.load import LoadResult
from bench.soak_verdict import Verdict

_EXPLAINED: Final = ("503 hsm-", "503 pin-", "503 queue-", "500 internal")
"""What a failing token may make of an answer. It explains no request that is lost, nothing that the caller is blamed for, and no other part that
is full or ends: a spool, a service that drains."""

_MIB: Final = 1024**2
_GROWTH: Final = 0.10
_SLACK: Final = 4 * _MIB
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Cycle:
    """One fault and what came after it.

    Attributes:
        fault: the kind that was injected.
        since: when it was at the earliest, as the trace writes instants.
        has_met: whether the load was under way then, and had been answered.
        change: what was changed in the calm after it: `rotate`, `reload` or nothing.
        recovery: seconds from its end to vectors as before.
        faulty, calm: the load while it lasted, and after it.
        given: vectors that clients were given; those that are not traced are the run's `missing`.
        held: octets of memory at its end, of a process on average, by kind.
    """

    number: int
    fault: str
    since: str
    has_met: bool
    change: str
    recovery: float
    faulty: LoadResult
    calm: LoadResult
    given: int
    held: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Growth:
    """How the memory of a kind of process went: octets in the second quarter and in the last, and octets an hour by a line from there to there."""

    begin: float
    end: float
    slope: float

    @property
    def is_flat(self) -> bool:
        """Whether the end is what the beginning was, but for a tenth and 4 MiB."""
        return self.end <= self.begin * (1 + _GROWTH) + _SLACK


@dataclass(frozen=True, slots=True)
class SoakResult:
    """A whole run.

    Attributes:
        capacity: vectors a second, measured before; the load is `rate`.
        missing: identifiers of vectors that were answered and are not in the trace.
        verdict: what the logs are worth.
        failures: what failed besides, in sentences.
    """

    seconds: float
    capacity: float
    rate: float
    cycles: tuple[Cycle, ...]
    missing: tuple[str, ...]
    verdict: Verdict
    failures: tuple[str, ...]

    @property
    def growth(self) -> Mapping[str, Growth]:
        """Of each kind of process."""
        kinds = dict.fromkeys(kind for cycle in self.cycles for kind in cycle.held)
        period = self.seconds / max(1, len(self.cycles))
        return {
            kind: _grow([cycle.held[kind] for cycle in self.cycles if kind in cycle.held], period)
            for kind in kinds
        }

    @property
    def troubles(self) -> tuple[str, ...]:
        """Everything that should not have been; nothing when the run was clean."""
        return (*self.failures, *self._wrong_answers(), *self._wrong_state())

    def facts(self) -> dict[str, object]:
        """The same for `json.dumps`."""
        growth = {kind: asdict(one) for kind, one in self.growth.items()}
        return asdict(self) | {"growth": growth, "troubles": self.troubles}

    def _wrong_answers(self) -> list[str]:
        troubles = []
        for cycle in self.cycles:
            told = f"cycle {cycle.number} ({cycle.fault})"
            troubles += [
                f"{told}: {count:,} x {reason} that the fault does not explain"
                for reason, count in cycle.faulty.errors.items()
                if not reason.startswith(_EXPLAINED)
            ]
            change = f" with a {cycle.change}" if cycle.change else ""
            troubles += [
                f"{told}, in the calm after it{change}: {count:,} x {reason}"
                for reason, count in cycle.calm.errors.items()
            ]
            if not cycle.has_met:
                troubles.append(f"{told}: the load did not meet the fault")
            if not cycle.calm.requests:
                troubles.append(f"{told}: not a single vector in the calm after it")
        return troubles

    def _wrong_state(self) -> list[str]:
        troubles = [
            f"memory of {kind}s grew from {one.begin / _MIB:.1f} to {one.end / _MIB:.1f} MiB"
            for kind, one in self.growth.items()
            if not one.is_flat
        ]
        if self.missing:
            first = ", ".join(self.missing[:3])
            troubles.append(
                f"{len(self.missing):,} vectors were answered and are not traced: {first} …"
            )
        return [*troubles, *self.verdict.wrong]


def print_soak(result: SoakResult) -> None:
    """Print a row for each cycle, the memory, and what was wrong."""
    print(
        f"{len(result.cycles)} cycles in {result.seconds:,.0f} s at {result.rate:,.0f}/s of a capacity of {result.capacity:,.0f}/s\n\n"
        "| | fault | met the load | then | vectors under it | errors under it | recovered after | vectors after it | p50 | p99 | p99.9 | errors | given |\n"
        "| ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for one in result.cycles:
        times = " | ".join(
            f"{each * 1000:.1f} ms" for each in (one.calm.p50, one.calm.p99, one.calm.p999)
        )
        print(
            f"| {one.number} | {one.fault} | {'yes' if one.has_met else 'no'} | {one.change} | {one.faulty.requests:,} | {sum(one.faulty.errors.values()):,} |"
            f" {one.recovery * 1000:,.0f} ms | {one.calm.requests:,} | {times} | {sum(one.calm.errors.values()):,} | {one.given:,} |"
        )
    print(
        "\n| memory of a process | second quarter | last quarter | an hour | flat |\n| --- | ---: | ---: | ---: | --- |"
    )
    for kind, growth in result.growth.items():
        print(
            f"| {kind} | {growth.begin / _MIB:.1f} MiB | {growth.end / _MIB:.1f} MiB | {growth.slope / _MIB:+.1f} MiB |"
            f" {'yes' if growth.is_flat else 'no'} |"
        )
    given = sum(one.given for one in result.cycles)
    print(
        f"\n{given:,} vectors answered, {len(result.missing):,} of them not traced; {result.verdict.unaccounted:,} signatures without an entry"
    )
    for trouble in result.troubles:
        print(f"WRONG: {trouble}")


def _grow(held: Sequence[float], period: float) -> Growth:
    """Compare the medians of the second and the last quarter; the slope is by least squares from the second on.

    In the first quarter buffers come to their size: a worker that has been through its first outage keeps some megabytes more, once.
    """
    part = len(held) // 4
    settled = held[part:]
    last = max(1, part)
    slope = 0.0
    if len(settled) > 1:
        times = [at * period for at in range(len(settled))]
        slope = statistics.linear_regression(times, settled).slope * _HOUR
    return Growth(statistics.median(settled[:last]), statistics.median(settled[-last:]), slope)
