"""A log that someone with the disk has changed: every change is found by `verify`, which names where."""

import os
import shutil
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.native import LogEdge
from appliance.trace.checkpoint import (
    Checkpoint,
    CheckpointInvalid,
    read_audit_key,
    read_checkpoint,
    write_note,
)
from appliance.trace.proofs import prove_entry, read_proof, verify_proof
from appliance.trace.reader import LogDamaged
from appliance.trace.record import TraceEntry, read_entry, write_entry
from appliance.trace.verify import verify_log
from appliance.trace.witness import read_witness, write_witness
from tests.independent_log import read_independently
from tests.logs import NAME, ORIGIN, SoftwareSigner, numbered, write_shard
from tests.trace_entries import make_entry

ORIGIN_LINE = f"{ORIGIN}/{NAME}"
SIGNER = SoftwareSigner()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three short entries, whose files are few enough to flip every bit of."""
    short = TraceEntry(event="reloaded", time="2026-03-01T10:00:00.000Z")
    return write_shard(
        tmp_path_factory.mktemp("small"), [[short, short]], SoftwareSigner(), every=60
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two full bundles and a partial one, opened twice."""
    home = tmp_path_factory.mktemp("large")
    signer = SoftwareSigner()
    write_shard(home, [numbered(300)], signer)
    return write_shard(home, [numbered(300)], signer)


@pytest.fixture
def copy(large: Path, tmp_path: Path) -> Path:
    """A copy of the large log, under the same name."""
    return Path(shutil.copytree(large, tmp_path / large.name))


def judge(directory: Path, *keys: SoftwareSigner) -> None:
    """Verify with the public keys alone."""
    verify_log(directory, [key.key for key in keys or (SIGNER,)])


def files_of(directory: Path) -> list[Path]:
    """Every file of a log."""
    return sorted(file for file in directory.rglob("*") if file.is_file())


def rewrite(directory: Path, entries: list[bytes], signer: SoftwareSigner) -> None:
    """Write a whole log of these entries, signed: what a thief of a key could do."""
    shutil.rmtree(directory)
    growth = LogEdge(0, [], b"").grow(entries)
    for path, octets in growth.files:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(octets)
    sign(directory, growth.edge, signer)


def sign(directory: Path, edge: LogEdge, signer: SoftwareSigner) -> None:
    """Put a checkpoint of an edge."""
    checkpoint = Checkpoint(ORIGIN_LINE, edge.size, edge.root)
    note = write_note(checkpoint, signer.key, signer.sign_text(checkpoint.text.encode()))
    (directory / "checkpoint").write_bytes(note)


def test_sound_logs_are_verified(small: Path, large: Path) -> None:
    """What nobody has touched passes, here and with the independent reader."""
    for directory, size in ((small, 3), (large, 602)):
        verified = verify_log(directory, [SIGNER.key])
        assert (verified.checkpoint.size, verified.first, verified.is_closed) == (size, 0, False)
        assert read_independently(directory, SIGNER.pem).size == size


def test_every_flipped_bit_is_found(small: Path, tmp_path: Path) -> None:
    """Each bit of each file, one at a time: none survives unnoticed."""
    directory = Path(shutil.copytree(small, tmp_path / small.name))
    flipped = 0
    for file in files_of(directory):
        octets = file.read_bytes()
        for bit in range(8 * len(octets)):
            altered = bytearray(octets)
            altered[bit // 8] ^= 1 << bit % 8
            file.write_bytes(altered)
            with pytest.raises(LogDamaged):
                judge(directory)
            flipped += 1
        file.write_bytes(octets)
    judge(directory)
    assert flipped > 8 * 700


def test_every_truncated_file_is_found(small: Path, tmp_path: Path) -> None:
    """Each file cut at each length, lengthened, emptied or removed."""
    directory = Path(shutil.copytree(small, tmp_path / small.name))
    for file in files_of(directory):
        octets = file.read_bytes()
        for left in (
            *(octets[:length] for length in range(len(octets))),
            octets + b"\0",
            octets + b"\n",
        ):
            file.write_bytes(left)
            with pytest.raises(LogDamaged):
                judge(directory)
        file.unlink()
        with pytest.raises(LogDamaged):
            judge(directory)
        file.write_bytes(octets)
    judge(directory)


OTHER = write_entry(make_entry(assertion_id="_forged"))


def test_wrong_place_is_named(copy: Path) -> None:
    """The fault names the entry whose octets were changed."""
    bundle = copy / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b'"_150"', b'"_151"', 1))
    with pytest.raises(LogDamaged, match="tile/entries/001") as damaged:
        judge(copy)
    assert damaged.value.index == 452


def test_checkpoint_of_before_is_found(tmp_path: Path) -> None:
    """An older checkpoint over a newer log leaves files that belong to no log of its size."""
    home = tmp_path
    signer = SoftwareSigner()
    directory = write_shard(home, [numbered(3)], signer)
    older = (directory / "checkpoint").read_bytes()
    write_shard(home, [numbered(3)], signer)
    (directory / "checkpoint").write_bytes(older)
    with pytest.raises(LogDamaged, match="belongs to no log of 4 entries"):
        judge(directory)


def test_foreign_files_are_found(copy: Path) -> None:
    """A log directory holds its own files and no others."""
    for path in ("index.sqlite", "tile/0/001.p/300", "tile/0/000.p/0", "tile/00/000", "tile/0/002.p/07",
                 "tile/entries/x001/000", "tile/9/000", "tile/0/003", "lock", "tile/entries/foo", "tile/entries/x00a/000",
                 "tile/entries/readme.txt", "tile/entries/000.p/x"):  # fmt: skip
        file = copy / path
        made = not file.parent.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        with pytest.raises(LogDamaged, match="belongs to no log"):
            judge(copy)
        file.unlink()
        if made:
            shutil.rmtree(file.parent)
    judge(copy)


@pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
@pytest.mark.parametrize("path", ["checkpoint", "tile/0/001", "tile/entries/001", "tile/1/000.p/2"])
def test_what_is_no_file_is_found(copy: Path, path: str, kind: str) -> None:
    """A directory, a pipe or a link in a file's place is named, and nobody waits for it."""
    file, aside = copy / path, copy.parent / "aside"
    file.rename(aside)
    if kind == "directory":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(aside)
    with pytest.raises(LogDamaged, match=path):
        judge(copy)


def test_empty_directories_are_found(copy: Path) -> None:
    """A directory in which no file of the log ever lay is foreign; one that held partial tiles is not."""
    for path in ("foo", "tile/foo", "tile/9", "tile/entries/x001", "tile/0/003.p", "tile/0/00.p"):
        (copy / path).mkdir()
        with pytest.raises(LogDamaged, match=f"{path} belongs to no log"):
            judge(copy)
        (copy / path).rmdir()
    (copy / "tile/0/000.p").mkdir()
    (copy / "tile/entries/001.p").mkdir()
    judge(copy)


def test_entries_behind_the_closing_are_found(tmp_path: Path) -> None:
    """Behind `log-closed` stands nothing until the log is opened again, and a purge opens nothing."""
    signer = SoftwareSigner()
    directory = write_shard(tmp_path, [numbered(2)], signer)
    opened, *others = read_independently(directory, signer.pem).entries
    time = "2026-03-01T10:00:00.000Z"
    closed = write_entry(TraceEntry(event="log-closed", time=time, origin=ORIGIN_LINE))
    purged = write_entry(
        TraceEntry(
            event="entries-purged",
            time=time,
            log=directory.name,
            minimum_index=0,
            audit_key=signer.key.vkey(ORIGIN_LINE),
        )
    )
    for behind in ([OTHER], [purged], [closed], [opened, closed, purged, OTHER]):
        entries = [opened, *others, closed, *behind]
        rewrite(directory, entries, signer)
        with pytest.raises(LogDamaged, match="behind the entry that closes") as damaged:
            judge(directory)
        assert damaged.value.index == (4 if len(behind) == 1 else 6)
    rewrite(directory, [opened, *others, closed, opened, purged, OTHER], signer)
    assert not verify_log(directory, [signer.key]).is_closed
    rewrite(directory, [opened, *others, closed, opened, purged, closed], signer)
    assert verify_log(directory, [signer.key]).is_closed


def test_swapped_logs_are_found(tmp_path: Path) -> None:
    """Two logs that have changed names, wholly or in their files, are each found out."""
    signer = SoftwareSigner()
    one = write_shard(tmp_path, [numbered(5)], signer)
    other_name = type(NAME)("worker-1", "standard", 2026)
    two = write_shard(tmp_path, [numbered(5)], signer, other_name)
    aside = tmp_path / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    for directory in (one, two):
        with pytest.raises(LogDamaged, match="its checkpoint is of another log"):
            judge(directory)
    (one / "checkpoint").rename(aside)
    (two / "checkpoint").rename(one / "checkpoint")
    aside.rename(two / "checkpoint")
    for directory in (one, two):
        with pytest.raises(LogDamaged):
            judge(directory)
    # Entries of the other log under a checkpoint made for this one, by a thief of the key.
    rewrite(one, read_independently_entries(one), signer)
    with pytest.raises(LogDamaged, match="it opens another log"):
        judge(one)


def read_independently_entries(directory: Path) -> list[bytes]:
    """The entries of a log's only bundle, whatever its checkpoint says."""
    from appliance.native import read_bundle  # noqa: PLC0415 - for this one attack

    [bundle] = [file for file in files_of(directory / "tile" / "entries") if file.name == "6"]
    return list(read_bundle(bundle.read_bytes())[0])


def test_key_of_another_epoch_is_found(tmp_path: Path) -> None:
    """After a change of keys: the old key over a newer size, the new key over an older one, both trusted, both refused."""
    old, new = SoftwareSigner(1), SoftwareSigner(2)
    write_shard(tmp_path, [numbered(3)], old)
    directory = tmp_path / "log" / str(NAME)
    before = read_independently(directory, old.pem).entries
    reopen_with(tmp_path, new, old)
    judge(directory, old, new)
    with pytest.raises(LogDamaged, match="no key that is trusted"):
        judge(directory, old)
    after = read_independently(directory, new.pem).entries
    rewrite(directory, after, old)
    with pytest.raises(LogDamaged, match="signed by another key than the one in force"):
        judge(directory, old, new)
    rewrite(directory, before, new)
    with pytest.raises(LogDamaged, match="signed by another key than the one in force"):
        judge(directory, old, new)
    # The checkpoint that an opening holds, made by the new key, at a time when the old one was in force.
    entries = list(after)
    opening = read_entry(entries[4])
    size, edge = 4, LogEdge(0, [], b"").grow(before).edge
    checkpoint = Checkpoint(ORIGIN_LINE, size, edge.root)
    forged = write_note(checkpoint, new.key, new.sign_text(checkpoint.text.encode()))
    entries[4] = write_entry(type(opening)(**{**facts(opening), "checkpoint": forged.decode()}))
    rewrite(directory, entries, new)
    with pytest.raises(LogDamaged, match="signed at the wrong time") as damaged:
        judge(directory, old, new)
    assert damaged.value.index == 4


def facts(entry: object) -> dict[str, object]:
    """The fields of an entry."""
    return {name: getattr(entry, name) for name in type(entry).__struct_fields__}


def reopen_with(home: Path, new: SoftwareSigner, old: SoftwareSigner) -> None:
    """Go on with the log under a new key."""
    import asyncio  # noqa: PLC0415 - for this one scene

    from appliance.trace.shard import Shard  # noqa: PLC0415
    from tests.logs import make_settings  # noqa: PLC0415

    async def run() -> None:
        settings = make_settings(home, new, old.key)
        shard = await Shard.open(NAME, settings, new, SystemClock())
        await shard.append_many(numbered(2))
        await shard.aclose()

    asyncio.run(run())


def test_rewritten_history_is_found_by_the_openings(tmp_path: Path) -> None:
    """A thief of the present key who rewrites what was covered by a checkpoint that a later opening holds is found out."""
    signer = SoftwareSigner()
    write_shard(tmp_path, [numbered(3)], signer)
    directory = write_shard(tmp_path, [numbered(3)], signer)
    entries = read_independently(directory, signer.pem).entries
    entries[2] = write_entry(make_entry(assertion_id="_forged"))
    rewrite(directory, entries, signer)
    with pytest.raises(LogDamaged, match="the checkpoint in entry 4"):
        judge(directory)


def test_witness_closes_rollback_of_the_whole(tmp_path: Path) -> None:
    """An older copy of everything verifies by itself, and not against a checkpoint kept elsewhere; nor does a fork of it."""
    signer = SoftwareSigner()
    directory = write_shard(tmp_path, [numbered(3)], signer)
    older = Path(shutil.copytree(directory, tmp_path / "older" / directory.name))
    write_shard(tmp_path, [numbered(3)], signer)
    witness = read_witness(write_witness([directory], SystemClock()))
    verify_log(directory, [signer.key], witness)
    judge(older)
    with pytest.raises(LogDamaged, match="the witness has seen 8 entries, 4 are here"):
        verify_log(older, [signer.key], witness)
    entries = read_independently(directory, signer.pem).entries
    rewrite(older, [*entries[:4], *entries[5:], *entries[5:]], signer)
    with pytest.raises(LogDamaged, match="not that of the witness"):
        verify_log(older, [signer.key], witness)


def test_altered_proof_or_entry_is_refused(large: Path) -> None:
    """Every flipped bit of a proof, and of the entry it is for, refuses it."""
    entries = read_independently(large, SIGNER.pem).entries
    octets = prove_entry(large, 301)
    proof = read_proof(octets)
    assert verify_proof(proof, entries[301], SIGNER.key).size == 602
    for bit in range(8 * len(octets)):
        altered = bytearray(octets)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointInvalid):
            verify_proof(read_proof(bytes(altered)), entries[301], SIGNER.key)
    with pytest.raises(CheckpointInvalid, match="does not hold this entry"):
        verify_proof(proof, entries[300], SIGNER.key)
    with pytest.raises(CheckpointInvalid, match="not signed by the key"):
        verify_proof(proof, entries[301], SoftwareSigner(2).key)


def test_vkey_and_pem_are_the_same_key() -> None:
    """A verifier key, as other tools want it, is read as the key it is."""
    vkey = SIGNER.key.vkey(ORIGIN_LINE)
    assert read_audit_key(vkey.encode()) == read_audit_key(SIGNER.pem) == SIGNER.key
    example = b"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    assert read_audit_key(example).vkey("example.com/foo").encode() == example


def test_note_of_the_specification_verifies() -> None:
    """The example of C2SP signed-note is signed by the example's key; as a checkpoint it is refused for its form."""
    note = (
        "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONnc"
        "AlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    ).encode()
    with pytest.raises(CheckpointInvalid, match="three lines"):
        read_checkpoint(note)
