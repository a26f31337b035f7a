"""The section about three times the load that the service can carry; on homes of its own, whose queues are short enough to refuse."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.homes import RSA, make_bench_home, make_null_home
from bench.load import LoadResult
from bench.load.scenario import Wanted as Asked, make_scenario
from bench.processes import Kind, resident
from bench.report.ground import CONNECTIONS, Ground, Pace, Service, load, remarks_of, run_service
from bench.report.model import Figure, Section, Wanted

_TIMES: Final = 3
_OVERLOADED: Final = 512
_JOBS: Final = 256
_SETTINGS: Final = {
    "# jobs = 4096": f"jobs = {_JOBS}",
    "# connections_per_peer = 100": "connections_per_peer = 1000",
}
_ENGINES: Final = 3
_ROUND_TRIP: Final = 5
_NETWORK: Final = "simulated network HSM"
"""It gives 600 signatures a second, and no core of the machine: three times as many requests leave the load generator and the worker room on two."""

_MIB: Final = 1024**2


def measure_overload(ground: Ground) -> Section:
    """Goodput, refusals and memory under three times the capacity: of a token that computes on the same cores, and of one that computes elsewhere."""
    measured = {"SoftHSM": _overload_software(ground), _NETWORK: _overload_network(ground)}
    figures = [figure for token, one in measured.items() for figure in one.figures(token)]
    return Section(
        "overload",
        "Overload",
        f"{_TIMES} times the capacity, which is the median of the rounds before ({CONNECTIONS} connections, closed loop), for {ground.pace.overload:.0f} s: one per request, Poisson"
        f" arrivals on {_OVERLOADED} connections, a queue of {_JOBS} jobs; once, not in rounds. SoftHSM (RSA-2048, two lanes) computes on the cores of the load generator;"
        f" the simulated network HSM (the shim's null token, P-256) elsewhere: a signature is a round trip of {_ROUND_TRIP} ms, {_ENGINES} at"
        " once, as many lanes. A refusal (429, 503) counts from when its request was sent; whatever else but a vector came of a request, no answer among"
        " it, is counted by itself. Memory begins when a first moment of overload is over.",
        tuple(figures),
        remarks=tuple(
            f"{token}: {remark}"
            for token, one in measured.items()
            for remark in remarks_of([*one.peaks, one.over])
        ),
    )


@dataclass(frozen=True, slots=True)
class _Overloaded:
    """What a service gave before it, as often as there are rounds, and under it; the memory of its processes at the beginning and at the end."""

    peaks: Sequence[LoadResult]
    over: LoadResult
    before: Mapping[Kind, float]
    after: Mapping[Kind, float]

    def figures(self, token: str) -> list[Figure]:
        """State it, each by the token's name."""
        peak = Figure(
            f"{token}: peak, closed loop", "vectors/s", tuple(one.rate for one in self.peaks)
        )
        least = Wanted(least=0.95, is_share=True)
        goodput = f"{token}: goodput under {_TIMES} times as much"
        return [
            peak,
            Figure(goodput, "vectors/s", (self.over.rate,), (peak.value,), "peak", least),
            *_refusals(token, self.over),
            _others(token, self.over),
            *_growth(token, self.before, self.after),
        ]


def _overload_software(ground: Ground) -> _Overloaded:
    home = make_bench_home(ground.workshop / "overload", _SETTINGS)
    with run_service(home) as service:
        return _overload(service, ground.pace)


def _overload_network(ground: Ground) -> _Overloaded:
    home = ground.workshop / "overload-network"
    shim = make_null_home(home, {**_SETTINGS, "# lanes = 2": f"lanes = {_ENGINES}"})
    with run_service(home) as service:
        shim.tell("delay", "C_Sign", "fixed", f"{_ROUND_TRIP}ms")
        shim.tell("limit", "C_Sign", str(_ENGINES))
        return _overload(service, ground.pace)


def _overload(service: Service, pace: Pace) -> _Overloaded:
    asked = Asked(convention=RSA)
    scenario = make_scenario("single", service.target, asked)
    peaks = [load(service, scenario, pace, CONNECTIONS).result for _ in range(pace.rounds)]
    rate = _TIMES * statistics.median(one.request_rate for one in peaks)
    longer = replace(pace, seconds=pace.overload)
    load(service, scenario, pace, _OVERLOADED, rate)
    before = _memory(service)
    over = load(service, scenario, longer, _OVERLOADED, rate, turn=1).result
    return _Overloaded(peaks, over, before, _memory(service))


def _refusals(token: str, over: LoadResult) -> list[Figure]:
    """How many, and how soon; where nothing was refused under three times the load it did not happen soon either."""
    told = bool(over.pushbacks)
    p50, p99 = (over.pushback_p50 * 1000,) * told, (over.pushback_p99 * 1000,) * told
    return [
        Figure(f"{token}: refused", "answers/s", (over.pushbacks / over.seconds,)),
        Figure(f"{token}: refusal, p50", "ms", p50),
        Figure(f"{token}: refusal, p99", "ms", p99, wanted=Wanted(most=5.0)),
    ]


def _others(token: str, over: LoadResult) -> Figure:
    count = sum(over.errors.values()) - over.pushbacks
    name = f"{token}: neither a vector nor a refusal"
    return Figure(name, "requests", (float(count),), wanted=Wanted(most=0.0))


def _growth(token: str, before: Mapping[Kind, float], after: Mapping[Kind, float]) -> list[Figure]:
    return [
        Figure(
            f"{token}: memory of {kind}s at the end",
            "MiB",
            (octets / _MIB,),
            (before[kind] / _MIB,),
            "the beginning",
            Wanted(most=1.1, is_share=True),
        )
        for kind, octets in after.items()
        if kind in before
    ]


def _memory(service: Service) -> Mapping[Kind, float]:
    held: dict[Kind, float] = {}
    for one in resident(service.supervisor or 0):
        held[one.kind] = held.get(one.kind, 0.0) + one.octets
    return held
