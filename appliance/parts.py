"""Builds the parts of a process from the configuration, each on its own: what `wiring` and the supervisor pass to each other."""

import contextlib
import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance import metrics
from appliance.cache.appliances import SEAL_KEY_OCTETS, SealedVectors, SharedReplayGate
from appliance.cache.replay_guard import LocalReplayGate, ReplayGuard
from appliance.cache.shared_memory import SharedMemory
from appliance.cache.valkey import Valkey, ValkeySettings
from appliance.cache.vector_cache import CacheLimits, SharedVectors, VectorCache
from appliance.clock import Clock, SystemClock
from appliance.config import (
    Config,
    SharedTable,
    TokenTable,
    read_secret,
)
from appliance.conventions.builder import HomeParts, RegistryBuilder
from appliance.conventions.registry import Registry, RegistryCell
from appliance.conventions.retention import check_all_tracing
from appliance.errors import (
    ConfigurationError,
    HsmUnavailable,
    Reason,
)
from appliance.logkeeping import audit_settings
from appliance.native import Limits
from appliance.operations.health import ReadyProbe
from appliance.operations.issue import IssueOperation, IssueSettings
from appliance.operations.readlog import ReadLogOperation
from appliance.operations.secure import SecureOperation
from appliance.operations.verify import ReplayGate, VerifyOperation
from appliance.ownership import worker_user
from appliance.server.callers import BearerKey, CallerDirectory
from appliance.server.ports import Operations
from appliance.server.settings import ServerSettings
from appliance.signing.keyring import Keyring
from appliance.signing.queue import SigningQueue
from appliance.signing.settings import QueueSettings
from appliance.tokens import key_settings, lane_socket, token_settings
from appliance.trace.logs import TraceLogs
from appliance.vectors.identifiers import new_uuid
from hsm.errors import PIN_REFUSALS, HsmError
from hsm.process import LaneProcess, SpawnedLane, start_lane
from hsm.settings import LaneSettings

_TOKEN_MARGIN: Final = 1.0
"""Seconds a job may spend in the token after the longest wait that the queue allows."""


def build_registry(config: Config, keyring: Keyring | None = None) -> Registry:
    """Load the conventions, their trust, and make sure that each signing key can do what its convention says.

    Args:
        config: the home.
        keyring: the keys in service; None reads those the home names now.

    Raises:
        ConfigurationError: a file is wrong, or a convention names a key that is not there or does not fit its algorithm.
    """
    builder = RegistryBuilder(config.home.conventions)
    registry = builder.build(home_parts(config, keyring or Keyring.load(config.keys)))
    check_all_tracing(registry, config.home.conventions, config.trace)
    return registry


def home_parts(config: Config, keyring: Keyring) -> HomeParts:
    """Return what conventions may name."""
    named = [caller.name for caller in config.callers]
    for table in config.gateway.outbound:
        named += table.callers_by_address.values()
    return HomeParts(config.environment, keyring, tuple(dict.fromkeys(named)))


async def open_lane(
    config: Config,
    token: TokenTable,
    index: int,
    at: Path | None = None,
    spawned: SpawnedLane | None = None,
) -> LaneProcess:
    """Start a lane of a token and wait until it has proven every key the token holds for us.

    Args:
        config: the home.
        token: one of its tokens.
        index: which lane.
        at: its socket; None is where workers look.
        spawned: a process that waits to be a lane (`spawn_lane`).

    Raises:
        HsmError: the lane cannot sign.
        ConfigurationError: a certificate cannot be read.
    """
    keyring = Keyring.load(config.keys)
    worker = worker_user(config)
    settings = LaneSettings(
        token=token_settings(config, token),
        keys=tuple(
            key_settings(config, key, keyring.public_key(key.name))
            for key in config.keys
            if token.name in key.tokens
        ),
        socket=str(at or lane_socket(config, token, index)),
        allowed_uids=(os.getuid() if at or worker is None else worker.uid,),
        checkpoint_uids=(os.getuid(),),
        index=index,
        call_timeout=float(token.call_timeout),
        open_timeout=float(token.open_timeout),
        audit=audit_settings(config, token.name),
    )
    return await start_lane(settings, spawned)


def hsm_unavailable(error: HsmError) -> HsmUnavailable:
    """Say of a lane that could not be opened what the caller is told: the detail names cause and next step."""
    refused = error.finding.code in PIN_REFUSALS
    return HsmUnavailable(Reason.PIN_REFUSED if refused else Reason.HSM_UNAVAILABLE, str(error))


def build_queue(config: Config, sockets: dict[str, list[Path]], clock: Clock) -> SigningQueue:
    """Make the signing queue of a process; `sockets` are those of each token's lanes."""
    table = config.queue
    settings = QueueSettings(table.jobs, table.age, table.batch_jobs, table.batch_age)
    return SigningQueue(sockets, tokens_of_keys(config, sockets.keys()), settings, clock)


def tokens_of_keys(config: Config, tokens: AbstractSet[str]) -> dict[str, list[str]]:
    """Say of each key which of the tokens hold it."""
    held = {key.name: [name for name in key.tokens if name in tokens] for key in config.keys}
    return {key: names for key, names in held.items() if names}


def issue_settings(config: Config) -> IssueSettings:
    """Return how long a signature may take."""
    return IssueSettings(sign_within=config.queue.age + _TOKEN_MARGIN)


def build_issue(
    config: Config,
    cell: RegistryCell,
    keyring: Keyring,
    queue: SigningQueue,
    trace: TraceLogs,
    vectors: VectorCache,
) -> IssueOperation:
    """Make the operation that issues."""
    return IssueOperation(
        registry=cell,
        keys=keyring,
        signer=queue,
        trace=trace,
        vectors=vectors,
        clock=SystemClock(),
        new_uuid=new_uuid,
        settings=issue_settings(config),
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives one request of a worker: the table of this appliance, who is asked about replays, and the vectors kept."""

    guard: ReplayGuard
    gate: ReplayGate
    vectors: VectorCache


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything in a worker stands on."""

    config: Config
    cell: RegistryCell
    keyring: Keyring
    queue: SigningQueue
    trace: TraceLogs
    memory: Memory
    clock: Clock


@dataclass(frozen=True, slots=True)
class Core:
    """The operations on vectors, which the API and the gateway share."""

    issue: IssueOperation
    secure: SecureOperation
    verify: VerifyOperation


def build_core(ground: Ground) -> Core:
    """Make the operations on vectors."""
    issue = build_issue(
        ground.config,
        ground.cell,
        ground.keyring,
        ground.queue,
        ground.trace,
        ground.memory.vectors,
    )
    return Core(
        issue=issue,
        secure=SecureOperation(
            registry=ground.cell,
            issue=issue,
            keys=ground.keyring,
            signer=ground.queue,
            trace=ground.trace,
            clock=ground.clock,
            settings=issue_settings(ground.config),
        ),
        verify=VerifyOperation(
            ground.cell,
            ground.trace,
            ground.clock,
            ground.memory.gate,
            Limits(octets=ground.config.api.body_limit),
        ),
    )


def build_operations(ground: Ground, core: Core) -> Operations:
    """Make the routes of a worker's API."""
    return Operations(
        issue=core.issue,
        secure=core.secure,
        verify=core.verify,
        health=ReadyProbe(
            registry=ground.cell,
            keys=ground.keyring,
            signer=ground.queue,
            trace=ground.trace,
            clock=ground.clock,
            new_uuid=new_uuid,
        ),
        conventions=ground.cell,
        logs=ReadLogOperation(ground.config.home.logs, ground.config.trace.readers),
        exposition=metrics.exposition,
    )


def open_memory(config: Config, stack: contextlib.AsyncExitStack) -> Memory:
    """Open what outlives a request, until the stack ends.

    Raises:
        ConfigurationError: a secret cannot be read, or is none.
    """
    guard = stack.enter_context(ReplayGuard(config.home.replay_guard))
    gate: ReplayGate = LocalReplayGate(guard)
    shared: tuple[SharedVectors, ...] = (
        stack.enter_context(SharedMemory(config.home.shared_vectors)),
    )
    several = _open_shared(config, stack)
    if several is not None:
        gate, shared = several[0], (*shared, several[1])
    return Memory(guard, gate, VectorCache(cache_limits(config), shared, SystemClock().now()))


def _open_shared(
    config: Config, stack: contextlib.AsyncExitStack
) -> tuple[SharedReplayGate, SealedVectors] | None:
    """Make what several appliances share; None where this one stands alone.

    Raises:
        ConfigurationError: a secret cannot be read, or is none.
    """
    table = config.shared
    if table is None:
        return None
    try:
        seal_key = bytes.fromhex(read_secret(table.seal_key_file))
    except ValueError:
        seal_key = b""
    if len(seal_key) != SEAL_KEY_OCTETS:
        raise ConfigurationError(
            str(table.seal_key_file), "", "64 hexadecimal digits: openssl rand -hex 32"
        )
    valkey = open_valkey(table)
    stack.push_async_callback(valkey.aclose)
    return SharedReplayGate(valkey), SealedVectors(valkey, seal_key, SystemClock())


def open_valkey(table: SharedTable) -> Valkey:
    """Return a client of the server that appliances share; it connects when it is first asked.

    Raises:
        ConfigurationError: the password cannot be read.
    """
    password = None if table.password_file is None else read_secret(table.password_file)
    return Valkey(ValkeySettings(table.address, password, table.within))


def cache_limits(config: Config) -> CacheLimits:
    """Return the bounds of the vectors that a process keeps."""
    return CacheLimits(config.vector_cache.vectors, config.vector_cache.memory)


def build_callers(config: Config) -> CallerDirectory:
    """Make the directory of those who may call."""
    keys = [
        BearerKey(
            caller.name,
            bytes.fromhex(caller.key_sha256),
            None if caller.conventions is None else frozenset(caller.conventions),
        )
        for caller in config.callers
    ]
    return CallerDirectory(keys, os.getuid())


def server_settings(config: Config) -> ServerSettings:
    """Return the limits of the API's listeners."""
    api = config.api
    return ServerSettings(
        body_limit=api.body_limit,
        header_limit=api.header_limit,
        header_fields=api.header_fields,
        head_timeout=api.head_timeout,
        keep_alive=api.keep_alive,
        connections=api.connections,
        connections_per_peer=api.connections_per_peer,
        batch_limit=api.batch_limit,
        drain_timeout=api.drain_timeout,
    )
