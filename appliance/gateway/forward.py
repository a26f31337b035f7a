"""The far half of an exchange: a message written to the other end of a route, its answer passed back as it comes.

Promises that a message goes to one endpoint only: another is tried as long as nothing was written, none once something was. The
answer's body passes octet for octet; what is cut off there is cut off here, so that half an answer never looks whole.
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from appliance.errors import ApplianceError, PartnerUnavailable
from appliance.gateway.bodies import Gzip
from appliance.gateway.connection import AnswerHead, Fields, PartnerConnection
from appliance.gateway.exchange import Reply
from appliance.gateway.fields import pass_fields, write_head
from appliance.gateway.pool import Endpoint, Lease, PartnerPool
from appliance.metrics import PARTNER_FAILURES

_LAST_CHUNK: Final = b"0\r\n\r\n"


class Outgoing(msgspec.Struct, frozen=True):
    """A message ready to go.

    Attributes:
        method: of the request.
        target: path and query behind the endpoint's own path.
        fields: those that go on, `Host` and framing aside.
        first: what is there already; all of it where there is no rest.
        rest: what is still to come, checked before it is given out.
        is_gzip: the coding is put on again.
    """

    method: bytes
    target: bytes
    fields: Fields
    first: bytes
    rest: AsyncIterator[bytes] | None = None
    is_gzip: bool = False


async def exchange(pool: PartnerPool, outgoing: Outgoing, reply: Reply) -> int:
    """Send a message and pass its answer back; returns the status.

    Raises:
        PartnerUnavailable: no endpoint could be reached, or the answer did not come, or was cut off.
        Pushback: the pool is full.
        ApplianceError: what the rest of the message raised; the connection it was on is closed.
    """
    lease = await pool.acquire()
    connection = lease.connection
    try:
        head = await _send(lease, outgoing, pool.settings.answer)
        await _pass_back(connection, head, reply, pool.settings.answer)
    except PartnerUnavailable as exc:
        PARTNER_FAILURES.labels(pool.name, exc.reason.value).inc()
        detail = f"`{pool.name}` at {lease.endpoint.authority}: {exc.detail}"
        raise PartnerUnavailable(exc.reason, detail) from exc
    finally:
        if not connection.is_reusable:
            connection.close()
        pool.release(lease)
    return head.status


async def fetch(
    pool: PartnerPool, outgoing: Outgoing, most: int
) -> tuple[AnswerHead, bytes, Endpoint]:
    """Send a request and hold its answer, of at most so many octets.

    Raises:
        PartnerUnavailable: as `exchange`, or the answer is longer.
        Pushback: the pool is full.
    """
    lease = await pool.acquire()
    connection = lease.connection
    try:
        head = await _send(lease, outgoing, pool.settings.answer)
        body = bytearray()
        while piece := await connection.read_piece(pool.settings.answer):
            body += piece
            if len(body) > most:
                raise connection.refuse_answer(f"its answer has more than {most} octets")
    finally:
        if not connection.is_reusable:
            connection.close()
        pool.release(lease)
    return head, bytes(body), lease.endpoint


async def _send(lease: Lease, outgoing: Outgoing, within: float) -> AnswerHead:
    connection, endpoint = lease.connection, lease.endpoint
    line = b"%b %b%b HTTP/1.1" % (outgoing.method, endpoint.path.encode("ascii"), outgoing.target)
    fields = [(b"host", endpoint.authority.encode("ascii")), *outgoing.fields]
    connection.begin()
    if outgoing.rest is None:
        body = Gzip().encode(outgoing.first, is_last=True) if outgoing.is_gzip else outgoing.first
        if outgoing.method != b"GET":
            fields.append((b"content-length", b"%d" % len(body)))
        if await connection.write(write_head(line, fields) + body, within):
            connection.end_request()
        return await connection.read_head(within)
    fields.append((b"transfer-encoding", b"chunked"))
    await connection.write(write_head(line, fields), within)
    await _send_chunks(connection, outgoing, within)
    return await connection.read_head(within)


async def _send_chunks(connection: PartnerConnection, outgoing: Outgoing, within: float) -> None:
    """Send pieces as chunks until the message ends, or the other side has heard enough."""
    gzip = Gzip() if outgoing.is_gzip else None
    await connection.write(_chunk(_encode(gzip, outgoing.first)), within)
    if outgoing.rest is None:
        return
    async for piece in outgoing.rest:
        await connection.write(_chunk(_encode(gzip, piece)), within)
        if connection.has_head:  # an answer before the end is a refusal; what follows would be lost
            return
    last = b"" if gzip is None else _chunk(gzip.encode(b"", is_last=True))
    if await connection.write(last + _LAST_CHUNK, within):
        connection.end_request()


def _encode(gzip: Gzip | None, octets: bytes) -> bytes:
    return octets if gzip is None else gzip.encode(octets, is_last=False)


def _chunk(octets: bytes) -> bytes:
    """Frame octets; none are no chunk, for an empty one would end the message."""
    return b"%x\r\n%b\r\n" % (len(octets), octets) if octets else b""


async def _pass_back(
    connection: PartnerConnection, head: AnswerHead, reply: Reply, within: float
) -> None:
    fields = pass_fields(head.fields)
    if connection.is_answered:
        body = await connection.read_piece(within)
        await reply.whole(head.status, fields, body)
        return
    length = head.field(b"content-length")
    try:
        await reply.begin(head.status, fields, None if length is None else int(length))
        while piece := await connection.read_piece(within):
            await reply.piece(piece)
            if reply.is_gone:
                connection.close()
                return
    except ApplianceError:
        reply.abort()
        raise
    await reply.end()
