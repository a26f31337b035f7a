"""Passes the parts to each other: the worker's whole, and the command line's issuer.

With the supervisor, the only place that knows every concrete class. Nothing is decided here but that the files fit together.
"""

import asyncio
import contextlib
import fcntl
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from appliance import log, metrics
from appliance.cache.replay_guard import keep_flushed
from appliance.cache.vector_cache import VectorCache
from appliance.clock import SystemClock
from appliance.config import (
    Config,
    load_config,
)
from appliance.conventions.builder import RegistryBuilder
from appliance.conventions.registry import Registry, RegistryCell
from appliance.conventions.retention import retention_class
from appliance.errors import (
    ApplianceError,
    Reason,
    SpoolUnavailable,
)
from appliance.fronts import Gateway, Generation
from appliance.logkeeping import audit_table, build_trace, open_worker_trace
from appliance.operations.issue import IssueOperation
from appliance.ownership import worker_user
from appliance.parts import (
    Ground,
    build_callers,
    build_core,
    build_issue,
    build_operations,
    build_queue,
    build_registry,
    cache_limits,
    home_parts,
    hsm_unavailable,
    open_lane,
    open_memory,
    server_settings,
    tokens_of_keys,
)
from appliance.server import listener
from appliance.server.admission import Admission
from appliance.server.callers import CallerDirectory
from appliance.server.front import FrontServer
from appliance.server.listener import ApiServer
from appliance.server.ports import Health
from appliance.server.routes import ApiApplication
from appliance.signing.checkpoints import CheckpointClient
from appliance.signing.keyring import Keyring
from appliance.signing.news import TokenNews
from appliance.signing.queue import SigningQueue
from appliance.tokens import lane_socket, token_directory
from appliance.trace.names import COMMAND_LINE
from appliance.trust.crl_download import CrlDownloads
from appliance.trust.watch import CrlWatch
from hsm.errors import HsmError
from hsm.user import become

SECRET_VARIABLES: Final = frozenset({"CREDENTIALS_DIRECTORY"})
"""Environment variables that lead to a PIN whatever the configuration says; workers are started without them."""

NEWS: Final = "news"
"""The order that is none: what follows is a `TokenNews`, and nobody waits for an answer."""

_LOG: Final = log.Log("wiring")
_API_SOCKETS: Final = 2
"""TCP and the unix socket; those of the gateway follow."""

_LOCAL_PATIENCE: Final = 10.0
_LOCAL_POLL: Final = 0.05


def run_worker(config: Config, index: int, descriptors: Sequence[int]) -> None:
    """Serve the API on inherited listening sockets until SIGTERM, or until stdin says that the parent is gone.

    Says `ready` on stdout once it serves. Then takes `load N`, `commit N`, `discard N` and `look` on stdin, one line each, and answers
    each with one line: `loaded N` (or why not), `committed N`, `discarded N`, `looked` and what `/readyz` would find missing.

    Raises:
        ConfigurationError: a file is wrong.
        SpoolUnavailable: the worker's log cannot be opened.
    """
    log.configure_log(config.log_level)
    become(worker_user(config))
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    listener.run(_serve(config, index, sockets))


@contextlib.asynccontextmanager
async def open_local_issuer(config: Config, convention_id: str) -> AsyncIterator[IssueOperation]:
    """Issue without a service: lanes of our own for the tokens of the convention and of the audit key, and the log `cli`.

    One process at a time does this on a home; others wait their turn.

    Raises:
        ConfigurationError: a file is wrong.
        HsmUnavailable: the token cannot be used.
        SpoolUnavailable: the log cannot be opened, or others issue on this home without end.
    """
    clock = SystemClock()
    keyring = Keyring.load(config.keys)
    cell = RegistryCell(build_registry(config, keyring))
    used = [each for each in cell.current.clients() if each.id == convention_id]
    keys = {each.key for each in used}
    tokens = {token for key in config.keys if key.name in keys for token in key.tokens}
    async with contextlib.AsyncExitStack() as stack:
        await _enter_lock(stack, config.home.run / "cli.lock")
        audit = audit_table(config).token
        sockets = await _open_local_lanes(stack, config, tokens)
        if audit not in sockets:
            sockets |= await _open_local_lanes(stack, config, {audit})
        signer = CheckpointClient(sockets[audit])
        stack.callback(signer.close)
        trace = build_trace(config, COMMAND_LINE, cell, signer, clock)
        stack.push_async_callback(trace.aclose)
        # A large log takes seconds: it is open before the vector's deadlines begin.
        await trace.open(map(retention_class, used))
        queue = build_queue(config, sockets, clock)
        queue.start()
        stack.push_async_callback(queue.aclose)
        yield build_issue(config, cell, keyring, queue, trace, VectorCache(cache_limits(config)))


async def _open_local_lanes(
    stack: contextlib.AsyncExitStack, config: Config, tokens: set[str]
) -> dict[str, list[Path]]:
    """Open one lane on the first of the tokens that can be opened, until the stack ends; returns its socket by token.

    Raises:
        HsmUnavailable: none can be.
    """
    failure: HsmError | None = None
    for token in config.tokens:
        if token.name in tokens:
            at = token_directory(config, token) / f"cli-{token.name}.sock"
            try:
                lane = await open_lane(config, token, 0, at)
            except HsmError as error:
                failure = failure or error
            else:
                stack.push_async_callback(lane.stop)
                return {token.name: [at]}
    if failure is not None:
        raise hsm_unavailable(failure) from failure
    return {}


async def _serve(config: Config, index: int, sockets: Sequence[socket.socket]) -> None:
    """Be worker `index`."""
    clock = SystemClock()
    keyring = Keyring.load(config.keys)
    builder = RegistryBuilder(config.home.conventions)
    cell = RegistryCell(builder.resume(config.home.in_force, home_parts(config, keyring)))
    metrics.state_build()
    async with contextlib.AsyncExitStack() as stack:
        trace = await open_worker_trace(stack, config, index, cell)
        lanes = {
            token.name: [lane_socket(config, token, lane) for lane in range(token.lanes)]
            for token in config.tokens
        }
        queue = build_queue(config, lanes, clock)
        queue.start()
        stack.push_async_callback(queue.aclose)
        memory = open_memory(config, stack)
        ground = Ground(config, cell, keyring, queue, trace, memory, clock)
        core = build_core(ground)
        operations = build_operations(ground, core)
        gateway = Gateway(ground, core, sockets[_API_SOCKETS:])
        admission = Admission(server_settings(config))
        application = ApiApplication(operations, build_callers(config), admission, clock)
        server = ApiServer(application, sockets[:_API_SOCKETS], admission)
        servers = Servers([server, *gateway.servers])
        _end_on_signals(servers)
        control = _Control(
            config,
            keyring,
            queue,
            cell,
            Served(application, operations.health, builder, memory.vectors, gateway),
        )
        watch = CrlWatch(lambda: (*cell.watched(), *gateway.watched()), clock)
        beside = [control.obey(servers), watch.run(), gateway.sweep()]
        if index == 0:  # one worker flushes for all, and fetches the CRLs that all read
            downloads = CrlDownloads(cell.crl_sources, clock)
            beside += [keep_flushed(memory.guard), downloads.run()]
        await _serve_beside(servers, beside)


async def _serve_beside(servers: "Servers", work: Sequence[Coroutine[None, None, None]]) -> None:
    """Serve until every listener has drained, the other work of the process going on meanwhile."""
    tasks = [asyncio.create_task(each) for each in work]
    listener.settle_memory()
    print("ready", flush=True)  # noqa: T201 - what the supervisor waits for
    await servers.serve()
    for task in tasks:
        task.cancel()


class Servers:
    """All listeners of a worker: they serve together, and drain together."""

    def __init__(self, servers: Sequence[ApiServer | FrontServer]) -> None:
        self._servers: Final = tuple(servers)

    async def serve(self) -> None:
        """Serve until every one has drained."""
        await asyncio.gather(*(server.serve() for server in self._servers))

    def begin_drain(self) -> None:
        """Stop accepting everywhere."""
        for server in self._servers:
            server.begin_drain()


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A generation that has been read and waits for the supervisor's word."""

    config: Config
    keyring: Keyring
    registry: Registry
    callers: CallerDirectory
    gateway: Generation


@dataclass(frozen=True, slots=True)
class Served:
    """What a commit changes besides the conventions themselves, what reads them, and what looks at the whole."""

    application: ApiApplication
    health: Health
    builder: RegistryBuilder
    vectors: VectorCache
    gateway: Gateway


class _Control:
    """The worker's end of a reload: a generation is loaded, then committed or discarded as the supervisor says; it may ask how we are."""

    def __init__(
        self,
        config: Config,
        keyring: Keyring,
        queue: SigningQueue,
        cell: RegistryCell,
        served: Served,
    ) -> None:
        self._tokens: Final = {token.name for token in config.tokens}
        self._queue: Final = queue
        self._keyring: Final = keyring
        self._root: Final = config.home.root
        self._cell: Final = cell
        self._served: Final = served
        self._turn: Final = asyncio.Lock()
        self._loaded: _Loaded | None = None

    async def obey(self, servers: Servers) -> None:
        """Do what stdin says; its end means that the parent is gone, and so should we be."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with asyncio.TaskGroup() as answers:
            while line := (await reader.readline()).decode():
                order, _, rest = line.strip().partition(" ")
                if order == NEWS:
                    # Nobody waits for an answer, and jobs may wait for this while a generation is loaded.
                    self._queue.learn(msgspec.json.decode(rest, type=TokenNews))
                else:
                    answers.create_task(self._answer(order, rest))
            _LOG.warning("parent-gone")
            servers.begin_drain()

    async def _answer(self, order: str, generation: str) -> None:
        """Follow one order after the other, and say so."""
        async with self._turn:
            print(await self._follow(order, generation), flush=True)  # noqa: T201 - what the supervisor waits for

    async def _follow(self, order: str, generation: str) -> str:
        if order == "look":
            readiness = await self._served.health.check()
            return " ".join(["looked", "; ".join(readiness.reasons).replace("\n", " ")])
        if order == "load":
            return await self._load_ahead(generation)
        if order == "commit" and self._loaded is not None:
            loaded, served = self._loaded, self._served
            self._queue.serve_keys(tokens_of_keys(loaded.config, self._tokens))
            self._keyring.adopt(loaded.keyring)
            self._cell.current, served.application.callers = loaded.registry, loaded.callers
            served.gateway.commit(loaded.gateway)
            self._served.vectors.clear(SystemClock().now())
            self._loaded = None
            return f"committed {generation}"
        self._loaded = None
        return f"discarded {generation}"

    async def _load_ahead(self, generation: str) -> str:
        """Load a generation, or say why not, whatever the reason: without an answer no other reload would get here."""
        self._loaded = None  # or it would be committed in the place of what cannot be loaded
        try:
            self._loaded = await asyncio.to_thread(self._load)
        except ApplianceError as exc:
            return exc.detail.replace("\n", " ")
        except Exception as exc:  # noqa: BLE001 - the edge of this process; the supervisor says it on
            _LOG.error("reload-failed", exc)
            return f"a defect of ours: {type(exc).__name__}"
        return f"loaded {generation}"

    def _load(self) -> _Loaded:
        """Read everything in a thread: requests go on under the conventions in force."""
        config = load_config(self._root)
        keyring = Keyring.load(config.keys)
        registry = self._served.builder.build(home_parts(config, keyring))
        gateway = self._served.gateway.load(config)
        return _Loaded(config, keyring, registry, build_callers(config), gateway)


def _end_on_signals(servers: Servers) -> None:
    """Drain on SIGTERM, which the supervisor sends; Ctrl-C does not reach a session of our own."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, servers.begin_drain)


async def _enter_lock(stack: contextlib.AsyncExitStack, file: Path) -> None:
    """Hold a lock file until the stack ends."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    lock = stack.enter_context(file.open("w"))
    deadline = asyncio.get_running_loop().time() + _LOCAL_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                raise SpoolUnavailable(
                    Reason.SPOOL_UNAVAILABLE,
                    f"other commands have been issuing on this home for {_LOCAL_PATIENCE:.0f} s; start the service",
                ) from None
            await asyncio.sleep(_LOCAL_POLL)
        else:
            return
