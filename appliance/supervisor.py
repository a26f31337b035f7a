"""`appliance serve`: the small process that keeps the others.

It opens lanes one after the other (several at once break SoftHSM's file store), then starts workers on sockets it holds itself,
so that a worker may die without a connection being refused; it has both started again when they end (`keeper`); on SIGTERM it drains
(workers finish what they accepted, then lanes end); on SIGHUP it validates the conventions and has every worker take them, or none.
It writes the log `system` (start, stop, reload, keys and how often they signed, conventions, refused logins, ended children) and closes
logs that nobody writes any more. It never loads a PKCS#11 module, never sees a PIN, and never parses the network.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import functools
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import msgspec
import uvloop

from appliance import log, metrics
from appliance.cache.replay_guard import prepare_guard
from appliance.cache.shared_memory import prepare_shared_memory
from appliance.child import Child
from appliance.clock import SystemClock
from appliance.config import Config, KeyTable, TokenTable, load_config, read_listen
from appliance.conventions.inforce import keep_in_force
from appliance.conventions.loader import ConventionChanges
from appliance.conventions.registry import Registry
from appliance.errors import ApplianceError, ConfigurationError, Unavailable
from appliance.expiry import CERTIFICATE_CHECK_SECONDS, say_all_expiry
from appliance.frontchecks import check_fronts
from appliance.fronts import open_fronts
from appliance.generations import ask, offer
from appliance.home import Home
from appliance.keeper import Kept, KeptLanes, OpenLane
from appliance.logkeeping import close_orphaned_logs, open_system_log, traced_keys
from appliance.ownership import (
    check_worker,
    find_sharing,
    give,
    share_configuration,
    share_home,
    worker_user,
)
from appliance.parts import build_registry, hsm_unavailable, open_lane
from appliance.server.listener import listen_tcp, listen_unix
from appliance.signing.lanes import say_hung
from appliance.signing.news import TokenNews
from appliance.trace.record import Event
from appliance.trace.system import SystemLog
from appliance.usage import UsageLedger
from appliance.wiring import NEWS, SECRET_VARIABLES
from hsm.errors import PIN_CODES, HsmError
from hsm.process import FROZEN, HUNG, LaneProcess, SpawnedLane
from hsm.wire import Refused

_LOG: Final = log.Log("supervisor")
_WORKER_READY_TIMEOUT: Final = 30.0
_LOOK_EVERY: Final = 2.0  # seconds between looks for changed conventions
_LONGEST_DETAIL: Final = 1000
_LANE_RENEW_TIMEOUT: Final = 5.0
_LANE_STOP_TIMEOUT: Final = 2.0
"""Seconds to close an idle session in, once no worker is left; a lane that takes longer is one that does not answer."""

_KEEP_EVERY: Final = 1.0
_COUNT_EVERY: Final = 60.0


def run(config: Config, listen: str) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        config: the home.
        listen: HOST:PORT of the API.

    Raises:
        ConfigurationError: the address is taken, the home is served already, or a file is wrong.
        Unavailable: a lane or a worker could not be started.
    """
    with _sole_owner(config.home):
        uvloop.run(_Supervisor(config, listen).run())


class _Supervisor:
    def __init__(self, config: Config, listen: str) -> None:
        self._config = config
        self._listen: Final = listen
        self._reloading: Final = asyncio.Lock()
        self._generation = 1
        self._clock: Final = SystemClock()
        self._system: SystemLog | None = None
        self._refused: Final[set[str]] = set()
        self._sockets: list[socket.socket] = []
        self._usage: Final = UsageLedger(config.home.key_usage)
        self._lanes: Final = [
            KeptLanes(
                token.name,
                token.lanes,
                self._lane_opener(token),
                note_end=functools.partial(self._lane_ended, token),
                usage=self._usage,
            )
            for token in config.tokens
        ]
        self._workers: Final = [
            Kept(
                f"worker {index}",
                self._worker_starter(index),
                metrics.WORKER_RESTARTS,
                functools.partial(self._record_end, "worker-ended"),
            )
            for index in range(config.api.workers)
        ]

    async def run(self) -> None:
        registry = self._prepare()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop_lanes)
            # It closes when the workers have ended, and before the lanes do, which sign its last checkpoint.
            self._system = await stack.enter_async_context(
                open_system_log(self._config, registry, self._clock)
            )
            stack.callback(self._count, whole=True)
            stack.push_async_callback(self._stop_workers)
            self._sockets = self._open_sockets()
            give(self._config.home.api_socket, worker_user(self._config))
            await self._start_lanes()
            await close_orphaned_logs(self._config, self._clock)
            for worker in self._workers:
                await worker.start()
            kept: tuple[KeptLanes | Kept[Child], ...] = (*self._lanes, *self._workers)
            keepers = [asyncio.create_task(each.keep()) for each in kept]
            own = (self._watch_certificates(), self._count_signatures(), self._keep_signatures())
            keepers.extend(asyncio.create_task(each) for each in own)
            reloads: set[asyncio.Task[None]] = set()

            def reload() -> None:
                task = asyncio.create_task(self._reload())
                reloads.add(task)
                task.add_done_callback(reloads.discard)

            loop.add_signal_handler(signal.SIGHUP, reload)
            keepers.append(asyncio.create_task(self._reload_on_change(reload)))
            await self._say_ready()
            await stop.wait()
            _LOG.info("draining")
            for task in (*keepers, *reloads):
                task.cancel()
        _LOG.info("stopped")

    def _prepare(self) -> Registry:
        """See that the files of the home fit together, and make what the children share."""
        metrics.forget_earlier_run(self._config.home.metrics)
        metrics.state_build()
        metrics.GENERATION.set(self._generation)
        check_worker(self._config)
        registry = _read_conventions(self._config)
        prepare_guard(
            self._config.home.replay_guard, self._config.replay.capacity, self._clock.now()
        )
        prepare_shared_memory(
            self._config.home.shared_vectors, self._config.vector_cache.shared_memory
        )
        self._put_in_force(registry)
        self._config.home.messages.mkdir(mode=0o700, exist_ok=True)
        share_home(self._config, registry)
        for token in self._config.tokens:
            why = find_sharing(self._config, token)
            if why is not None:
                _LOG.warning("users-shared", token=token.name, detail=why)
        return registry

    def _put_in_force(self, registry: Registry) -> None:
        """Have workers that begin from now on take this set, whatever becomes of the files."""
        worker = worker_user(self._config)
        reader = None if worker is None else (worker.uid, worker.gid)
        keep_in_force(self._config.home.in_force, registry.all(), reader)

    def _open_sockets(self) -> list[socket.socket]:
        host, port = read_listen("--api", self._listen)
        try:
            tcp = listen_tcp(host, port)
        except OSError as exc:
            raise ConfigurationError(
                "--api", "api.listen", f"a free address, {self._listen}: {exc.strerror}"
            ) from exc
        return [tcp, listen_unix(self._config.home.api_socket), *open_fronts(self._config)]

    async def _say_ready(self) -> None:
        """Print the one line that says where we listen, and what `/readyz` has to say against it."""
        missing = await self._look()
        state = f"listening, not ready ({missing})" if missing else "ready"
        host, port = self._sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(  # noqa: T201 - the one line CONTRACT 2 promises
            f"appliance {state}: http://{shown}:{port} · {len(self._workers)} worker(s) · "
            f"{sum(lanes.lanes_up for lanes in self._lanes)} lane(s) · home {self._config.home.root}",
            flush=True,
        )

    async def _look(self) -> str:
        """Ask a worker what is missing; empty when nothing is."""
        child = self._workers[0].child
        if child is None:
            return "the first worker has ended"
        async with self._reloading:
            try:
                return (await ask(child, "look")).removeprefix("looked").strip()
            except Unavailable as exc:
                return exc.detail

    async def _start_lanes(self) -> None:
        """Open the lanes of every token; one that cannot be opened is left to its keeper if others hold all of its keys.

        States where the counts of their keys stand before anybody can have them sign.

        Raises:
            HsmUnavailable: a key cannot be signed with.
        """
        errors: dict[str, HsmError] = {}
        for lanes in self._lanes:
            try:
                await lanes.start()
            except HsmError as error:
                errors[lanes.token] = error
        for key in self._config.keys:
            if errors.keys() >= set(key.tokens):
                raise hsm_unavailable(errors[key.tokens[0]])
        for token, failure in errors.items():
            _LOG.error("token-not-opened", token=token, detail=str(failure))
        self._count(whole=True)

    def _lane_opener(self, token: TokenTable) -> OpenLane:
        async def opened(index: int, spawned: SpawnedLane | None) -> LaneProcess:
            try:
                lane = await open_lane(self._config, token, index, spawned=spawned)
            except HsmError as error:
                self._record_refused_login(token.name, error)
                finding = error.finding
                self._tell_workers(token, Refused(finding.code, str(error), finding.kind))
                raise
            self._refused.discard(token.name)
            self._tell_workers(token, None)
            return lane

        return opened

    def _worker_starter(self, index: int) -> Callable[[], Awaitable[Child]]:
        async def start() -> Child:
            async with self._reloading:  # or it would begin with a set that others leave meanwhile
                return await begin()

        async def begin() -> Child:
            descriptors = [listener.fileno() for listener in self._sockets]
            child = await Child.start(
                f"worker {index}",
                [
                    *(sys.executable, "-m", "appliance", "worker"),
                    *("--home", str(self._config.home.root), "--index", str(index)),
                    *("--sockets", ",".join(map(str, descriptors))),
                ],
                environment=_worker_environment(self._config, os.environ),
                pass_fds=descriptors,
            )
            try:
                await child.hear(_WORKER_READY_TIMEOUT)
            except Unavailable:
                await child.stop(0)
                raise
            return child

        return start

    async def _reload_on_change(self, reload: Callable[[], None]) -> None:
        """Reload once convention files have changed and come to rest."""
        changes = ConventionChanges(self._config.home.conventions)
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if await asyncio.to_thread(changes.settled):
                _LOG.info("conventions-changed")
                reload()

    async def _reload(self) -> None:
        """Have every worker load the conventions, then all commit, or all discard (DESIGN section 2)."""
        async with self._reloading:
            generation = self._generation + 1
            try:
                config = load_config(self._config.home.root)
                # In a thread, for ten thousand files take a while.
                registry = await asyncio.to_thread(_read_conventions, config)
                share_configuration(config, registry)
                await self._adopt_keys(config)
                children = [kept.child for kept in self._workers if kept.child is not None]
                refusals = await offer(children, generation, lambda: self._put_in_force(registry))
            except ApplianceError as exc:
                refusals = [exc.detail]
            except Exception as exc:  # noqa: BLE001 - whoever asked for the reload waits for a verdict; a task that ends gives none
                _LOG.error("reload-failed", exc)
                refusals = [f"a defect of ours: {type(exc).__name__}: {exc}"]
            if refusals:
                _LOG.error("reload-refused", detail="; ".join(refusals))
                self._record("reload-refused", detail="; ".join(refusals)[:_LONGEST_DETAIL])
                return
            self._generation = generation
            metrics.GENERATION.set(generation)
            say_all_expiry(self._config, SystemClock())
            _LOG.info("reloaded", generation=generation)
            self._record("reloaded", detail=f"generation {generation}")
            if self._system is not None:
                self._system.record_keys(traced_keys(self._config))
                self._system.record_conventions(self._config.home.conventions)
            self._count(whole=True)

    async def _count_signatures(self) -> None:
        while True:
            await asyncio.sleep(_COUNT_EVERY)
            self._count(whole=False)

    async def _keep_signatures(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_EVERY)
            for lanes in self._lanes:
                lanes.count()
            self._usage.keep()

    def _count(self, *, whole: bool) -> None:
        """Read what the lanes have signed, keep it, and state it: all of it, or what has changed."""
        for lanes in self._lanes:
            lanes.count()
        self._usage.keep()
        self._usage.say()
        if self._system is not None:
            self._system.record_usage(self._usage.totals(), whole=whole)

    async def _watch_certificates(self) -> None:
        while True:
            say_all_expiry(self._config, SystemClock())
            await asyncio.sleep(CERTIFICATE_CHECK_SECONDS)

    async def _adopt_keys(self, config: Config) -> None:
        """Renew the lanes, one by one, when keys have come or changed hands; keys that have gone stay until the next start.

        Raises:
            ConfigurationError: a [[key]] of the same name is now another key.
            HsmUnavailable: a lane cannot sign with the new keys; those not yet renewed sign with the old ones.
        """
        before = {key.name: key for key in self._config.keys}
        after = {key.name: key for key in config.keys}
        for name in before.keys() & after.keys():
            if _identity(before[name]) != _identity(after[name]):
                raise ConfigurationError(
                    str(config.home.config_file),
                    f"key `{name}`",
                    "the key in service under this name; give its successor a name of its own",
                )
        if after.keys() <= before.keys():
            return
        served = self._config
        self._config = dataclasses.replace(served, keys=tuple((before | after).values()))
        try:
            for lanes in self._lanes:
                await lanes.renew(_LANE_RENEW_TIMEOUT)
        except HsmError as error:
            self._config = served
            raise hsm_unavailable(error) from error

    def _record(self, event: Event, **facts: str | None) -> None:
        if self._system is not None:
            self._system.record(event, **facts)

    def _lane_ended(self, token: TokenTable, lane: str, status: int) -> None:
        self._record_end("lane-ended", lane, status)
        if status in {FROZEN, HUNG}:
            self._tell_workers(token, say_hung(token.name, float(token.call_timeout)))

    def _tell_workers(self, token: TokenTable, failure: Refused | None) -> None:
        """Let every worker know what has become of a token; one that does not read has other troubles."""
        news = msgspec.json.encode(TokenNews(token.name, failure))
        for worker in self._workers:
            if worker.child is not None:
                worker.child.tell(b" ".join([NEWS.encode(), news]))

    def _record_end(self, event: Event, component: str, status: int) -> None:
        self._record(event, component=component, detail=f"status {status}")

    def _record_refused_login(self, token: str, error: HsmError) -> None:
        """State a refused PIN once, however often the token's lanes try to start."""
        if error.finding.code in PIN_CODES and token not in self._refused:
            self._refused.add(token)
            detail = str(error)[:_LONGEST_DETAIL]
            self._record(
                "login-failed", component=f"token {token}", reason="pin-refused", detail=detail
            )

    async def _stop_workers(self) -> None:
        grace = self._config.api.drain_timeout + 2
        await asyncio.gather(*(kept.stop(grace) for kept in self._workers))
        for listener in self._sockets:
            listener.close()

    async def _stop_lanes(self) -> None:
        await asyncio.gather(*(kept.stop(_LANE_STOP_TIMEOUT) for kept in self._lanes))
        self._usage.keep()
        self._usage.say()
        self._config.home.api_socket.unlink(missing_ok=True)


def _identity(key: KeyTable) -> tuple[object, ...]:
    """What makes a [[key]] the key it is; its certificates may be renewed."""
    return key.tokens, key.label, key.id, key.mechanism


def _worker_environment(config: Config, environment: Mapping[str, str]) -> dict[str, str]:
    """Everything but what could lead to a PIN (DESIGN invariant 7)."""
    hidden = SECRET_VARIABLES | {token.pin_env for token in config.tokens if token.pin_env}
    return {name: value for name, value in environment.items() if name not in hidden}


def _read_conventions(config: Config) -> Registry:
    """Load the conventions, and see that the gateway fits them."""
    registry = build_registry(config)
    check_fronts(config, registry)
    return registry


@contextlib.contextmanager
def _sole_owner(home: Home) -> Iterator[None]:
    """Hold the home's lock while serving.

    Raises:
        ConfigurationError: another process serves this home.
    """
    home.run.mkdir(mode=0o700, exist_ok=True)
    with home.serve_lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                str(home.root), "", "a home that no other `appliance serve` is running on"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
