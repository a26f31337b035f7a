"""What came of a fault run: counts, times, and for each kind of fault how much of it was as soon as is promised."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.fault_load import Refusal

_REFUSED_SOON: Final = 0.05
_RECOVERED_SOON: Final = 2.0
"""Seconds within which an unavailable token should be refused, and a token that has returned be in use."""

_NAMED: Final = 8
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class KindResult:
    """What came of one kind of fault; shares are of those within the time that is promised, times are seconds.

    Attributes:
        refusals: requests refused because the token is unavailable, while it was known to be or until it was.
        refused_soon: share of them refused within 50 ms.
        known_soon: the same of those asked for after somebody had been refused in that cycle.
        slowest_refusal: the longest.
        recovered_soon: share of the cycles after which a vector was there within 2 s.
        slowest_recovery: the longest, infinite when none came.
    """

    kind: str
    cycles: int
    refusals: int
    refused_soon: float
    known_soon: float
    slowest_refusal: float
    recovered_soon: float
    slowest_recovery: float


@dataclass(frozen=True, slots=True)
class FaultsResult:
    """What came of the run; seconds for times.

    Attributes:
        vectors: requests answered with a vector that libxmlsec accepts.
        refused: requests refused by name, by reason.
        wrong: vectors that do not verify.
        lost: requests neither answered nor refused by name within their deadline; `lost_how` says how.
        pins: times a token was asked again after it had refused a PIN, or had twice left open whether it does.
        resumed: times the operator ran `hsm resume`; never but for those PINs.
        load_average: of the machine at the end, over a minute.
        not_recovered: cycles after which no vector came within a minute.
        detect: injection to the first refusal, for the cycles that had one.
        refuse: how long a refusal for an unavailable token took.
        recover: end of the fault to the first vector asked for after it.
        kinds: the same for each kind of fault, and for all of them.
        slow: the cycles, by number and kind, that refused or recovered later than promised, and after how long; the slowest of each.
    """

    seed: int
    cycles: int
    seconds: float
    faults: dict[str, int]
    vectors: int
    refused: dict[str, int]
    wrong: int
    lost: int
    lost_how: dict[str, int]
    pins: int
    resumed: int
    load_average: float
    not_recovered: int
    restarts: int
    detect: dict[str, float]
    refuse: dict[str, float]
    recover: dict[str, float]
    kinds: list[KindResult]
    slow: dict[str, list[str]]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong, lost, left down, or asked with a refused PIN."""
        return not (self.wrong or self.lost or self.pins or self.not_recovered)


def sum_up(
    kinds: Sequence[str], recovered: Sequence[float], refused: Sequence[Refusal]
) -> list[KindResult]:
    results: list[KindResult] = []
    for kind in [*sorted(set(kinds)), _ALL]:
        cycles = {cycle for cycle, each in enumerate(kinds) if kind in {each, _ALL}}
        refusals = [each for each in refused if each.cycle in cycles]
        recoveries = [recovered[cycle] for cycle in cycles]
        results.append(
            KindResult(
                kind=kind,
                cycles=len(cycles),
                refusals=len(refusals),
                refused_soon=_share([each.seconds for each in refusals], _REFUSED_SOON),
                known_soon=_share(
                    [each.seconds for each in refusals if each.is_known], _REFUSED_SOON
                ),
                slowest_refusal=max((each.seconds for each in refusals), default=0.0),
                recovered_soon=_share(recoveries, _RECOVERED_SOON),
                slowest_recovery=max(recoveries),
            )
        )
    return results


def name_slow(
    kinds: Sequence[str], recovered: Sequence[float], refused: Sequence[Refusal]
) -> dict[str, list[str]]:
    refusals = {each.cycle: each.seconds for each in sorted(refused, key=lambda each: each.seconds)}
    slow = {"refuse": refusals, "recover": dict(enumerate(recovered))}
    limits = {"refuse": _REFUSED_SOON, "recover": _RECOVERED_SOON}
    return {
        what: [
            f"cycle {cycle} ({kinds[cycle]}) {seconds * 1000:,.0f} ms"
            for cycle, seconds in sorted(found.items(), key=lambda item: -item[1])[:_NAMED]
            if seconds > limits[what]
        ]
        for what, found in slow.items()
    }


def _share(seconds: Sequence[float], limit: float) -> float:
    return sum(each <= limit for each in seconds) / len(seconds) if seconds else 1.0


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: ordered[int(share * (len(ordered) - 1))] for name, share in at.items()}
    return {**found, "max": ordered[-1], "count": float(len(ordered))}


def print_result(result: FaultsResult) -> None:
    print(
        f"{result.cycles} cycles in {result.seconds:,.0f} s, seed {result.seed}, load average {result.load_average:.1f}"
    )
    print("  " + ", ".join(f"{kind}: {count}" for kind, count in result.faults.items()))
    refused = ", ".join(f"{reason} {count:,}" for reason, count in sorted(result.refused.items()))
    print(f"vectors {result.vectors:,}, refused by name: {refused or 'none'}")
    print(
        f"wrong {result.wrong}, lost {result.lost} {result.lost_how or ''}, refused PINs asked again "
        f"{result.pins}, not recovered {result.not_recovered}; resumed by the operator {result.resumed}, "
        f"lanes replaced {result.restarts:,}"
    )
    for name, times in (
        ("detect", result.detect),
        ("refuse", result.refuse),
        ("recover", result.recover),
    ):
        shown = " ".join(
            f"{key} {value * 1000:,.0f} ms" for key, value in times.items() if key != "count"
        )
        print(f"{name:<8} {shown}")
    print(
        "\n| fault | cycles | refused | within 50 ms | once it was known | slowest | vector within 2 s | slowest |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for kind in result.kinds:
        print(
            f"| {kind.kind} | {kind.cycles} | {kind.refusals:,} | {kind.refused_soon:.1%} | {kind.known_soon:.1%} | "
            f"{kind.slowest_refusal * 1000:,.0f} ms | {kind.recovered_soon:.1%} | {kind.slowest_recovery * 1000:,.0f} ms |"
        )
    for what, cycles in result.slow.items():
        print(f"slow to {what}: {', '.join(cycles) or 'none'}")
