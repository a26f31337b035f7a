"""One log with its writer: the spool that makes entries durable, the integrator that moves them into the tree.

Promises that opening a log begins with an entry that names the key in force and the checkpoint that stood (`log-opened`), so that no
checkpoint can be passed off as of another time; that a log whose spool, tree and checkpoint do not fit together is not opened; and that
closing covers every entry by a checkpoint.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from appliance.clock import Clock, format_instant
from appliance.errors import SpoolUnavailable
from appliance.log import Log
from appliance.native import TreeRefused, tile_path
from appliance.trace.checkpoint import AuditKey
from appliance.trace.disk import Disk
from appliance.trace.feed import SpoolFeed
from appliance.trace.integrator import CheckpointSigner, IntegrationSettings, Integrator
from appliance.trace.names import LogName
from appliance.trace.reader import LogDamaged
from appliance.trace.rebuild import Rebuild
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.trace.segments import SegmentWriter, write_frame
from appliance.trace.spool import Spool, SpoolSettings, disk_refused
from appliance.trace.store import (
    TILE_WIDTH,
    LogStore,
    Published,
    checkpoint_of,
    read_resource,
)
from appliance.trace.tree import HASH_OCTETS

_LOG: Final = Log("trace")
_CLOSE_TIMEOUT: Final = 15.0
_OVERLAP: Final = 65_536


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What every log of one appliance has in common.

    Attributes:
        spools, logs: directories that hold one directory per log, on one file system.
        certificates: directory of signers' certificates.
        origin: the appliance's own; the log's name follows it in the origin line.
        keys: audit keys: the one in service first, then those of earlier epochs.
    """

    spools: Path
    logs: Path
    certificates: Path
    origin: str
    keys: Sequence[AuditKey]
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    integration: IntegrationSettings = field(default_factory=IntegrationSettings)


class Shard:
    """One open log; `open` it in the event loop that will append."""

    def __init__(
        self,
        name: LogName,
        settings: ShardSettings,
        spool: Spool,
        integrator: Integrator,
        rebuild: Rebuild,
        disk: Disk,
    ) -> None:
        self.name: Final = name
        self.origin: Final = name.origin(settings.origin)
        self._directory: Final = settings.spools / str(name)
        self._spool: Final = spool
        self._integrator: Final = integrator
        self._rebuild: Final = rebuild
        self._disk: Final = disk

    @classmethod
    async def open(
        cls,
        name: LogName,
        settings: ShardSettings,
        signer: CheckpointSigner,
        clock: Clock,
        disk: Disk | None = None,
    ) -> Self:
        """Open, recover or create a log, in a thread, and begin to write it. Whoever gives up meanwhile holds it until the process ends.

        Raises:
            SpoolUnavailable: another process holds it, its disk refuses, or spool, tree and checkpoint disagree.
        """
        disk = disk or Disk()
        opened = await asyncio.to_thread(OpenLog, name, settings, clock, disk)
        integrator = opened.integrator(signer)
        spool = Spool(opened.writer, str(name), settings.spool, clock, integrator)
        integrator.start()
        integrator.note_durable(opened.writer.next_index)
        spool.start()
        if opened.rebuild.is_long:
            opened.rebuild.start(
                lambda damaged: integrator.stand_still(opened.disagreement(damaged))
            )
        return cls(name, settings, spool, integrator, opened.rebuild, disk)

    def __repr__(self) -> str:
        return f"Shard({self.name}, {self._spool!r}, {self._integrator!r})"

    @property
    def is_writable(self) -> bool:
        """Whether an entry would be accepted, full or not."""
        return self._spool.is_writable and self._integrator.fault is None

    @property
    def is_overdue(self) -> bool:
        """Whether a checkpoint has been missing for too long."""
        return self._integrator.is_overdue()

    def state_age(self) -> None:
        """Bring how long the oldest entry has waited for its checkpoint into the metrics."""
        self._integrator.state_age()

    @property
    def covered(self) -> int:
        """Entries the last published checkpoint covers."""
        return self._integrator.covered

    def append(self, entry: TraceEntry) -> asyncio.Future[Receipt]:
        """Accept one entry; raises and resolves like `Spool.append`."""
        return self._spool.append(entry)

    def append_many(self, entries: Sequence[TraceEntry]) -> asyncio.Future[list[Receipt]]:
        """Accept several entries, all or none; raises and resolves like `Spool.append_many`."""
        return self._spool.append_many(entries)

    async def rebuilt(self) -> None:
        """Return when the whole log has been held against its checkpoint; one that disagrees then refuses entries."""
        await asyncio.to_thread(self._rebuild.wait)

    async def aclose(self) -> bool:
        """Refuse new entries, make the accepted ones durable, cover them by a checkpoint, let go of the log.

        Returns:
            Whether every entry is covered; the next opening covers the rest.

        Raises:
            SpoolUnavailable: the disk did not answer in time.
        """
        await asyncio.to_thread(self._rebuild.stop)
        try:
            await self._spool.aclose()
        finally:
            is_covered = await asyncio.to_thread(self._integrator.close, _CLOSE_TIMEOUT)
        return is_covered

    def remove_spool(self) -> None:
        """Remove the spool of a log that is closed and covered.

        Raises:
            OSError: some of it is still there.
        """
        for file in sorted(self._directory.iterdir()):
            self._disk.unlink(file)
        self._disk.remove_directory(self._directory)
        self._disk.fsync_directory(self._directory.parent)


class OpenLog:
    """A log that this process holds, recovered, its opening on record, and nothing running yet.

    Raises:
        SpoolUnavailable: see `Shard.open`.
    """

    def __init__(self, name: LogName, settings: ShardSettings, clock: Clock, disk: Disk) -> None:
        self.name: Final = name
        self._settings: Final = settings
        self._clock: Final = clock
        self._spool: Final = settings.spools / str(name)
        self._origin: Final = name.origin(settings.origin)
        self._store: Final = LogStore(settings.logs / str(name), self._spool, self._origin, disk)
        try:
            self._published: Final = self._store.read(settings.keys)
            self.rebuild: Final = self._rebuild(settings.logs / str(name))
            self.writer: Final = SegmentWriter(
                self._spool, settings.spool.segment, disk, self._published.size
            )
        except OSError as exc:
            raise disk_refused(str(name), exc) from exc
        try:
            self._recover()
        except BaseException as exc:
            self.writer.close()
            if isinstance(exc, OSError):
                raise disk_refused(str(name), exc) from exc
            raise

    def integrator(self, signer: CheckpointSigner) -> Integrator:
        """Make the integrator; it has not started."""
        return Integrator(
            store=self._store,
            feed=SpoolFeed(self._spool, self._published.size),
            signer=signer,
            key=self._settings.keys[0],
            published=self._published,
            log=str(self.name),
            settings=self._settings.integration,
            clock=self._clock,
            drop_before=self._drop_before,
        )

    def disagreement(self, damaged: LogDamaged) -> SpoolUnavailable:
        """Say that the log does not hold what its checkpoint states."""
        return self._store.disagreement(damaged.detail)

    def record(self, entry: TraceEntry) -> None:
        """Make one entry durable, before anything else writes here.

        Raises:
            OSError: it is not.
        """
        self.writer.commit([write_frame(write_entry(entry))])

    def _rebuild(self, directory: Path) -> Rebuild:
        """Rebuild the tree, unless that takes too long.

        Raises:
            SpoolUnavailable: it is not the checkpoint's.
        """
        rebuild = Rebuild(directory, checkpoint_of(self._published))
        if not rebuild.is_long:
            try:
                rebuild.run()
            except LogDamaged as exc:
                raise self.disagreement(exc) from exc
        return rebuild

    def _drop_before(self, index: int) -> None:
        """Let the spool go of what the log holds, once the log is known to hold what it should."""
        if self.rebuild.is_done:
            self.writer.drop_before(index)

    def _recover(self) -> None:
        torn = self.writer.recovery.torn_octets
        if torn:
            _LOG.warning("torn-tail-cut", log=str(self.name), octets=torn)
        self._check_overlap(self._published)
        signed = self._published.signed
        self.record(
            TraceEntry(
                event="log-opened",
                time=format_instant(self._clock.now()),
                origin=self._origin,
                audit_key=self._settings.keys[0].vkey(self._origin),
                checkpoint=None if signed is None else signed.octets.decode(),
            )
        )

    def _check_overlap(self, published: Published) -> None:
        """Hold the spool against the tree: it reaches as far, and where both have an entry it is the same one.

        Raises:
            SpoolUnavailable: they disagree.
        """
        size, held = published.size, self.writer.next_index
        first = SpoolFeed(self._spool, 0).first_index()
        if held < size:
            raise self._store.disagreement(
                f"its checkpoint covers {size} entries, its spool ends before entry {held}"
            )
        if first is None or first > size:
            raise self._store.disagreement(
                f"its checkpoint covers {size} entries, its spool begins at entry {first}"
            )
        feed = SpoolFeed(self._spool, max(first, size - _OVERLAP))
        _, leaves = feed.take(size, size)
        if b"".join(leaves) != self._leaves(feed.index, size):
            raise self._store.disagreement("spool and tree hold other entries at the same index")

    def _leaves(self, start: int, end: int) -> bytes:
        """Read leaf hashes from the tree's tiles."""
        try:
            return read_leaves(self._settings.logs / str(self.name), start, end)
        except (TreeRefused, FileNotFoundError) as exc:
            raise self._store.disagreement(f"a tile is missing: {exc}") from exc


def read_leaves(directory: Path, start: int, end: int) -> bytes:
    """Read the leaf hashes of entries `start` to `end` of a log of at least `end` entries, one behind the other.

    Raises:
        FileNotFoundError: a tile is not there.
    """
    if start == end:
        return b""
    tiles = range(start // TILE_WIDTH, -(-end // TILE_WIDTH))
    octets = b"".join(read_resource(directory, tile_path(0, tile, end)) for tile in tiles)
    return octets[HASH_OCTETS * (start % TILE_WIDTH) :]
