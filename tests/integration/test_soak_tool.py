"""A soak of seconds: the same run as an hour's, with a fault, a rotation and a reload, and everything it checks."""

import argparse
import shutil
import tempfile
from pathlib import Path

import pytest

from bench import soak as tool
from bench.load import LoadResult
from bench.service import ServedHome
from bench.soak import Plan, run_soak
from bench.soak_ledger import Ledger
from bench.soak_result import Cycle, Growth, SoakResult
from bench.soak_verdict import Verdict, verify_home
from hsm.wire import Hello
from tests.homes import copy_home
from tests.lane_peer import Peer, make_job
from tests.service import RunningService, serve

MIB = 1024**2


@pytest.mark.hsm
@pytest.mark.soak
def test_a_short_soak_is_clean(tmp_path: Path) -> None:
    """Three cycles, one of each kind: every vector answered is traced, no calm has an error, the logs verify."""
    result = run_soak(tmp_path / "home", Plan(cycles=3, seconds=6.0, capacity=1.0, seed=3))
    assert result.troubles == ()
    assert [cycle.change for cycle in result.cycles] == ["", "rotate", "reload"]
    assert all(cycle.has_met and cycle.calm.requests and cycle.given for cycle in result.cycles)
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


@pytest.mark.hsm
@pytest.mark.slow
def test_logs_and_signatures_are_judged_at_the_end(demo_home: Path, tmp_path: Path) -> None:
    """A fault explains as many later signatures without an entry as were on the way; more, one before all faults, and a log that is damaged or gone are named."""
    home = copy_home(demo_home, tmp_path)
    with serve(home) as running:
        assert [running.issue().status for _ in range(2)] == [200] * 2
        lane = Peer(home / "run" / "lane-demo-0.sock")
        assert isinstance(lane.receive(), Hello)
        lane.send(*[make_job("demo-rsa")] * 2)
        lane.receive()
        lane.channel.close()
    before, after = "2000-01-01T", "2999-01-01T"
    assert verify_home(home, [before, after], 2) == Verdict((), unaccounted=2)
    [too_many] = verify_home(home, [before, after], 1).wrong
    assert too_many.startswith("key demo-rsa: 2 signatures up to 2")
    assert too_many.endswith("without an entry, of which 1 faults explain 1")
    assert "of which 0 faults explain 0" in verify_home(home, [after], 33).wrong[0]
    [log] = (home / "log").glob("worker-0*")
    [bundle] = (log / "tile" / "entries").rglob("000.p")
    [entries] = bundle.iterdir()
    sound = entries.read_bytes()
    entries.write_bytes(sound[:-2] + b"?" + sound[-1:])
    [damaged] = verify_home(home, [before], 33).wrong
    assert log.name in damaged
    entries.write_bytes(sound)
    shutil.rmtree(log)
    [gone] = verify_home(home, [before], 33).wrong
    assert f"log {log.name} is not here" in gone
    shutil.rmtree(home / "log")
    shutil.rmtree(home / "spool")
    assert verify_home(home, [before], 33).wrong


def load(**errors: int) -> LoadResult:
    """What a load brought."""
    told = {
        reason.strip("_").replace("_", " ", 1).replace("_", "-"): count
        for reason, count in errors.items()
    }
    return LoadResult(
        *("single", 1, 2, 1, 1.0, None, "", 10, 10.0, 10.0), *(0.001,) * 6, 0, 0.1, told, 0, 0.0, 0.0, ""
    )  # fmt: skip


def soak(**changes: object) -> SoakResult:
    """A clean run of a minute, but for what is changed; `held` is the memory of workers at each cycle's end, MiB."""
    held, has_met = changes.pop("held", [9.0]), changes.pop("has_met", True)
    cycle = {"faulty": load(_503_hsm_unavailable=3), "calm": load()}
    cycle |= {name: changes.pop(name) for name in list(changes) if name in cycle}
    facts = {"missing": (), "verdict": Verdict(()), "failures": ()} | changes
    cycles = [
        Cycle(
            at,
            "hang",
            "",
            has_met,
            "rotate",
            0.1,
            given=9,
            held={"worker": octets * MIB},
            **cycle,
        )
        for at, octets in enumerate(held)
    ]
    return SoakResult(60.0, 100.0, 70.0, tuple(cycles), **facts)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"calm": load(_503_hsm_unavailable=1)}, "in the calm after it with a rotate: 1 x 503 hsm"),
        ({"faulty": load(connection_lost=1)}, "1 x connection lost that the fault does not explain"),
        ({"faulty": load(no_answer=2)}, "2 x no answer that the fault does not explain"),
        ({"faulty": load(_503_spool_full=2)}, "2 x 503 spool-full that the fault does not explain"),
        ({"faulty": load(_503_draining=1)}, "1 x 503 draining that the fault does not explain"),
        ({"has_met": False}, "cycle 0 (hang): the load did not meet the fault"),
        ({"missing": ("_a",)}, "1 vectors were answered and are not traced: _a"),
        ({"verdict": Verdict(("log x is not here",))}, "log x is not here"),
        ({"failures": ("rotate failed",)}, "rotate failed"),
    ],
)  # fmt: skip
def test_every_trouble_is_named(changes: dict[str, object], says: str) -> None:
    """A clean run has none; each thing that should not have been is one, in a sentence."""
    assert soak().troubles == ()
    [trouble] = soak(**changes).troubles
    assert says in trouble


def test_a_run_that_is_not_clean_keeps_its_home(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its logs are what tells why; a clean run leaves nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parser = argparse.ArgumentParser()
    tool.add_arguments(parser)
    monkeypatch.setattr(tool, "run_soak", lambda _home, _plan: soak())
    assert tool.run(parser.parse_args([])) == 0
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tool, "run_soak", lambda _home, _plan: soak(missing=("_a",)))
    assert tool.run(parser.parse_args([])) == 1
    [kept] = tmp_path.iterdir()
    assert f"its home is kept: {kept / 'home'}" in capsys.readouterr().err


@pytest.mark.hsm
def test_what_fails_in_a_cycle_ends_no_run(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shim that refuses is a failure that is stated; the fault has met the load and is lifted, and the next cycle runs."""
    monkeypatch.setattr(tool, "_CHANGES", ("",))
    lifted = []

    class Broken:
        pins = 0

        def draw(self) -> str:
            return "hang"

        def inject(self, kind: str) -> None:
            raise RuntimeError(f"the shim does not {kind}")

        def lift(self) -> None:
            lifted.append(True)

    run = tool._Soak(service.home, Broken(), tmp_path)
    served = ServedHome("127.0.0.1", service.port, "", service.process.pid)
    run.go_through(served, Plan(cycles=2, seconds=0.6, capacity=0.2))
    assert run.failures == [f"cycle {at} (hang): the shim does not hang" for at in (1, 2)]
    assert len(lifted) == 2
    assert [cycle.has_met for cycle in run.cycles] == [True, True]
    assert all(cycle.given and not cycle.calm.errors for cycle in run.cycles)


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
