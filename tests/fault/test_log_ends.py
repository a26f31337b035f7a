"""The process, or the machine, ends at every system call on the way from an entry to its checkpoint, after a fault too; then the next start.

Promise under test: what was acknowledged by then stands in the log under its index, and the checkpoint that is found states a tree that is
there, whatever of the unsynchronised has reached the medium (`tests/crash_disk.py`).
"""

import asyncio
import contextlib
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.errors import SpoolUnavailable
from appliance.trace import integrator as integrator_module, spool as spool_module
from appliance.trace.disk import Disk
from appliance.trace.shard import Shard
from appliance.trace.verify import verify_log
from hsm.checkpoints import SignedHead
from tests.crash_disk import CrashDisk, Image, lay_out
from tests.fault_disk import Call, FaultDisk
from tests.independent_log import covered_by, read_independently
from tests.logs import NAME, SoftwareSigner, open_shard, until
from tests.trace_entries import make_entry

COMMITS = ([0], list(range(1, 258)), [258])
"""A partial tile; one that becomes full and takes the place of the partial, with a new one behind it; then the spool drops a segment."""

LOG = Path("log") / str(NAME)

pytestmark = pytest.mark.slow


class StoppedClock(SystemClock):
    """Stands still, so that every run writes the same octets."""

    def now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC)


@dataclass
class Run:
    """One run of a writer: what was acknowledged so far by index, its signer, and its ends."""

    home: Path
    ends: "Ends"
    plan: tuple[tuple[Call, int, str], ...] = ()
    told: dict[int, str] = field(default_factory=dict)
    signer: SoftwareSigner = field(default_factory=SoftwareSigner)

    async def append_all(self) -> FaultDisk:
        """Open the log and append every commit, each once the last is covered."""
        for directory in ("spool", "log"):  # as `init` leaves them
            (self.home / directory).mkdir(parents=True)
        disk = CrashDisk(self.home, self._see, *self.plan)
        shard = await self._open(disk)
        for commit in COMMITS:
            names = [f"_{number}" for number in commit]
            while True:
                await until(lambda: shard.is_writable)
                with contextlib.suppress(SpoolUnavailable):
                    receipts = await shard.append_many(
                        [make_entry(assertion_id=name) for name in names]
                    )
                    break
            self.told |= {
                receipt.index: name for receipt, name in zip(receipts, names, strict=True)
            }
            await until(lambda: shard.covered > max(self.told))
        with contextlib.suppress(SpoolUnavailable):
            await shard.aclose()
        return disk

    async def _open(self, disk: Disk) -> Shard:
        with contextlib.suppress(SpoolUnavailable):  # the planned fault may strike here
            return await open_shard(self.home, self.signer, disk, StoppedClock(), every=0.001)
        return await open_shard(self.home, self.signer, disk, StoppedClock(), every=0.001)

    def _see(self, image: Image) -> None:
        self.ends.add(image, dict(self.told), dict(self.signer.heads), self.plan)


class Ends:
    """Every end seen so far that differs from the others."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self.left: list[tuple[Image, dict[int, str], dict[str, SignedHead], object]] = []

    def add(
        self, image: Image, told: dict[int, str], heads: dict[str, SignedHead], plan: object
    ) -> None:
        """Take one in."""
        facts = (frozenset(image.items()), len(told), *sorted(heads))
        mark = hash((*facts, *(head.size for head in heads.values())))
        if mark not in self._seen:
            self._seen.add(mark)
            self.left.append((image, told, heads, plan))

    def judge(self, home: Path) -> None:
        """Have a writer start on each, and hold the log against what had been acknowledged."""
        for image, told, heads, plan in self.left:
            lay_out(image, home)
            signer = SoftwareSigner()
            signer.heads = heads
            if (home / LOG / "checkpoint").exists():
                read_independently(home / LOG, signer.pem)
            assert asyncio.run(start_and_close(home, signer)), plan
            entries = covered_by(home / LOG, signer.pem)
            held = {at: entry.get("assertion_id") for at, entry in enumerate(entries)}
            assert told.items() <= held.items(), plan
            verify_log(home / LOG, [signer.key])
            assert not [*home.glob("spool/*/*.staged")], plan
            shutil.rmtree(home)


async def start_and_close(home: Path, signer: SoftwareSigner) -> bool:
    """Open the log on a well disk and close it."""
    return await (await open_shard(home, signer)).aclose()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again every few milliseconds."""
    monkeypatch.setattr(spool_module, "_REPAIR_EVERY", 0.005)
    monkeypatch.setattr(integrator_module, "_RETRY_EVERY", 0.005)


def test_end_at_each_call_loses_nothing(tmp_path: Path) -> None:
    """Killed or without power, at whichever call: acknowledged is there, and what is published verifies."""
    ends = Ends()
    run = Run(tmp_path / "run", ends)
    asyncio.run(run.append_all())
    assert len(run.told) == 259
    assert len(ends.left) > 50
    ends.judge(tmp_path / "end")


@pytest.mark.parametrize(
    "call", ["fsync_directory", "rename", pytest.param("fdatasync", marks=pytest.mark.soak)]
)
def test_end_at_each_call_after_a_fault_loses_nothing(tmp_path: Path, call: Call) -> None:
    """A call fails, each occurrence in turn, and the end comes at whichever call behind it: nothing stated is ever written anew."""
    ends = Ends()
    counting = asyncio.run(Run(tmp_path / "sound", Ends()).append_all())
    for occurrence in range(1, counting.met[call] + 1):
        home = tmp_path / str(occurrence)
        asyncio.run(Run(home, ends, ((call, occurrence, "EIO"),)).append_all())
        shutil.rmtree(home)
    ends.judge(tmp_path / "end")
