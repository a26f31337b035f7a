"""Sections of the report that measure a service more than once: which figures come of it, and of which something is wanted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.load.scenario import Target, Wanted
from bench.report import issuing
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
