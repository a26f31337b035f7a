"""Sections of the report that measure a service more than once: which figures come of it, and of which something is wanted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.ceiling import Ceiling
from bench.homes import workshop
from bench.load import LoadResult
from bench.load.scenario import Target, Wanted
from bench.report import issuing, overload, simulated
from bench.report.ground import QUICK, Ground, Service, Subject
from bench.report.model import Bars, Wanted as Least
from tests.service import RunningService

PACE = replace(QUICK, seconds=0.1, warm_up=0.05)


Made = list[tuple[Path, Mapping[str, str]]]


@pytest.fixture
def made(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The homes that a section would make on a machine of three cores, and their settings; each is served by the one service there is."""
    made: Made = []

    def make(home: Path, settings: Mapping[str, str]) -> Path:
        made.append((home, settings))
        return home

    @contextmanager
    def serve(_home: Path) -> Iterator[Service]:
        yield Service(Target("127.0.0.1", service.port))

    monkeypatch.setattr(issuing, "make_bench_home", make)
    monkeypatch.setattr(issuing, "run_service", serve)
    monkeypatch.setattr(issuing, "cores", lambda: 3)
    return made


def ground_of(service: RunningService, workshop: Path, label: str = "") -> Ground:
    """A service of our making, and a kind of vectors whose token is out of reach."""
    running = Service(Target("127.0.0.1", service.port), service.process.pid)
    return Ground(
        PACE, (Subject(label, Wanted(batch=2), None),), Wanted(convention="x"), workshop, running
    )


@pytest.mark.hsm
def test_what_the_token_has_no_part_in_is_wanted_of_the_whole_machine(
    service: RunningService, tmp_path: Path, made: Made
) -> None:
    """A service of ours is measured beside the same with a worker for each core, in turns, and the second is judged; one that is given, as it is."""
    ours = ground_of(service, tmp_path)
    one, many = issuing.measure_verify(ours).figures
    assert made == [(tmp_path / "verify-workers", {"# workers = 1": "workers = 3"})]
    assert (one.name, one.wanted) == ("verify, one per request, one worker", None)
    assert many.name == "verify, one per request, 3 workers"
    assert many.wanted is not None
    assert min(one.value, many.value) > 0
    [given] = issuing.measure_verify(replace(ours, reused=ours.subject.wanted)).figures
    assert (given.name, given.wanted) == ("verify, one per request", many.wanted)
    assert len(made) == 1


@pytest.mark.hsm
def test_vectors_are_issued_by_one_worker_and_by_one_for_each_core(
    service: RunningService, tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turns beside one ceiling a round, both judged; where the time goes is drawn of the first."""
    asked: list[Subject] = []
    ceiling = Ceiling("k", "rsa-2048", "pkcs1", "python", 2, 1.0, 1e9, 0.0)
    monkeypatch.setattr(issuing, "measure_subject", lambda one, _: asked.append(one) or ceiling)
    ours = ground_of(service, tmp_path, "RSA-2048")
    section = issuing.measure_issue(ours)
    assert made == [(tmp_path / "issue-workers", {"# workers = 1": "workers = 3"})]
    assert asked == list(ours.subjects)
    assert {figure.name: figure.wanted for figure in section.figures} == {
        "RSA-2048, one per request, one worker": Least(least=0.75, is_share=True),
        "RSA-2048, one per request, 3 workers": Least(least=0.75, is_share=True),
        "RSA-2048, batches of 2, one worker": Least(least=0.92, is_share=True),
        "RSA-2048, batches of 2, 3 workers": Least(least=0.92, is_share=True),
    }
    assert {figure.ceilings for figure in section.figures} == {(1e9,)}
    [plot] = section.plots
    assert isinstance(plot, Bars)
    assert [bar.name.rpartition(", ")[2] for bar in plot.bars] == ["one worker"] * 2


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
    assert len(rates) == 4
    assert min(rates) > 0
    assert [figure.name for figure in network.figures] == [
        "5 ms, 16 parallel, raw, 2 processes",
        "5 ms, 16 parallel, one per request",
    ]
    assert {figure.of for figure in network.figures} == {"what the model gives"}
    costs = [
        told for told in (*null.remarks, *network.remarks) if told.startswith("processor time")
    ]
    assert len(costs) == 3
    assert all("worker" in told and "cores busy" in told for told in costs)
    [peak] = over.peaks
    assert peak.rate > 0
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
    software = overload._Overloaded([brought(100, 0, 0)], brought(94, 10, 0.006), flat, grown)
    network = overload._Overloaded([brought(600, 0, 0)], brought(590, 80, 0.004), flat, flat)
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
        "SoftHSM: neither a vector nor a refusal": True,
        "SoftHSM: memory of workers at the end": False,
        "simulated network HSM: peak, closed loop": None,
        "simulated network HSM: goodput under 3 times as much": True,
        "simulated network HSM: refused": None,
        "simulated network HSM: refusal, p50": None,
        "simulated network HSM: refusal, p99": True,
        "simulated network HSM: neither a vector nor a refusal": True,
        "simulated network HSM: memory of workers at the end": True,
    }
    assert section.remarks == (
        "SoftHSM: 10 x single: 503 queue-full",
        "simulated network HSM: 80 x single: 503 queue-full",
    )


def test_overload_that_nothing_was_refused_in_is_not_met() -> None:
    """The peak is the median of its rounds; no refusal came in 5 ms when none came; what is neither vector nor refusal is counted, and none is wanted."""
    peaks = [brought(rate, 0, 0) for rate in (100, 300, 200)]
    over = replace(brought(180, 0, 0), errors={"500 internal": 2, "no answer": 1})
    figures = overload._Overloaded(peaks, over, {}, {}).figures("T")
    peak, goodput, refused, _, refusal, others = figures
    assert (peak.value, goodput.share, goodput.is_met) == (200, 0.9, False)
    assert (refused.value, refusal.rounds, refusal.is_met) == (0, (), False)
    assert (others.name, others.value) == ("T: neither a vector nor a refusal", 3)
    assert others.is_met is False
    mixed = replace(over, errors={"503 queue-full": 7, "500 internal": 2}, pushbacks=7)
    assert overload._others("T", mixed).value == 2
