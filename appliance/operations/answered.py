"""The trace of what came back on a message with a vector: the join of a vector with its use (DOMAIN 8.4).

The vector's own entry was durable before the message left; this one follows it, and an answer does not wait for the disk.
"""

import asyncio
from typing import Final

from appliance.clock import Clock, format_instant
from appliance.errors import ApplianceError, Reason
from appliance.log import Log
from appliance.operations.entries import VectorExchange, answered_entry
from appliance.operations.tracing import TraceWriter
from appliance.trace.record import Receipt
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
        entry = answered_entry(exchange, context, outcome, format_instant(self._clock.now()))
        try:
            written = self._trace.append(self._trace.prepare(entry))
        except ApplianceError as exc:
            _LOG.error("answer-not-traced", exc, assertion_id=exchange.assertion_id)
            return
        written.add_done_callback(_say_failure)


def _say_failure(written: asyncio.Future[Receipt]) -> None:
    if not written.cancelled() and (exc := written.exception()) is not None:
        _LOG.error("answer-not-traced", exc)
