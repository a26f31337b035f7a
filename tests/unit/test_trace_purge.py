"""A purge lets go of the front of a log, its opening included, and of nothing that later entries need."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from appliance.clock import SystemClock
from appliance.errors import SpoolUnavailable
from appliance.native import LogEdge
from appliance.trace.checkpoint import AuditKey, Checkpoint, write_note
from appliance.trace.logs import close_log
from appliance.trace.proofs import prove_entry, read_proof, verify_proof
from appliance.trace.purge import find_minimum, purge_log
from appliance.trace.reader import LogDamaged
from appliance.trace.record import TraceEntry, read_entry, write_entry
from appliance.trace.shard import Shard
from appliance.trace.verify import VerifiedLog, verify_log
from appliance.trace.view import LogPlace
from tests.attacks.test_log_tampering import rewrite
from tests.independent_log import read_independently
from tests.logs import (
    NAME,
    ORIGIN,
    SoftwareSigner,
    make_settings,
    numbered,
    open_shard,
    write_shard,
)
from tests.trace_entries import make_entry

ORIGIN_LINE = f"{ORIGIN}/{NAME}"


def purge(home: Path, minimum: int, signer: SoftwareSigner, *earlier: AuditKey) -> None:
    """Purge the log `NAME` of a home."""
    settings = make_settings(home, signer, *earlier)
    asyncio.run(purge_log(NAME, minimum, settings, signer, SystemClock()))


def go_on(home: Path, count: int, signer: SoftwareSigner, *earlier: AuditKey) -> None:
    """Open the log again and write some entries."""

    async def run() -> None:
        shard = await Shard.open(NAME, make_settings(home, signer, *earlier), signer, SystemClock())
        await shard.append_many(numbered(count))
        await shard.aclose()

    asyncio.run(run())


def judge(home: Path, *signers: SoftwareSigner) -> VerifiedLog:
    """Verify the log `NAME` of a home."""
    return verify_log(home / "log" / str(NAME), [signer.key for signer in signers])


def place_of(home: Path) -> LogPlace:
    """The logs of a home."""
    return LogPlace(home / "log", home / "spool")


def test_only_opening_may_go(tmp_path: Path) -> None:
    """With the only entry that named the key purged, the log verifies, goes on, is purged again, and proofs old and new hold."""
    signer = SoftwareSigner()
    directory = write_shard(tmp_path, [numbered(700)], signer)
    entries = read_independently(directory, signer.pem).entries
    before = {at: prove_entry(directory, at) for at in (0, 255, 256, 511, 512, 700)}
    for minimum, more in ((256, 5), (512, 300)):
        purge(tmp_path, minimum, signer)
        assert judge(tmp_path, signer).first == minimum
        go_on(tmp_path, more, signer)
        assert judge(tmp_path, signer).first == minimum
    for at, proof in before.items():
        for octets in (proof, prove_entry(directory, at)):
            verify_proof(read_proof(octets), entries[at], signer.key)
    (directory / "tile/entries/002").unlink()
    with pytest.raises(LogDamaged, match="no purge is on record"):
        judge(tmp_path, signer)


def test_purge_of_several_epochs_keeps_their_order(tmp_path: Path) -> None:
    """The record states the key in force where the log now begins: a checkpoint by the other key, behind it, is still found."""
    old, new = SoftwareSigner(1), SoftwareSigner(2)
    directory = write_shard(tmp_path, [numbered(300)], old)
    go_on(tmp_path, 300, new, old.key)
    whole = read_independently(directory, new.pem).entries
    purge(tmp_path, 256, new, old.key)
    assert judge(tmp_path, old, new).first == 256
    kept = list(place_of(tmp_path).view(str(NAME)).read())
    record = next(each.entry for each in kept if each.entry.event == "entries-purged")
    assert record.audit_key == old.key.vkey(ORIGIN_LINE)
    # A thief of both keys has the second opening hold a checkpoint that the new key signed while the old one was in force.
    entries = [*whole[:256], *(each.octets for each in kept)]
    edge = LogEdge(0, [], b"").grow(entries[:301]).edge
    checkpoint = Checkpoint(ORIGIN_LINE, edge.size, edge.root)
    forged = write_note(checkpoint, new.key, new.sign_text(checkpoint.text.encode()))
    opening = msgspec.structs.replace(read_entry(entries[301]), checkpoint=forged.decode())
    entries[301] = write_entry(opening)
    rewrite(directory, entries, new)
    (directory / "tile/entries/000").unlink()
    with pytest.raises(LogDamaged, match="signed at the wrong time") as damaged:
        judge(tmp_path, old, new)
    assert damaged.value.index == 301


def test_purge_that_states_another_key_is_found(tmp_path: Path) -> None:
    """Where the opening is still kept, the record must agree with it."""
    old, new = SoftwareSigner(1), SoftwareSigner(2)
    directory = write_shard(tmp_path, [numbered(300)], old)
    record = TraceEntry(
        event="entries-purged",
        time="2026-03-01T10:00:00.000Z",
        log=str(NAME),
        minimum_index=256,
        audit_key=new.key.vkey(ORIGIN_LINE),
    )
    entries = [*read_independently(directory, old.pem).entries, write_entry(record)]
    rewrite(directory, entries, old)
    with pytest.raises(LogDamaged, match="another key than the one in force at 256") as damaged:
        judge(tmp_path, old, new)
    assert damaged.value.index == 301


def test_closed_log_stays_closed(tmp_path: Path) -> None:
    """A purge opens a closed log for its record and closes it again; one that somebody writes is left alone."""
    signer = SoftwareSigner()
    write_shard(tmp_path, [numbered(300)], signer)

    async def close() -> None:
        assert await close_log(await open_shard(tmp_path, signer), SystemClock())

    asyncio.run(close())
    purge(tmp_path, 256, signer)
    verified = judge(tmp_path, signer)
    assert (verified.first, verified.is_closed) == (256, True)
    assert not (tmp_path / "spool" / str(NAME)).exists()

    async def refuse() -> None:
        shard = await open_shard(tmp_path, signer)
        with pytest.raises(SpoolUnavailable, match="another process writes it"):
            await purge_log(NAME, 256, make_settings(tmp_path, signer), signer, SystemClock())
        await shard.aclose()

    asyncio.run(refuse())


def test_minimum_is_behind_whole_old_bundles(tmp_path: Path) -> None:
    """One entry that is not old keeps its bundle and all behind it."""
    signer = SoftwareSigner()
    young = make_entry(time="2026-06-01T00:00:00.000Z")
    write_shard(tmp_path, [numbered(600), [young], numbered(600)], signer)
    place = place_of(tmp_path)
    for start, until, minimum in (
        (0, 4, 0),
        (256, 4, 512),
        (256, 7, 1024),
    ):  # the opening is of today
        before = datetime(2026, until, 1, tzinfo=UTC)
        assert find_minimum(place.view(str(NAME), start), before) == minimum
