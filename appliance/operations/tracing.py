"""How the operations reach the trace: a narrow writer, and waiting for it with an end.

Nothing an operation answers leaves before what it traced is durable (DESIGN invariant 1).
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from appliance.errors import Reason, SpoolUnavailable
from appliance.trace.record import Receipt, TraceEntry

_DURABLE_WITHIN: Final = 5.0  # seconds; a disk that takes longer is down

Receipts = TypeVar("Receipts")


class TraceWriter(Protocol):
    """What an operation needs of the trace."""

    def prepare(self, entry: TraceEntry) -> TraceEntry:
        """Return the entry as it will be written, of a person only what the convention keeps.

        Raises:
            RequestTooLarge: it will not fit.
        """

    def admits_refusal(self, peer: str) -> bool:
        """Tell whether a refusal to `peer` gets an entry of its own; the excess is counted and stated later."""

    def keep_certificate(self, certificate: bytes) -> None:
        """Keep a signer's certificate (DER) where proofs find it, before an entry names it.

        Raises:
            SpoolUnavailable: the disk refuses.
        """

    def append(self, entry: TraceEntry) -> asyncio.Future[Receipt]:
        """Accept one entry; the future resolves when it is durable."""

    def append_many(self, entries: Sequence[TraceEntry]) -> asyncio.Future[list[Receipt]]:
        """Accept several entries, all or none."""


async def wait_durable(written: asyncio.Future[Receipts]) -> Receipts:
    """Wait until what was appended is durable.

    Raises:
        SpoolUnavailable: it cannot become durable, or has not in time; the vector must not leave.
    """
    timer = asyncio.get_running_loop().call_later(_DURABLE_WITHIN, written.cancel)
    try:
        return await written
    except asyncio.CancelledError as exc:
        if _is_cancelled():
            raise
        raise SpoolUnavailable(
            Reason.SPOOL_UNAVAILABLE,
            f"the trace has not become durable within {_DURABLE_WITHIN:.0f} s: see to its disk",
        ) from exc
    finally:
        timer.cancel()


def _is_cancelled() -> bool:
    """Tell whether it is whoever waits that was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
