"""Sections about a running service, plain HTTP or as its address says: what it issues and verifies, how quickly, and who spends the time."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Final

from bench.ceiling import Ceiling
from bench.homes import make_bench_home
from bench.load import LoadResult
from bench.load.scenario import make_scenario
from bench.machine import cores
from bench.release import release_check
from bench.report.ground import (
    BATCH_CONNECTIONS,
    CONNECTIONS,
    Ground,
    Loaded,
    Pace,
    Service,
    Subject,
    ceilings_of,
    describe_cost,
    load,
    load_named,
    measure_subject,
    remarks_of,
    run_service,
)
from bench.report.model import Axis, Bar, Bars, Figure, Lines, Section, Series, Wanted

_STEPS: Final = (0.3, 0.5, 0.7, 0.9)
_AT: Final = 0.7
_PERCENTILES: Final = (("p50", 2.0), ("p99", 8.0), ("p99.9", 20.0))
_ISSUE_WANTED: Final[Mapping[tuple[str, str], float]] = {
    ("RSA-2048", "single"): 0.75,
    ("RSA-2048", "batch"): 0.92,
    ("P-256", "single"): 0.25,
    ("P-256", "batch"): 0.60,
}
_WAYS: Final = {
    "single": ("one per request", CONNECTIONS),
    "batch": ("batches", BATCH_CONNECTIONS),
}
_PARTS: Final = (
    "client",
    "worker",
    "check before release",
    "lane",
    "key operation",
    "supervisor and others",
)


def measure_issue(ground: Ground) -> Section:
    """New vectors, one per request and in batches, by each service that there is; each rate beside the ceiling of the same round."""
    figures: list[Figure] = []
    bars: list[Bar] = []
    results: list[LoadResult] = []
    running = ground.running()
    with _services(ground, "issue") as services:
        for subject in ground.subjects:
            ceilings, loaded = _issue(subject, services, ground.pace)
            for (way, served), its in loaded.items():
                name = _name_issued(subject, way) + served
                figures.append(_issued(name, (subject.label, way), its, ceilings))
                if services[served] is running and running.supervisor is not None:
                    bars.append(Bar(name, _split(ceilings, its)))
                results += [each.result for each in its]
    told = (
        " One worker, and one for each core, in turns beside the same ceiling: which of them gives more depends on whether the token computes on"
        " these cores, so that both are judged."
        if len(services) > 1
        else ""
    )
    return Section(
        "issue",
        "Vectors issued",
        f"New vectors, durably traced, in a closed loop: {CONNECTIONS} connections one per request, {BATCH_CONNECTIONS} in batches; the"
        f" ceiling of the key before each, {ground.lanes}, in the same round.{told} Verified before release: every RSA signature, one ECDSA"
        " signature in 64. The load generator runs on the same cores where the service does.",
        tuple(figures),
        (
            Bars(
                "Where the processor time of one vector goes",
                Axis("processor time of one vector", "µs"),
                _PARTS,
                tuple(bars),
            ),
        )
        if bars
        else (),
        remarks_of(results),
    )


def _issue(
    subject: Subject, services: Mapping[str, Service], pace: Pace
) -> tuple[list[Ceiling | None], Mapping[tuple[str, str], list[Loaded]]]:
    """Load each service in each way, in turns; what came by way and service, and the ceiling of each round."""
    ceilings: list[Ceiling | None] = []
    loaded: dict[tuple[str, str], list[Loaded]] = {
        (way, served): [] for way in _WAYS for served in services
    }
    for _ in range(pace.rounds):
        ceilings.append(measure_subject(subject, pace))
        for (way, served), its in loaded.items():
            connections = _WAYS[way][1]
            its.append(load_named(services[served], way, subject.wanted, pace, connections))
    return ceilings, loaded


def _name_issued(subject: Subject, way: str) -> str:
    name, _ = _WAYS[way]
    return subject.name(name if way == "single" else f"{name} of {subject.wanted.batch}")


def _issued(
    name: str,
    measured: tuple[str, str],
    loaded: Sequence[Loaded],
    ceilings: Sequence[Ceiling | None],
) -> Figure:
    least = _ISSUE_WANTED.get(measured)
    return Figure(
        name,
        "vectors/s",
        tuple(each.result.rate for each in loaded),
        ceilings_of(ceilings),
        "token",
        None if least is None else Wanted(least=least, is_share=True),
    )


def measure_reuse(ground: Ground) -> Section:
    """Vectors given out again."""
    return _one_rate(
        ground,
        "reuse",
        "Vectors given out again",
        "The same statement asked for again and again by a convention that allows reuse: cache hits, each traced durably.",
        Wanted(least=20_000.0),
    )


def measure_verify(ground: Ground) -> Section:
    """Vectors verified, one per request."""
    return _one_rate(
        ground,
        "verify",
        "Vectors verified",
        f"{ground.subject.wanted.in_turn} vectors that the service issued before, presented in turn, one per request: signature, path,"
        " revocation, convention, replay, durable trace. After the first turn each is a replay, which the convention notes and does not refuse.",
        Wanted(least=12_000.0),
    )


def measure_mixed(ground: Ground) -> Section:
    """New vectors, reused ones and verifications together."""
    service, pace = ground.running(), ground.pace
    loaded = [
        load_named(service, "mixed", ground.reused, pace, CONNECTIONS) for _ in range(pace.rounds)
    ]
    results = [one.result for one in loaded]
    return Section(
        "mixed",
        "Issued, reused and verified together",
        "Of ten requests six ask for a new vector, two for one that may be given out again, two have one verified."
        f" {CONNECTIONS} connections, closed loop.",
        (_answers("mixed, one per request", results),),
        (),
        (*describe_cost("mixed", loaded), *remarks_of(results)),
    )


def _one_rate(ground: Ground, scenario: str, title: str, how: str, wanted: Wanted) -> Section:
    """Measure what the token has no part in by each service that there is; what is wanted is of the last, which has the whole machine."""
    pace, asked = ground.pace, ground.subject.wanted if scenario == "verify" else ground.reused
    with _services(ground, scenario) as services:
        loaded: dict[str, list[Loaded]] = {name: [] for name in services}
        for _ in range(pace.rounds):
            for name, service in services.items():
                loaded[name].append(load_named(service, scenario, asked, pace, CONNECTIONS))
    last = list(loaded)[-1]
    results = {name: [one.result for one in its] for name, its in loaded.items()}
    figures = tuple(
        _answers(f"{scenario}, one per request{name}", its, wanted if name == last else None)
        for name, its in results.items()
    )
    costs = [describe_cost(f"{scenario}{name}", its) for name, its in loaded.items()]
    told = " One worker, and one for each core, in turns." if len(figures) > 1 else ""
    return Section(
        scenario,
        title,
        f"{how} {CONNECTIONS} connections, closed loop.{told}",
        figures,
        (),
        (*chain(*costs), *remarks_of([*chain(*results.values())])),
    )


@contextmanager
def _services(ground: Ground, name: str) -> Iterator[Mapping[str, Service]]:
    """Yield the service that runs; beside one of our making, which has one worker, the same with one for each core. By how figures end."""
    running = ground.running()
    if ground.is_given or cores() == 1:
        yield {"": running}
        return
    workers = {"# workers = 1": f"workers = {cores()}"}
    with run_service(make_bench_home(ground.workshop / f"{name}-workers", workers)) as wide:
        yield {", one worker": running, f", {cores()} workers": wide}


def _answers(name: str, results: Sequence[LoadResult], wanted: Wanted | None = None) -> Figure:
    rates = tuple(one.request_rate for one in results)
    return Figure(name, "answers/s", rates, wanted=wanted)


def measure_latency(ground: Ground) -> Section:
    """Latency against load: open loop, from the intended time of sending."""
    service, pace = ground.running(), ground.pace
    scenario = make_scenario("single", service.target, ground.subject.wanted)
    capacities: list[LoadResult] = []
    steps: dict[float, list[Loaded]] = {step: [] for step in _STEPS}
    for turn in range(pace.rounds):
        capacities.append(load(service, scenario, pace, CONNECTIONS).result)
        for step in _STEPS:
            rate = step * capacities[-1].request_rate
            steps[step].append(load(service, scenario, pace, CONNECTIONS, rate, turn))
    times = {
        (step, name): tuple(_milliseconds(one, name) for one in loaded)
        for step, loaded in steps.items()
        for name, _ in _PERCENTILES
    }
    rates = tuple(one.request_rate for one in capacities)
    failed = tuple(float(sum(one.result.errors.values())) for one in steps[_AT])
    figures = [Figure("capacity, closed loop", "vectors/s", rates)]
    figures += [
        Figure(f"{name} at {_AT:.0%} of capacity", "ms", times[_AT, name], wanted=Wanted(most=most))
        for name, most in _PERCENTILES
    ]
    figures.append(
        Figure(
            f"without a vector at {_AT:.0%} of capacity",
            "requests",
            failed,
            wanted=Wanted(most=0.0),
        )
    )
    lines = tuple(
        Series(name, tuple((step * 100, statistics.median(times[step, name])) for step in _STEPS))
        for name, _ in _PERCENTILES
    )
    plot = Lines(
        "Latency against load",
        Axis("load, part of capacity", "%"),
        Axis("latency", "ms", is_log=True),
        lines,
    )
    return Section(
        "latency",
        "Latency against load",
        f"{ground.subject.name('one per request')}, an open loop: requests arrive as by a Poisson process at a part of the capacity that the same"
        " round measured, answered or not, and latency counts from when each should have been sent.",
        tuple(figures),
        (plot,),
        (
            *chain(*(describe_cost(f"{step:.0%} of capacity", its) for step, its in steps.items())),
            *remarks_of([*capacities, *(one.result for its in steps.values() for one in its)]),
        ),
    )


def _milliseconds(loaded: Loaded, name: str) -> float:
    result = loaded.result
    return {"p50": result.p50, "p99": result.p99, "p99.9": result.p999}[name] * 1000


def _split(ceilings: Sequence[Ceiling | None], loaded: Sequence[Loaded]) -> tuple[float, ...]:
    """Microseconds of one vector by who spends them; the lane's are parted by the ceiling, the worker's by what a check costs alone."""
    costs = {
        kind: statistics.median(one.processor.get(kind, 0.0) for one in loaded)
        for kind in ("client", "worker", "lane", "supervisor", "other")
    }
    known = [each for each in ceilings if each is not None]
    token = statistics.median(each.cpu_seconds for each in known) if known else 0.0
    key = min(costs["lane"], token)
    check = min(costs["worker"], release_check(known[0].mechanism)) if known else 0.0
    parts = (
        costs["client"],
        costs["worker"] - check,
        check,
        costs["lane"] - key,
        key,
        costs["supervisor"] + costs["other"],
    )
    return tuple(part * 1e6 for part in parts)
