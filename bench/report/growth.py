"""Sections about what more of something costs: lanes, workers, octets in a message; each on homes of its own."""

import asyncio
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.cache import make_cached
from bench.cache_growth import CONVENTIONS, VECTORS, measure_growth
from bench.ceiling import keys_of_home, measure_ceiling
from bench.gateway import gateway_scene, message_through
from bench.homes import RSA, make_bench_home, make_null_home
from bench.load.scenario import Wanted as Asked
from bench.machine import cores
from bench.native import measure_digest
from bench.report.ground import (
    BATCH_CONNECTIONS,
    CONNECTIONS,
    Ground,
    Loaded,
    Service,
    load,
    load_named,
    remarks_of,
    run_service,
)
from bench.report.model import Axis, Figure, Lines, Plot, Section, Series, Wanted

_MOST: Final = 4
_DOCUMENTS: Final = {"soap-10k": 10, "soap-100k": 100, "soap-1m": 1_000}
"""And how many kilobytes each is."""

_BATCHES: Final = "RSA-2048, batches of 64"
_A_KB: Final = 1.25
_A_KB_ADDED: Final = 1.5
_HELD: Final = 2.0
_CORES_USED: Final = 0.9
_A_VECTOR: Final = 1.25


def measure_scaling(ground: Ground) -> Section:
    """More lanes on a real token, more workers on one that costs nothing."""
    most = min(cores() if ground.pace.is_quick else cores() + 1, _MOST)
    loaded, raw = _scale_lanes(ground, range(1, most + 1))
    lanes = {count: _through(count, its, raw[count]) for count, its in loaded.items()}
    linear = [
        figure
        for count in range(2, min(cores(), most) + 1)
        for figure in _judge(count, loaded[count], loaded[1])
    ]
    runs = _scale_workers(ground, range(1, most + 1))
    workers = {count: _by_workers(count, its) for count, its in runs.items()}
    return Section(
        "scaling",
        "Scaling with lanes and workers",
        f"This machine has {cores()} cores, the load generator's among them. Lanes: RSA-2048 in batches of 64, one worker, beside the raw token by"
        " as many lanes. So many lanes should give as many times what one gives until the cores are full, that is as much as they have time for"
        f" at what a vector takes of them by one lane: of the lesser of the two {_CORES_USED:.0%} is wanted, for lanes, worker and client"
        f" wait for each other; and a vector by more lanes may take {_A_VECTOR - 1:.0%} more processor time than by one, for those share caches."
        " Beyond the number of cores, where more lanes only queue, nothing is wanted. Workers: P-256 on the null token, one per request,"
        f" {CONNECTIONS} connections, two lanes; nothing is wanted of a second worker here, for lanes and client fill cores beside the first.",
        (*lanes.values(), *linear, *workers.values()),
        (
            _plot(
                "Scaling with lanes",
                "lanes",
                {"through the service": lanes, "the token alone": raw},
            ),
            _plot("Scaling with workers", "workers", {"null token, one per request": workers}),
        ),
        remarks_of([one.result for its in (*loaded.values(), *runs.values()) for one in its]),
    )


def measure_size(ground: Ground) -> Section:
    """Messages of 10 KB to 1 MB: their digest, and their way through the gateway."""
    pace = ground.pace
    digests = {
        name: [measure_digest(name, 1)[0].seconds for _ in range(pace.rounds)]
        for name in _DOCUMENTS
    }
    passed: dict[str, list[Loaded]] = {name: [] for name in _DOCUMENTS}
    with gateway_scene() as scene:
        service = Service(scene.outbound, scene.a.pid)
        for _ in range(pace.rounds):
            for name in _DOCUMENTS:
                scenario = message_through(scene.outbound, "/one/reused", name)
                passed[name].append(load(service, scenario, pace, 8))
    workers = {name: [one.processor["worker"] for one in its] for name, its in passed.items()}
    plot = Lines(
        "Processor time of one message against its size",
        Axis("size of the message", "KB", is_log=True),
        Axis("processor time of one message", "µs", is_log=True),
        (
            Series("digest of its canonical form", _points(digests)),
            Series("worker, through the gateway", _points(workers)),
        ),
    )
    return Section(
        "size",
        "Message size",
        "A SOAP message of 10 KB, 100 KB, 1 MB: its digest in process (exclusive canonical form, SHA-256), and what a worker spends on it"
        " from an application to the partner over mutual TLS, with a vector that is reused. A KB of 1 MB may cost a quarter more than one of 100 KB,"
        " and a KB that is added beyond 100 KB half more than one before, which leaves room for the processor's caches, out of which 1 MB"
        " and its copies fall; were the cost to grow as the square, both would be ten times as much.",
        (*_sized("digest", digests), *_sized("through the gateway", workers)),
        (plot,),
        remarks_of([one.result for its in passed.values() for one in its]),
    )


def _sized(what: str, seconds: Mapping[str, Sequence[float]]) -> list[Figure]:
    """What a message of each size costs, and whether the largest costs in proportion: as a whole, and without what every message costs."""
    few, some, many = (_micro(seconds[name]) for name in _DOCUMENTS)
    size, middle, most = _DOCUMENTS.values()
    each, added = f"{what}, a KB of {most:,}", f"{what}, a KB added up to {most:,}"
    return [
        Figure(f"{what}, {size:,} KB", "µs", few),
        Figure(f"{what}, {middle:,} KB", "µs", some),
        Figure(f"{what}, {most:,} KB", "µs", many),
        Figure(
            each,
            "µs",
            tuple(one / most for one in many),
            tuple(one / middle for one in some),
            f"a KB of {middle}",
            Wanted(most=_A_KB, is_share=True),
        ),
        Figure(
            added,
            "µs",
            tuple((b - a) / (most - middle) for a, b in zip(some, many, strict=True)),
            tuple((b - a) / (middle - size) for a, b in zip(few, some, strict=True)),
            f"a KB added up to {middle}",
            Wanted(most=_A_KB_ADDED, is_share=True),
        ),
    ]


def measure_held(ground: Ground) -> Section:
    """What an operation costs with a hundred times as many cached vectors, remembered vectors and conventions."""
    quick = ground.pace.is_quick
    vectors, conventions = VECTORS[: 2 if quick else None], CONVENTIONS[: 2 if quick else None]
    found = asyncio.run(measure_growth(make_cached(), vectors, conventions))
    figures = []
    for operation, sizes in found.items():
        for (fewer, least), (size, seconds) in _beside_cheapest(sizes):
            name, flat = f"{operation} ({size:,})", Wanted(most=_HELD, is_share=True)
            figures.append(
                Figure(name, "µs", (seconds * 1e6,), (least * 1e6,), f"with {fewer:,}", flat)
            )
    plots = tuple(
        _plot_held(what, {name: its for name, its in found.items() if tuple(its) == sizes})
        for what, sizes in (("vectors held", vectors), ("conventions", conventions))
    )
    return Section(
        "held",
        "Cached vectors and conventions",
        f"The same operations with up to {vectors[-1]:,} vectors cached and remembered and {conventions[-1]:,} conventions in force, blocks of each size taking"
        " turns, once. What is filled is stated for each vector; what is read, built or compared whole for each convention, the median of several after"
        " one that does not count. Processor time; none of it may cost twice"
        " what it costs with fewer: a place in a table is found at once however many there are, but among more it is less often in the"
        " processor's caches."
        f" Were everything gone through, it would be {vectors[-1] // vectors[0]} times as much.",
        tuple(figures),
        plots,
    )


def _beside_cheapest(
    sizes: Mapping[int, float],
) -> Iterator[tuple[tuple[int, float], tuple[int, float]]]:
    """Each size but the first, after that one of the smaller ones with which the operation costs least."""
    known = list(sizes.items())
    for at in range(1, len(known)):
        yield min(known[:at], key=lambda one: one[1]), known[at]


def _plot_held(what: str, found: Mapping[str, Mapping[int, float]]) -> Plot:
    lines = tuple(
        Series(operation, tuple((float(size), seconds * 1e6) for size, seconds in sizes.items()))
        for operation, sizes in found.items()
    )
    x, y = Axis(what, "", is_log=True), Axis("processor time of one operation", "µs", is_log=True)
    return Lines(f"One operation against {what}", x, y, lines)


def _scale_lanes(
    ground: Ground, counts: Sequence[int]
) -> tuple[Mapping[int, Sequence[Loaded]], Mapping[int, Figure]]:
    """Load a service by so many lanes each, and measure the raw token by as many before each load."""
    pace, asked = ground.pace, Asked(convention=RSA)
    loaded, raw = {}, {}
    for count in counts:
        home = make_bench_home(
            ground.workshop / f"lanes-{count}", {"# lanes = 2": f"lanes = {count}"}
        )
        [place] = keys_of_home(home, "demo-rsa")
        its, ceilings = [], []
        with run_service(home) as service:
            for _ in range(pace.rounds):
                ceilings.append(measure_ceiling(*place, count, pace.seconds).rate)
                its.append(load_named(service, "batch", asked, pace, BATCH_CONNECTIONS))
        loaded[count] = its
        raw[count] = Figure(f"token, {_lanes(count)}", "signatures/s", tuple(ceilings))
    return loaded, raw


def _through(count: int, loaded: Sequence[Loaded], raw: Figure) -> Figure:
    rates = tuple(one.result.rate for one in loaded)
    return Figure(f"{_BATCHES}, {_lanes(count)}", "vectors/s", rates, raw.rounds, raw.name)


def _judge(count: int, loaded: Sequence[Loaded], by_one: Sequence[Loaded]) -> list[Figure]:
    """Whether so many lanes give as many times as much, or as much as the cores have time for, and a vector costs no more by them."""
    name = f"{_BATCHES}, {_lanes(count)}"
    costs, alone = (tuple(sum(one.processor.values()) for one in its) for its in (loaded, by_one))
    linear = (count * one.result.rate for one in by_one)
    full = (cores() / cost for cost in alone)
    return [
        Figure(
            f"{name}, beside linear growth",
            "vectors/s",
            tuple(one.result.rate for one in loaded),
            tuple(map(min, linear, full)),
            f"{count} times 1 lane, or full cores",
            Wanted(least=_CORES_USED, is_share=True),
        ),
        Figure(
            f"{name}, processor time of a vector",
            "µs",
            _micro(costs),
            _micro(alone),
            "1 lane",
            Wanted(most=_A_VECTOR, is_share=True),
        ),
    ]


def _lanes(count: int) -> str:
    return f"{count} lane{'s' * (count > 1)}"


def _scale_workers(ground: Ground, counts: Sequence[int]) -> Mapping[int, Sequence[Loaded]]:
    pace, asked = ground.pace, Asked(convention=RSA)
    found = {}
    for count in counts:
        home = ground.workshop / f"workers-{count}"
        make_null_home(home, {"# workers = 1": f"workers = {count}"})
        with run_service(home) as service:
            found[count] = [
                load_named(service, "single", asked, pace, CONNECTIONS) for _ in range(pace.rounds)
            ]
    return found


def _by_workers(count: int, loaded: Sequence[Loaded]) -> Figure:
    name = f"null token, one per request, {count} worker{'s' * (count > 1)}"
    return Figure(name, "vectors/s", tuple(one.result.rate for one in loaded))


def _plot(title: str, label: str, lines: Mapping[str, Mapping[int, Figure]]) -> Plot:
    series = tuple(
        Series(name, tuple((float(count), figure.value) for count, figure in figures.items()))
        for name, figures in lines.items()
    )
    return Lines(title, Axis(label, ""), Axis("vectors or signatures", "1/s"), series)


def _micro(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(each * 1e6 for each in seconds)


def _points(seconds: Mapping[str, Sequence[float]]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(size), statistics.median(seconds[name]) * 1e6) for name, size in _DOCUMENTS.items()
    )
