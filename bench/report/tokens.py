"""Sections about the token alone, and about queue and lanes on it."""

import statistics
from collections.abc import Sequence
from typing import Final

from bench.ceiling import NATIVE_LOOP, Ceiling, Place, measure_ceiling, measure_native_ceiling
from bench.lanes import LanesOrder, LanesResult, measure_lanes
from bench.machine import cores
from bench.report.ground import Ground, NotMeasured, Subject
from bench.report.model import Axis, Figure, Lines, Section, Series

_MOST: Final = 4


def measure_tokens(ground: Ground) -> Section:
    """Raw signatures per second by 1 … n lanes, and by as many threads of a native loop."""
    counts = range(1, min(cores(), _MOST) + 1)
    pace = ground.pace
    figures: list[Figure] = []
    lines = []
    for subject in ground.subjects:
        token, key = _place(subject)
        rates: dict[tuple[str, int], list[Ceiling]] = {}
        for _ in range(pace.rounds):
            for count in counts:
                one = measure_ceiling(token, key, count, pace.seconds)
                rates.setdefault(("process", count), []).append(one)
                if NATIVE_LOOP.exists() and one.scheme != "hash-in-token":
                    other = measure_native_ceiling(token, key, count, pace.seconds, one.scheme)
                    rates.setdefault(("native thread", count), []).append(other)
        found = {
            place: Figure(
                subject.name(_name(*place)),
                "signatures/s",
                tuple(each.rate for each in measured),
            )
            for place, measured in rates.items()
        }
        figures += found.values()
        for loop in dict.fromkeys(loop for loop, _ in found):
            points = [(count, found[loop, count].value) for count in counts]
            lines.append(
                Series(
                    subject.name(_name(loop, 2).partition(" ")[2]),
                    tuple((float(x), y) for x, y in points),
                )
            )
    return Section(
        "ceiling",
        "What the token can do",
        "Raw PKCS#11 signatures, no appliance involved: by processes with one session each through python-pkcs11, and by threads of one"
        " native process with the module's locks enabled.",
        tuple(figures),
        (
            Lines(
                "Raw signatures by lanes",
                Axis("lanes", ""),
                Axis("signatures", "1/s", is_log=True),
                tuple(lines),
            ),
        ),
    )


def measure_queue(ground: Ground) -> Section:
    """Signatures per second through queue and lanes, each released as the appliance does."""
    pace = ground.pace
    figures, remarks = [], []
    for subject in ground.subjects:
        results = [
            measure_lanes(_place(subject), LanesOrder(subject.lanes, seconds=pace.seconds), 1)
            for _ in range(pace.rounds)
        ]
        rates = tuple(each.rate for each in results)
        raw = tuple(each.raw for each in results)
        name = subject.name("through queue and lanes")
        figures.append(Figure(name, "signatures/s", rates, raw, "token"))
        remarks.append(_describe_costs(subject, results))
    return Section(
        "lanes",
        "Queue and lanes without HTTP",
        f"The same key by {ground.lanes} through a worker's queue, calls of 64, every RSA signature verified before it counts, ECDSA by"
        " sampling (one in 64, and the first of each lane), taking turns with the ceiling.",
        tuple(figures),
        remarks=tuple(remarks),
    )


def _name(loop: str, count: int) -> str:
    plural = "es" if loop.endswith("s") else "s"
    return f"{count} {loop}{plural * (count > 1)}"


def _describe_costs(subject: Subject, results: Sequence[LanesResult]) -> str:
    token, lane, worker, check = (
        statistics.median(times) * 1e6
        for times in zip(
            *(
                (one.token_seconds, one.lane_seconds, one.worker_seconds, one.check_seconds)
                for one in results
            ),
            strict=True,
        )
    )
    return (
        f"processor time of a signature ({subject.label}): {token:.0f} µs at the ceiling; {lane:.0f} µs in the lane and"
        f" {worker:.0f} µs in the worker, {check:.1f} µs of them the check before release"
    )


def _place(subject: Subject) -> Place:
    if subject.place is None:
        raise NotMeasured("no token")
    return subject.place
