"""One keep-alive connection: raw asyncio with httptools, so that little of what is measured is the client."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import httptools
import msgspec

from bench.load.scenario import Ask

_OK: Final = 200
_PUSHBACK: Final = (429, 503)


@dataclass(slots=True)
class Answer:
    """What came back for a request: `error` is empty when it is a good one.

    Attributes:
        vectors: those it holds, less the ones refused within a batch.
        refused: items of the batch that were.
        is_pushback: the service said that it is full, or that a part is out of reach (429, 503).
    """

    at: float
    vectors: int
    refused: int = 0
    error: str = ""
    is_pushback: bool = False


class Client(asyncio.Protocol):
    """A connection that asks one thing at a time.

    Args:
        on_open: called once it can be asked.
        on_answer: called with each answer, and with an error when the connection ends under a request.
        on_end: called when it cannot be asked any more.
        note: called with the body of each good answer, where somebody wants to have it.
    """

    def __init__(
        self,
        on_open: Callable[["Client"], None],
        on_answer: Callable[["Client", Answer], None],
        on_end: Callable[["Client"], None],
        note: Callable[[bytes], None] | None = None,
    ) -> None:
        self._on_open: Final = on_open
        self._on_answer: Final = on_answer
        self._on_end: Final = on_end
        self._note: Final = note
        self._parser: Final = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._ask: Ask | None = None

    def ask(self, ask: Ask) -> None:
        """Send a request; the connection must be open and idle."""
        if self._transport is None or self._ask is not None:
            raise RuntimeError("a connection is asked when it is open and idle")
        self._ask = ask
        self._transport.write(ask.octets)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._finish(Answer(time.perf_counter(), 0, error=f"not HTTP: {exc}"))
            self.close()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if self._ask is None:
            self.close()
            return
        answer = _judge(self._ask, self._parser.get_status_code(), body)
        if self._note is not None and not answer.error:
            self._note(body)
        if not self._parser.should_keep_alive():
            self.close()
            self._transport = None
        self._finish(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        if self._ask is not None:
            self._finish(Answer(time.perf_counter(), 0, error="connection lost"))
        self._on_end(self)

    @property
    def is_open(self) -> bool:
        """Whether it can be asked again."""
        return self._transport is not None

    def _finish(self, answer: Answer) -> None:
        self._ask = None
        self._on_answer(self, answer)


def _judge(ask: Ask, status: int, body: bytes) -> Answer:
    now = time.perf_counter()
    if status != _OK:
        return Answer(now, 0, error=_read_reason(status, body), is_pushback=status in _PUSHBACK)
    if ask.vectors > 1:
        made, refused = body.count(ask.sign), body.count(b'{"error":')
        if made + refused != ask.vectors:
            return Answer(now, 0, error=f"{made + refused} answers to a batch of {ask.vectors}")
        return Answer(now, made, refused)
    if ask.sign not in body:
        return Answer(now, 0, error=f"an answer without {ask.sign.decode()}")
    return Answer(now, ask.vectors)


class _Refusal(msgspec.Struct):
    reason: str


class _Refused(msgspec.Struct):
    error: _Refusal


def _read_reason(status: int, body: bytes) -> str:
    with contextlib.suppress(msgspec.MsgspecError):
        return f"{status} {msgspec.json.decode(body, type=_Refused).error.reason}"
    return str(status)
