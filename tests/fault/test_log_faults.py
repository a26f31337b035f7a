"""Every system call on the way from an entry to its signed checkpoint fails once, each occurrence; then the independent reader judges.

Promise under test: what was acknowledged stands in the log under the index it was given, what was refused does not, no published
checkpoint ever fails to verify, and everything is covered once the disk is well.
"""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.errors import ApplianceError, SpoolUnavailable
from appliance.trace import integrator as integrator_module, spool as spool_module
from appliance.trace.certificates import CertificateShelf
from appliance.trace.disk import Disk
from appliance.trace.logs import close_log, close_orphans
from appliance.trace.purge import purge_log
from appliance.trace.shard import Shard
from appliance.trace.verify import verify_log
from appliance.trace.view import LogPlace
from tests.fault_disk import CALLS, FaultDisk, every_fault
from tests.independent_log import read_independently
from tests.logs import (
    NAME,
    SoftwareSigner,
    make_settings,
    numbered,
    open_shard,
    until,
    write_shard,
)
from tests.trace_entries import make_entry

COMMITS = ([0], list(range(1, 257)), [257])
"""A partial tile, one that becomes full and takes the place of the partial, and a new one."""

LONG = [pytest.mark.soak, pytest.mark.timeout(1800)]
EXTENTS = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=LONG)])
"""Each call fails with one of the errors that it may fail with; `make soak` has it fail with every one."""

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
            return await open_shard(home, signer, disk, every=0.001)
    return await open_shard(home, signer, disk, every=0.001)


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


@EXTENTS
def test_each_call_may_fail_once(tmp_path: Path, *, whole: bool) -> None:
    """Whichever call fails, at whichever occurrence: acknowledged is there, refused is not, and the next opening covers all."""
    counting, signer = FaultDisk(), SoftwareSigner()
    told = asyncio.run(append_all(tmp_path / "sound", signer, counting))
    assert len(told) == 258
    assert all(counting.met[call] for call in CALLS if call != "ftruncate")
    # Each checkpoint comes by a rename, and so do the tile and the bundle that were written before theirs.
    assert counting.met["rename"] == signer.asked + 2
    for at, fault in enumerate(every_fault(counting.met, whole=whole)):
        home, signer = tmp_path / str(at), SoftwareSigner()
        told = asyncio.run(append_all(home, signer, FaultDisk(fault)))
        asyncio.run(close_again(home, signer))
        assert check_published(home, signer) == told, fault
        verify_log(home / "log" / str(NAME), [signer.key])


async def close_again(home: Path, signer: SoftwareSigner) -> None:
    """Open the log on a well disk and close it."""
    assert await (await open_shard(home, signer)).aclose()


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
        shard = await open_shard(tmp_path, signer, disk, every=0.001, overdue=0.05)
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


@pytest.mark.parametrize(
    ("is_closed", "whole"),
    [(True, False), *(pytest.param(closed, True, marks=LONG) for closed in (True, False))],
)
def test_each_call_of_a_purge_may_fail_once(
    tmp_path: Path, *, is_closed: bool, whole: bool
) -> None:
    """Bundles go only under a record that a checkpoint covers, whatever fails; the next purge brings it to its end."""
    signer = SoftwareSigner()
    write_shard(tmp_path / "whole", [numbered(300)], signer)
    if is_closed:
        asyncio.run(close_for_good(tmp_path / "whole", signer))
    heads = dict(signer.heads)

    def purge(home: Path, disk: Disk) -> None:
        settings = make_settings(home, signer)
        asyncio.run(purge_log(NAME, 256, settings, signer, SystemClock(), disk))

    def attempt(home: Path, disk: FaultDisk) -> None:
        signer.heads = dict(heads)
        shutil.copytree(tmp_path / "whole", home)
        with contextlib.suppress(SpoolUnavailable):
            purge(home, disk)
        if not (home / "log" / str(NAME) / "tile/entries/000").exists():
            assert record_is_covered(home)
        purge(home, Disk())
        if is_closed:  # a purge that failed has left it open; the next start closes it
            asyncio.run(
                close_orphans(make_settings(home, signer), signer, SystemClock(), lambda _: False)
            )
        verified = verify_log(home / "log" / str(NAME), [signer.key])
        assert (verified.first, verified.is_closed) == (256, is_closed)

    counting = FaultDisk()
    attempt(tmp_path / "sound", counting)
    assert counting.met["unlink"] >= (3 if is_closed else 2)
    for at, fault in enumerate(every_fault(counting.met, whole=whole)):
        attempt(tmp_path / str(at), FaultDisk(fault))
        shutil.rmtree(tmp_path / str(at))


async def close_for_good(home: Path, signer: SoftwareSigner) -> None:
    """Open the log and close it as one whose year is over."""
    assert await close_log(await open_shard(home, signer), SystemClock())


def record_is_covered(home: Path) -> bool:
    """Tell whether the log's checkpoint covers the record of a purge."""
    view = LogPlace(home / "log", home / "spool").view(str(NAME))
    covered = view.covered()
    return any(
        stored.index < covered and stored.entry.event == "entries-purged" for stored in view.read()
    )


@EXTENTS
def test_each_call_of_a_shelf_may_fail_once(tmp_path: Path, *, whole: bool) -> None:
    """A certificate whose keeping failed is not taken for kept, and none is ever there in part."""

    def keep(home: Path, disk: Disk) -> None:
        CertificateShelf(home / "kept" / "certificates", "worker-0", disk).keep(b"certificate")

    counting = FaultDisk()
    keep(tmp_path / "sound", counting)
    assert counting.met["make_directory"] == 3
    assert counting.met["fsync_directory"] == 5
    for at, fault in enumerate(every_fault(counting.met, whole=whole)):
        home = tmp_path / str(at)
        with contextlib.suppress(OSError):
            keep(home, FaultDisk(fault))
        for file in (home / "kept" / "certificates").glob("*.der"):
            assert file.read_bytes() == b"certificate"
        keep(home, Disk())
        assert len(list((home / "kept" / "certificates").glob("*.der"))) == 1
