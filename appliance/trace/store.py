"""The directory of one log: C2SP tlog-tiles files and nothing else, written once each, made durable before the checkpoint that needs them.

Promises that `checkpoint` always states a tree whose tiles and bundles are on the medium, and that nothing it states is ever written again.
A growth that was interrupted leaves files no checkpoint speaks of: the next writes them again, or removes them once it is published.
Full files may be written beforehand, beside the spool: into the log, where readers look, they come by a rename shortly before their checkpoint.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import Reason, SpoolUnavailable
from appliance.native import LogEdge, TreeRefused, bundle_path, tile_path
from appliance.trace.checkpoint import (
    AuditKey,
    Checkpoint,
    CheckpointInvalid,
    SignedCheckpoint,
    read_checkpoint,
)
from appliance.trace.disk import Disk
from appliance.trace.durable import (
    begin_directories,
    make_directories,
    replace_file,
    write_files,
)

CHECKPOINT_FILE: Final = "checkpoint"
TILE_WIDTH: Final = 256
_LEVEL_BITS: Final = 8
_PARTIAL: Final = ".p"
_STAGED: Final = ".staged"

File = tuple[str, bytes]
"""A file of a log: its path below the log's directory, and its octets."""


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
        self._spool: Final = spool
        self._disk: Final = disk
        self._may_be_torn = True  # whoever wrote before may have been killed
        self._staged: set[str] = set()

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

    def stage(self, full: Sequence[File]) -> None:
        """Make full files of the next growth durable where no reader looks, so that `write` has only to give them their names.

        Spreads what a checkpoint has to write over the time before it. Nothing is done as long as files of an interrupted attempt may
        lie about: then `write` writes all.

        Raises:
            OSError: some of them are not.
        """
        if self._may_be_torn:
            return
        new = [(path, octets) for path, octets in full if path not in self._staged]
        self._may_be_torn = True
        write_files(self._disk, [(self._beside(path), octets) for path, octets in new])
        self._may_be_torn = False
        self._staged.update(path for path, _ in new)

    def write(self, files: Sequence[File], stated: int) -> None:
        """Make the files of a growth durable; none of them may be one that a checkpoint has stated.

        Args:
            files: of a growth of the log as the checkpoint that stands has it.
            stated: how many entries that has.

        Raises:
            OSError: some of them are not.
        """
        may_be_torn, self._may_be_torn = self._may_be_torn, True
        staged, self._staged = set() if may_be_torn else self._staged, set()
        holders = {(self._directory / path).parent for path, _ in files}
        directories = {*holders}
        for directory in sorted(holders):
            directories.update(begin_directories(self._disk, directory))
        unwritten = [(path, octets) for path, octets in files if path not in staged]
        write_files(self._disk, [(self._directory / path, octets) for path, octets in unwritten])
        for path in sorted(staged):
            self._disk.rename(self._beside(path), self._directory / path)
        if may_be_torn:
            directories |= self._drop_interrupted(files, stated)
            # One that is there may have a name that is not on the medium.
            directories |= {above for each in holders for above in self._above(each)}
        for directory in sorted(directories):
            self._disk.fsync_directory(directory)
        self._may_be_torn = False

    def publish(self, note: bytes) -> None:
        """Put a checkpoint in the place of the last, whole or not at all.

        Raises:
            OSError: the last one may still stand.
        """
        make_directories(self._disk, self._directory)
        beside = self._spool / f"{CHECKPOINT_FILE}.new"
        replace_file(self._disk, self._directory / CHECKPOINT_FILE, note, beside)

    def drop_partials(self, full: Sequence[File]) -> None:
        """Remove, once a growth is published, the partial files whose place its full ones have taken.

        Raises:
            OSError: some are still there, and do no harm.
        """
        for path, _ in full:
            self._drop_partials(path)

    def _beside(self, path: str) -> Path:
        """Return where a file lies until it is given its name."""
        return self._spool / f"{path.replace('/', '-')}{_STAGED}"

    def _above(self, directory: Path) -> Iterator[Path]:
        """Yield the directories above one of this log, up to the one that holds the log."""
        while directory != self._directory.parent:
            directory = directory.parent
            yield directory

    def _drop_interrupted(self, files: Sequence[File], stated: int) -> set[Path]:
        """Remove what an interrupted attempt has left, staged or beside these files; return the directories of the latter."""
        for file in sorted(self._spool.glob(f"*{_STAGED}")):
            self._disk.unlink(file)
        return {each for path, octets in files for each in self._drop_torn(path, octets, stated)}

    def _drop_torn(self, path: str, octets: bytes, stated: int) -> set[Path]:
        """Remove the partial files beside one but what checkpoints up to the one that stands may state; return their directory.

        One that an interrupted attempt left may look whole, and not be on the medium.
        """
        full, _, width = path.partition(f"{_PARTIAL}/")
        directory = self._directory / f"{full}{_PARTIAL}"
        if not directory.is_dir():
            return set()
        widest = _stated_width(full, stated)
        for other in sorted(directory.iterdir()):
            held = int(other.name) if other.name.isdecimal() else 0  # a foreign one is for `verify`
            is_stated = held <= widest and other.read_bytes() == cut_resource(octets, path, held)
            if held and other.name != width and not is_stated:
                self._disk.unlink(other)
        return {directory}

    def drop_bundles(self, minimum: int) -> None:
        """Remove the bundles below index `minimum`, a multiple of their width, and directories that then hold nothing.

        Raises:
            OSError: some are still there.
        """
        directories: set[Path] = set()
        for bundle in range(minimum // TILE_WIDTH):
            path = bundle_path(bundle, minimum)
            self._drop_partials(path)
            with contextlib.suppress(FileNotFoundError):  # an earlier purge has removed it
                self._disk.unlink(self._directory / path)
                directories.add((self._directory / path).parent)
        for directory in sorted(directories, reverse=True):
            self._disk.fsync_directory(directory)
            if not any(directory.iterdir()):
                self._disk.remove_directory(directory)

    def _drop_partials(self, path: str) -> None:
        partials = self._directory / f"{path}{_PARTIAL}"
        if partials.is_dir():
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


def _stated_width(full: str, stated: int) -> int:
    """Return how wide the partial tile or bundle at the place of a full one is in a log of `stated` entries; 0 where it has none."""
    level = full.split("/")[1]
    count = stated >> (_LEVEL_BITS * int(level) if level.isdecimal() else 0)
    index, width = divmod(count, TILE_WIDTH)
    if not width:
        return 0
    path = tile_path(int(level), index, stated) if level.isdecimal() else bundle_path(index, stated)
    return width if path.partition(f"{_PARTIAL}/")[0] == full else 0


def is_partial(path: str) -> bool:
    """Tell whether a path is that of a partial tile or bundle."""
    return _PARTIAL in path


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
