"""Lets go of the oldest entries of one log, in whole bundles from the front.

Promises that an entry which states the minimum index, and the audit key in force there, is under a signed checkpoint before the first
bundle is removed: the entry that named the key may be among those that go. Hash tiles stay, so every proof of a later entry holds.
Refuses a log that somebody writes.
"""

from datetime import datetime
from typing import Final

from appliance.clock import Clock, format_instant
from appliance.errors import Reason, SpoolUnavailable
from appliance.log import Log
from appliance.trace.disk import Disk
from appliance.trace.integrator import CheckpointSigner
from appliance.trace.logs import close_log
from appliance.trace.names import LogName
from appliance.trace.reader import LogDamaged
from appliance.trace.record import TraceEntry
from appliance.trace.shard import Shard, ShardSettings
from appliance.trace.spool import disk_refused
from appliance.trace.store import TILE_WIDTH, LogStore
from appliance.trace.view import LogPlace, LogView

_LOG: Final = Log("trace")
_ABOUT_KEYS: Final = (b'"log-opened"', b'"entries-purged"')


def find_minimum(view: LogView, before: datetime) -> int:
    """Return the index behind the last bundle from the front in which every entry is older.

    Raises:
        LogDamaged: the log cannot be read.
    """
    limit = format_instant(before)
    covered = view.covered()
    minimum = 0
    for stored in view.read():
        if stored.index >= covered or stored.entry.time >= limit:
            break
        if stored.index % TILE_WIDTH == TILE_WIDTH - 1:
            minimum = stored.index + 1
    return minimum


def key_in_force(view: LogView, index: int) -> str:
    """Return the verifier key that signs a checkpoint of so many entries; reads the whole log.

    Raises:
        LogDamaged: the log cannot be read, or does not say.
    """
    opened: str | None = None
    purged: tuple[int, str | None] = (0, None)
    for stored in view.read():
        if not any(needle in stored.octets for needle in _ABOUT_KEYS):
            continue
        entry = stored.entry
        if entry.event == "log-opened" and stored.index < index:
            opened = entry.audit_key
        if entry.event == "entries-purged" and entry.log == view.log:
            purged = max(purged, (entry.minimum_index or 0, entry.audit_key), key=lambda it: it[0])
    key = opened or purged[1]
    if key is None:
        raise LogDamaged(view.log, 0, "nothing in it states its audit key")
    return key


async def purge_log(
    name: LogName,
    minimum: int,
    settings: ShardSettings,
    signer: CheckpointSigner,
    clock: Clock,
    disk: Disk | None = None,
) -> None:
    """Record that entries below `minimum` go, then remove their bundles.

    Raises:
        SpoolUnavailable: the log is being written, its disk refuses, or no checkpoint covers the record; what has not been removed yet
            goes with the next purge.
        LogDamaged: the log cannot be read.
    """
    disk = disk or Disk()
    place = LogPlace(settings.logs, settings.spools)
    was_closed = not (settings.spools / str(name)).is_dir()
    shard = await Shard.open(name, settings, signer, clock, disk)
    try:
        await shard.rebuilt()
        await shard.append(
            TraceEntry(
                event="entries-purged",
                time=format_instant(clock.now()),
                log=str(name),
                minimum_index=minimum,
                audit_key=key_in_force(place.view(str(name)), minimum),
            )
        )
    except BaseException:
        await shard.aclose()
        raise
    is_covered = await (close_log(shard, clock) if was_closed else shard.aclose())
    if not is_covered:
        raise SpoolUnavailable(
            Reason.SPOOL_UNAVAILABLE,
            f"log {name}: no checkpoint covers the record of the purge, so nothing was dropped; try again",
        )
    store = LogStore(settings.logs / str(name), settings.spools / str(name), shard.origin, disk)
    try:
        store.drop_bundles(minimum)
    except OSError as exc:
        raise disk_refused(str(name), exc) from exc
    _LOG.info("entries-purged", log=str(name), minimum_index=minimum)
