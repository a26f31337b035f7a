"""Every system call of the spool's write path fails once, each occurrence, over a real disk; then the independent reader judges.

Promise under test: what was acknowledged is there under the index it was given, what was refused is not, nothing torn is seen, and
the spool goes on by itself when the disk does.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.errors import SpoolUnavailable
from appliance.trace import spool as spool_module
from appliance.trace.disk import Disk
from appliance.trace.reader import read_log
from appliance.trace.record import Receipt
from appliance.trace.spool import Spool, SpoolSettings
from tests.fault_disk import Call, FaultDisk, every_fault
from tests.trace_entries import make_entry, make_frame, octets_of, segments_of, write_log

SETTINGS = SpoolSettings(segment=700)
"""Small enough for the run below to roll twice."""

pytestmark = pytest.mark.slow


@dataclass
class Told:
    """What the callers of a spool were told."""

    acknowledged: dict[int, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def quick_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a repair every few milliseconds: these tests run hundreds of them."""
    monkeypatch.setattr(spool_module, "_REPAIR_EVERY", 0.005)


async def until_writable(spool: Spool) -> None:
    """Wait for the spool to have recovered."""
    async with asyncio.timeout(10):
        while not spool.is_writable:  # noqa: ASYNC110 - the spool announces its recovery to nobody
            await asyncio.sleep(0.001)


async def open_persistently(home: Path, disk: Disk) -> Spool:
    """Open a spool; the one or two faults of a plan may strike the first attempts."""
    for _ in range(2):
        with contextlib.suppress(SpoolUnavailable):
            return Spool.open(home, "log", SETTINGS, SystemClock(), disk)
    return Spool.open(home, "log", SETTINGS, SystemClock(), disk)


async def append_some(home: Path, disk: Disk, told: Told) -> None:
    """Open the log, append entries one by one and in twos, note what came of each, close."""
    spool = await open_persistently(home, disk)
    for number in range(8):
        names = [f"_{number}", f"_{number}b"] if number % 3 == 0 else [f"_{number}"]
        await until_writable(spool)
        try:
            receipts = await spool.append_many([make_entry(assertion_id=name) for name in names])
        except SpoolUnavailable:
            told.refused += names
        else:
            told.acknowledged |= {
                receipt.index: name for receipt, name in zip(receipts, names, strict=True)
            }
    await spool.aclose()


def check_held(home: Path, told: Told) -> None:
    """The log is what was acknowledged, no more, no less, each entry under its index."""
    held = {stored.index: stored.entry.assertion_id for stored in read_log(home / "log")}
    assert held == told.acknowledged


def every_disk(made: FaultDisk, *base: tuple[Call, int, str]) -> Iterator[FaultDisk]:
    """A disk for each way in which one call of those `made` can fail, besides the faults of `base`."""
    for fault in every_fault(made.met, whole=False):
        if fault[:2] not in {planned[:2] for planned in base}:
            yield FaultDisk(*base, fault)


def test_each_call_may_fail_once(tmp_path: Path) -> None:
    """Whichever call fails, at whichever occurrence, acknowledged entries and only those are held."""
    sound, told = FaultDisk(), Told()
    asyncio.run(append_some(tmp_path / "sound", sound, told))
    assert len(told.acknowledged) == 11
    assert len(segments_of(tmp_path / "sound" / "log")) > 2
    for at, disk in enumerate(every_disk(sound)):
        told = Told()
        asyncio.run(append_some(tmp_path / str(at), disk, told))
        check_held(tmp_path / str(at), told)
        assert len(told.acknowledged) + len(told.refused) == 11
        assert len(told.refused) <= 2


@pytest.mark.parametrize("struck", [("fdatasync", 4, "EIO"), ("write", 3, "ENOSPC")])
def test_each_call_may_fail_during_a_repair_too(
    tmp_path: Path, struck: tuple[Call, int, str]
) -> None:
    """A second fault, anywhere in the repair of the first or behind it, changes nothing of the promise."""
    once, told = FaultDisk(struck), Told()
    asyncio.run(append_some(tmp_path / "once", once, told))
    assert told.refused
    for at, disk in enumerate(every_disk(once, struck)):
        told = Told()
        asyncio.run(append_some(tmp_path / str(at), disk, told))
        check_held(tmp_path / str(at), told)


def test_each_call_may_fail_while_a_torn_log_is_opened(tmp_path: Path) -> None:
    """A fault during recovery refuses to open and leaves the log fit for the next attempt."""

    def make_torn(log: Path) -> None:
        write_log(log, [[b"one"], [b"two"]])
        with segments_of(log)[-1].open("ab") as segment:
            segment.write(make_frame(b"torn")[:-1])

    async def reopen(home: Path, disk: Disk) -> None:
        await (await open_persistently(home, disk)).aclose()

    counting = FaultDisk()
    make_torn(tmp_path / "sound" / "log")
    asyncio.run(reopen(tmp_path / "sound", counting))
    assert counting.met["ftruncate"] == 1
    for at, disk in enumerate(every_disk(counting)):
        make_torn(tmp_path / str(at) / "log")
        asyncio.run(reopen(tmp_path / str(at), disk))
        assert octets_of(tmp_path / str(at) / "log") == [b"one", b"two"]


def test_ill_disk_refuses_everything_pending_and_recovers_alone(tmp_path: Path) -> None:
    """While the disk is full every entry is refused by name at once; when it has space again nobody need help."""

    async def run() -> list[Receipt]:
        disk = FaultDisk()
        spool = Spool.open(tmp_path, "log", SETTINGS, SystemClock(), disk)
        receipts = [await spool.append(make_entry(assertion_id="_0"))]
        disk.is_ill = True
        pending = [spool.append(make_entry(assertion_id="_refused")) for _ in range(20)]
        outcomes = await asyncio.gather(*pending, return_exceptions=True)
        assert all(isinstance(outcome, SpoolUnavailable) for outcome in outcomes)
        assert not spool.is_writable
        with pytest.raises(SpoolUnavailable, match="No space left on device"):
            spool.append(make_entry())
        disk.is_ill = False
        await until_writable(spool)
        receipts.append(await spool.append(make_entry(assertion_id="_1")))
        await spool.aclose()
        return receipts

    assert [receipt.index for receipt in asyncio.run(run())] == [0, 1]
    check_held(tmp_path, Told({0: "_0", 1: "_1"}))


def test_what_gathered_behind_a_failed_commit_is_refused_with_it(tmp_path: Path) -> None:
    """Nobody waits for a repair: entries accepted while the failing commit was under way are refused too."""

    async def run() -> None:
        disk = FaultDisk()
        spool = Spool.open(tmp_path, "log", SETTINGS, SystemClock(), disk)
        synchronised = disk.met["fdatasync"]
        disk.plan("fdatasync", synchronised + 1, "EIO")
        disk.gate.clear()
        failing = spool.append(make_entry())
        async with asyncio.timeout(10):
            while disk.met["write"] == 1:  # noqa: ASYNC110 - the disk announces nothing
                await asyncio.sleep(0.001)
        behind = spool.append(make_entry())
        disk.gate.set()
        for refused in (failing, behind):
            with pytest.raises(SpoolUnavailable):
                await refused
        await spool.aclose()

    asyncio.run(run())
    check_held(tmp_path, Told())


def test_failed_fsync_is_never_followed_by_another_on_the_same_pages(tmp_path: Path) -> None:
    """After a failed fsync the log goes on in a new segment, behind what was durable before."""

    async def run() -> None:
        disk = FaultDisk()
        spool = Spool.open(tmp_path, "log", SpoolSettings(), SystemClock(), disk)
        await spool.append(make_entry(assertion_id="_0"))
        disk.plan("fdatasync", disk.met["fdatasync"] + 1, "EIO")
        with pytest.raises(SpoolUnavailable, match="Input/output error"):
            await spool.append(make_entry(assertion_id="_refused"))
        await until_writable(spool)
        await spool.append(make_entry(assertion_id="_1"))
        await spool.aclose()

    asyncio.run(run())
    assert [int(file.stem) for file in segments_of(tmp_path / "log")] == [0, 1]
    check_held(tmp_path, Told({0: "_0", 1: "_1"}))


def test_closing_an_ill_spool_ends(tmp_path: Path) -> None:
    """A spool whose disk stays ill can still be closed."""

    async def run() -> None:
        disk = FaultDisk()
        spool = Spool.open(tmp_path, "log", SETTINGS, SystemClock(), disk)
        disk.is_ill = True
        with pytest.raises(SpoolUnavailable):
            await spool.append(make_entry())
        async with asyncio.timeout(10):
            await spool.aclose()
        assert not spool.is_writable

    asyncio.run(run())


def test_closing_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer at all is named when the spool gives up on it."""
    monkeypatch.setattr(spool_module, "_CLOSE_TIMEOUT", 0.05)

    async def run() -> None:
        disk = FaultDisk()
        spool = Spool.open(tmp_path, "log", SETTINGS, SystemClock(), disk)
        disk.gate.clear()
        waiting = spool.append(make_entry())
        with pytest.raises(SpoolUnavailable, match="has not answered"):
            await spool.aclose()
        disk.gate.set()
        assert (await waiting).index == 0

    asyncio.run(run())
