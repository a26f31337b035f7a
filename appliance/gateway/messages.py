"""A message in line: held whole where it is short or where its Body is signed, else only its head is, and the rest is checked as it passes.

Promises that what goes on is what came but for the edits; that at most `HEAD` octets wait in memory where a Body is not signed; and
that a rest which is not well-formed raises before the message is complete at the other end.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from appliance.errors import MalformedRequest, Reason, RequestTooLarge
from appliance.gateway.bodies import Intake
from appliance.gateway.head import check_declared
from appliance.gateway.multipart import Multipart, PartsCheck, find_root, read_content_type
from appliance.gateway.spool import MessageSpool
from appliance.native import (
    Limits,
    MessageRefused,
    PassingMessage,
    SecuredMessage,
    SoapMessage,
    XmlRefused,
)
from appliance.operations.secure import malformed, read_soap

HEAD: Final = 1024 * 1024
"""Octets that may come before the first element in the Body has."""

_THREAD_FROM: Final = 1024 * 1024
"""Octets from which on reading a message is left to a thread."""

_TYPES: Final = frozenset(
    {"text/xml", "application/soap+xml", "application/xml", "multipart/related"}
)


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """Octets of a message, and of one that must be held whole."""

    body: int
    signed: int


class InlineMessage:
    """A SOAP message on its way.

    Attributes:
        soap: the message, or its head closed to a message of its own.
        operation: namespace and local name of the first element in the Body.
        version: `1.1` or `1.2`.
    """

    def __init__(
        self,
        soap: SoapMessage,
        document: bytes,
        around: tuple[bytes, bytes],
        passing: "Passing | None" = None,
        stored: MessageSpool | None = None,
    ) -> None:
        self.soap: Final = soap
        self._document: Final = document
        self._around: Final = around
        self._passing: Final = passing
        self._stored: Final = stored

    def __repr__(self) -> str:
        return f"InlineMessage({self.version}, {'passing' if self._passing else 'whole'})"

    @property
    def operation(self) -> tuple[str, str] | None:
        """Namespace and local name of the first element in the Body."""
        return self.soap.operation if self._passing is None else self._passing.checked.operation

    @property
    def document(self) -> bytes:
        """The octets that `soap` was read from."""
        return self._document

    @property
    def version(self) -> str:
        """`1.1` or `1.2`."""
        return self.soap.version

    @property
    def is_alone(self) -> bool:
        """Whether all of it is here, and nothing around the document: no multipart."""
        return self._passing is None and not any(self._around)

    def sent(self, edited: SecuredMessage | None = None) -> "Sent":
        """Return what is to be sent; what lies on the disk is sent from there, and needs neither this message nor the edited one any more.

        Args:
            edited: what `soap` has become; None sends it as it came.
        """
        before, after = self._around
        if self._stored is not None:
            start = len(before)
            edits = [] if edited is None else edited.edits
            moved = [(start + begin, start + end, octets) for begin, end, octets in edits]
            return Sent(b"", partial(self._stored.pieces, moved), is_held=True)
        document = self._document if edited is None else edited.octets
        if self._passing is not None:
            document = document[: len(document) - len(self._passing.checked.closing)]
        first = b"".join((before, document, after)) if before or after else document
        return Sent(first, None if self._passing is None else self._passing.rest)

    async def held(self, spool: MessageSpool, limits: MessageLimits) -> "InlineMessage":
        """Wait for all of it, in memory or on disk, and read it whole.

        Raises:
            MalformedRequest: it is not well-formed.
            RequestTooLarge: it is longer than a message may be whose Body is signed.
            Pushback: as many as may be are held already.
        """
        passing = self._passing
        if passing is None:
            return self
        await spool.write(b"".join((self._around[0], passing.head, self._around[1])))
        async for piece in passing.rest():
            if spool.octets + len(piece) > limits.signed:
                raise RequestTooLarge(
                    Reason.BODY_TOO_LARGE,
                    f"a message whose Body is signed has at most {limits.signed} octets",
                )
            await spool.write(piece)
        octets = await spool.read()
        stored = spool if spool.is_on_disk else None
        return await _read_whole(octets, passing.multipart, Limits(octets=limits.signed), stored)


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes on of a message.

    Attributes:
        first: what is there already.
        rest: gives out what is still to come, checked before it is given out: MalformedRequest where it is not well-formed, and what was
            given out must not become a whole message. None where that was all.
        is_held: whether the rest is on the disk, and may be given out again.
    """

    first: bytes
    rest: Callable[[], AsyncIterator[bytes]] | None
    is_held: bool = False

    async def digested(self, spool: MessageSpool, limit: int) -> tuple["Sent", bytes]:
        """Wait for all of it, in memory or on disk; the same again, with the SHA-256 of the whole.

        Raises:
            MalformedRequest: the rest is not well-formed.
            RequestTooLarge: it has more octets than the limit.
            Pushback: as many as may be are held already.
        """
        digest = hashlib.sha256(self.first)
        if self.rest is None:
            return self, digest.digest()
        async for piece in self.rest():
            digest.update(piece)
            if self.is_held:
                continue
            await spool.write(piece)
            if len(self.first) + spool.octets > limit:
                raise RequestTooLarge(
                    Reason.BODY_TOO_LARGE,
                    f"a message whose digest the application is told has at most {limit} octets",
                )
        held = self if self.is_held else Sent(self.first, spool.pieces, is_held=True)
        return held, digest.digest()


class Passing:
    """What has not come yet of a message, and how it is checked.

    Attributes:
        checked: the check, with everything fed that has come of the document.
        head: the document up to the start of its Body.
        parts: the check of all parts, fed with the whole entity.
    """

    def __init__(
        self, intake: Intake, checked: PassingMessage, multipart: Multipart | None
    ) -> None:
        self.checked: Final = checked
        self.multipart: Final = multipart
        self.head = b""
        self._intake: Final = intake
        self.parts: Final = None if multipart is None else PartsCheck(multipart)
        self._is_root_over = False
        self._tail = b""

    def feed(self, piece: bytes) -> None:
        """Check a piece, as far as it belongs to the document."""
        if self._is_root_over:
            return
        document, is_last = piece, False
        if self.multipart is not None:
            document, is_last = self._cut(piece, b"\r\n" + self.multipart.delimiter)
        try:
            self.checked.feed(document)
            if is_last:
                self.checked.finish()
        except (XmlRefused, MessageRefused) as exc:
            raise malformed(exc) from exc
        self._is_root_over = is_last

    async def rest(self) -> AsyncIterator[bytes]:
        """Give out what comes once it is checked."""
        while piece := await self._intake.read():
            if self.parts is not None:
                self.parts.feed(piece)
            self.feed(piece)
            yield piece
        if self.parts is not None:
            self.parts.finish()
            if self._is_root_over:
                return
            raise MalformedRequest(Reason.MULTIPART_INVALID, "the root part has no end")
        try:
            self.checked.finish()
        except XmlRefused as exc:
            raise malformed(exc) from exc

    def _cut(self, piece: bytes, delimiter: bytes) -> tuple[bytes, bool]:
        """Return what belongs to the document, and whether that was its end; what could be the start of a delimiter waits."""
        piece = self._tail + piece
        end = piece.find(delimiter)
        if end >= 0:
            return piece[:end], True
        longest = min(len(piece), len(delimiter) - 1)
        lengths = range(longest, 0, -1)
        kept = next((each for each in lengths if piece.endswith(delimiter[:each])), 0)
        self._tail = piece[len(piece) - kept :]
        return piece[: len(piece) - kept], False


async def read_message(intake: Intake, content_type: bytes, limits: MessageLimits) -> InlineMessage:
    """Read a message whole where it has at most `HEAD` octets, else its head.

    Raises:
        MalformedRequest: not SOAP, by its type or its octets, or not well-formed.
        RequestTooLarge: more than the limit, or a head of more than `HEAD` octets.
    """
    kind, multipart = read_content_type(content_type)
    if kind not in _TYPES:
        raise MalformedRequest(
            Reason.NOT_SOAP, f"SOAP comes as {', '.join(sorted(_TYPES))}; got `{kind[:64]}`"
        )
    held = await intake.read_up_to(HEAD)
    bounds = Limits(octets=limits.body)
    if intake.ended:
        message = await _read_whole(held, multipart, bounds)
    else:
        message = _read_head(intake, held, multipart, bounds)
    check_declared(message.document, content_type)
    return message


async def _read_whole(
    octets: bytes, multipart: Multipart | None, bounds: Limits, stored: MessageSpool | None = None
) -> InlineMessage:
    start, end = 0, len(octets)
    if multipart is not None:
        parts = PartsCheck(multipart)
        parts.feed(octets)
        parts.finish()
        root = find_root(octets, multipart, ended=True)
        start, end = root.start, end if root.end is None else root.end
    document = octets[start:end] if multipart is not None else octets
    if len(document) < _THREAD_FROM:
        soap = read_soap(document, bounds)
    else:
        soap = await asyncio.to_thread(read_soap, document, bounds)
    return InlineMessage(soap, document, (octets[:start], octets[end:]), stored=stored)


def _read_head(
    intake: Intake, held: bytes, multipart: Multipart | None, bounds: Limits
) -> InlineMessage:
    start = 0 if multipart is None else find_root(held, multipart, ended=False).start
    checked = PassingMessage(bounds)
    passing = Passing(intake, checked, multipart)
    if passing.parts is not None:
        passing.parts.feed(held)
    passing.feed(held[start:])
    body = checked.body_start
    if body is None:
        raise RequestTooLarge(
            Reason.SOAP_HEAD_TOO_LARGE,
            f"more than {HEAD} octets come before the first element in the Body",
        )
    passing.head = held[start : start + body]
    document = passing.head + checked.closing
    soap = read_soap(document, bounds)
    return InlineMessage(soap, document, (held[:start], held[start + body :]), passing)
