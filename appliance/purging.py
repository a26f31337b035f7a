"""Drops old entries from the front of the logs: whole bundles, as far as their retention class lets go of them.

Promises that the minimum index is an entry of the log, under a signed checkpoint, before the first bundle is removed; that hash tiles
stay, so that every proof of a later entry still holds; and that a log which is being written is left alone.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from appliance.clock import Clock, format_instant
from appliance.config import Config
from appliance.errors import Reason, SpoolUnavailable
from appliance.log import Log
from appliance.logkeeping import audit_table, checkpoint_client, shard_settings
from appliance.native import bundle_path
from appliance.parts import hsm_unavailable, open_lane
from appliance.signing.checkpoints import CheckpointClient
from appliance.trace.directory import first_kept
from appliance.trace.logs import close_log
from appliance.trace.names import LogName, read_log_name
from appliance.trace.reader import log_names
from appliance.trace.record import TraceEntry
from appliance.trace.shard import Shard
from appliance.trace.store import TILE_WIDTH
from appliance.trace.view import LogPlace
from hsm.errors import HsmError

_LOG: Final = Log("trace")


class Purged(msgspec.Struct, frozen=True):
    """A log, and the index below which its entries are no longer kept."""

    log: str
    minimum_index: int


async def purge_home(config: Config, clock: Clock, *, is_trial: bool) -> list[Purged]:
    """Purge every log of a home; a trial only says what would go.

    Raises:
        SpoolUnavailable: a log with old entries is being written, or no checkpoint covers the record of its purge.
        HsmUnavailable: the audit key cannot be used.
    """
    place = LogPlace(config.home.logs, config.home.spool)
    due: list[tuple[LogName, Purged]] = []
    for text in log_names(config.home.logs):
        name = read_log_name(text)
        period = None if name is None else config.trace.retention.get(name.retention)
        if name is not None and period is not None:
            minimum = _minimum_index(place, text, clock.now() - timedelta(seconds=period))
            if minimum > first_kept(config.home.logs / text, minimum):
                due.append((name, Purged(text, minimum)))
    if due and not is_trial:
        async with _audit_signer(config) as signer:
            for name, purged in due:
                await _purge(config, clock, signer, (name, purged))
    return [purged for _, purged in due]


def _minimum_index(place: LogPlace, log: str, before: datetime) -> int:
    """Return the index behind the last bundle from the front in which every entry is older."""
    limit = format_instant(before)
    view = place.view(log)
    covered = view.covered()
    minimum = 0
    for stored in view.read():
        if stored.index >= covered or stored.entry.time >= limit:
            break
        if stored.index % TILE_WIDTH == TILE_WIDTH - 1:
            minimum = stored.index + 1
    return minimum


async def _purge(
    config: Config, clock: Clock, signer: CheckpointClient, due: tuple[LogName, Purged]
) -> None:
    name, purged = due
    was_closed = not (config.home.spool / purged.log).is_dir()
    shard = Shard.open(name, shard_settings(config), signer, clock)
    try:
        await shard.append(
            TraceEntry(
                event="entries-purged",
                time=format_instant(clock.now()),
                log=purged.log,
                minimum_index=purged.minimum_index,
            )
        )
    except BaseException:
        await shard.aclose()
        raise
    is_covered = await (close_log(shard, clock) if was_closed else shard.aclose())
    if not is_covered:
        raise SpoolUnavailable(
            Reason.SPOOL_UNAVAILABLE,
            f"log {purged.log}: no checkpoint covers the record of the purge, so nothing was dropped; try again",
        )
    _remove_bundles(config.home.logs / purged.log, purged.minimum_index)
    _LOG.info("entries-purged", log=purged.log, minimum_index=purged.minimum_index)


def _remove_bundles(directory: Path, minimum_index: int) -> None:
    for bundle in range(minimum_index // TILE_WIDTH):
        (directory / bundle_path(bundle, minimum_index)).unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def _audit_signer(config: Config) -> AsyncIterator[CheckpointClient]:
    """Sign with the lanes of the running service, or with one of our own when there is none."""
    if config.home.api_socket.exists():
        with contextlib.closing(checkpoint_client(config)) as client:
            yield client
        return
    [token] = [each for each in config.tokens if each.name == audit_table(config).token]
    at = config.home.run / f"cli-{token.name}.sock"
    try:
        lane = await open_lane(config, token, 0, at)
    except HsmError as error:
        raise hsm_unavailable(error) from error
    try:
        with contextlib.closing(CheckpointClient([at])) as client:
            yield client
    finally:
        await lane.stop()
