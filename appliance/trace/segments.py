"""Makes commits durable in the segments of one log: synchronous, single-threaded, knows no event loop.

Promises that `commit` returns only after its entries survive a power cut, that a failed commit leaves nothing behind once `repair`
has succeeded, and that opening keeps every durable entry and cuts a torn tail. Refuses to open a log that another process
writes, or whose last segment is damaged rather than torn. The form on disk is in `layout`.
"""

import contextlib
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from appliance.errors import Reason, SpoolUnavailable
from appliance.trace import layout
from appliance.trace.disk import Disk
from appliance.trace.durable import make_directories
from appliance.trace.tree import HASH_OCTETS, leaf_hash

_PROOF_OCTETS: Final = 1024**2
"""What a disk must take, durably, before a writer that failed believes in it again."""
_SEGMENT_NAMES: Final = "[0-9]" * layout.INDEX_DIGITS + layout.SEGMENT_SUFFIX
_CLOSED: Final = -1
_MARKS: Final = frozenset((layout.STARTS_COMMIT, layout.CONTINUES_COMMIT))


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening found: entries kept in the last segment, octets of torn tail cut off it."""

    entries: int
    torn_octets: int


@dataclass(slots=True)
class _Segment:
    """The open segment; `durable` octets of it, up to entry `next_index`, are beyond doubt."""

    file: Path
    descriptor: int
    first_index: int
    next_index: int
    durable: int


def write_frame(entry: bytes) -> bytes:
    """Frame an entry of 1 to 65,535 octets, as one that continues a commit."""
    return b"".join(
        (layout.CONTINUES_COMMIT, len(entry).to_bytes(2, "big"), leaf_hash(entry), entry)
    )


class SegmentWriter:
    """The only writer of one log directory, which it creates and locks.

    After `commit` has raised, only `repair` and `close` may be called until `repair` has returned.

    Raises:
        SpoolUnavailable: another process holds the log, or the last segment is damaged.
        OSError: the disk refused.
    """

    def __init__(
        self, directory: Path, segment_octets: int, disk: Disk, first_index: int = 0
    ) -> None:
        """Open the log's spool; one that holds no segment begins at `first_index`."""
        self._first_index: Final = first_index
        self._directory: Final = directory
        self._segment_octets: Final = segment_octets
        self._disk: Final = disk
        self._lock: Final = _lock_directory(directory, disk)
        try:
            self._segment, self.recovery = self._open_last()
        except BaseException:
            os.close(self._lock)
            raise

    def __repr__(self) -> str:
        return f"SegmentWriter({self._directory}, next_index={self.next_index})"

    @property
    def next_index(self) -> int:
        """The index the next durable entry will have."""
        return self._segment.next_index

    def commit(self, frames: Sequence[bytes]) -> int:
        """Make entries durable together and return the index of the first.

        Args:
            frames: at least one, each from `write_frame`.

        Raises:
            OSError: none of them is durable.
        """
        if self._segment.durable >= self._segment_octets:
            self._roll()
        octets = b"".join(frames)
        segment = self._segment
        self._append(segment.descriptor, layout.STARTS_COMMIT + octets[2:])
        self._disk.fdatasync(segment.descriptor)
        first = segment.next_index
        segment.next_index += len(frames)
        segment.durable += len(octets)
        return first

    def repair(self) -> None:
        """Cut what a failed commit may have left, then go on in a new segment, on a disk that has proved itself.

        The old descriptor is never synchronised again: after a failed fsync its pages say nothing about the medium.

        Raises:
            OSError: the disk is still unwell; try again later.
        """
        failed = self._segment
        self._release(failed)
        if failed.next_index > failed.first_index:
            # Begun before the failure, the next segment may have let `drop_before` remove this one: then all in it is covered.
            with contextlib.suppress(FileNotFoundError):
                self._cut(failed.file, failed.durable)
        self._segment = self._create(failed.next_index, proof=_PROOF_OCTETS)

    def drop_before(self, index: int) -> None:
        """Remove the segments whose entries all lie below `index`; any thread may call it, the open segment stays.

        Raises:
            OSError: some of them are still there.
        """
        files = sorted(self._directory.glob(_SEGMENT_NAMES))
        for file, following in pairwise(files):
            if int(following.stem) <= index:
                self._disk.unlink(file)

    def close(self) -> None:
        """Close the segment and let go of the log."""
        try:
            self._release(self._segment)
        finally:
            os.close(self._lock)

    def _open_last(self) -> tuple[_Segment, Recovery]:
        files = sorted(self._directory.glob(_SEGMENT_NAMES))
        if not files:
            return self._create(self._first_index), Recovery(0, 0)
        descriptor = self._disk.open(files[-1], os.O_RDWR | os.O_APPEND)
        try:
            segment, recovery = self._recover(files[-1], descriptor)
        except BaseException:
            self._disk.close(descriptor)
            raise
        if segment.durable < layout.HEAD_OCTETS:
            self._release(segment)
            segment = self._create(segment.first_index)
        return segment, recovery

    def _recover(self, file: Path, descriptor: int) -> tuple[_Segment, Recovery]:
        # Whoever wrote before may have died between any two calls: nothing counts as durable until these have returned.
        self._disk.fsync_directory(self._directory)
        self._disk.fdatasync(descriptor)
        self._disk.forget_cached(descriptor)
        octets = file.read_bytes()
        first = int(file.stem)
        entries, sound = _scan(file, first, octets)
        if sound < len(octets):
            self._disk.ftruncate(descriptor, sound)
            self._disk.fdatasync(descriptor)
        segment = _Segment(file, descriptor, first, first + entries, sound)
        return segment, Recovery(entries, len(octets) - sound)

    def _roll(self) -> None:
        full = self._segment
        self._segment = self._create(full.next_index)
        self._release(full)

    def _create(self, first_index: int, proof: int = 0) -> _Segment:
        """Begin a segment; a file of that name holds nothing durable, only what an earlier attempt left."""
        file = self._directory / f"{first_index:0{layout.INDEX_DIGITS}}{layout.SEGMENT_SUFFIX}"
        head = layout.MAGIC + first_index.to_bytes(8, "big")
        descriptor = self._disk.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        try:
            self._append(descriptor, head + bytes(proof))
            self._disk.fdatasync(descriptor)
            if proof:
                self._disk.ftruncate(descriptor, len(head))
                self._disk.fdatasync(descriptor)
            self._disk.fsync_directory(self._directory)
        except BaseException:
            self._disk.close(descriptor)
            raise
        return _Segment(file, descriptor, first_index, first_index, len(head))

    def _append(self, descriptor: int, octets: bytes) -> None:
        rest = memoryview(octets)
        while rest:
            rest = rest[self._disk.write(descriptor, rest) :]

    def _cut(self, file: Path, length: int) -> None:
        descriptor = self._disk.open(file, os.O_RDWR)
        try:
            self._disk.ftruncate(descriptor, length)
            self._disk.fdatasync(descriptor)
        finally:
            self._disk.close(descriptor)

    def _release(self, segment: _Segment) -> None:
        descriptor, segment.descriptor = segment.descriptor, _CLOSED
        if descriptor != _CLOSED:
            self._disk.close(descriptor)


def _lock_directory(directory: Path, disk: Disk) -> int:
    make_directories(disk, directory)
    disk.fsync_directory(directory.parent)  # whoever made it may have died before it did
    descriptor = disk.open(directory / layout.LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SpoolUnavailable(
            Reason.SPOOL_UNAVAILABLE, f"log {directory.name}: another process writes it"
        ) from None
    return descriptor


def _scan(file: Path, first_index: int, octets: bytes) -> tuple[int, int]:
    """Return how many entries are sound from the start of a segment, and where they end; 0, 0 for one never finished."""
    head = layout.MAGIC + first_index.to_bytes(8, "big")
    if not octets.startswith(head):
        if len(octets) < len(head) or not octets.strip(b"\0"):
            return 0, 0
        raise _damaged(file, first_index, 0)
    entries, at = 0, len(head)
    while end := _frame_end(octets, at):
        entries, at = entries + 1, end
    if _begins_later_commit(octets, at):
        raise _damaged(file, first_index + entries, at)
    return entries, at


def _frame_end(octets: bytes, at: int) -> int:
    """Return where the sound frame at `at` ends, 0 when there is none."""
    mark = octets[at : at + 2]
    length = int.from_bytes(octets[at + 2 : at + 4], "big")
    start = at + layout.FRAME_OCTETS
    entry = octets[start : start + length]
    if mark not in _MARKS or not length or len(entry) < length:
        return 0
    if leaf_hash(entry) != octets[start - HASH_OCTETS : start]:
        return 0
    return start + length


def _begins_later_commit(octets: bytes, broken: int) -> bool:
    """Tell whether a commit began after the broken frame, which therefore had been durable."""
    at = octets.find(layout.STARTS_COMMIT, broken + 1)
    while at >= 0:
        if _frame_end(octets, at):
            return True
        at = octets.find(layout.STARTS_COMMIT, at + 1)
    return False


def _damaged(file: Path, index: int, offset: int) -> SpoolUnavailable:
    return SpoolUnavailable(
        Reason.SPOOL_UNAVAILABLE,
        f"log {file.parent.name} is damaged at entry {index}, octet {offset} of {file.name}: restore the file "
        "from a copy, or move the whole log aside to begin a new one",
    )
