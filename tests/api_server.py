"""The real server in a thread of its own, on real sockets, and a client that sends octets as they are."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import httptools
import uvloop

from appliance.clock import SystemClock
from appliance.server.admission import Admission
from appliance.server.callers import BearerKey, CallerDirectory
from appliance.server.listener import ApiServer, listen_tcp, listen_unix
from appliance.server.ports import Operations
from appliance.server.routes import ApiApplication
from appliance.server.settings import ServerSettings
from tests.software_operations import make_operations

TIMEOUT = 10.0


@dataclass
class Answer:
    """One response as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of an error."""
        return self.json["error"]["reason"]


class Connection:
    """A client that reads one response after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(TIMEOUT)
        self._complete: list[Answer] = []
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.sock.sendall(octets)

    def ask(self, octets: bytes) -> Answer:
        """Send octets and read one response."""
        self.send(octets)
        return self.answer()

    def answer(self) -> Answer:
        """Read the next response."""
        while not self._complete:
            octets = self.sock.recv(65536)
            assert octets, "the server closed the connection without an answer"
            self._parser.feed_data(octets)
        return self._complete.pop(0)

    def is_closed(self) -> bool:
        """Wait for the server to close; False when it still has something to say."""
        assert not self._complete
        try:
            return self.sock.recv(65536) == b""
        except ConnectionResetError:
            return True

    def on_message_begin(self) -> None:
        """Start a response."""
        self._answer = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field."""
        pair = (name.decode().lower(), value.decode())
        self._answer.pairs.append(pair)
        self._answer.headers[pair[0]] = pair[1]

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._answer.body += body

    def on_message_complete(self) -> None:
        """Finish a response."""
        self._answer.status = self._parser.get_status_code()
        if self._answer.status != 100:
            self._complete.append(self._answer)


@dataclass
class RunningApi:
    """One server that runs."""

    port: int
    unix_path: Path
    server: ApiServer
    application: ApiApplication
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    def connect(self) -> Connection:
        """Connect over TCP."""
        return Connection(socket.create_connection(("127.0.0.1", self.port), TIMEOUT))

    def connect_unix(self) -> Connection:
        """Connect over the unix socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.unix_path))
        return Connection(sock)

    def ask(self, octets: bytes) -> Answer:
        """Send octets on a connection of their own and read one response."""
        with self.connect() as connection:
            return connection.ask(octets)

    def request(
        self, method: str, path: str, body: bytes | dict | list = b"", **headers: str
    ) -> Answer:
        """Send one well-formed request; header names are written with underscores."""
        return self.ask(write_request(method, path, body, **headers))

    def begin_drain(self) -> None:
        """Do what the worker does on SIGTERM."""
        self.loop.call_soon_threadsafe(self.server.begin_drain)

    def call(self, function: Any, *arguments: Any) -> None:
        """Call something in the server's loop."""
        self.loop.call_soon_threadsafe(function, *arguments)

    def join(self) -> None:
        """Wait for the server to end."""
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()


def write_request(method: str, path: str, body: bytes | dict | list = b"", **headers: str) -> bytes:
    """Write one well-formed request; header names are written with underscores."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"host": "127.0.0.1"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    if octets or method == "POST":
        fields["content-length"] = str(len(octets))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + octets


@contextmanager
def running_api(
    operations: Operations | None = None,
    settings: ServerSettings | None = None,
    keys: tuple[BearerKey, ...] = (),
    own_uid: int = 0,
) -> Iterator[RunningApi]:
    """Run the server until the block ends, then drain it."""
    admission = Admission(settings or ServerSettings())
    application = ApiApplication(
        operations or make_operations(), CallerDirectory(keys, own_uid), admission, SystemClock()
    )
    with TemporaryDirectory() as directory:
        unix_path = Path(directory) / "api.sock"
        sockets = [listen_tcp("127.0.0.1", 0), listen_unix(unix_path)]
        port = sockets[0].getsockname()[1]
        server = ApiServer(application, sockets, admission)
        loop = uvloop.new_event_loop()
        thread = threading.Thread(target=_run, args=(loop, server), daemon=True)
        thread.start()
        running = RunningApi(port, unix_path, server, application, loop, thread)
        try:
            yield running
        finally:
            if thread.is_alive():
                running.begin_drain()
                running.join()
            loop.close()


def _run(loop: asyncio.AbstractEventLoop, server: ApiServer) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(server.serve())
