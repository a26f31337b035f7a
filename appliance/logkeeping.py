"""Builds the trace of one process from the configuration: which logs, under which origin, with which keys, signed by which lanes.

Shared by the worker, the supervisor and the command line; decides nothing but that `[audit]` is there and its keys can be read.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from appliance.clock import Clock, SystemClock
from appliance.config import AuditTable, Config
from appliance.conventions.registry import Registry, RegistryCell
from appliance.conventions.retention import retention_class, trace_policy
from appliance.errors import ApplianceError, ConfigurationError
from appliance.log import Log
from appliance.signing.checkpoints import CheckpointClient
from appliance.signing.keyring import Keyring
from appliance.tokens import lane_socket
from appliance.trace.checkpoint import AuditKey, read_audit_key
from appliance.trace.integrator import CheckpointSigner, IntegrationSettings
from appliance.trace.logs import TraceLogs, close_orphans
from appliance.trace.names import COMMAND_LINE, SYSTEM, LogName, worker_name
from appliance.trace.policy import STANDARD, TracePolicy
from appliance.trace.privacy import Pseudonyms
from appliance.trace.refusals import RefusalSettings
from appliance.trace.shard import ShardSettings
from appliance.trace.spool import SpoolSettings
from appliance.trace.system import SystemLog
from hsm.settings import KeySettings

_LOG: Final = Log("trace")
AUDIT_KEY: Final = "audit"
"""What lanes call the audit key."""


def audit_table(config: Config) -> AuditTable:
    """Return `[audit]`, which whoever writes traces cannot do without.

    Raises:
        ConfigurationError: it is not there.
    """
    if config.audit is None:
        raise ConfigurationError(
            str(config.home.config_file),
            "audit",
            "a table that names the key which signs the trace's checkpoints (docs/operations.md, The trace)",
        )
    return config.audit


def audit_keys(audit: AuditTable) -> tuple[AuditKey, ...]:
    """Read the public keys that may have signed checkpoints, the one in service first.

    Raises:
        ConfigurationError: a file cannot be read, or holds no Ed25519 or P-256 key.
    """
    return tuple(_read_key(file) for file in (audit.public_key, *audit.earlier_keys))


def audit_settings(config: Config, token: str) -> KeySettings | None:
    """Describe the audit key to a lane of the token that holds it; None for the others.

    Raises:
        ConfigurationError: its public key cannot be read.
    """
    audit = config.audit
    if audit is None or audit.token != token:
        return None
    return KeySettings(AUDIT_KEY, audit.label, audit.id, audit_keys(audit)[0].spki)


def shard_settings(config: Config) -> ShardSettings:
    """State what every log of the appliance has in common.

    Raises:
        ConfigurationError: there is no `[audit]`, or its keys cannot be read.
    """
    audit, table = audit_table(config), config.trace
    return ShardSettings(
        spools=config.home.spool,
        logs=config.home.logs,
        certificates=config.home.certificates,
        origin=audit.origin,
        keys=audit_keys(audit),
        spool=SpoolSettings(table.pending_entries, table.pending_age, table.segment),
        integration=IntegrationSettings(
            every=table.checkpoint_every,
            entries=table.checkpoint_entries,
            unsigned=table.unsigned_entries,
            overdue=table.checkpoint_overdue,
        ),
    )


def checkpoint_client(config: Config) -> CheckpointClient:
    """Return what signs checkpoints: the lanes of the audit key's token, as the running service has them.

    Raises:
        ConfigurationError: there is no `[audit]`.
    """
    audit = audit_table(config)
    [token] = [token for token in config.tokens if token.name == audit.token]
    return CheckpointClient([lane_socket(config, token, lane) for lane in range(token.lanes)])


def build_trace(
    config: Config, writer: str, cell: RegistryCell, signer: CheckpointSigner, clock: Clock
) -> TraceLogs:
    """Build the logs of one writer, none of them open yet.

    Raises:
        ConfigurationError: `[audit]` or the key of pseudonyms cannot be used.
    """
    file = config.trace.pseudonym_key_file
    table = config.trace

    def policy_of(convention: str | None, issuer: str | None) -> TracePolicy:
        return trace_policy(cell.current, convention, issuer)

    return TraceLogs(
        writer=writer,
        settings=shard_settings(config),
        refusals=RefusalSettings(table.refusals_burst, table.refusals_per_second),
        signer=signer,
        policy_of=policy_of,
        pseudonyms=_load_pseudonyms(file),
        clock=clock,
    )


async def open_worker_trace(
    stack: contextlib.AsyncExitStack, config: Config, index: int, cell: RegistryCell
) -> TraceLogs:
    """Open the logs of worker `index` until the stack ends, those of the conventions in force at once.

    Raises:
        ConfigurationError: `[audit]` or the key of pseudonyms cannot be used.
        SpoolUnavailable: a log cannot be opened.
    """
    signer = checkpoint_client(config)
    stack.callback(signer.close)
    trace = build_trace(config, worker_name(index), cell, signer, SystemClock())
    stack.push_async_callback(trace.aclose)

    def classes() -> set[str]:
        return {STANDARD, *map(retention_class, cell.current.all())}

    await trace.open(classes())
    trace.watch(classes)
    return trace


@contextlib.asynccontextmanager
async def open_system_log(
    config: Config, registry: Registry, clock: Clock
) -> AsyncIterator[SystemLog]:
    """Open the log `system`, and state what begins to serve and, at the end, that it stops.

    Raises:
        ConfigurationError: there is no `[audit]`, or a key or certificate cannot be read.
        SpoolUnavailable: the log cannot be opened.
    """
    signer = checkpoint_client(config)
    logs = build_trace(config, SYSTEM, RegistryCell(registry), signer, clock)
    await logs.open([STANDARD])
    logs.watch(lambda: {STANDARD})
    system = SystemLog(logs, clock)
    try:
        lanes = sum(token.lanes for token in config.tokens)
        serving = f"version {version('interops-appliance')}, {config.api.workers} worker(s), {lanes} lane(s)"
        system.record("service-started", detail=serving)
        system.record_keys(traced_keys(config))
        system.record_conventions(config.home.conventions)
        watch = asyncio.create_task(system.watch_logs(config.home.logs))
        try:
            yield system
        finally:
            watch.cancel()
        system.record_logs(config.home.logs)
        system.record("service-stopped")
    finally:
        await logs.aclose()
        signer.close()


def traced_keys(config: Config) -> dict[str, tuple[str, str]]:
    """Return the fingerprints of certificate and public key of each signing key.

    Raises:
        ConfigurationError: a certificate cannot be read.
    """
    keyring = Keyring.load(config.keys)
    facts = {name: keyring.trace_facts(name) for name in keyring.names()}
    return {name: (key.certificate_sha256, key.key_sha256) for name, key in facts.items()}


async def close_orphaned_logs(config: Config, clock: Clock) -> None:
    """Close the logs of workers that are no more, of retention classes that are gone, and of years that are over."""
    year = clock.now().year
    writers = {SYSTEM, COMMAND_LINE, *map(worker_name, range(config.api.workers))}

    def is_alive(name: LogName) -> bool:
        is_written = name.writer in writers and name.retention in config.trace.retention
        return is_written and name.year == year

    with contextlib.closing(checkpoint_client(config)) as signer:
        await close_orphans(shard_settings(config), signer, clock, is_alive)


def _load_pseudonyms(file: Path) -> Pseudonyms | None:
    """Load the key of pseudonyms; without it `pseudonymous` keeps as little as `minimal`.

    Raises:
        ConfigurationError: it is there and cannot be used.
    """
    if os.access(file, os.R_OK):
        return Pseudonyms.load(file)
    _LOG.debug("no-pseudonyms", file=str(file))
    return None


def _read_key(file: Path) -> AuditKey:
    try:
        return read_audit_key(file.read_bytes())
    except OSError as exc:
        raise ConfigurationError(str(file), "", f"a readable file ({exc.strerror})") from exc
    except ApplianceError as exc:
        raise ConfigurationError(str(file), "", f"a public key, PEM ({exc.detail})") from exc
