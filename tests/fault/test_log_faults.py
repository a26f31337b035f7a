"""Every system call on the way from an entry to its signed checkpoint fails once, each occurrence; then the independent reader judges.

Promise under test: what was acknowledged stands in the log under the index it was given, what was refused does not, no published
checkpoint ever fails to verify, and everything is covered once the disk is well.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, SpoolUnavailable
from appliance.trace import integrator as integrator_module, spool as spool_module
from appliance.trace.disk import Disk
from appliance.trace.shard import Shard
from tests.fault_disk import CALLS, SHORT, Call, FaultDisk
from tests.independent_log import read_independently
from tests.logs import NAME, SoftwareSigner, open_shard, until
from tests.trace_entries import make_entry

FAULTS_OF: dict[Call, tuple[str, ...]] = {
    "open": ("EROFS",),
    "write": ("ENOSPC", "EIO", SHORT),
    "fdatasync": ("EIO",),
    "ftruncate": ("EIO",),
    "fsync_directory": ("EIO",),
    "close": ("EIO",),
    "make_directory": ("ENOSPC",),
    "rename": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "remove_directory": ("EIO",),
}
COMMITS = ([0], list(range(1, 257)), [257])
"""A partial tile, one that becomes full and takes the place of the partial, and a new one."""

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again every few milliseconds: these tests run hundreds of faults."""
    monkeypatch.setattr(spool_module, "_REPAIR_EVERY", 0.005)
    monkeypatch.setattr(integrator_module, "_RETRY_EVERY", 0.005)


async def open_persistently(home: Path, signer: SoftwareSigner, disk: Disk) -> Shard:
    """Open the log; a planned fault may strike the first attempts."""
    for _ in range(2):
        with contextlib.suppress(SpoolUnavailable):
            return open_shard(home, signer, disk, every=0.001)
    return open_shard(home, signer, disk, every=0.001)


async def append_all(home: Path, signer: SoftwareSigner, disk: Disk) -> dict[int, str]:
    """Append every commit, each once the last is covered; return what was acknowledged, by index."""
    told: dict[int, str] = {}
    shard = await open_persistently(home, signer, disk)
    for commit in COMMITS:
        await until(lambda: shard.is_writable)
        names = [f"_{number}" for number in commit]
        try:
            receipts = await shard.append_many([make_entry(assertion_id=name) for name in names])
        except ApplianceError:
            continue
        told |= {receipt.index: name for receipt, name in zip(receipts, names, strict=True)}
        await until_covered(shard, max(told) + 1)
        if isinstance(disk, FaultDisk):
            check_published(home, signer)
    with contextlib.suppress(SpoolUnavailable):
        await shard.aclose()
    return told


async def until_covered(shard: Shard, size: int) -> None:
    """Wait for a checkpoint over so many entries."""
    await until(lambda: shard.covered >= size)


def check_published(home: Path, signer: SoftwareSigner) -> dict[int, str]:
    """Whatever is published verifies; returns the vectors in it, by index."""
    log = read_independently(home / "log" / str(NAME), signer.pem)
    entries = map(json.loads, log.entries)
    return {
        at: entry["assertion_id"] for at, entry in enumerate(entries) if "assertion_id" in entry
    }


def every_fault(made: FaultDisk) -> Iterator[tuple[Call, int, str]]:
    """Each way in which one call of those `made` can fail."""
    for call in CALLS:
        for occurrence in range(1, made.met[call] + 1):
            for fault in FAULTS_OF[call]:
                yield call, occurrence, fault


def test_each_call_may_fail_once(tmp_path: Path) -> None:
    """Whichever call fails, at whichever occurrence: acknowledged is there, refused is not, and the next opening covers all."""
    counting = FaultDisk()
    told = asyncio.run(append_all(tmp_path / "sound", SoftwareSigner(), counting))
    assert len(told) == 258
    assert all(counting.met[call] for call in CALLS if call != "ftruncate")
    for at, fault in enumerate(every_fault(counting)):
        home, signer = tmp_path / str(at), SoftwareSigner()
        told = asyncio.run(append_all(home, signer, FaultDisk(fault)))
        asyncio.run(close_again(home, signer))
        assert check_published(home, signer) == told, fault


async def close_again(home: Path, signer: SoftwareSigner) -> None:
    """Open the log on a well disk and close it."""
    assert await open_shard(home, signer).aclose()


def test_full_log_disk_delays_checkpoints_and_recovers_alone(tmp_path: Path) -> None:
    """While tiles cannot be written entries stay durable in the spool; with space again they are covered unasked."""

    class FullLog(FaultDisk):
        """A disk on which the log, not the spool, has no room."""

        is_full = False

        def open(self, file: Path, flags: int) -> int:
            if self.is_full and "log" in file.parts:
                self.plan("open", self.met["open"] + 1, "ENOSPC")
            return super().open(file, flags)

    async def run() -> None:
        disk, signer = FullLog(), SoftwareSigner()
        shard = open_shard(tmp_path, signer, disk, every=0.001, overdue=0.05)
        await until_covered(shard, 1)
        disk.is_full = True
        await shard.append(make_entry(assertion_id="_0"))
        await until(lambda: shard.is_overdue)
        assert shard.covered == 1
        disk.is_full = False
        await until_covered(shard, 2)
        assert not shard.is_overdue
        await shard.aclose()
        assert check_published(tmp_path, signer) == {1: "_0"}

    asyncio.run(run())
