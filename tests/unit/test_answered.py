"""What is noted of messages in line: their refusals within what a peer may make us write; a trace that refuses is logged."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from appliance.clock import SystemClock
from appliance.errors import Reason, SpoolFull
from appliance.operations.answered import AnsweredOperation
from appliance.operations.entries import VectorExchange
from appliance.operations.tracing import TraceWriter
from appliance.trace.record import Receipt, TraceEntry
from appliance.vectors.model import Caller, RequestContext

CONTEXT = RequestContext("request-1", Caller("fournisseur", "partner"), "192.0.2.1", None)
EXCHANGE = VectorExchange("convention", "urn:issuer", "_id", "/droits")


class Trace:
    """Keeps entries, of refusals as many as it is told; or refuses all, at once or late."""

    def __init__(self, refusals: int = 9, failure: SpoolFull | None = None) -> None:
        self.entries: list[TraceEntry] = []
        self.is_late = False
        self._refusals = refusals
        self._failure = failure

    def admits_refusal(self, peer: str) -> bool:
        """Count down."""
        assert peer == CONTEXT.peer
        self._refusals -= 1
        return self._refusals >= 0

    def prepare(self, entry: TraceEntry) -> TraceEntry:
        """Leave it as it is."""
        return entry

    def append(self, entry: TraceEntry) -> asyncio.Future[Receipt]:
        """Keep it."""
        written: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if self._failure is None:
            self.entries.append(entry)
            written.set_result(Receipt("log", 0))
        elif self.is_late:
            written.set_exception(self._failure)
        else:
            raise self._failure
        return written


def noted(trace: Trace, note: Callable[[AnsweredOperation], None]) -> None:
    """Note something, and let what follows happen."""

    async def run() -> None:
        note(AnsweredOperation(cast("TraceWriter", trace), SystemClock()))
        await asyncio.sleep(0)

    asyncio.run(run())


def test_a_refusal_states_who_and_where() -> None:
    """Caller, peer, route, convention and reason; nothing of the message."""
    trace = Trace()
    noted(trace, lambda o: o.note_refusal(CONTEXT, Reason.NOT_SOAP, "/droits", "demo"))
    [entry] = trace.entries
    assert (entry.event, entry.verdict, entry.reason) == ("request-refused", "refused", "not-soap")
    assert (entry.caller, entry.peer) == ("fournisseur", "192.0.2.1")
    assert (entry.component, entry.convention) == ("/droits", "demo")


def test_a_peer_makes_us_write_so_many_refusals() -> None:
    """The excess is the trace's own to count; answers on vectors are no refusals and all stand in it."""
    trace = Trace(refusals=2)

    def note(operation: AnsweredOperation) -> None:
        for _ in range(5):
            operation.note_refusal(CONTEXT, Reason.MALFORMED_XML, "")
            operation.note(EXCHANGE, CONTEXT, 200)

    noted(trace, note)
    assert [entry.event for entry in trace.entries].count("request-refused") == 2
    assert [entry.event for entry in trace.entries].count("answered") == 5


@pytest.mark.parametrize("is_late", [False, True])
def test_a_trace_that_refuses_is_logged(caplog: pytest.LogCaptureFixture, *, is_late: bool) -> None:
    """For what was to be traced; the caller is answered all the same."""
    trace = Trace(failure=SpoolFull(Reason.SPOOL_FULL, "full"))
    trace.is_late = is_late
    noted(trace, lambda o: o.note_refusal(CONTEXT, Reason.NOT_SOAP, "/droits"))
    assert [record.getMessage() for record in caplog.records] == ["answer-not-traced"]
