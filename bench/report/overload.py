"""The section about three times the load that the service can carry; on a home of its own, whose queue is short enough to refuse."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bench.homes import RSA, make_bench_home
from bench.load import LoadResult
from bench.load.scenario import Wanted as Asked, make_scenario
from bench.processes import Kind, resident
from bench.report.ground import Ground, Service, load, load_named, remarks_of, run_service
from bench.report.model import Figure, Section, Wanted

_TIMES: Final = 3
_CONNECTIONS: Final = 512
_JOBS: Final = 256
_SETTINGS: Final = {
    "# jobs = 4096": f"jobs = {_JOBS}",
    "# connections_per_peer = 100": "connections_per_peer = 1000",
}
_MIB: Final = 1024**2


def measure_overload(ground: Ground) -> Section:
    """Goodput, refusals and memory under three times the capacity."""
    pace, asked = ground.pace, Asked(convention=RSA)
    home = make_bench_home(ground.workshop / "overload", _SETTINGS)
    with run_service(home) as service:
        peak = load_named(service, "single", asked, pace, 32).result
        scenario = make_scenario("single", service.target, asked)
        rate, longer = _TIMES * peak.request_rate, replace(pace, seconds=pace.overload)
        load(service, scenario, pace, _CONNECTIONS, rate)
        before = _memory(service)
        over = load(service, scenario, longer, _CONNECTIONS, rate, turn=1).result
        after = _memory(service)
    figures = [
        Figure("peak, closed loop", "vectors/s", (peak.rate,)),
        Figure(
            f"goodput under {_TIMES} times as much",
            "vectors/s",
            (over.rate,),
            (peak.rate,),
            "peak",
            Wanted(least=0.95, is_share=True),
        ),
        *_refusals(over),
    ]
    figures += [
        Figure(
            f"memory of {kind}s at the end",
            "MiB",
            (octets / _MIB,),
            (before[kind] / _MIB,),
            "the beginning",
            Wanted(most=1.1, is_share=True),
        )
        for kind, octets in after.items()
        if kind in before
    ]
    return Section(
        "overload",
        "Overload",
        f"{_TIMES} times the capacity measured before, for {pace.overload:.0f} s: RSA-2048, one per request, Poisson arrivals on {_CONNECTIONS}"
        f" connections, a queue of {_JOBS} jobs; once, not in rounds. A refusal counts from when its request was sent; memory begins when a"
        " first moment of overload is over.",
        tuple(figures),
        remarks=remarks_of([over]),
    )


def _refusals(over: LoadResult) -> list[Figure]:
    if not over.pushbacks:
        return []
    return [
        Figure("refused", "answers/s", (over.pushbacks / over.seconds,)),
        Figure("refusal, p50", "ms", (over.pushback_p50 * 1000,)),
        Figure("refusal, p99", "ms", (over.pushback_p99 * 1000,), wanted=Wanted(most=5.0)),
    ]


def _memory(service: Service) -> Mapping[Kind, float]:
    held: dict[Kind, float] = {}
    for one in resident(service.supervisor or 0):
        held[one.kind] = held.get(one.kind, 0.0) + one.octets
    return held
