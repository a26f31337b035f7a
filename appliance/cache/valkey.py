"""A connection to Valkey or Redis, for what several appliances share: RESP 2, pipelined, every wait with a deadline.

Speaks the few commands that are needed and refuses nothing else by itself: a server that does not answer in time, or answers what was
not asked, is `ValkeyUnavailable`, and the next command tries a new connection. How long a key is kept is said in milliseconds from now,
never as an instant: the server's clock may be wrong, and a key whose instant it takes for past is never there at all. One event loop.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

_MOST_WAITING: Final = 1024
_LONGEST_LINE: Final = 64 * 1024
_LONGEST_VALUE: Final = 1024 * 1024

Reply = bytes | int | None


class ValkeyUnavailable(Exception):
    """The server cannot be reached, is too slow, or answers with an error."""


@dataclass(frozen=True, slots=True)
class ValkeySettings:
    """Where the server is, and how long to wait for it.

    Attributes:
        address: `redis://HOST:PORT/DB`, `rediss://…` for TLS, or `unix:///PATH`.
        password: of the default user; None where none is asked.
        within: seconds for a connection or an answer.
    """

    address: str
    password: str | None = field(default=None, repr=False)
    within: float = 0.25


class _Connection:
    """One connection; answers come in the order of the commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader: Final = reader
        self._writer: Final = writer
        self._waiting: Final[deque[asyncio.Future[Reply]]] = deque()
        self._reading: Final = asyncio.get_running_loop().create_task(self._read())

    @property
    def is_open(self) -> bool:
        return not self._reading.done()

    def send(self, *parts: bytes) -> asyncio.Future[Reply]:
        """Send a command; the future resolves with its answer.

        Raises:
            ValkeyUnavailable: too many commands wait already, or the connection has ended.
        """
        if len(self._waiting) >= _MOST_WAITING or not self.is_open:
            raise ValkeyUnavailable("the server does not keep up, or has closed the connection")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        frame = [b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)]
        self._writer.write(b"".join(frame))
        return answer

    def close(self) -> None:
        self._reading.cancel()
        self._writer.close()

    async def _read(self) -> None:
        cause: Exception = ValkeyUnavailable("the server has closed the connection")
        try:
            while True:
                reply = await self._read_reply()
                answer = self._waiting.popleft()
                if answer.done():
                    continue
                if isinstance(reply, ValkeyUnavailable):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except (OSError, EOFError, ValueError, IndexError) as exc:
            cause = ValkeyUnavailable(f"the connection failed ({exc})")
        finally:
            self._writer.close()
            for answer in self._waiting:
                if not answer.done():
                    answer.set_exception(cause)
                    answer.exception()  # whoever waited may be gone

    async def _read_reply(self) -> Reply | ValkeyUnavailable:
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ValkeyUnavailable(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        size = int(rest)
        if kind != b"$" or size > _LONGEST_VALUE:
            raise ValueError("an answer that was not asked for")
        return None if size < 0 else (await self._reader.readexactly(size + 2))[:-2]


class Valkey:
    """A client that connects when it is first needed, and again after a failure."""

    def __init__(self, settings: ValkeySettings) -> None:
        self._settings: Final = settings
        self._connection: _Connection | None = None
        self._connecting: Final = asyncio.Lock()
        self._eviction = ""

    def __repr__(self) -> str:
        state = "idle" if self._connection is None else "connected"
        return f"Valkey({urlsplit(self._settings.address).scheme}, {state})"

    async def set_once(self, key: bytes, value: bytes, lasts_ms: int) -> bool:
        """Set a key that nobody has set, for so long (at least a millisecond); False when somebody has.

        Raises:
            ValkeyUnavailable: nobody can tell.
        """
        lasts = b"%d" % max(1, lasts_ms)
        return await self._ask(b"SET", key, value, b"NX", b"PX", lasts) == b"OK"

    async def set(self, key: bytes, value: bytes, lasts_ms: int) -> None:
        """Set a key for so long (at least a millisecond).

        Raises:
            ValkeyUnavailable: it may or may not have been set.
        """
        await self._ask(b"SET", key, value, b"PX", b"%d" % max(1, lasts_ms))

    async def delete(self, key: bytes) -> None:
        """Delete a key, if it is there.

        Raises:
            ValkeyUnavailable: it may or may not be there.
        """
        await self._ask(b"DEL", key)

    async def eviction(self) -> str:
        """Return what the server drops when its memory is full (`maxmemory-policy`), as it said when we connected.

        Raises:
            ValkeyUnavailable: there is no server.
        """
        async with self._answering():
            await self._connect()
        return self._eviction

    async def info(self, section: str) -> dict[str, str]:
        """Return what the server says of itself.

        Raises:
            ValkeyUnavailable: it says nothing.
        """
        return _read_info(await self._ask(b"INFO", section.encode()))

    async def find(self, key: bytes) -> bytes | None:
        """Return what a key holds.

        Raises:
            ValkeyUnavailable: nobody can tell.
        """
        reply = await self._ask(b"GET", key)
        if reply is not None and not isinstance(reply, bytes):
            raise ValkeyUnavailable("an answer that was not asked for")
        return reply

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    async def _ask(self, *parts: bytes) -> Reply:
        async with self._answering():
            connection = await self._connect()
            return await connection.send(*parts)

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Give what is asked its deadline; a connection that does not keep it is given up."""
        try:
            async with asyncio.timeout(self._settings.within):
                yield
        except (OSError, TimeoutError) as exc:
            if self._connection is not None:
                self._connection.close()
            raise ValkeyUnavailable(f"no answer ({str(exc) or 'too slow'})") from exc

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                connection = _Connection(*await self._open())
                if self._settings.password is not None:
                    await connection.send(b"AUTH", self._settings.password.encode())
                database = urlsplit(self._settings.address).path.strip("/")
                if database.isdigit():
                    await connection.send(b"SELECT", database.encode())
                self._eviction = await _ask_eviction(connection)
                self._connection = connection
            return self._connection

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = urlsplit(self._settings.address)
        if address.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(address.path), limit=_LONGEST_LINE)
        context = ssl.create_default_context() if address.scheme == "rediss" else None
        return await asyncio.open_connection(
            address.hostname, address.port or 6379, ssl=context, limit=_LONGEST_LINE
        )


async def _ask_eviction(connection: _Connection) -> str:
    """Return `maxmemory-policy`; empty where the server does not let us ask."""
    try:
        return _read_info(await connection.send(b"INFO", b"memory")).get("maxmemory_policy", "")
    except ValkeyUnavailable:
        return ""


def _read_info(reply: Reply) -> dict[str, str]:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}
