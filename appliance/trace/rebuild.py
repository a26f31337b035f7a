"""Rebuilds a log's tree from its entries when a writer opens it, and holds every hash against the tiles and the checkpoint that stands.

A log of up to `_AT_ONCE` entries is rebuilt before it is opened. A larger one is written meanwhile: promises that its spool drops nothing
until it has been found whole, and that it stands still as soon as it disagrees. Looks at hashes alone: whether entries are of a known
version, and who signed what, is for `verify`.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.log import Log
from appliance.native import TreeRefused, bundle_leaves, bundle_path, merkle_root, read_bundle
from appliance.trace.checkpoint import Checkpoint
from appliance.trace.directory import LogDirectory, first_difference, first_kept
from appliance.trace.reader import LogDamaged
from appliance.trace.record import EntryInvalid, read_entry
from appliance.trace.store import TILE_WIDTH
from appliance.trace.tiles import check_root, check_upper_tiles, read_leaf_tile

_LOG: Final = Log("trace")
_AT_ONCE: Final = 1_000_000
"""Entries that are rebuilt before a log is opened: 1 GB to read where each has a thousand octets, and under a second of hashing."""

_END_WITHIN: Final = 5.0
_PURGE: Final = b'"entries-purged"'


class Rebuild:
    """The tree of one log, rebuilt once: by whoever opens the log, or beside it in a thread."""

    def __init__(self, directory: Path, checkpoint: Checkpoint | None) -> None:
        self.is_done = checkpoint is None
        self._log: Final = LogDirectory(directory)
        self._checkpoint: Final = checkpoint
        self._is_unwanted = False
        self._purged = 0  # entries that a purge states to be gone
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Rebuild({self._log.path.name}, {'done' if self.is_done else 'not done'})"

    @property
    def is_long(self) -> bool:
        """Whether it takes longer than an opening may."""
        return self._checkpoint is not None and self._checkpoint.size > _AT_ONCE

    def run(self) -> None:
        """Rebuild and compare; nothing is done where there is no checkpoint.

        Raises:
            LogDamaged: at the first entry that is not as it was signed.
            OSError: the disk refused.
        """
        if self._checkpoint is not None:
            self._compare(self._checkpoint)

    def start(self, note_damage: Callable[[LogDamaged], None]) -> None:
        """Rebuild in a thread; what is damaged is told from there."""

        def run() -> None:
            try:
                self.run()
            except LogDamaged as exc:
                note_damage(exc)
            except OSError as exc:
                note_damage(self._log.fault(0, str(exc)))

        self._thread = threading.Thread(
            target=run, name=f"rebuild-{self._log.path.name}", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when the thread, if there is one, has ended."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Have the thread end before its next bundle: the log is closed, and the next opening begins anew."""
        self._is_unwanted = True
        if self._thread is not None:
            self._thread.join(_END_WITHIN)

    def _compare(self, checkpoint: Checkpoint) -> None:
        first = first_kept(self._log.path, checkpoint.size)
        roots: list[bytes] = []
        for bundle in range(-(-checkpoint.size // TILE_WIDTH)):
            if self._is_unwanted:
                return
            tile = read_leaf_tile(self._log, bundle, checkpoint.size)
            if bundle * TILE_WIDTH >= first:
                self._check_bundle(bundle, checkpoint.size, tile, is_purged=first > 0)
            if (bundle + 1) * TILE_WIDTH <= checkpoint.size:
                roots.append(merkle_root(tile))
        if self._purged < first:
            raise self._log.fault(
                0, f"entries before {first} are missing, and no purge is on record"
            )
        check_upper_tiles(self._log, checkpoint.size, roots)
        check_root(self._log, checkpoint, checkpoint.size, "the checkpoint")
        self.is_done = True

    def _check_bundle(self, bundle: int, size: int, tile: bytes, *, is_purged: bool) -> None:
        path, start = bundle_path(bundle, size), bundle * TILE_WIDTH
        octets = self._log.read(path, start)
        try:
            leaves = bundle_leaves(octets)
        except TreeRefused as exc:
            raise self._log.fault(start, f"{path}: {exc}") from exc
        if leaves != tile:
            index = start + first_difference(leaves, tile)
            raise self._log.fault(index, f"{path}: it is not the entry its leaf hash is of")
        if is_purged and _PURGE in octets:
            self._note_purges(octets)

    def _note_purges(self, bundle: bytes) -> None:
        for octets in read_bundle(bundle)[0]:
            if _PURGE not in octets:
                continue
            try:
                entry = read_entry(octets)
            except EntryInvalid:  # which `verify` names
                continue
            if entry.event == "entries-purged" and entry.log == self._log.path.name:
                self._purged = max(self._purged, entry.minimum_index or 0)
