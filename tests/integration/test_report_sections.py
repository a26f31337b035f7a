"""Sections of the report that measure a service more than once: which figures come of it, and of which something is wanted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.homes import workshop
from bench.load import LoadResult
from bench.load.scenario import Target, Wanted
from bench.report import issuing, overload, simulated
from bench.report.ground import QUICK, Ground, Service, Subject
from tests.service import RunningService

PACE = replace(QUICK, seconds=0.1, warm_up=0.05)


@pytest.mark.hsm
def test_what_the_token_has_no_part_in_is_wanted_of_the_whole_machine(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service of ours is measured beside the same with a worker for each core, in turns, and the second is judged; one that is given, as it is."""
    running = Service(Target("127.0.0.1", service.port))
    made: list[tuple[Path, Mapping[str, str]]] = []

    def make(home: Path, settings: Mapping[str, str]) -> Path:
        made.append((home, settings))
        return home

    @contextmanager
    def serve(_home: Path) -> Iterator[Service]:
        yield running

    monkeypatch.setattr(issuing, "make_bench_home", make)
    monkeypatch.setattr(issuing, "run_service", serve)
    monkeypatch.setattr(issuing, "cores", lambda: 3)
    ours = Ground(PACE, (Subject("", Wanted(), None),), Wanted(convention="x"), tmp_path, running)
    one, many = issuing.measure_verify(ours).figures
    assert made == [(tmp_path / "verify-workers", {"# workers = 1": "workers = 3"})]
    assert (one.name, one.wanted) == ("verify, one per request, one worker", None)
    assert many.name == "verify, one per request, 3 workers"
    assert many.wanted is not None
    assert min(one.value, many.value) > 0
    [given] = issuing.measure_verify(replace(ours, reused=Wanted())).figures
    assert (given.name, given.wanted) == ("verify, one per request", many.wanted)
    assert len(made) == 1


@pytest.mark.hsm
@pytest.mark.slow
def test_tokens_of_the_shims_making_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On homes of their own: one that costs nothing, a model of a network HSM, and three times what one can carry, of which the rest is refused."""
    fewer_lanes = replace(simulated._NETWORKS[0], lanes=2)
    monkeypatch.setattr(simulated, "_NETWORKS", (fewer_lanes,))
    monkeypatch.setitem(overload._SETTINGS, "# jobs = 4096", "jobs = 40")  # half a second fills it
    with workshop("sections-") as directory:
        ground = Ground(replace(PACE, overload=0.5), (), Wanted(), directory)
        null, network = simulated.measure_null(ground), simulated.measure_network(ground)
        over = overload._overload_network(ground)
    rates = [figure.value for figure in (*null.figures, *network.figures)]
    assert len(rates) == 3
    assert min(rates) > 0
    assert [figure.of for figure in network.figures] == ["what the model gives"]
    assert over.peak.rate > 0
    assert over.over.errors["503 queue-full"] > 0
    assert over.before.keys() == over.after.keys() == {"supervisor", "lane", "worker"}


def brought(rate: float, pushbacks: int, p99: float) -> LoadResult:
    """What a load of two seconds brought."""
    return LoadResult(
        *("single", 1, 2, 1, 2.0, None, "", 10, rate, rate), *(0.001,) * 6, 0, 0.1,
        *({"503 queue-full": pushbacks} if pushbacks else {}, pushbacks, 0.001, p99, ""),
    )  # fmt: skip


def test_each_token_is_judged_under_overload_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that computes on our cores and the one that computes elsewhere: the same figures, the same wanted; one that fails hides nothing of the other."""
    flat, grown = {"worker": 2.0**20}, {"worker": 1.2 * 2**20}
    software = overload._Overloaded(brought(100, 0, 0), brought(94, 10, 0.006), flat, grown)
    network = overload._Overloaded(brought(600, 0, 0), brought(590, 80, 0.004), flat, flat)
    monkeypatch.setattr(overload, "_overload_software", lambda _: software)
    monkeypatch.setattr(overload, "_overload_network", lambda _: network)
    ground = Ground(PACE, (), Wanted(), tmp_path)
    section = overload.measure_overload(ground)
    met = {figure.name: figure.is_met for figure in section.figures}
    assert met == {
        "SoftHSM: peak, closed loop": None,
        "SoftHSM: goodput under 3 times as much": False,
        "SoftHSM: refused": None,
        "SoftHSM: refusal, p50": None,
        "SoftHSM: refusal, p99": False,
        "SoftHSM: memory of workers at the end": False,
        "simulated network HSM: peak, closed loop": None,
        "simulated network HSM: goodput under 3 times as much": True,
        "simulated network HSM: refused": None,
        "simulated network HSM: refusal, p50": None,
        "simulated network HSM: refusal, p99": True,
        "simulated network HSM: memory of workers at the end": True,
    }
    assert section.remarks == (
        "SoftHSM: 10 x single: 503 queue-full",
        "simulated network HSM: 80 x single: 503 queue-full",
    )
