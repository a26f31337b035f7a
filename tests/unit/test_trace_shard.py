"""One log whole: spool, tree and checkpoint, judged by a reader that shares nothing with the writer."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.errors import HsmUnavailable, Reason, SpoolFull, SpoolUnavailable
from appliance.trace.rebuild import Rebuild
from appliance.trace.shard import Shard
from appliance.trace.verify import verify_log
from tests.independent_log import covered_by, read_independently
from tests.logs import (
    NAME,
    ORIGIN,
    SoftwareSigner,
    make_settings,
    numbered,
    open_shard,
    until,
    write_shard,
)
from tests.trace_entries import make_entry, segments_of


@pytest.fixture
def signer() -> SoftwareSigner:
    """An audit key."""
    return SoftwareSigner()


async def until_covered(shard: Shard, size: int) -> None:
    """Wait for a checkpoint over so many entries."""
    await until(lambda: shard.covered >= size)


def ids(home: Path, signer: SoftwareSigner) -> list[str]:
    """Assertion IDs of the covered entries, without the openings."""
    entries = covered_by(home / "log" / str(NAME), signer.pem)
    return [entry["assertion_id"] for entry in entries if entry["event"] != "log-opened"]


@pytest.mark.parametrize("count", [1, 254, 255, 256, 700])
def test_closed_log_is_covered_whole(tmp_path: Path, signer: SoftwareSigner, count: int) -> None:
    """Everything appended stands in bundles and tiles under a signed checkpoint, behind the opening."""
    directory = write_shard(tmp_path, [numbered(count)], signer)
    log = read_independently(directory, signer.pem)
    assert (log.origin, log.size) == (f"{ORIGIN}/{NAME}", count + 1)
    opening, *entries = map(json.loads, log.entries)
    assert opening["event"] == "log-opened"
    assert opening["audit_key"] == signer.key.vkey(log.origin)
    assert [entry["assertion_id"] for entry in entries] == [f"_{at}" for at in range(count)]


def test_log_directory_holds_tiles_files_only(tmp_path: Path, signer: SoftwareSigner) -> None:
    """Nothing but `checkpoint` and `tile/`; what is full has no partial left."""
    directory = write_shard(tmp_path, [numbered(150), numbered(150)], signer)
    assert {file.name for file in directory.iterdir()} == {"checkpoint", "tile"}
    files = sorted(str(f.relative_to(directory)) for f in directory.rglob("*") if f.is_file())
    full = [file for file in files if ".p/" not in file]
    assert full == ["checkpoint", "tile/0/000", "tile/entries/000"]
    assert not (directory / "tile/0/000.p").exists()


def test_bundles_are_written_as_they_fill(tmp_path: Path, signer: SoftwareSigner) -> None:
    """Before their checkpoint is due, out of readers' sight; it gives them their names, and nothing is left beside the spool."""
    spool, log = tmp_path / "spool" / str(NAME), tmp_path / "log" / str(NAME)

    def staged() -> list[str]:
        return sorted(file.name for file in spool.glob("*.staged"))

    async def run() -> None:
        shard = await open_shard(tmp_path, signer, every=60.0, entries=400)
        await shard.append_many(numbered(400))
        await until(lambda: shard.covered == 400)
        await shard.append_many(numbered(380))
        await until(lambda: len(staged()) == 4)
        assert staged()[2:] == ["tile-entries-001.staged", "tile-entries-002.staged"]
        assert not (log / "tile/entries/001").exists()
        assert verify_log(log, [signer.key]).checkpoint.size == 400
        await shard.aclose()

    asyncio.run(run())
    assert not staged()
    assert read_independently(log, signer.pem).size == 781


def test_opening_keeps_nobody_waiting(
    tmp_path: Path, signer: SoftwareSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the rebuild of a log takes, the event loop of whoever opens it turns."""
    write_shard(tmp_path, [numbered(3)], signer)
    turned = threading.Event()

    def rebuild(_: Rebuild) -> None:
        assert turned.wait(10)

    monkeypatch.setattr(Rebuild, "run", rebuild)

    async def run() -> None:
        opening = asyncio.create_task(open_shard(tmp_path, signer))
        await asyncio.sleep(0)
        turned.set()
        await (await opening).aclose()

    asyncio.run(run())


def test_log_that_grows_meanwhile_verifies(tmp_path: Path, signer: SoftwareSigner) -> None:
    """What later checkpoints have added by the time its files are looked through is not taken for foreign."""
    log = write_shard(tmp_path, [numbered(300)], signer)
    verified = verify_log(
        log, [signer.key], advance=lambda _: write_shard(tmp_path, [numbered(300)], signer)
    )
    assert verified.checkpoint.size == 301
    assert verify_log(log, [signer.key]).checkpoint.size > 800


def test_log_goes_on_where_it_ended(tmp_path: Path, signer: SoftwareSigner) -> None:
    """Each opening names the checkpoint that stood; the tree only grows."""
    first = write_shard(tmp_path, [numbered(300)], signer)
    stood = (first / "checkpoint").read_text("utf-8")
    write_shard(tmp_path, [numbered(3)], signer)
    entries = covered_by(first, signer.pem)
    openings = [entry for entry in entries if entry["event"] == "log-opened"]
    assert [opening.get("checkpoint") for opening in openings] == [None, stood]
    assert len(entries) == 305


def test_checkpoint_comes_while_the_log_is_open(tmp_path: Path, signer: SoftwareSigner) -> None:
    """A second (here: less) after an entry is durable a checkpoint covers it, and the spool lets go of it."""

    async def run() -> None:
        shard = await open_shard(tmp_path, signer)
        for number in range(12):
            receipt = await shard.append(make_entry(assertion_id=f"_{number}", subject="x" * 4000))
            await until_covered(shard, receipt.index + 1)
            assert len(ids(tmp_path, signer)) == number + 1
        assert not shard.is_overdue
        await shard.aclose()

    asyncio.run(run())
    first = int(segments_of(tmp_path / "spool" / str(NAME))[0].stem)
    assert first > 0


def test_missing_signature_delays_and_never_skips(tmp_path: Path, signer: SoftwareSigner) -> None:
    """While no lane signs, entries stay accepted and overdue is said; afterwards one checkpoint covers all."""

    async def run() -> None:
        shard = await open_shard(tmp_path, signer, overdue=0.05, unsigned=20)
        await until(lambda: shard.covered == 1)
        signer.fault = HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane")
        for number in range(19):
            await shard.append(make_entry(assertion_id=f"_{number}"))
        await until(lambda: shard.is_overdue)
        await shard.append(make_entry(assertion_id="_19"))
        with pytest.raises(SpoolFull, match="20 trace entries wait for a checkpoint"):
            shard.append(make_entry())
        assert shard.is_writable
        signer.fault = None
        await until(lambda: shard.covered == 21)
        assert not shard.is_overdue
        await shard.aclose()

    asyncio.run(run())
    assert ids(tmp_path, signer) == [f"_{number}" for number in range(20)]


def test_close_without_signature_leaves_the_rest_to_the_next_start(
    tmp_path: Path, signer: SoftwareSigner
) -> None:
    """What no checkpoint covers stays in the spool and is covered when the log is opened again."""

    async def run() -> None:
        shard = await open_shard(tmp_path, signer)
        signer.fault = HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane")
        await shard.append(make_entry(assertion_id="_0"))
        await shard.aclose()

    asyncio.run(run())
    signer.fault = None
    write_shard(tmp_path, [[make_entry(assertion_id="_1")]], signer)
    assert ids(tmp_path, signer) == ["_0", "_1"]


def test_close_right_after_a_failure_covers_the_rest(
    tmp_path: Path, signer: SoftwareSigner
) -> None:
    """Whoever waits to try again tries when the log is closed: the cause may be gone."""

    async def run() -> None:
        shard = await open_shard(tmp_path, signer)
        await until(lambda: shard.covered == 1)
        signer.fault = HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane")
        asked = signer.asked
        await shard.append(make_entry(assertion_id="_0"))
        await until(lambda: signer.asked > asked)
        signer.fault = None
        assert await shard.aclose()

    asyncio.run(run())
    assert ids(tmp_path, signer) == ["_0"]


def test_signer_that_remembers_more_is_caught_up_with(
    tmp_path: Path, signer: SoftwareSigner
) -> None:
    """A checkpoint that was signed and never published is proven from, or waited for, by the next growth."""

    async def run() -> None:
        shard = await open_shard(tmp_path, signer)
        await shard.append_many(numbered(5))
        await shard.aclose()

    asyncio.run(run())
    directory = tmp_path / "log" / str(NAME)
    published = (directory / "checkpoint").read_bytes()
    spool = tmp_path / "spool" / str(NAME)
    kept = {file: file.read_bytes() for file in segments_of(spool)}
    write_shard(tmp_path, [numbered(3)], signer)
    signed = signer.heads[f"{ORIGIN}/{NAME}"]
    (directory / "checkpoint").write_bytes(
        published
    )  # as if the machine had died before it was replaced
    write_shard(tmp_path, [numbered(2)], signer)
    assert signed.size == 10
    assert read_independently(directory, signer.pem).size == 13
    assert kept


def test_signer_that_remembers_less_is_brought_up(tmp_path: Path, signer: SoftwareSigner) -> None:
    """Lanes whose memory is older, or gone, sign on from a proof out of the tiles."""
    write_shard(tmp_path, [numbered(300)], signer)
    old = dict(signer.heads)
    write_shard(tmp_path, [numbered(400)], signer)
    signer.heads = old
    write_shard(tmp_path, [numbered(1)], signer)
    signer.heads = {}
    directory = write_shard(tmp_path, [numbered(1)], signer)
    assert len(covered_by(directory, signer.pem)) == 300 + 400 + 2 + 4


def refused_opening(home: Path, signer: SoftwareSigner) -> str:
    """Why the log cannot be opened."""

    async def run() -> str:
        with pytest.raises(SpoolUnavailable) as refused:
            await open_shard(home, signer)
        assert refused.value.reason is Reason.LOG_DISAGREES
        return refused.value.detail

    return asyncio.run(run())


def test_log_that_disagrees_with_its_checkpoint_is_not_opened(
    tmp_path: Path, signer: SoftwareSigner
) -> None:
    """An altered edge, another log's checkpoint, a foreign key, a lost spool: each is said, and nothing is written."""
    directory = write_shard(tmp_path, [numbered(300)], signer)
    bundle = directory / "tile/entries/001.p/45"
    for file, octets, said in (
        (bundle, bundle.read_bytes().replace(b"agent", b"agenT", 1), "torn at its entry"),
        (directory / "tile/1/000.p/1", bytes(32), "another root"),
        (directory / "tile/0/001.p/45", b"", "0 octets"),
        (directory / "checkpoint", b"nonsense", "three lines"),
    ):
        kept = file.read_bytes()
        file.write_bytes(octets)
        assert said in refused_opening(tmp_path, signer)
        file.write_bytes(kept)
    assert "none of the audit keys" in refused_opening(tmp_path, SoftwareSigner(2))
    segments = segments_of(tmp_path / "spool" / str(NAME))
    kept = segments[-1].read_bytes()
    segments[-1].write_bytes(kept[:16])
    assert "its spool ends before" in refused_opening(tmp_path, signer)
    segments[-1].write_bytes(kept)
    write_shard(tmp_path, [numbered(1)], signer)


def test_log_taken_back_stands_still(tmp_path: Path, signer: SoftwareSigner) -> None:
    """Log and spool restored from an older copy are found out by what the lanes remember; nothing more is accepted."""
    write_shard(tmp_path, [numbered(10)], signer)
    signer.heads[f"{ORIGIN}/{NAME}"] = type(signer.heads[f"{ORIGIN}/{NAME}"])(
        f"{ORIGIN}/{NAME}", 500, bytes(32)
    )

    async def run() -> None:
        shard = await open_shard(tmp_path, signer)
        await until(lambda: not shard.is_writable)
        with pytest.raises(SpoolUnavailable, match="a checkpoint of 500 entries was signed"):
            shard.append(make_entry())
        assert shard.is_overdue
        await shard.aclose()

    asyncio.run(run())


def test_new_key_begins_with_an_entry(tmp_path: Path, signer: SoftwareSigner) -> None:
    """After a change of the audit key the opening names the new one and the old one's last checkpoint."""
    write_shard(tmp_path, [numbered(3)], signer)
    following = SoftwareSigner(2)

    async def run() -> None:
        settings = make_settings(tmp_path, following, signer.key)
        shard = await Shard.open(NAME, settings, following, SystemClock())
        await shard.append(make_entry(assertion_id="_new"))
        await shard.aclose()

    asyncio.run(run())
    entries = covered_by(tmp_path / "log" / str(NAME), following.pem)
    openings = [entry for entry in entries if entry["event"] == "log-opened"]
    origin = f"{ORIGIN}/{NAME}"
    assert [each["audit_key"] for each in openings] == [
        signer.key.vkey(origin),
        following.key.vkey(origin),
    ]
