"""What came out: rates, percentiles, errors; a table for people and JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.load.driver import Sample
from bench.load.histogram import Latencies
from bench.load.phases import Phase
from bench.load.scenario import Scenario


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One phase of one scenario; seconds for times, per second for rates.

    Attributes:
        offered: requests that arrived a second; None in a closed loop.
        arrivals: how they followed each other; empty in a closed loop.
        requests: good answers; those of an open loop include what came after the phase.
        request_rate: good answers within the phase.
        rate: vectors in them (answers, where the scenario has no vectors).
        late: vectors (answers) that came after the phase: in no rate, and yet work that was done.
        client: processors that the client processes kept busy; near their number the client is what limits.
        errors: how often, by reason.
        pushbacks: answers that say the service is full or a part is out of reach (429, 503); errors, too.
        pushback_p50, pushback_p99: of those, from when each was sent.
        histogram: every latency, an encoded HdrHistogram in microseconds, from the intended time of sending.
    """

    scenario: str
    batch: int
    connections: int
    processes: int
    seconds: float
    offered: float | None
    arrivals: str
    requests: int
    request_rate: float
    rate: float
    p50: float
    p90: float
    p99: float
    p999: float
    p9999: float
    slowest: float
    late: int
    client: float
    errors: dict[str, int]
    pushbacks: int
    pushback_p50: float
    pushback_p99: float
    histogram: str

    def facts(self) -> dict[str, object]:
        """The same for `json.dumps`."""
        return asdict(self)


def summarise(
    scenario: Scenario, phase: Phase, connections: int, samples: Sequence[Sample]
) -> LoadResult:
    """Add the client processes' samples of a phase up."""
    latencies = Latencies(sample.latencies for sample in samples)
    pushbacks = Latencies(sample.pushbacks for sample in samples)
    errors: Counter[str] = Counter()
    for sample in samples:
        errors.update(sample.errors)
    answers = sum(sample.answers_in_time for sample in samples)
    vectors = max(ask.vectors for ask in scenario.asks)
    return LoadResult(
        scenario=scenario.name,
        batch=vectors,
        connections=connections,
        processes=len(samples),
        seconds=phase.seconds,
        offered=phase.rate,
        arrivals="" if phase.rate is None else phase.arrivals.value,
        requests=latencies.count,
        request_rate=answers / phase.seconds,
        rate=(sum(sample.vectors for sample in samples) if vectors else answers) / phase.seconds,
        p50=latencies.percentile(50),
        p90=latencies.percentile(90),
        p99=latencies.percentile(99),
        p999=latencies.percentile(99.9),
        p9999=latencies.percentile(99.99),
        slowest=latencies.slowest,
        late=sum(sample.late for sample in samples),
        client=sum(sample.processor for sample in samples) / phase.seconds,
        errors=dict(errors),
        pushbacks=pushbacks.count,
        pushback_p50=pushbacks.percentile(50),
        pushback_p99=pushbacks.percentile(99),
        histogram=latencies.encode().decode("ascii"),
    )


def print_table(results: Sequence[LoadResult]) -> None:
    """Print a line for each result, and its errors below it."""
    print(
        f"{'scenario':<9}{'conns':>6}{'offered/s':>11}{'answers/s':>11}{'vectors/s':>11}"
        f"{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'p99.99':>9}{'max':>9} ms{'client':>9}"
    )
    for result in results:
        times = (
            *(result.p50, result.p90, result.p99),
            *(result.p999, result.p9999, result.slowest),
        )
        offered = "closed" if result.offered is None else f"{result.offered:,.0f}"
        vectors = f"{result.rate:,.0f}" if result.batch else "-"
        shown = "".join(f"{time * 1000:>9.2f}" for time in times)
        print(
            f"{result.scenario:<9}{result.connections:>6}{offered:>11}{result.request_rate:>11,.0f}{vectors:>11}"
            f"{shown}   {result.client:>8.2f}c"
        )
        for reason, count in sorted(result.errors.items()):
            print(f"{'':<9}{count:,} x {reason}")
