"""The octets of a message as they come: taken piece by piece, gzip taken off under bounds.

Promises that no input makes more octets than the limit says, nor a hundred times what came; that a coding we do not know is refused
by name; and that what is decoded ends where its coding says.
"""

import zlib
from typing import Final, Protocol

from appliance.errors import MalformedRequest, Reason, RequestTooLarge

_PIECE: Final = 256 * 1024
_RATIO: Final = 100
_RATIO_FREE: Final = 1024 * 1024
"""Octets that may come out before the ratio counts: short texts compress well."""

_GZIP: Final = frozenset({b"gzip", b"x-gzip"})
_GZIP_WINDOW: Final = 31  # zlib.h: a window of 15 bits, gzip alone


class Inflow(Protocol):
    """Where the octets come from."""

    async def read(self) -> tuple[bytes, bool]:
        """Wait for the next piece; whether more follows."""


def is_gzip(coding: bytes | None) -> bool:
    """Tell whether a Content-Encoding is gzip.

    Raises:
        MalformedRequest: it is another one, or several.
    """
    if coding is None or coding.lower() == b"identity":
        return False
    if coding.strip().lower() in _GZIP:
        return True
    raise MalformedRequest(
        Reason.CONTENT_CODING, "the only Content-Encoding taken is gzip; send the message without"
    )


class Intake:
    """The body of one message, decoded.

    Attributes:
        ended: nothing more will come.
    """

    def __init__(self, inflow: Inflow, coding: bytes | None, limit: int) -> None:
        self.ended = False
        self._inflow: Final = inflow
        self._limit: Final = limit
        self._gzip: Final = _Gunzip(limit) if is_gzip(coding) else None
        self._octets = 0

    async def read(self) -> bytes:
        """Wait for the next piece; empty only at the end.

        Raises:
            MalformedRequest: the coding is broken, or opens into far more than it should.
            RequestTooLarge: more than the limit.
        """
        while not self.ended:
            piece, more = await self._inflow.read()
            if self._gzip is not None:
                piece = self._gzip.decode(piece, is_last=not more)
            self._octets += len(piece)
            if self._octets > self._limit:
                raise RequestTooLarge(
                    Reason.BODY_TOO_LARGE, f"the message has more than {self._limit} octets"
                )
            self.ended = not more
            if piece:
                return piece
        return b""

    async def read_up_to(self, octets: int) -> bytes:
        """Wait for the whole body, or for more than so many octets of it."""
        pieces = [await self.read()]
        length = len(pieces[0])
        while not self._is_over() and length <= octets:
            pieces.append(await self.read())
            length += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _is_over(self) -> bool:
        return self.ended


class _Gunzip:
    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._decoder: Final = zlib.decompressobj(wbits=_GZIP_WINDOW)
        self._came = 0
        self._made = 0

    def decode(self, octets: bytes, *, is_last: bool) -> bytes:
        self._came += len(octets)
        made: list[bytes] = []
        try:
            while octets:
                made.append(self._decoder.decompress(octets, _PIECE))
                self._count(len(made[-1]))
                octets = self._decoder.unconsumed_tail
        except zlib.error as exc:
            raise _broken(str(exc)) from exc
        if self._decoder.unused_data:
            raise _broken("octets follow its end")
        if is_last and not self._decoder.eof:
            raise _broken("it ends too early")
        return b"".join(made)

    def _count(self, octets: int) -> None:
        self._made += octets
        if self._made > self._limit:
            raise RequestTooLarge(
                Reason.BODY_TOO_LARGE, f"the decoded message has more than {self._limit} octets"
            )
        if self._made > _RATIO_FREE + _RATIO * self._came:
            raise RequestTooLarge(
                Reason.BODY_TOO_LARGE,
                f"the gzip coding opens into more than {_RATIO} times its size; send the message without",
            )


class Gzip:
    """Puts the coding on again, piece by piece."""

    def __init__(self) -> None:
        self._encoder: Final = zlib.compressobj(level=1, wbits=_GZIP_WINDOW)

    def encode(self, octets: bytes, *, is_last: bool) -> bytes:
        """Encode a piece; empty where it only waits for more."""
        encoded = self._encoder.compress(octets)
        return encoded + self._encoder.flush() if is_last else encoded


def _broken(why: str) -> MalformedRequest:
    return MalformedRequest(Reason.CONTENT_CODING, f"the gzip coding is broken: {why}")
