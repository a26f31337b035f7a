"""A soak of seconds: the same run as an hour's, with a fault, a rotation and a reload, and everything it checks."""

from pathlib import Path

import pytest

from bench.load import LoadResult
from bench.soak import Plan, run_soak
from bench.soak_ledger import Ledger
from bench.soak_result import Cycle, Growth, SoakResult
from tests.service import RunningService

MIB = 1024**2


@pytest.mark.hsm
@pytest.mark.soak
def test_a_short_soak_is_clean(tmp_path: Path) -> None:
    """Three cycles, one of each kind: every vector answered is traced, no calm has an error, the logs verify."""
    result = run_soak(tmp_path / "home", Plan(cycles=3, seconds=6.0, capacity=1.0, seed=3))
    assert result.troubles == ()
    assert [cycle.change for cycle in result.cycles] == ["", "rotate", "reload"]
    assert all(cycle.calm.requests and cycle.traced for cycle in result.cycles)
    assert {"worker", "lane", "supervisor"} <= set(result.growth)


@pytest.mark.hsm
def test_a_vector_that_is_not_traced_is_missed(service: RunningService, tmp_path: Path) -> None:
    """What clients noted is looked up in the logs as they grow; what is not there is named, and what is there is not."""
    ledger = Ledger(service.home)
    issued = [service.issue().json["id"] for _ in range(2)]
    (tmp_path / "0").write_text("".join(f"{each}\n" for each in [*issued, "_nobody"]))
    assert ledger.check(tmp_path) == 3
    assert ledger.missing == ["_nobody"]
    assert not list(tmp_path.iterdir())


def load(**errors: int) -> LoadResult:
    """What a load brought."""
    told = {reason.replace("_", " ").strip(): count for reason, count in errors.items()}
    return LoadResult(
        *("single", 1, 2, 1, 1.0, None, "", 10, 10.0, 10.0), *(0.001,) * 6, 0, 0.1, told, 0, 0.0, 0.0, ""
    )  # fmt: skip


def soak(**changes: object) -> SoakResult:
    """A clean run of a minute, but for what is changed; `held` is the memory of workers at each cycle's end, MiB."""
    held = changes.pop("held", [9.0])
    cycle = {"faulty": load(_503_hsm_unavailable=3), "calm": load()}
    cycle |= {name: changes.pop(name) for name in list(changes) if name in cycle}
    facts = {"missing": (), "verified": 0, "failures": ()} | changes
    cycles = [
        Cycle(at, "hang", "rotate", 0.1, traced=9, held={"worker": octets * MIB}, **cycle)
        for at, octets in enumerate(held)
    ]
    return SoakResult(60.0, 100.0, 70.0, tuple(cycles), **facts)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"calm": load(_503_hsm_unavailable=1)}, "in the calm after it with a rotate: 1 x 503 hsm"),
        ({"faulty": load(connection_lost=1)}, "1 x connection lost that the fault does not explain"),
        ({"faulty": load(no_answer=2)}, "2 x no answer that the fault does not explain"),
        ({"missing": ("_a",)}, "1 vectors were answered and are not traced: _a"),
        ({"verified": 1}, "`appliance trace verify` ended with 1"),
        ({"failures": ("rotate failed",)}, "rotate failed"),
    ],
)  # fmt: skip
def test_every_trouble_is_named(changes: dict[str, object], says: str) -> None:
    """A clean run has none; each thing that should not have been is one, in a sentence."""
    assert soak().troubles == ()
    [trouble] = soak(**changes).troubles
    assert says in trouble


def test_memory_that_grows_is_no_flat_memory() -> None:
    """A tenth and 4 MiB are noise, and so is what buffers take at first; more is growth."""
    held = [60.0, 60.0, 80.0, 80.0, 80.0, 80.0, 80.0, 81.0]
    [settled] = soak(held=held).growth.values()
    assert settled.is_flat
    assert settled.begin == 80 * MIB
    grown = soak(held=[60.0 + 3 * at for at in range(16)])
    assert [trouble.partition(" from ")[0] for trouble in grown.troubles] == [
        "memory of workers grew"
    ]
    assert next(iter(grown.growth.values())).slope == pytest.approx(16 * 60 * 3 * MIB)
    assert Growth(100 * MIB, 113 * MIB, 0.0).is_flat
    assert not Growth(100 * MIB, 115 * MIB, 0.0).is_flat
