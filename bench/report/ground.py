"""What sections measure on: a pace, a running service or none, a token or none, and a place for homes of their own."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.ceiling import Ceiling, Place, measure_ceiling
from bench.load import LoadResult, run_phases
from bench.load.phases import Phase
from bench.load.scenario import Scenario, Target, Wanted, make_scenario
from bench.processes import spent
from bench.service import serve_home

CONNECTIONS: Final = 64
"""At once, where each asks for one thing: with half as many two workers, or two lanes, wait for requests."""

BATCH_CONNECTIONS: Final = 8
"""At once, where each asks for a batch."""

_BUSY: Final = 0.9

_NOT_GRANTED: Final = {"403 reuse-not-granted"}


class NotMeasured(Exception):
    """A section brought nothing; says why."""


class NotGranted(NotMeasured):
    """The convention does not allow what the section is about; says so."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often each measurement is repeated, how long it takes, and how long before that does not count; seconds."""

    rounds: int
    seconds: float
    warm_up: float
    overload: float
    is_quick: bool


FULL: Final = Pace(rounds=5, seconds=5.0, warm_up=1.0, overload=300.0, is_quick=False)
QUICK: Final = Pace(rounds=1, seconds=0.6, warm_up=0.3, overload=3.0, is_quick=True)


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind of vectors.

    Attributes:
        label: of the key that signs, such as `RSA-2048`; empty where that is not known.
        place: the key, where it can be reached; every rate is then stated as a part of its ceiling.
        lanes: as many as the token has by its configuration, two where that is not at hand; so many measure the ceiling.
    """

    label: str
    wanted: Wanted
    place: Place | None
    lanes: int = 2

    def name(self, what: str) -> str:
        """Name a figure."""
        return f"{self.label}, {what}" if self.label else what


@dataclass(frozen=True, slots=True)
class Service:
    """A running service; `supervisor` is its process where it runs on this machine."""

    target: Target
    supervisor: int | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """Everything a section may use; it says beforehand what of it it needs.

    Attributes:
        subjects: the first is the one that is measured where one is enough.
        reused: asks for vectors that are given out again.
        workshop: a directory for homes of a section's own.
        jars: OpenSAML's class path.
    """

    pace: Pace
    subjects: tuple[Subject, ...]
    reused: Wanted
    workshop: Path
    service: Service | None = None
    jars: Path | None = None

    @property
    def subject(self) -> Subject:
        """The one that is measured where one is enough."""
        return self.subjects[0]

    @property
    def is_given(self) -> bool:
        """Whether the conventions are the user's, and one that reuses was not made for this."""
        return self.reused == self.subject.wanted

    @property
    def lanes(self) -> str:
        """How many lanes measure ceilings, in words."""
        counts = sorted({subject.lanes for subject in self.subjects})
        return f"{' or '.join(map(str, counts))} lane{'s' if counts != [1] else ''}"

    def running(self) -> Service:
        """Return the service."""
        if self.service is None:
            raise NotMeasured("no service")
        return self.service


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load brought, and what one vector (answer, where there are none) cost by kind of process: seconds of the processor."""

    result: LoadResult
    processor: Mapping[str, float]


def load(
    service: Service,
    scenario: Scenario,
    pace: Pace,
    connections: int,
    rate: float | None = None,
    turn: int = 0,
) -> Loaded:
    """Run one load, in each turn by arrivals of its own; what the processes spend is counted over everything they did, the warm-up and what came late among it.

    Raises:
        NotMeasured: not a single good answer came.
    """
    phases = (Phase(pace.warm_up, rate, turn=turn), Phase(pace.seconds, rate, turn=turn))
    before = {} if service.supervisor is None else spent(service.supervisor)
    warm_up, result = run_phases(scenario, service.target, phases, connections)
    after = {} if service.supervisor is None else spent(service.supervisor)
    check(result)
    whole = sum(one.rate * one.seconds + one.late for one in (warm_up, result))
    spend = {kind: seconds - before.get(kind, 0.0) for kind, seconds in after.items()}
    each: dict[str, float] = {kind: max(0.0, seconds) / whole for kind, seconds in spend.items()}
    if after:
        each["client"] = (warm_up.client * pace.warm_up + result.client * pace.seconds) / whole
    return Loaded(result, each)


def load_named(service: Service, name: str, wanted: Wanted, pace: Pace, connections: int) -> Loaded:
    """Run one of the load tool's scenarios in a closed loop.

    Raises:
        NotMeasured: not a single good answer came.
    """
    return load(service, make_scenario(name, service.target, wanted), pace, connections)


@contextmanager
def run_service(home: Path) -> Iterator[Service]:
    """Serve a home for as long as the block.

    Raises:
        RuntimeError: it did not become ready, or did not end well.
    """
    with serve_home(home) as served:
        yield Service(Target(served.host, served.port), served.pid)


def check(result: LoadResult) -> LoadResult:
    """See that something came.

    Raises:
        NotGranted: the convention does not allow it.
        NotMeasured: nothing came; the errors by name.
    """
    if not result.requests:
        told = ", ".join(f"{count:,} x {reason}" for reason, count in result.errors.items())
        kind = NotGranted if set(result.errors) == _NOT_GRANTED else NotMeasured
        raise kind(f"{result.scenario}: no good answer ({told or 'none at all'})")
    return result


def measure_subject(subject: Subject, pace: Pace) -> Ceiling | None:
    """Measure the ceiling of a subject's key, where it can be reached."""
    if subject.place is None:
        return None
    return measure_ceiling(*subject.place, subject.lanes, pace.seconds)


def ceilings_of(measured: Sequence[Ceiling | None]) -> tuple[float, ...]:
    """The rates, where there are any."""
    return tuple(each.rate for each in measured if each is not None)


def describe_cost(name: str, loaded: Sequence[Loaded]) -> tuple[str, ...]:
    """Say what one vector of a load cost by kind of process, and how many cores that kept busy; nothing of a service elsewhere."""
    if not loaded[0].processor:
        return ()
    costs = {
        kind: statistics.median(one.processor.get(kind, 0.0) for one in loaded) * 1e6
        for kind in loaded[0].processor
    }
    told = ", ".join(f"{kind} {cost:.0f}" for kind, cost in costs.items() if round(cost))
    busy = statistics.median(one.result.rate * sum(one.processor.values()) for one in loaded)
    return (f"processor time of one vector, {name}: {told} µs, which kept {busy:.2f} cores busy",)


def remarks_of(results: Sequence[LoadResult]) -> tuple[str, ...]:
    """A remark for every kind of error that came, and one where the client itself may have been what limits."""
    counts: dict[str, int] = {}
    for result in results:
        for reason, count in result.errors.items():
            counts[f"{result.scenario}: {reason}"] = (
                counts.get(f"{result.scenario}: {reason}", 0) + count
            )
    told = [f"{count:,} x {what}" for what, count in sorted(counts.items())]
    busiest = max(result.client / result.processes for result in results)
    if busiest > _BUSY:
        told.append(f"the load generator kept {busiest:.0%} of a core busy, and may be what limits")
    return tuple(told)
