"""Every kind of change, at every place of a log that crosses a bundle and a tile: found, and the place named.

One file is changed at a time and put back; what a thief would have to sign is signed by keys of the test.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from appliance.native import LogEdge
from appliance.trace.checkpoint import Checkpoint, read_checkpoint, write_note
from appliance.trace.reader import LogDamaged
from appliance.trace.record import TraceEntry, read_entry, write_entry
from appliance.trace.verify import verify_log
from tests.independent_log import path_of, read_independently
from tests.logs import NAME, ORIGIN, SoftwareSigner, write_shard

ENTRIES = 258
"""One full bundle and tile, and two entries behind them."""

SIGNER, OLD = SoftwareSigner(1), SoftwareSigner(2)
ORIGIN_LINE = f"{ORIGIN}/{NAME}"
Files = dict[str, bytes]


@dataclass(frozen=True)
class Log:
    """A log directory, and what it holds when nobody has changed it."""

    directory: Path
    files: Files
    entries: list[bytes]

    def lay(self, files: Files) -> None:
        """Make the directory hold these files, touching those that differ."""
        there = {file: file.read_bytes() for file in self.directory.rglob("*") if file.is_file()}
        wanted = {self.directory / path: octets for path, octets in files.items()}
        for file in there.keys() - wanted.keys():
            file.unlink()
            for above in file.relative_to(self.directory).parents:
                if above.name and not any((self.directory / above).iterdir()):
                    (self.directory / above).rmdir()
        for file, octets in wanted.items():
            if there.get(file) != octets:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(octets)

    def changed(self, path: str, variants: Iterator[bytes]) -> Iterator[LogDamaged]:
        """Give one file each content in turn, put it back at the end, and yield what is found."""
        file = self.directory / path
        for octets in variants:
            file.write_bytes(octets)
            yield self.found()
        file.write_bytes(self.files[path])

    def found(self, *keys: SoftwareSigner) -> LogDamaged:
        """What the verifier finds, by the public keys alone."""
        with pytest.raises(LogDamaged) as damaged:
            verify_log(self.directory, [key.key for key in keys or (SIGNER,)])
        return damaged.value


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A log of short entries, each another."""
    short = [_short(number) for number in range(1, ENTRIES)]
    directory = write_shard(tmp_path_factory.mktemp("log"), [short], SoftwareSigner(), every=60)
    return read_files(directory)


@pytest.fixture(autouse=True)
def _left_sound(log: Log) -> Iterator[None]:
    """Whatever a test changes, the next begins with the log as it was signed."""
    yield
    log.lay(log.files)
    assert verify_log(log.directory, [SIGNER.key]).checkpoint.size == ENTRIES


def _short(number: int) -> TraceEntry:
    return TraceEntry(event="reloaded", time="2026-03-01T10:00:00.000Z", detail=f"{number:03}")


def read_files(directory: Path) -> Log:
    """Read a log that is sound."""
    files = {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }
    entries = read_independently(directory, SIGNER.pem).entries
    assert len(entries) == ENTRIES
    return Log(directory, files, entries)


def grown(entries: list[bytes], signer: SoftwareSigner | None = SIGNER) -> Files:
    """The files of a log of these entries; with a checkpoint by `signer`, if any."""
    growth = LogEdge(0, [], b"").grow(entries)
    files = dict(growth.files)
    if signer is not None:
        checkpoint = Checkpoint(ORIGIN_LINE, growth.edge.size, growth.edge.root)
        text = checkpoint.text.encode()
        files["checkpoint"] = write_note(checkpoint, signer.key, signer.sign_text(text))
    return files


def flipped(octets: bytes, bits: Iterator[int]) -> Iterator[bytes]:
    """The octets with one bit changed, once for each."""
    for bit in bits:
        altered = bytearray(octets)
        altered[bit // 8] ^= 1 << bit % 8
        yield bytes(altered)


def starts(entries: list[bytes]) -> list[int]:
    """Where each entry of a bundle begins, its length included."""
    at, found = 0, []
    for entry in entries:
        found.append(at)
        at += 2 + len(entry)
    return found


BUNDLES = [("tile/entries/000", 0, 256), (path_of("entries", 1, 2), 256, 258)]
HASHES = [("tile/0/000", 0), (path_of("0", 1, 2), 256)]


@pytest.mark.parametrize(("path", "first", "end"), BUNDLES)
def test_flipped_bits_of_entries(log: Log, path: str, first: int, end: int) -> None:
    """A bit of each entry and of each length, every bit of the last before the border and of every octet behind it: the entry is named."""
    entries = log.entries[first:end]
    places = starts(entries)
    for at, (entry, place) in enumerate(zip(entries, places, strict=True)):
        bit = 8 * (place + 2) + (at * 37) % (8 * len(entry))
        everything = range(8 * (place + 2), 8 * (place + 2 + len(entry)))
        bits = {255: everything, 256: everything[3::8]}.get(first + at, [bit])
        for damaged in log.changed(path, flipped(log.files[path], iter(bits))):
            assert (damaged.index, path in damaged.detail) == (first + at, True)
        lengths = range(8 * place, 8 * place + 16)
        for damaged in log.changed(path, flipped(log.files[path], iter(lengths[at % 16 :: 16]))):
            assert path in damaged.detail
            assert first <= damaged.index <= first + at


@pytest.mark.parametrize(("path", "first"), HASHES)
def test_flipped_bits_of_leaf_hashes(log: Log, path: str, first: int) -> None:
    """A bit of each hash, and every bit of two of them: the entry it is of is named."""
    octets = log.files[path]
    bits = [256 * at + (at * 41) % 256 for at in range(len(octets) // 32)]
    everywhere = range(8 * len(octets) - 256, 8 * len(octets))
    for some in (bits, everywhere):
        for bit, damaged in zip(some, log.changed(path, flipped(octets, iter(some))), strict=True):
            assert damaged.index == first + bit // 256


def test_flipped_bits_above(log: Log) -> None:
    """Every bit of the tile above, and one of each octet of the checkpoint."""
    path = path_of("1", 0, 1)
    octets = log.files[path]
    for damaged in log.changed(path, flipped(octets, iter(range(8 * len(octets))))):
        assert (damaged.index, path in damaged.detail) == (0, True)
    octets = log.files["checkpoint"]
    for damaged in log.changed("checkpoint", flipped(octets, iter(range(5, 8 * len(octets), 8)))):
        assert "checkpoint" in damaged.detail


def test_cut_files(log: Log) -> None:
    """Each file cut at every border of what it holds and within it, lengthened, emptied, removed: the file is named."""
    borders = {path: starts(log.entries[first:end]) for path, first, end in BUNDLES}
    for path, octets in log.files.items():
        step = {"checkpoint": 1}.get(path, 32)
        cuts = borders.get(path, range(0, len(octets), step))
        lengths = sorted({each + more for each in cuts for more in (0, 1)} - {len(octets)})
        variants = (
            *(octets[:length] for length in lengths),
            *(octets + more for more in (b"\0", b"\n", octets[-1:], octets)),
        )
        for damaged in log.changed(path, iter(variants)):
            assert path in damaged.detail
        (log.directory / path).unlink()
        is_front = (
            path == "tile/entries/000"
        )  # which a purge might have removed, had it left a record
        assert ("entries before 256 are missing" if is_front else path) in log.found().detail
        log.lay(log.files)


OTHER = write_entry(_short(999))
EDITS: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
    "removed": lambda entries, at: entries[:at] + entries[at + 1 :],
    "repeated": lambda entries, at: [*entries[: at + 1], *entries[at:]],
    "inserted": lambda entries, at: [*entries[:at], OTHER, *entries[at:]],
    "replaced": lambda entries, at: [*entries[:at], OTHER, *entries[at + 1 :]],
    "exchanged": lambda e, at: [*e[:at], *reversed(e[at : at + 2]), *e[at + 2 :]],
    "cut off": lambda entries, at: entries[:at],
}
"""Ways to change a sequence of entries around a position."""


def first_fault(before: list[bytes], after: list[bytes]) -> int:
    """The entry to be named: the first that is another, or the first of a bundle that has another width."""
    at = next(
        (at for at, (one, two) in enumerate(zip(before, after, strict=False)) if one != two),
        min(len(before), len(after)),
    )
    bundle = at // 256
    widths = [len(entries[256 * bundle : 256 * bundle + 256]) for entries in (before, after)]
    return at if widths[0] == widths[1] else 256 * bundle


@pytest.mark.parametrize("kind", list(EDITS))
def test_changed_sequences(log: Log, kind: str) -> None:
    """At every index the tile tells, and the entry is named; where the thief mends the tiles the checkpoint tells, which he cannot mend."""
    last = ENTRIES - (1 if kind == "exchanged" else 0)
    tiles = {path: octets for path, octets in log.files.items() if "entries" not in path}
    for at in range(last):
        entries = EDITS[kind](log.entries, at)
        mended = grown(entries, None) if entries else {}
        bundles = {path: octets for path, octets in mended.items() if "entries" in path}
        log.lay(tiles | bundles)
        damaged = log.found()
        expected = first_fault(log.entries, entries)
        # An entry behind the last bundle's width is a file that belongs to no such log.
        assert damaged.index == min(expected, ENTRIES), (at, damaged.detail)
        if at % 16 in {0, 15} or at > 255:
            log.lay(mended | {"checkpoint": log.files["checkpoint"]})
            damaged = log.found()
            assert "tile/" in damaged.detail or "not that of the checkpoint" in damaged.detail


def test_rollback_at_every_size(log: Log) -> None:
    """An older checkpoint over the newer log leaves files of no such log; a wholly older log fails the witness alone."""
    witness = [read_checkpoint(log.files["checkpoint"])]
    for size in range(1, ENTRIES):
        older = grown(log.entries[:size])
        log.lay(log.files | {"checkpoint": older["checkpoint"]})
        is_last = size == ENTRIES - 1  # whose last tile would have one hash
        found = "tile/0/001.p/1 is missing" if is_last else f"belongs to no log of {size} entries"
        assert found in log.found().detail
        log.lay(older)
        assert verify_log(log.directory, [SIGNER.key]).checkpoint.size == size
        with pytest.raises(LogDamaged, match=f"witness has seen {ENTRIES} entries, {size} are"):
            verify_log(log.directory, [SIGNER.key], witness)


def test_every_file_of_another_log(log: Log, tmp_path: Path) -> None:
    """Each file taken from the log of another worker, or from one of the same name with another history."""
    other_name = type(NAME)("worker-1", NAME.retention, NAME.year)
    others = [_short(number) for number in range(2, ENTRIES + 1)]
    for name, entries in ((other_name, others[:-1] + others[:1]), (NAME, others)):
        home = tmp_path / str(name)
        there = read_files(write_shard(home, [entries], SoftwareSigner(), name, every=60))
        assert there.files.keys() == log.files.keys()
        for path, octets in there.files.items():
            assert octets != log.files[path]
            [damaged] = log.changed(path, iter([octets]))
            assert any(name in damaged.detail for name in (path, "checkpoint", "tile/entries/00"))
        shutil.rmtree(home)


def test_wrong_epoch_at_every_size(log: Log) -> None:
    """A log whose key changes at an entry on either side of the border: each size, signed by the key of the other epoch."""
    opening = read_entry(log.entries[0])
    opened = {
        signer: write_entry(
            msgspec.structs.replace(opening, audit_key=signer.key.vkey(ORIGIN_LINE))
        )
        for signer in (OLD, SIGNER)
    }
    for change in (200, 256):
        entries = [opened[OLD], *log.entries[1:change], opened[SIGNER], *log.entries[change + 1 :]]
        for size in range(1, ENTRIES + 1) if change == 200 else (255, 256, 257, ENTRIES):
            right, wrong = (OLD, SIGNER) if size <= change else (SIGNER, OLD)
            log.lay(grown(entries[:size], wrong))
            damaged = log.found(OLD, SIGNER)
            assert "signed by another key than the one in force" in damaged.detail
            assert damaged.index == size
            if size in {1, change, change + 1, ENTRIES}:
                log.lay(grown(entries[:size], right))
                assert verify_log(log.directory, [OLD.key, SIGNER.key]).key == right.key
