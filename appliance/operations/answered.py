"""The trace of what became of a message in line: what came back on a vector (DOMAIN 8.4), or why there was none.

The vector's own entry was durable before the message left; this one follows it, and an answer does not wait for the disk.
"""

import asyncio
from typing import Final

from appliance.clock import Clock, format_instant
from appliance.errors import ApplianceError, Reason
from appliance.log import Log
from appliance.operations.entries import (
    VectorExchange,
    answered_entry,
    message_refused_entry,
)
from appliance.operations.tracing import TraceWriter
from appliance.trace.record import Receipt, TraceEntry
from appliance.vectors.model import RequestContext

_LOG: Final = Log("answered")


class AnsweredOperation:
    """Notes answers."""

    def __init__(self, trace: TraceWriter, clock: Clock) -> None:
        self._trace: Final = trace
        self._clock: Final = clock

    def note(
        self, exchange: VectorExchange, context: RequestContext, outcome: int | Reason
    ) -> None:
        """Record a status, or why there is none; a trace that refuses is logged."""
        self._append(answered_entry(exchange, context, outcome, self._now()))

    def note_refusal(
        self, context: RequestContext, reason: Reason, path: str, convention: str | None = None
    ) -> None:
        """Record that a message is refused of which no vector was made or judged; beyond what its peer may make us write, a count."""
        if self._trace.admits_refusal(context.peer):
            self._append(message_refused_entry(context, reason, path, convention, self._now()))

    def _now(self) -> str:
        return format_instant(self._clock.now())

    def _append(self, entry: TraceEntry) -> None:
        try:
            written = self._trace.append(self._trace.prepare(entry))
        except ApplianceError as exc:
            _say_not_traced(entry, exc)
            return
        written.add_done_callback(lambda written: _say_failure(entry, written))


def _say_failure(entry: TraceEntry, written: asyncio.Future[Receipt]) -> None:
    if not written.cancelled() and (exc := written.exception()) is not None:
        _say_not_traced(entry, exc)


def _say_not_traced(entry: TraceEntry, exc: BaseException) -> None:
    _LOG.error(
        "answer-not-traced", exc, request_id=entry.request_id, assertion_id=entry.assertion_id
    )
