"""The spool's promises to the event loop: order, bounds, one wake-up a commit, every future resolved once."""

import asyncio
import os
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.errors import ApplianceError, Reason, RequestTooLarge, SpoolFull, SpoolUnavailable
from appliance.trace.disk import Disk
from appliance.trace.reader import read_log
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.trace.spool import Spool, SpoolSettings
from tests.fault_disk import FaultDisk
from tests.trace_entries import make_entry, write_log

TOO_LARGE = make_entry(subject="s" * 65_535)


class MovedClock(SystemClock):
    """A clock a test moves by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


def open_spool(
    home: Path, disk: Disk | None = None, clock: SystemClock | None = None, **settings: int
) -> Spool:
    """The spool of log `worker-0`."""
    return Spool.open(home, "worker-0", SpoolSettings(**settings), clock or SystemClock(), disk)


def entries(count: int) -> list[TraceEntry]:
    """Entries that can be told apart."""
    return [make_entry(assertion_id=f"_{number}") for number in range(count)]


def traced(home: Path) -> list[str | None]:
    """Assertion IDs in the order of the log."""
    return [stored.entry.assertion_id for stored in read_log(home / "worker-0")]


def test_receipt_names_the_place_of_the_entry(tmp_path: Path) -> None:
    """Entries stand in the log in the order of the calls, and each receipt says where."""

    async def run() -> list[Receipt]:
        spool = open_spool(tmp_path)
        first = spool.append(make_entry(assertion_id="_0"))
        more = spool.append_many(entries(4)[1:3])
        last = spool.append(make_entry(assertion_id="_3"))
        receipts = [await first, *await more, await last]
        await spool.aclose()
        return receipts

    receipts = asyncio.run(run())
    assert receipts == [Receipt("worker-0", index) for index in range(4)]
    assert traced(tmp_path) == ["_0", "_1", "_2", "_3"]


def test_entry_is_durable_before_its_future_resolves(tmp_path: Path) -> None:
    """While the disk has not answered, nobody is told."""

    async def run() -> None:
        disk = FaultDisk()
        spool = open_spool(tmp_path, disk)
        disk.gate.clear()
        waiting = spool.append(make_entry())
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        disk.gate.set()
        assert (await waiting).index == 0
        await spool.aclose()

    asyncio.run(run())


def test_receipt_follows_the_kernels_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the disk as it is: the names are synchronised when made, and before a receipt the very file that holds its entry is."""
    synchronised: list[tuple[str, Path, bytes]] = []

    def watch(name: str) -> None:
        call = getattr(os, name)

        def watched(descriptor: int) -> None:
            call(descriptor)
            file = Path(f"/proc/self/fd/{descriptor}").resolve()
            synchronised.append((name, file, file.read_bytes() if file.is_file() else b""))

        monkeypatch.setattr(os, name, watched)

    async def run() -> None:
        spool = open_spool(tmp_path, Disk())
        names = {(name, file) for name, file, _ in synchronised}
        assert names >= {("fsync", tmp_path), ("fsync", tmp_path / "worker-0")}
        for entry in entries(3):
            synchronised.clear()
            await spool.append(entry)
            held = [
                (name, file) for name, file, octets in synchronised if write_entry(entry) in octets
            ]
            assert held == [("fdatasync", next((tmp_path / "worker-0").glob("*.segment")))]
        await spool.aclose()

    watch("fsync")
    watch("fdatasync")
    asyncio.run(run())


def test_entries_that_gather_are_committed_together(tmp_path: Path) -> None:
    """What comes while the disk is busy shares one write and one synchronisation."""

    async def run() -> int:
        disk = FaultDisk()
        spool = open_spool(tmp_path, disk)
        before = disk.met["write"]
        disk.gate.clear()
        waiting = [spool.append(entry) for entry in entries(200)]
        disk.gate.set()
        await asyncio.gather(*waiting)
        await spool.aclose()
        return disk.met["write"] - before

    assert asyncio.run(run()) <= 2
    assert len(traced(tmp_path)) == 200


def test_full_spool_refuses_by_name(tmp_path: Path) -> None:
    """Over the bound an entry is refused, and what was accepted is not harmed."""

    async def run() -> None:
        disk = FaultDisk()
        spool = open_spool(tmp_path, disk, pending_entries=3)
        disk.gate.clear()
        waiting = spool.append_many(entries(2))
        with pytest.raises(SpoolFull) as refused:
            spool.append_many(entries(2))
        assert refused.value.reason is Reason.SPOOL_FULL
        third = spool.append(make_entry(assertion_id="_2"))
        with pytest.raises(SpoolFull):
            spool.append(make_entry())
        disk.gate.set()
        assert [receipt.index for receipt in await waiting] == [0, 1]
        assert (await third).index == 2
        assert (await spool.append(make_entry(assertion_id="_3"))).index == 3
        await spool.aclose()

    asyncio.run(run())
    assert traced(tmp_path) == ["_0", "_1", "_2", "_3"]


def test_slow_disk_refuses_by_name(tmp_path: Path) -> None:
    """Once an entry has waited too long, new ones are refused until the disk has answered."""

    async def run() -> None:
        disk, clock = FaultDisk(), MovedClock()
        spool = open_spool(tmp_path, disk, clock, pending_age=2)
        disk.gate.clear()
        waiting = spool.append(make_entry())
        clock.seconds += 2
        also = spool.append(make_entry())
        clock.seconds += 0.1
        with pytest.raises(SpoolFull, match=r"waited 2\.1 s"):
            spool.append(make_entry())
        disk.gate.set()
        await asyncio.gather(waiting, also)
        assert (await spool.append(make_entry())).index == 2
        await spool.aclose()

    asyncio.run(run())


def test_too_large_entry_is_refused_before_anything_else(tmp_path: Path) -> None:
    """Its own fault is named even where the spool is closed, and its batch writes nothing."""

    async def run() -> None:
        spool = open_spool(tmp_path)
        with pytest.raises(RequestTooLarge):
            spool.append_many([make_entry(), TOO_LARGE])
        await spool.aclose()
        with pytest.raises(RequestTooLarge):
            spool.append(TOO_LARGE)

    asyncio.run(run())
    assert traced(tmp_path) == []


def test_closing_writes_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    """A drain loses nothing; afterwards the log is free for another writer."""

    async def run() -> None:
        spool = open_spool(tmp_path)
        waiting = [spool.append(entry) for entry in entries(50)]
        await spool.aclose()
        assert [(await one).index for one in waiting] == list(range(50))
        assert not spool.is_writable
        with pytest.raises(SpoolUnavailable, match="closed"):
            spool.append(make_entry())
        await open_spool(tmp_path).aclose()

    asyncio.run(run())
    assert len(traced(tmp_path)) == 50


def test_caller_who_has_gone_harms_nobody(tmp_path: Path) -> None:
    """A cancelled future keeps its entry in the log and the others their receipts."""

    async def run() -> None:
        disk = FaultDisk()
        spool = open_spool(tmp_path, disk, pending_entries=2)
        disk.gate.clear()
        gone, here = spool.append(make_entry()), spool.append(make_entry())
        gone.cancel()
        disk.gate.set()
        assert (await here).index == 1
        assert [one.index for one in await spool.append_many(entries(2))] == [2, 3]
        await spool.aclose()

    asyncio.run(run())


def test_held_log_is_refused_by_name(tmp_path: Path) -> None:
    """Two spools never share a log."""

    async def run() -> None:
        spool = open_spool(tmp_path)
        with pytest.raises(SpoolUnavailable, match="another process"):
            open_spool(tmp_path)
        await spool.aclose()

    asyncio.run(run())


def test_unusable_directory_is_refused_by_name(tmp_path: Path) -> None:
    """An operating system error at opening comes out as the spool's own, with its text."""

    async def run() -> ApplianceError:
        (tmp_path / "worker-0").write_text("a file")
        with pytest.raises(SpoolUnavailable) as refused:
            open_spool(tmp_path)
        return refused.value

    assert "File exists" in asyncio.run(run()).detail


def test_torn_tail_is_reported_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Cutting a torn tail is not done in silence."""
    write_log(tmp_path / "worker-0", [[b"one"]])
    with next((tmp_path / "worker-0").glob("*.segment")).open("ab") as segment:
        segment.write(b"torn")

    async def run() -> None:
        await open_spool(tmp_path).aclose()

    asyncio.run(run())
    assert "torn-tail-cut" in caplog.text
