"""A gateway's listener inside one worker: TCP, TLS or a unix socket, each connection with the limits of the API's protocol.

Promises that a peer has only so many TLS handshakes under way and each of them an end, that a renewed certificate serves the next
connection without a restart, and that draining lets messages under way finish within the drain timeout.
"""

import asyncio
import socket
import ssl
from collections import Counter
from typing import Final

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.server import ServerState

from appliance.errors import ApplianceError
from appliance.gateway.fields import REQUEST_ID
from appliance.gateway.refusals import guess_version, write_refusal
from appliance.log import Log
from appliance.metrics import HANDSHAKES_REFUSED
from appliance.server.admission import Admission
from appliance.server.answers import Answer, status_of
from appliance.server.callers import plain_address
from appliance.server.listener import connections_of, watch_pace
from appliance.server.protocol import ApiProtocol

_LOG: Final = Log("server")
_ACCEPTED_AT_ONCE: Final = 32
_HANDSHAKE: Final = 10.0
_HANDSHAKES: Final = 256
_HANDSHAKES_PER_PEER: Final = 16
_PATIENCE: Final = 0.05


class FrontProtocol(ApiProtocol):
    """One connection of a gateway's listener: a caller that speaks SOAP is told in SOAP what HTTP refuses."""

    def answer_refusal(self, error: ApplianceError, request_id: str, content_type: bytes) -> Answer:
        """Write a fault in the version that the head announced, else 1.1; the status is HTTP's, because no message was looked at."""
        _, fields, body = write_refusal(error, guess_version(content_type), request_id)
        headers = tuple(
            field for field in fields if field[0] != REQUEST_ID
        )  # written with the head
        return Answer(status_of(error), headers, body)


class FrontServer:
    """One listening socket.

    Attributes:
        tls: for connections that come from now on; None: in clear.
    """

    def __init__(
        self,
        name: str,
        application: ASGI3Application,
        listener: socket.socket,
        admission: Admission,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.tls = tls
        self._name: Final = name
        self._listener: Final = listener
        self._admission: Final = admission
        self._state: Final = ServerState()
        self._config: Final = uvicorn.Config(
            application,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._ended: Final = asyncio.Event()
        self._handshakes: Final = Counter[str]()
        self._opening: Final = set[asyncio.Task[None]]()

    def __repr__(self) -> str:
        return f"FrontServer({self._name}, connections={len(self._state.connections)})"

    async def serve(self) -> None:
        """Serve until `begin_drain` was called and what was under way is answered or out of time."""
        loop = asyncio.get_running_loop()
        self._listener.settimeout(0)
        loop.add_reader(self._listener.fileno(), self._accept)
        pace = asyncio.create_task(
            watch_pace(self._state, self._admission.settings.pace_interval), name="pace"
        )
        try:
            await self._ended.wait()
            await self._drain()
        finally:
            loop.remove_reader(self._listener.fileno())
            pace.cancel()
            for connection in connections_of(self._state):
                connection.transport.abort()

    def begin_drain(self) -> None:
        """Stop accepting; connections close after the answer they wait for."""
        self._admission.is_draining = True
        self._ended.set()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:  # out of descriptors, or the peer is gone already
                _LOG.warning("not-accepted", listener=self._name, cause=exc.strerror)
                return
            connection.settimeout(0)
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        peer = _address_of(connection)
        if self.tls is not None and (
            len(self._opening) >= _HANDSHAKES or self._handshakes[peer] >= _HANDSHAKES_PER_PEER
        ):
            HANDSHAKES_REFUSED.labels(self._name).inc()
            connection.close()
            return
        self._handshakes[peer] += 1
        task = asyncio.create_task(self._open(connection, peer))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self.tls,
                ssl_handshake_timeout=None if self.tls is None else _HANDSHAKE,
            )
        except (OSError, asyncio.TimeoutError) as exc:  # noqa: UP041 - uvloop raises either
            cause = getattr(exc, "reason", None) or str(exc) or type(exc).__name__
            _LOG.info("no-connection", listener=self._name, peer=peer, cause=cause)
            connection.close()
        finally:
            self._handshakes[peer] -= 1
            if not self._handshakes[peer]:
                del self._handshakes[peer]

    def _make_protocol(self) -> FrontProtocol:
        return FrontProtocol(self._config, self._state, {}, None, admission=self._admission)

    async def _drain(self) -> None:
        """Let what is under way come to its end; tell what does not why."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        settings = self._admission.settings
        for connection in connections_of(self._state):
            connection.shutdown()
        end = loop.time() + settings.drain_timeout
        while self._state.connections and loop.time() < end:  # noqa: ASYNC110 - uvicorn's state announces nothing
            await asyncio.sleep(_PATIENCE)
        tasks = [*self._state.tasks, *self._opening]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=settings.linger)


def _address_of(connection: socket.socket) -> str:
    if connection.family == socket.AF_UNIX:
        return "unix"
    try:
        return plain_address(str(connection.getpeername()[0]))
    except OSError:
        return "gone"
