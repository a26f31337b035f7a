"""The connections to one partner: kept for the next message, bounded, and spread over its endpoints by their order.

Promises that a message waits for a connection only so long and behind only so many others, that an endpoint that cannot be reached
is passed over and left alone for a while, and that nothing is written before a connection is known to lead to the partner: chain,
revocation, pins and names are checked on each, resumed or not, and looked at again on one that is kept, at most a second old.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from ssl import SSLError, SSLObject
from typing import Final, Protocol, cast

import msgspec

from appliance.errors import PartnerUnavailable, Pushback, Reason, VectorRefused
from appliance.gateway.connection import PartnerConnection
from appliance.log import Log
from appliance.metrics import PARTNER_CONNECTIONS, PARTNER_FAILURES
from appliance.trust.tls import ResumingContext

_LOG: Final = Log("gateway")
_LOOK_AGAIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where connections lead.

    Attributes:
        host, port: to connect to.
        authority: what `Host` says.
        path: what stands before the path of every request.
        server_name: what the certificate must be for, and SNI; None: a connection in clear, on this machine.
    """

    host: str
    port: int
    authority: str
    path: str = ""
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of a pool: counts, and seconds.

    Attributes:
        connections: open at once.
        waiting: messages that wait for one.
        wait: how long one waits.
        connect: for TCP and TLS together.
        answer: from the end of the request to the head of the answer, from piece to piece, and for each piece of the request.
        idle: how long a connection is kept that nobody uses.
        avoid: how long an endpoint is passed over that could not be reached.
    """

    connections: int = 64
    waiting: int = 256
    wait: float = 2.0
    connect: float = 5.0
    answer: float = 60.0
    idle: float = 15.0
    avoid: float = 10.0


class PeerCheck(Protocol):
    """`trust.tls.TlsPeers`."""

    def check(self, shown: SSLObject, at: datetime) -> object:
        """Refuse a connection that leads elsewhere."""


@dataclass(slots=True)
class _Place:
    """An endpoint and what is known of it."""

    endpoint: Endpoint
    idle: list[PartnerConnection] = field(default_factory=list)
    avoided_until: float = 0.0


class Lease(msgspec.Struct, frozen=True):
    """A connection for one exchange."""

    connection: PartnerConnection
    endpoint: Endpoint
    _place: _Place


class PartnerPool:
    """The connections of one worker to one partner, or to an application of ours.

    Attributes:
        name: of the partner, as metrics and log have it.
        settings: its bounds.
    """

    def __init__(
        self,
        name: str,
        endpoints: Sequence[Endpoint],
        settings: PoolSettings,
        tls: tuple[ResumingContext, PeerCheck | None] | None,
        now: Callable[[], datetime],
    ) -> None:
        self.name: Final = name
        self.settings: Final = settings
        self._places: Final = [_Place(endpoint) for endpoint in endpoints]
        self._tls: Final = tls
        self._now: Final = now
        self._free: Final = asyncio.Semaphore(settings.connections)
        self._waiting = 0
        self._is_closed = False
        self._open: Final = PARTNER_CONNECTIONS.labels(name)

    def __repr__(self) -> str:
        return f"PartnerPool({self.name}, {[place.endpoint.authority for place in self._places]})"

    async def acquire(self) -> Lease:
        """Take a connection, new or kept; give it back with `release`.

        Raises:
            Pushback: too many wait already, or it took too long until one was free.
            PartnerUnavailable: no endpoint can be reached, or none is the partner's.
        """
        await self._await_turn()
        try:
            return await self._find()
        except BaseException:
            self._free.release()
            raise

    def release(self, lease: Lease) -> None:
        """Give a connection back; one that cannot be used again is closed."""
        connection = lease.connection
        if connection.is_answered and not connection.idle_since:
            self._keep_session(connection)
        if connection.is_reusable and not self._is_closed:
            connection.idle_since = asyncio.get_running_loop().time()
            lease._place.idle.append(connection)  # noqa: SLF001 - a lease is the pool's own
        else:
            self._drop(connection)
        self._free.release()

    def close_idle(self, *, older_than: float = 0.0) -> None:
        """Close connections that nobody has used for so long."""
        limit = asyncio.get_running_loop().time() - older_than
        for place in self._places:
            old = [each for each in place.idle if each.idle_since <= limit or not each.is_reusable]
            for connection in old:
                place.idle.remove(connection)
                self._drop(connection)

    def close(self) -> None:
        """Close what is idle now, and the rest as it is given back."""
        self._is_closed = True
        self.close_idle()

    async def _await_turn(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self.settings.waiting:
            raise Pushback(
                Reason.PARTNER_BUSY,
                f"{self._waiting} messages wait for a connection to `{self.name}` already",
            )
        self._waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), self.settings.wait)
        except TimeoutError as exc:
            raise Pushback(
                Reason.PARTNER_BUSY,
                f"no connection to `{self.name}` was free within {self.settings.wait:g} s",
            ) from exc
        finally:
            self._waiting -= 1

    async def _find(self) -> Lease:
        """Go through the endpoints in their order, those that failed of late at the end."""
        now = asyncio.get_running_loop().time()
        order = sorted(self._places, key=lambda place: place.avoided_until > now)
        failure: PartnerUnavailable | None = None
        for place in order:
            kept = self._take_idle(place, now)
            if kept is not None:
                return Lease(kept, place.endpoint, place)
            try:
                connection = await self._connect(place.endpoint)
            except PartnerUnavailable as exc:
                place.avoided_until = asyncio.get_running_loop().time() + self.settings.avoid
                PARTNER_FAILURES.labels(self.name, exc.reason.value).inc()
                _LOG.warning("endpoint-avoided", partner=self.name, detail=exc.detail)
                failure = failure or exc
            else:
                place.avoided_until = 0.0
                return Lease(connection, place.endpoint, place)
        raise failure or PartnerUnavailable(
            Reason.PARTNER_UNREACHABLE, f"`{self.name}` has no endpoint"
        )

    def _take_idle(self, place: _Place, now: float) -> PartnerConnection | None:
        """Take a kept connection that still leads to the partner."""
        while place.idle:
            connection = place.idle.pop()
            is_fresh = connection.is_reusable and now - connection.idle_since < self.settings.idle
            if is_fresh and self._is_still_trusted(connection, now):
                return connection
            self._drop(connection)
        return None

    def _is_still_trusted(self, connection: PartnerConnection, now: float) -> bool:
        """Look again at whom it shows: a CRL published meanwhile counts. Where not, a new connection says why."""
        if now - connection.checked_at < _LOOK_AGAIN:
            return True
        try:
            self._check_peer(connection)
        except VectorRefused:
            return False
        return True

    async def _connect(self, endpoint: Endpoint) -> PartnerConnection:
        where = f"`{self.name}` at {endpoint.authority}"
        try:
            async with asyncio.timeout(self.settings.connect):
                connection = await self._open_connection(endpoint)
        except TimeoutError as exc:
            detail = f"no connection to {where} within {self.settings.connect:g} s"
            raise PartnerUnavailable(Reason.PARTNER_UNREACHABLE, detail) from exc
        except SSLError as exc:
            detail = f"TLS with {where} fails: {exc.reason or exc}"
            raise PartnerUnavailable(Reason.PARTNER_DISTRUSTED, detail) from exc
        except OSError as exc:
            detail = f"no connection to {where}: {exc.strerror or exc}"
            raise PartnerUnavailable(Reason.PARTNER_UNREACHABLE, detail) from exc
        self._open.inc()
        try:
            self._check_peer(connection)
        except VectorRefused as exc:
            self._drop(connection)
            detail = f"the certificate of {where} is refused: {exc.detail}"
            raise PartnerUnavailable(Reason.PARTNER_DISTRUSTED, detail) from exc
        return connection

    async def _open_connection(self, endpoint: Endpoint) -> PartnerConnection:
        loop = asyncio.get_running_loop()
        if self._tls is None:
            _, plain = await loop.create_connection(PartnerConnection, endpoint.host, endpoint.port)
            return plain
        _, connection = await loop.create_connection(
            PartnerConnection,
            endpoint.host,
            endpoint.port,
            ssl=self._tls[0],
            server_hostname=endpoint.server_name,
        )
        return connection

    def _check_peer(self, connection: PartnerConnection) -> None:
        if self._tls is not None and self._tls[1] is not None:
            self._tls[1].check(_tls_of(connection), self._now())
        connection.checked_at = asyncio.get_running_loop().time()

    def _keep_session(self, connection: PartnerConnection) -> None:
        """Offer the session of a connection to those that follow; TLS 1.3 gives it only after some traffic.

        Called once a connection, because the standard library copies the session, which takes long.
        """
        if self._tls is not None:
            session = _tls_of(connection).session
            if session is not None and session.has_ticket:
                self._tls[0].session = session

    def _drop(self, connection: PartnerConnection) -> None:
        self._open.dec()
        with suppress(RuntimeError):  # the loop is closed
            connection.close()


def _tls_of(connection: PartnerConnection) -> SSLObject:
    return cast("SSLObject", connection.transport.get_extra_info("ssl_object"))
