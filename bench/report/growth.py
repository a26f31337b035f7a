"""Sections about what more of something costs: lanes, workers, octets in a message; each on homes of its own."""

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from bench.cache import make_cached
from bench.cache_growth import CONVENTIONS, VECTORS, measure_growth
from bench.ceiling import keys_of_home, measure_ceiling
from bench.gateway import gateway_scene, message_through
from bench.homes import RSA, make_bench_home, make_null_home
from bench.load.scenario import Wanted as Asked
from bench.machine import cores
from bench.native import measure_digest
from bench.report.ground import MANY, Ground, Loaded, Service, load, load_named, run_service
from bench.report.model import Axis, Figure, Lines, Plot, Section, Series

_MOST: Final = 4
_DOCUMENTS: Final = {"soap-10k": 10, "soap-100k": 100, "soap-1m": 1_000}
"""And how many kilobytes each is."""


def measure_scaling(ground: Ground) -> Section:
    """More lanes on a real token, more workers on one that costs nothing."""
    most = min(cores() if ground.pace.is_quick else cores() + 1, _MOST)
    lanes, raw = _scale_lanes(ground, range(1, most + 1))
    workers = _scale_workers(ground, range(1, most + 1))
    return Section(
        "scaling",
        "Scaling with lanes and workers",
        f"This machine has {cores()} cores, the load generator's among them. Lanes: RSA-2048 in batches of 64, one worker, beside the raw token by"
        " as many lanes. Workers: P-256 on the null token, one per request,"
        f" {MANY} connections, two lanes.",
        (*lanes.values(), *workers.values()),
        (
            _plot(
                "Scaling with lanes",
                "lanes",
                {"through the service": lanes, "the token alone": raw},
            ),
            _plot("Scaling with workers", "workers", {"null token, one per request": workers}),
        ),
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
    figures = [
        Figure(f"digest, {size:,} KB", "µs", _micro(digests[name]))
        for name, size in _DOCUMENTS.items()
    ]
    figures += [
        Figure(f"through the gateway, {size:,} KB", "µs", _micro(workers[name]))
        for name, size in _DOCUMENTS.items()
    ]
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
        " from an application to the partner over mutual TLS, with a vector that is reused.",
        tuple(figures),
        (plot,),
    )


def measure_held(ground: Ground) -> Section:
    """What an operation costs with a hundred times as many cached vectors, remembered vectors and conventions."""
    quick = ground.pace.is_quick
    vectors, conventions = VECTORS[: 2 if quick else None], CONVENTIONS[: 2 if quick else None]
    found = asyncio.run(measure_growth(make_cached(), vectors, conventions))
    figures = []
    for operation, sizes in found.items():
        least = next(iter(sizes.values()))
        for size, seconds in list(sizes.items())[1:]:
            name = f"{operation} ({size:,})"
            fewest = f"with {next(iter(sizes)):,}"
            figures.append(Figure(name, "µs", (seconds * 1e6,), (least * 1e6,), fewest))
    plots = tuple(
        _plot_held(what, {name: its for name, its in found.items() if tuple(its) == sizes})
        for what, sizes in (("vectors held", vectors), ("conventions", conventions))
    )
    return Section(
        "held",
        "Cached vectors and conventions",
        f"The same operations with up to {vectors[-1]:,} vectors cached and remembered and {conventions[-1]:,} conventions in force, blocks of each size taking"
        " turns, once; what is read or filled whole is stated for each vector or convention.",
        tuple(figures),
        plots,
    )


def _plot_held(what: str, found: Mapping[str, Mapping[int, float]]) -> Plot:
    lines = tuple(
        Series(operation, tuple((float(size), seconds * 1e6) for size, seconds in sizes.items()))
        for operation, sizes in found.items()
    )
    x, y = Axis(what, "", is_log=True), Axis("time of one operation", "µs", is_log=True)
    return Lines(f"One operation against {what}", x, y, lines)


def _scale_lanes(
    ground: Ground, counts: Sequence[int]
) -> tuple[Mapping[int, Figure], Mapping[int, Figure]]:
    pace, asked = ground.pace, Asked(convention=RSA)
    through, raw = {}, {}
    for count in counts:
        home = make_bench_home(
            ground.workshop / f"lanes-{count}", {"# lanes = 2": f"lanes = {count}"}
        )
        [place] = keys_of_home(home, "demo-rsa")
        rates, ceilings = [], []
        with run_service(home) as service:
            for _ in range(pace.rounds):
                ceilings.append(measure_ceiling(*place, count, pace.seconds).rate)
                rates.append(load_named(service, "batch", asked, pace, 8).result.rate)
        name = f"{count} lane{'s' * (count > 1)}"
        through[count] = Figure(name, "vectors/s", tuple(rates), tuple(ceilings), f"token, {name}")
        raw[count] = Figure(name, "signatures/s", tuple(ceilings))
    return through, raw


def _scale_workers(ground: Ground, counts: Sequence[int]) -> Mapping[int, Figure]:
    pace, asked = ground.pace, Asked(convention=RSA)
    found = {}
    for count in counts:
        home = ground.workshop / f"workers-{count}"
        make_null_home(home, {"# workers = 1": f"workers = {count}"})
        with run_service(home) as service:
            runs = [load_named(service, "single", asked, pace, MANY) for _ in range(pace.rounds)]
        name = f"{count} worker{'s' * (count > 1)}"
        found[count] = Figure(name, "vectors/s", tuple(one.result.rate for one in runs))
    return found


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
