"""One connection to the other end of a route: a request written, its answer read as it comes, then the next.

Promises that an answer is either read to its stated end or reported as cut off, that what is not read is not taken from the socket
without bound, and that a connection is used again only where a whole request was written, exactly one whole answer was read, and
nothing is left over of either: another user's message would meet it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, cast

import httptools
import msgspec

from appliance.errors import PartnerUnavailable, Reason

Fields = Sequence[tuple[bytes, bytes]]
"""Header fields in their order, names in lower case."""

_PIECE: Final = 64 * 1024
"""Octets that the other side must take in time; more at once would say nothing of how it goes on."""
_HELD: Final = 256 * 1024
"""Octets of an answer that wait for whoever reads them, before the socket is left alone."""
_LARGEST_HEAD: Final = 64 * 1024
_LINE_ENDS: Final = b"\r\n"
_NO_BODY: Final = frozenset({204, 304})
_INTERIM: Final = range(100, 200)


class AnswerHead(msgspec.Struct, frozen=True):
    """Status and fields of an answer."""

    status: int
    fields: Fields

    def field(self, name: bytes) -> bytes | None:
        """Return the first field of a name."""
        return next((value for each, value in self.fields if each == name), None)


class PartnerConnection(asyncio.Protocol):
    """One connection; a client of HTTP/1.1 without pipelining.

    Attributes:
        idle_since: when it was last given back (the loop's time); zero until then.
        checked_at: when it was last checked whom it leads to.
    """

    def __init__(self) -> None:
        # Connection
        self._loop: Final = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_lost = False
        self._may_write = True
        self._is_paused = False
        self.idle_since = 0.0
        self.checked_at = 0.0
        # Answer
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_octets = 0
        self._head: AnswerHead | None = None
        self._pieces: Final = deque[bytes]()
        self._held = 0
        self._ends_with_connection = False
        self._is_complete = True
        self._failure: PartnerUnavailable | None = None
        self._is_written = True

    def __repr__(self) -> str:
        return f"PartnerConnection(open={self.is_open}, complete={self._is_complete})"

    @property
    def is_open(self) -> bool:
        """Whether something can be written."""
        transport = self._transport
        return not self._is_lost and transport is not None and not transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow: nothing of this one is still to be written, nothing of its answer to be read."""
        return (
            self.is_open
            and self._is_written
            and self._is_complete
            and not self._pieces
            and self._failure is None
            and not self.transport.get_write_buffer_size()
        )

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; there is one from the moment a connection is handed out."""
        if self._transport is None:
            raise RuntimeError("not connected")
        return self._transport

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle whoever waits: an answer that ends with the connection is complete now, any other is cut off."""
        self._is_lost = True
        if self._ends_with_connection and exc is None:
            self._is_complete = True
        elif not self._is_complete:
            self._fail("the connection ended before the answer did")
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Parse what came; anything that nobody asked for ends the connection."""
        if self._is_complete:
            self._fail("octets came that nobody asked for")
            return
        try:
            if data[-1] in _LINE_ENDS:  # the parser passes over those that stand behind an answer
                self._parser.feed_data(data[:-1])
                if self._is_complete:
                    self._refuse_surplus()
                data = data[-1:]
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(f"the answer is not valid HTTP/1.1: {exc}")
        if self._head is None and self._head_octets > _LARGEST_HEAD:
            self._fail("the head of the answer has more than 64 KiB")

    def eof_received(self) -> bool:
        """Close when the other side has closed."""
        return False

    def pause_writing(self) -> None:
        """Have writers wait."""
        self._may_write = False

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._may_write = True
        self._wake()

    # What the parser calls

    def on_message_begin(self) -> None:
        """Stop at a second answer; nothing of it is taken."""
        if self._is_complete:
            self._refuse_surplus()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field; trailers are dropped."""
        self._head_octets += len(name) + len(value)
        if self._head is None:
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """State the head, unless it is an interim one."""
        status = self._parser.get_status_code()
        if status in _INTERIM:
            return
        self._head = AnswerHead(status, tuple(self._fields))
        framed = {b"content-length", b"transfer-encoding"}
        self._ends_with_connection = status not in _NO_BODY and not any(
            name in framed for name, _ in self._fields
        )
        self._wake()

    def on_body(self, body: bytes) -> None:
        """Keep a piece for whoever reads."""
        self._pieces.append(body)
        self._held += len(body)
        if self._held > _HELD and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """End the answer, or go on behind an interim one."""
        if self._head is None:
            self._fields = []
            return
        self._is_complete = True
        if not self._parser.should_keep_alive():
            self.transport.close()
        self._wake()

    # What an exchange does

    def begin(self) -> None:
        """Begin a request; from now on octets may come."""
        self._fields, self._head_octets = [], 0
        self._head = None
        self._ends_with_connection = False
        self._is_complete = self._is_written = False

    async def write(self, octets: bytes, within: float) -> bool:
        """Write a piece at a time, and say whether all was: not where an answer begins before that, which is a refusal.

        Raises:
            PartnerUnavailable: the connection is lost, or the other side did not take a piece in time.
        """
        for start in range(0, len(octets), _PIECE):
            if start and self.has_head:
                return False
            self.transport.write(octets[start : start + _PIECE])
            await self._drain(within)
        return True

    async def _drain(self, within: float) -> None:
        await self._wait(lambda: self._may_write or self.has_head, within, "was taken")
        if self._failure is not None and not self._is_complete:
            raise self._failure

    async def read_head(self, within: float) -> AnswerHead:
        """Wait for the head of the answer.

        Raises:
            PartnerUnavailable: none came in time, or none at all.
        """
        await self._wait(lambda: self._head is not None, within)
        if self._head is None:
            raise RuntimeError("woken without a head")
        return self._head

    @property
    def has_head(self) -> bool:
        """Whether the answer has begun, which it may before the request has ended."""
        return self._head is not None or self._failure is not None

    async def read_piece(self, within: float) -> bytes:
        """Wait for the next of the answer's body, all that is there; empty at its end.

        Raises:
            PartnerUnavailable: it was cut off, or nothing came in time.
        """
        await self._wait(lambda: bool(self._pieces) or self._is_complete, within)
        if not self._pieces:
            return b""
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._is_paused and self.is_open:
            self._is_paused = False
            self.transport.resume_reading()
        return piece

    def end_request(self) -> None:
        """State that the request was written to its end; without, no other follows."""
        self._is_written = True

    def refuse_answer(self, detail: str) -> PartnerUnavailable:
        """Give the answer up, and say why."""
        self._fail(detail)
        return self._failure or PartnerUnavailable(Reason.PARTNER_FAILED, detail)

    @property
    def is_answered(self) -> bool:
        """Whether the whole answer is here."""
        return self._is_complete

    def close(self) -> None:
        """Close; what was not read is lost."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(
        self, condition: Callable[[], bool], within: float, awaited: str = "came"
    ) -> None:
        while not condition():
            if self._failure is not None:
                raise self._failure
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(within, self._time_out, within, awaited)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None

    def _refuse_surplus(self) -> NoReturn:
        """End the connection behind its answer, which stands."""
        self._fail("octets follow the answer")
        raise httptools.HttpParserError("octets follow the answer")

    def _time_out(self, within: float, awaited: str) -> None:
        self._fail(f"nothing {awaited} for {within:g} s", Reason.PARTNER_TIMEOUT)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, detail: str, reason: Reason = Reason.PARTNER_FAILED) -> None:
        if self._failure is None:
            self._failure = PartnerUnavailable(reason, detail)
        self.close()
        self._wake()
