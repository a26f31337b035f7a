"""Purges the logs of a home: each as far as its retention class lets go of its entries (`appliance.trace.purge` does it)."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec

from appliance.clock import Clock
from appliance.config import Config
from appliance.logkeeping import audit_table, checkpoint_client, shard_settings
from appliance.parts import hsm_unavailable, open_lane
from appliance.signing.checkpoints import CheckpointClient
from appliance.tokens import token_directory
from appliance.trace.directory import first_kept
from appliance.trace.names import LogName, read_log_name
from appliance.trace.purge import find_minimum, purge_log
from appliance.trace.reader import log_names
from appliance.trace.view import LogPlace
from hsm.errors import HsmError


class Purged(msgspec.Struct, frozen=True):
    """A log, and the index below which its entries are no longer kept."""

    log: str
    minimum_index: int


async def purge_home(config: Config, clock: Clock, *, is_trial: bool) -> list[Purged]:
    """Purge every log of a home; a trial only says what would go.

    Raises:
        SpoolUnavailable, LogDamaged: as `purge_log`.
        HsmUnavailable: the audit key cannot be used.
    """
    place = LogPlace(config.home.logs, config.home.spool)
    due: list[tuple[LogName, Purged]] = []
    for text in log_names(config.home.logs):
        name = read_log_name(text)
        period = None if name is None else config.trace.retention.get(name.retention)
        if name is not None and period is not None:
            minimum = find_minimum(place.view(text), clock.now() - timedelta(seconds=period))
            if minimum > first_kept(config.home.logs / text, minimum):
                due.append((name, Purged(text, minimum)))
    if due and not is_trial:
        async with _audit_signer(config) as signer:
            for name, purged in due:
                await purge_log(name, purged.minimum_index, shard_settings(config), signer, clock)
    return [purged for _, purged in due]


@contextlib.asynccontextmanager
async def _audit_signer(config: Config) -> AsyncIterator[CheckpointClient]:
    """Sign with the lanes of the running service, or with one of our own when there is none."""
    if config.home.api_socket.exists():
        with contextlib.closing(checkpoint_client(config)) as client:
            yield client
        return
    [token] = [each for each in config.tokens if each.name == audit_table(config).token]
    at = token_directory(config, token) / f"cli-{token.name}.sock"
    try:
        lane = await open_lane(config, token, 0, at)
    except HsmError as error:
        raise hsm_unavailable(error) from error
    try:
        with contextlib.closing(CheckpointClient([at])) as client:
            yield client
    finally:
        await lane.stop()
