"""Judges a log directory with nothing but public keys: that it holds what its checkpoint states, and that it is the log it says it is.

Promises that an altered, removed, inserted, repeated or reordered entry, a wrong or foreign file, a checkpoint that does not fit, and one
signed by the right key at the wrong time are found and named (`LogDamaged`: log, entry, file). What a directory alone cannot tell, that
the whole of it is an older copy, a witness tells: a checkpoint kept elsewhere. Reads every octet; never writes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.native import (
    TreeRefused,
    bundle_path,
    merkle_root,
    read_bundle,
)
from appliance.trace.checkpoint import (
    AuditKey,
    Checkpoint,
    CheckpointInvalid,
    SignedCheckpoint,
    read_checkpoint,
)
from appliance.trace.directory import LogDirectory, first_difference, first_kept
from appliance.trace.record import EntryInvalid, TraceEntry, read_entry
from appliance.trace.store import TILE_WIDTH
from appliance.trace.tiles import check_root, check_upper_tiles, read_leaf_tile

_ABOUT_LOGS: Final = frozenset({"log-opened", "entries-purged"})


def _advance_nothing(_count: int) -> None:
    """Stand in for a progress bar."""


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """A log that holds what its checkpoint states.

    Attributes:
        first: index of the first entry that is kept.
        key: who signed the checkpoint.
        is_closed: nobody is to write it any more.
    """

    checkpoint: Checkpoint
    first: int
    key: AuditKey
    is_closed: bool


@dataclass(frozen=True, slots=True)
class _LogEvent:
    """An entry about the log itself."""

    index: int
    entry: TraceEntry


def verify_log(
    directory: Path,
    keys: Sequence[AuditKey],
    witnesses: Sequence[SignedCheckpoint] = (),
    known: Sequence[Checkpoint] = (),
    advance: Callable[[int], None] = _advance_nothing,
) -> VerifiedLog:
    """Verify one log directory, whose name is the last element of its origin.

    Args:
        directory: the log.
        keys: every audit key that is trusted, of whatever epoch.
        witnesses: checkpoints kept elsewhere; those of other origins are passed over.
        known: what is known of logs without a signature; a size beyond the log's says nothing, it may be on its way.
        advance: told of entries done, for a progress bar.

    Raises:
        LogDamaged: at the first thing that is not as it was signed.
    """
    return _Verification(directory, keys, advance).run(witnesses, known)


class _Verification:
    """One verification; every method raises `LogDamaged`."""

    def __init__(
        self, directory: Path, keys: Sequence[AuditKey], advance: Callable[[int], None]
    ) -> None:
        self._log: Final = LogDirectory(directory)
        self._keys: Final = keys
        self._advance: Final = advance
        self._events: Final[list[_LogEvent]] = []
        self._size = 0
        self._is_closed = False

    def run(
        self, witnesses: Sequence[SignedCheckpoint], known: Sequence[Checkpoint]
    ) -> VerifiedLog:
        contents = self._log.list_contents()
        signed = self._read_checkpoint()
        checkpoint, key = self._open(signed, "checkpoint")
        if checkpoint.origin.rpartition("/")[2] != self._log.path.name:
            raise self._log.fault(0, f"its checkpoint is of another log, {checkpoint.origin}")
        self._size = checkpoint.size
        first = first_kept(self._log.path, checkpoint.size)
        check_upper_tiles(self._log, checkpoint.size, self._check_entries(checkpoint, first))
        check_root(self._log, checkpoint, checkpoint.size, "the checkpoint")
        self._check_events(checkpoint, key, first)
        self._log.check_contents(contents, checkpoint.size, first)
        for witness in witnesses:
            if witness.checkpoint.origin == checkpoint.origin:
                self._check_witness(witness, checkpoint.size)
        for head in known:
            if head.origin == checkpoint.origin and head.size <= checkpoint.size:
                check_root(self._log, head, checkpoint.size, "what the lanes signed")
        return VerifiedLog(checkpoint, first, key, self._is_closed)

    # The checkpoint.

    def _read_checkpoint(self) -> SignedCheckpoint:
        try:
            return read_checkpoint(self._log.read_checkpoint())
        except CheckpointInvalid as exc:
            raise self._log.fault(0, f"checkpoint: {exc.detail}") from exc

    def _open(self, signed: SignedCheckpoint, what: str) -> tuple[Checkpoint, AuditKey]:
        for key in self._keys:
            if key.has_signed(signed):
                try:
                    return key.open(signed), key
                except CheckpointInvalid as exc:
                    raise self._log.fault(0, f"{what}: {exc.detail}") from exc
        raise self._log.fault(0, f"{what}: signed by no key that is trusted here")

    # Entries against leaf hashes, and what witnesses have seen.

    def _check_entries(self, checkpoint: Checkpoint, first: int) -> list[bytes]:
        """Hold every bundle against its tile; return the roots of the full tiles of level 0."""
        roots: list[bytes] = []
        size = checkpoint.size
        for bundle in range(-(-size // TILE_WIDTH)):
            start, width = bundle * TILE_WIDTH, min(TILE_WIDTH, size - bundle * TILE_WIDTH)
            tile = read_leaf_tile(self._log, bundle, size)
            if start + width > first:
                self._check_bundle(bundle_path(bundle, size), start, tile)
            if width == TILE_WIDTH:
                roots.append(merkle_root(tile))
            self._advance(width)
        return roots

    def _check_bundle(self, path: str, start: int, tile: bytes) -> None:
        octets = self._log.read(path, start)
        try:
            entries, leaves = read_bundle(octets)
        except TreeRefused as exc:
            raise self._log.fault(start, f"{path}: {exc}") from exc
        if leaves != tile:
            index = start + first_difference(leaves, tile)
            raise self._log.fault(index, f"{path}: it is not the entry its leaf hash is of")
        for index, entry in enumerate(entries, start):
            try:
                read = read_entry(entry)
            except EntryInvalid as exc:
                raise self._log.fault(index, f"{path}: {exc}") from exc
            if self._is_closed and read.event != "log-opened":
                raise self._log.fault(
                    index, f"{path}: it stands behind the entry that closes the log"
                )
            self._is_closed = read.event == "log-closed"
            if read.event in _ABOUT_LOGS:
                self._events.append(_LogEvent(index, read))

    def _check_witness(self, witness: SignedCheckpoint, size: int) -> None:
        checkpoint, _ = self._open(witness, "witness")
        check_root(self._log, checkpoint, size, "the witness")

    # What the log says of itself.

    def _check_events(self, checkpoint: Checkpoint, key: AuditKey, first: int) -> None:
        """Follow the audit key in force through openings, and through what purges state of openings that are gone."""
        purges = self._check_purges(first)
        beginning = self._events[0] if self._events else None
        if not first and (
            beginning is None or beginning.index or beginning.entry.event != "log-opened"
        ):
            raise self._log.fault(0, "the log does not begin with its opening")
        in_force: str | None = None
        for event in self._events:
            while purges and (purges[0].entry.minimum_index or 0) <= event.index:
                in_force = self._check_stated(purges.pop(0), in_force)
            if event.entry.event == "log-opened":
                self._check_opening(event, checkpoint.origin, in_force)
                in_force = event.entry.audit_key
        if in_force != key.vkey(checkpoint.origin):
            raise self._log.fault(
                checkpoint.size,
                f"its checkpoint is signed by another key than the one in force, {in_force}",
            )

    def _check_purges(self, first: int) -> list[_LogEvent]:
        """Return the records of purges, the smallest first; the last reaches as far as entries are missing."""
        name = self._log.path.name
        purges = [
            event
            for event in self._events
            if event.entry.event == "entries-purged" and event.entry.log == name
        ]
        purges.sort(key=lambda event: event.entry.minimum_index or 0)
        minimum = purges[-1].entry.minimum_index or 0 if purges else 0
        if minimum < first:
            raise self._log.fault(
                0, f"entries before {first} are missing, and no purge is on record"
            )
        return purges

    def _check_stated(self, purge: _LogEvent, in_force: str | None) -> str | None:
        """Hold the key that a purge states against the one in force there, where its opening is still kept."""
        stated = purge.entry.audit_key
        if in_force is not None and stated != in_force:
            raise self._log.fault(
                purge.index,
                f"it states another key than the one in force at {purge.entry.minimum_index}",
            )
        return stated

    def _check_opening(self, event: _LogEvent, origin: str, in_force: str | None) -> None:
        entry = event.entry
        if entry.origin != origin:
            raise self._log.fault(event.index, f"it opens another log, {entry.origin}")
        if entry.checkpoint is None:
            return
        try:
            signed = read_checkpoint(entry.checkpoint.encode())
        except CheckpointInvalid as exc:
            raise self._log.fault(event.index, exc.detail) from exc
        checkpoint, key = self._open(signed, f"the checkpoint in entry {event.index}")
        if checkpoint.origin != origin:
            raise self._log.fault(event.index, f"it holds a checkpoint of {checkpoint.origin}")
        if in_force is not None and in_force != key.vkey(origin):
            raise self._log.fault(event.index, "it holds a checkpoint signed at the wrong time")
        if checkpoint.size > event.index:
            raise self._log.fault(event.index, "it holds a checkpoint of later entries")
        check_root(self._log, checkpoint, self._size, f"the checkpoint in entry {event.index}")
