"""Reads spools back, written from `layout` alone: shares no code with the writer, so that each checks the other.

Promises that every entry handed out has the leaf hash that stands beside it and the index it was acknowledged under, and that a
damaged log is reported by name (`LogDamaged`). Works beside a live writer: an entry still being written is not there yet,
though one may be seen an instant before its acknowledgement. Never writes.
"""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from appliance.errors import ApplianceError, Reason
from appliance.trace import layout
from appliance.trace.record import EntryInvalid, TraceEntry, read_entry
from appliance.trace.tree import root_hash

_BUFFER: Final = 1024**2
_NOWHERE: Final = -1
_SEGMENT_NAMES: Final = "[0-9]" * layout.INDEX_DIGITS + layout.SEGMENT_SUFFIX


class LogDamaged(ApplianceError):
    """A log does not hold what was once acknowledged.

    Attributes:
        log, index: the first entry that cannot be read.
    """

    def __init__(self, log: str, index: int, what: str) -> None:
        super().__init__(Reason.LOG_DAMAGED, f"log {log} is damaged at entry {index}: {what}")
        self.log: Final = log
        self.index: Final = index


class StoredEntry(msgspec.Struct, frozen=True):
    """One entry as it stands on disk.

    Attributes:
        leaf_hash: its RFC 6962 leaf hash, as stored, and found right.
        octets: UTF-8 JSON.
    """

    log: str
    index: int
    leaf_hash: bytes
    octets: bytes

    @property
    def entry(self) -> TraceEntry:
        """The entry, decoded anew each time.

        Raises:
            LogDamaged: it is not an entry of a version we know.
        """
        try:
            return read_entry(self.octets)
        except EntryInvalid as exc:
            raise LogDamaged(self.log, self.index, f"no entry of a known version ({exc})") from exc


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Size of a log and the RFC 6962 root over its entries."""

    size: int
    root: bytes


def log_names(spool: Path) -> tuple[str, ...]:
    """Name the logs under a spool directory, in order."""
    if not spool.is_dir():
        return ()
    return tuple(sorted(log.name for log in spool.iterdir() if log.is_dir()))


def read_log(directory: Path, start: int = 0) -> Iterator[StoredEntry]:
    """Yield the entries of a log from index `start` on, up to what it holds now.

    Raises:
        LogDamaged: at the first entry that cannot be read.
    """
    return LogReader(directory, start).read()


def read_tree_head(directory: Path) -> TreeHead:
    """Read a whole log, checking every entry, and return its size and root.

    Raises:
        LogDamaged: at the first entry that cannot be read.
    """
    reader = LogReader(directory)
    root = root_hash(stored.leaf_hash for stored in reader.read())
    return TreeHead(reader.index, root)


class LogReader:
    """A place in one log, before entry `index`; reading moves it on, so reading again yields what came since.

    When a writer withdraws a failed commit that was seen already, the place moves back to where the log then ends.
    """

    def __init__(self, directory: Path, start: int = 0) -> None:
        self.log: Final = directory.name
        self.index = 0
        self._directory: Final = directory
        self._start: Final = start
        self._segment = _NOWHERE
        self._offset = 0

    @classmethod
    def at_tail(cls, directory: Path, count: int) -> Self:
        """Return a reader before the last `count` entries, having read the last segment only.

        Raises:
            LogDamaged: the last segment is.
        """
        last = cls(directory, max(_first_indices(directory), default=0))
        for _ in last.read():
            pass
        return cls(directory, max(0, last.index - count))

    def __repr__(self) -> str:
        return f"LogReader({self.log}, index={self.index})"

    def first_index(self) -> int | None:
        """Return the index of the first entry the spool may hold; None when it has no segment."""
        return min(_first_indices(self._directory), default=None)

    def read(self) -> Iterator[StoredEntry]:
        """Yield the entries from the place (and from `start`) on, up to what the log holds now.

        Raises:
            LogDamaged: the next entry is broken, or missing, though it was once durable.
        """
        firsts = _first_indices(self._directory)
        if not firsts:
            return
        if self._segment == _NOWHERE:
            self._enter(firsts[max(0, bisect_right(firsts, self._start) - 1)])
        if self._segment not in firsts:
            raise LogDamaged(self.log, self.index, "its segment is gone")
        for first, following in pairwise(firsts[firsts.index(self._segment) :]):
            yield from self._read_segment(first, following)
            self._enter(following)
        yield from self._read_segment(firsts[-1], None)

    def _enter(self, first: int) -> None:
        self._segment, self.index, self._offset = first, first, layout.HEAD_OCTETS

    def _read_segment(self, first: int, following: int | None) -> Iterator[StoredEntry]:
        with _segment_file(self._directory, first).open("rb", buffering=_BUFFER) as stream:
            if not self._check_head(stream, is_last=following is None):
                return
            if os.fstat(stream.fileno()).st_size < self._offset:
                self._move_back(stream)
            stream.seek(self._offset)
            for stored in self._read_frames(stream):
                if stored.index >= self._start:
                    yield stored
            stream.seek(self._offset)
            self._check_end(stream.read(), following)

    def _check_head(self, stream: BinaryIO, *, is_last: bool) -> bool:
        """Tell whether the segment has a head; only the last may be without, while it is being made."""
        head = stream.read(layout.HEAD_OCTETS)
        if head == layout.MAGIC + self._segment.to_bytes(8, "big"):
            return True
        is_unfinished = len(head) < layout.HEAD_OCTETS or not (head + stream.read()).strip(b"\0")
        if not (is_last and is_unfinished):
            raise self._damaged("the head of the segment is wrong")
        return False

    def _check_end(self, rest: bytes, following: int | None) -> None:
        if following is None:
            if _has_later_commit(rest):
                raise self._damaged("no sound entry stands here, yet later ones do")
        elif rest or self.index != following:
            raise self._damaged(f"the next segment begins at entry {following}")

    def _read_frames(self, stream: BinaryIO) -> Iterator[StoredEntry]:
        while True:
            frame = stream.read(layout.FRAME_OCTETS)
            entry = stream.read(int.from_bytes(frame[2:4], "big"))
            if not _is_sound(frame, entry):
                return
            index, self.index = self.index, self.index + 1
            self._offset += len(frame) + len(entry)
            yield StoredEntry(self.log, index, frame[4:], entry)

    def _move_back(self, stream: BinaryIO) -> None:
        self._enter(self._segment)
        for _ in self._read_frames(stream):
            pass

    def _damaged(self, what: str) -> LogDamaged:
        where = f"octet {self._offset} of {_segment_file(self._directory, self._segment).name}"
        return LogDamaged(self.log, self.index, f"{where}: {what}")


def _first_indices(directory: Path) -> list[int]:
    return sorted(int(file.stem) for file in directory.glob(_SEGMENT_NAMES))


def _segment_file(directory: Path, first: int) -> Path:
    return directory / f"{first:0{layout.INDEX_DIGITS}}{layout.SEGMENT_SUFFIX}"


def _is_sound(frame: bytes, entry: bytes) -> bool:
    """Tell whether a frame is whole and its hash is that of its entry."""
    mark, length, leaf = frame[:2], frame[2:4], frame[4:]
    return (
        mark in {layout.STARTS_COMMIT, layout.CONTINUES_COMMIT}
        and len(entry) == int.from_bytes(length, "big") > 0
        and hashlib.sha256(b"\x00" + entry).digest() == leaf
    )


def _has_later_commit(rest: bytes) -> bool:
    """Tell whether a commit begins behind the frame at the start of `rest`, if that frame is broken.

    It may have become sound since it was first read, by a live writer; then there is nothing to report.
    """
    if _is_sound_at(rest, 0):
        return False
    at = rest.find(layout.STARTS_COMMIT, 1)
    while at >= 0 and not _is_sound_at(rest, at):
        at = rest.find(layout.STARTS_COMMIT, at + 1)
    return at >= 0


def _is_sound_at(octets: bytes, at: int) -> bool:
    frame = octets[at : at + layout.FRAME_OCTETS]
    start = at + len(frame)
    return _is_sound(frame, octets[start : start + int.from_bytes(frame[2:4], "big")])
