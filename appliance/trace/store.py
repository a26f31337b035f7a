"""The directory of one log: C2SP tlog-tiles files and nothing else, written once each, made durable before the checkpoint that needs them.

Promises that `checkpoint` always states a tree whose tiles and bundles are on the medium, and that nothing it states is ever written again.
A growth that was interrupted leaves files no checkpoint speaks of; they are written again, the same octets, by the next.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import Reason, SpoolUnavailable
from appliance.native import LogEdge, LogGrowth, TreeRefused, bundle_path, tile_path
from appliance.trace.checkpoint import (
    AuditKey,
    Checkpoint,
    CheckpointInvalid,
    SignedCheckpoint,
    read_checkpoint,
)
from appliance.trace.disk import Disk

CHECKPOINT_FILE: Final = "checkpoint"
TILE_WIDTH: Final = 256
_LEVEL_BITS: Final = 8
_PARTIAL: Final = ".p"


@dataclass(frozen=True, slots=True)
class Published:
    """What a log directory states: its right edge, the checkpoint that covers it, and the key that signed it."""

    edge: LogEdge
    signed: SignedCheckpoint | None
    key: AuditKey | None

    @property
    def size(self) -> int:
        """Entries the checkpoint covers."""
        return self.edge.size


class LogStore:
    """Writes the directory of one log. One thread at a time; whoever opens it holds the spool's lock."""

    def __init__(self, directory: Path, spool: Path, origin: str, disk: Disk) -> None:
        self.origin: Final = origin
        self._directory: Final = directory
        self._beside: Final = spool / "checkpoint.new"
        self._disk: Final = disk

    def __repr__(self) -> str:
        return f"LogStore({self._directory})"

    def read(self, keys: Sequence[AuditKey]) -> Published:
        """Read what was published, and hold the tree's edge against the checkpoint.

        Args:
            keys: those that may have signed it.

        Raises:
            SpoolUnavailable: tree and checkpoint disagree, or the checkpoint is none of ours.
            OSError: the disk refused.
        """
        try:
            octets = (self._directory / CHECKPOINT_FILE).read_bytes()
        except FileNotFoundError:
            return Published(LogEdge(0, [], b""), None, None)
        try:
            signed = read_checkpoint(octets)
            key = next((key for key in keys if key.has_signed(signed)), None)
            checkpoint = signed.checkpoint if key is None else key.open(signed)
            edge = self._read_edge(checkpoint.size)
        except (CheckpointInvalid, TreeRefused, FileNotFoundError) as exc:
            raise self.disagreement(str(exc)) from exc
        if key is None:
            raise self.disagreement("its checkpoint is signed by none of the audit keys")
        if checkpoint.origin != self.origin:
            raise self.disagreement(f"its checkpoint is of {checkpoint.origin}")
        if edge.root != checkpoint.root:
            raise self.disagreement(
                f"its tiles have another root than its checkpoint of size {checkpoint.size}"
            )
        return Published(edge, signed, key)

    def read_tile(self, path: str) -> bytes:
        """Read a tile; where a partial one has gone, the front of the full one.

        Raises:
            FileNotFoundError: there is neither.
        """
        return read_resource(self._directory, path)

    def write(self, growth: LogGrowth) -> None:
        """Make the files of a growth durable.

        Raises:
            OSError: some of them are not.
        """
        directories: set[Path] = set()
        for path, octets in growth.files:
            file = self._directory / path
            self._make_directories(file.parent)
            directories.add(file.parent)
            self._write_file(file, octets)
        for directory in sorted(directories):
            self._disk.fsync_directory(directory)

    def publish(self, note: bytes) -> None:
        """Put a checkpoint in the place of the last, whole or not at all.

        Raises:
            OSError: the last one may still stand.
        """
        self._make_directories(self._directory)
        self._write_file(self._beside, note)
        self._disk.rename(self._beside, self._directory / CHECKPOINT_FILE)
        self._disk.fsync_directory(self._directory)

    def drop_partials(self, growth: LogGrowth) -> None:
        """Remove the partial files that full ones of this growth have taken the place of, once it is published.

        Raises:
            OSError: some are still there, which does no harm.
        """
        for path, _ in growth.files:
            partials = self._directory / f"{path}{_PARTIAL}"
            if _PARTIAL not in path and partials.is_dir():
                for file in sorted(partials.iterdir()):
                    self._disk.unlink(file)
                self._disk.remove_directory(partials)

    def disagreement(self, what: str) -> SpoolUnavailable:
        """Say that log and checkpoint do not fit together, and that the log therefore stands still."""
        return SpoolUnavailable(
            Reason.LOG_DISAGREES,
            f"log {self._directory.name} stands still: {what}; `appliance trace verify` says more. Restore log and spool "
            "from a copy of the same moment, or go on under another `trace.origin`",
        )

    def _read_edge(self, size: int) -> LogEdge:
        tiles: list[bytes] = []
        level = 0
        while size >> (_LEVEL_BITS * level):
            count = size >> (_LEVEL_BITS * level)
            path = tile_path(level, count // TILE_WIDTH, size) if count % TILE_WIDTH else None
            tiles.append(b"" if path is None else (self._directory / path).read_bytes())
            level += 1
        if size % TILE_WIDTH == 0:
            return LogEdge(size, tiles, b"")
        return LogEdge(
            size, tiles, (self._directory / bundle_path(size // TILE_WIDTH, size)).read_bytes()
        )

    def _make_directories(self, directory: Path) -> None:
        if directory.is_dir():
            return
        self._make_directories(directory.parent)
        with contextlib.suppress(FileExistsError):  # the directory of all logs: another was first
            self._disk.make_directory(directory)
        self._disk.fsync_directory(directory.parent)

    def _write_file(self, file: Path, octets: bytes) -> None:
        descriptor = self._disk.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            rest = memoryview(octets)
            while rest:
                rest = rest[self._disk.write(descriptor, rest) :]
            self._disk.fdatasync(descriptor)
        finally:
            self._disk.close(descriptor)


def read_resource(directory: Path, path: str) -> bytes:
    """Read a tile or a bundle of a log; where a partial tile has gone, cut it from the full one (C2SP tlog-tiles, Partial Tiles).

    Raises:
        FileNotFoundError: there is neither.
    """
    try:
        return (directory / path).read_bytes()
    except FileNotFoundError:
        full, partial, width = path.rpartition(f"{_PARTIAL}/")
        if not partial:
            raise
        octets = (directory / full).read_bytes()
        return cut_resource(octets, path, int(width))


def cut_resource(octets: bytes, path: str, width: int) -> bytes:
    """Cut the first `width` hashes of a full tile, or entries of a full bundle."""
    if not path.startswith("tile/entries/"):
        return octets[: width * 32]
    at = 0
    for _ in range(width):
        at += 2 + int.from_bytes(octets[at : at + 2], "big")
    return octets[:at]


def checkpoint_of(published: Published) -> Checkpoint | None:
    """Return the checkpoint a log directory states, None for one that has none."""
    return None if published.signed is None else published.signed.checkpoint
