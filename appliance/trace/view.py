"""Whole logs as readers see them, beside a live writer or without one: the entries in bundles, then those still in the spool.

Promises each entry once, in order, with a leaf hash that the tile or the spool holds beside it; damage is reported by name (`LogDamaged`).
Reads checkpoints without believing them: `appliance.trace.verify` judges. Never writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.native import TreeRefused, bundle_path, read_bundle, tile_path
from appliance.trace.checkpoint import CheckpointInvalid, read_checkpoint
from appliance.trace.directory import first_difference, first_kept
from appliance.trace.reader import LogDamaged, LogReader, StoredEntry, log_names
from appliance.trace.store import CHECKPOINT_FILE, TILE_WIDTH, read_resource
from appliance.trace.tree import HASH_OCTETS

_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the logs of a home lie: one directory per log below each.

    Attributes:
        elsewhere: directories of logs that are kept at other places, read where the home has none of that name.
    """

    logs: Path
    spools: Path
    elsewhere: tuple[Path, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Name every log, in order."""
        elsewhere = (log.name for log in self.elsewhere)
        return tuple(sorted({*log_names(self.logs), *log_names(self.spools), *elsewhere}))

    def view(self, name: str, start: int = 0) -> "LogView":
        """Return a place in a log, before entry `start`."""
        directory = self.logs / name
        if not directory.is_dir():
            directory = next((log for log in self.elsewhere if log.name == name), directory)
        return LogView(name, directory, self.spools / name, start)


class LogView:
    """A place in one log, before entry `index`; reading moves it on, so reading again yields what came since."""

    def __init__(self, log: str, directory: Path, spool: Path, start: int = 0) -> None:
        self.log: Final = log
        self.index = start
        self._directory: Final = directory
        self._spool: Final = spool

    def __repr__(self) -> str:
        return f"LogView({self.log}, index={self.index})"

    def covered(self) -> int:
        """Return how many entries the log's checkpoint covers; 0 when it has none.

        Raises:
            LogDamaged: it is no checkpoint.
        """
        try:
            octets = (self._directory / CHECKPOINT_FILE).read_bytes()
            return read_checkpoint(octets).checkpoint.size
        except FileNotFoundError:
            return 0
        except OSError as exc:
            raise LogDamaged(self.log, 0, f"{exc.filename}: {exc.strerror}") from exc
        except CheckpointInvalid as exc:
            raise LogDamaged(self.log, 0, exc.detail) from exc

    def end(self) -> int:
        """Return the index behind the last entry; reads the last segment of the spool only.

        Raises:
            LogDamaged: that segment, or the checkpoint, is damaged.
        """
        last = LogReader.at_tail(self._spool, 0)
        return max(self.covered(), last.index)

    def read(self) -> Iterator[StoredEntry]:
        """Yield the entries from the place on, up to what the log holds now; entries that were purged are passed over.

        Raises:
            LogDamaged: the next entry is broken, or missing.
        """
        for _ in range(_ATTEMPTS):
            yield from self._read_bundles(self.covered())
            spool = LogReader(self._spool, self.index)
            first = spool.first_index()
            if first is None or first <= self.index:
                for stored in spool.read():
                    self.index = stored.index + 1
                    yield stored
                return
            # A writer has moved what we were about to read from the spool into the tree.
        raise LogDamaged(self.log, self.index, "its spool begins behind its checkpoint")

    def _read_bundles(self, size: int) -> Iterator[StoredEntry]:
        self.index = max(self.index, first_kept(self._directory, size))
        while self.index < size:
            bundle = self.index // TILE_WIDTH
            entries, leaves = self._read_bundle(bundle, size)
            for at in range(self.index % TILE_WIDTH, len(entries)):
                leaf = leaves[HASH_OCTETS * at : HASH_OCTETS * (at + 1)]
                self.index += 1
                yield StoredEntry(self.log, self.index - 1, leaf, entries[at])

    def _read_bundle(self, bundle: int, size: int) -> tuple[Sequence[bytes], bytes]:
        """Read a bundle and hold it against its tile."""
        first = bundle * TILE_WIDTH
        try:
            octets = read_resource(self._directory, bundle_path(bundle, size))
            tile = read_resource(self._directory, tile_path(0, bundle, size))
            entries, leaves = read_bundle(octets)
        except FileNotFoundError as exc:
            raise LogDamaged(self.log, first, f"{exc.filename} is missing") from exc
        except OSError as exc:
            raise LogDamaged(self.log, first, f"{exc.filename}: {exc.strerror}") from exc
        except TreeRefused as exc:
            raise LogDamaged(self.log, first, str(exc)) from exc
        if leaves != tile:
            at = first_difference(leaves, tile)
            raise LogDamaged(self.log, first + at, "it is not the entry its leaf hash is of")
        return entries, leaves
