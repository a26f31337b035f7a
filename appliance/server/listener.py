"""Listening sockets, and uvicorn on them inside one worker.

Promises that a unix socket never accepts before its permissions are set, that draining lets every request in flight finish within the
drain timeout, and that no signal handler is touched: the worker owns signals and calls `begin_drain`.
"""

import asyncio
import contextlib
import gc
import resource
import socket
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, cast

import uvicorn
import uvloop
from uvicorn.server import ServerState

from appliance.server.admission import Admission
from appliance.server.protocol import ApiProtocol
from appliance.server.routes import ApiApplication

BACKLOG: Final = 1024
_SOCKET_MODE: Final = 0o660
_YOUNG: Final = 10_000
"""Objects from one look of the collector at the youngest to the next; those of a request, some hundred, mostly go before."""

_OTHER_DESCRIPTORS: Final = 256
"""Files, lane sockets and lingering connections beside the admitted ones."""


def run(main: Coroutine[None, None, None]) -> None:
    """Run a worker's main coroutine on uvloop."""
    uvloop.run(main)


def settle_memory() -> None:
    """Have the collector of cycles leave alone what is loaded by now, and look at what is new less often.

    A full collection of a worker that has loaded its modules takes 30 ms, in which it answers nobody; requests under load cause one every
    few seconds. What is loaded and replaced later still goes by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def listen_tcp(host: str, port: int) -> socket.socket:
    """Listen on a TCP address; port 0 takes a free one.

    Raises:
        OSError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Listen on a unix socket that owner and group may use; a socket that nobody serves any more is replaced.

    Raises:
        OSError: somebody serves it, or the directory is not ours to write.
    """
    _remove_dead_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(_SOCKET_MODE)  # before listen: nobody can connect yet
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(f"another process serves {path}")


class ApiServer:
    """uvicorn serving one application on given sockets until drained."""

    def __init__(
        self, application: ApiApplication, sockets: Sequence[socket.socket], admission: Admission
    ) -> None:
        self._sockets: Final = list(sockets)
        self._admission: Final = admission
        protocol = partial(ApiProtocol, admission=admission)
        self._server: Final = _SignallessServer(
            uvicorn.Config(
                application,
                http=cast("type[asyncio.Protocol]", protocol),  # uvicorn only calls it
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=cast(
                    "int", admission.settings.drain_timeout
                ),  # any number
            )
        )

    def __repr__(self) -> str:
        return f"ApiServer({len(self._sockets)} sockets, {self._admission})"

    async def serve(self) -> None:
        """Serve until `begin_drain` was called and what was in flight is answered or out of time."""
        _raise_descriptor_limit(
            self._admission.settings.connections * len(self._sockets) + _OTHER_DESCRIPTORS
        )
        state = self._server.server_state
        watching = watch_pace(state, self._admission.settings.pace_interval)
        pace = asyncio.create_task(watching, name="pace")
        try:
            await self._server.serve(self._sockets)
        finally:
            pace.cancel()
            await self._cut_off()

    def begin_drain(self) -> None:
        """Stop accepting; connections close after the answer they wait for."""
        self._admission.is_draining = True
        self._server.should_exit = True

    async def _cut_off(self) -> None:
        """Let requests that were out of time say so, then leave nothing open."""
        state = self._server.server_state
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=self._admission.settings.linger)
        for connection in connections_of(state):
            connection.transport.abort()


async def watch_pace(state: ServerState, interval: float) -> None:
    """Hold every connection to its pace, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval)
        now = loop.time()
        for connection in connections_of(state):
            connection.check_pace(now)


def connections_of(state: ServerState) -> list[ApiProtocol]:
    """Return the connections that are open now."""
    return cast("list[ApiProtocol]", list(state.connections))


class _SignallessServer(uvicorn.Server):
    """uvicorn's server, leaving signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _raise_descriptor_limit(wanted: int) -> None:
    """Let this process hold as many descriptors as its connection limits promise, as far as the hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        capped = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (capped, hard))
