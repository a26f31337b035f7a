"""A log on its way to be opened, in a thread, with what is appended to it meanwhile: a new year, or a class nobody has written in yet.

Has the interface of an open log. Promises the order of the calls, and that each future is resolved once, like that of the log's own
append. Bounded like a spool (`SpoolFull`). Belongs to one event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from appliance.errors import ApplianceError, Reason, SpoolFull
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.trace.shard import Shard

_Receipts = TypeVar("_Receipts", Receipt, list[Receipt])


class _Waiting(Generic[_Receipts]):
    """One append that the log has not taken yet."""

    def __init__(self, append: Callable[[Shard], asyncio.Future[_Receipts]]) -> None:
        self.future: Final[asyncio.Future[_Receipts]] = asyncio.get_running_loop().create_future()
        self._append: Final[Callable[[Shard], asyncio.Future[_Receipts]]] = append

    def hand_over(self, shard: Shard) -> None:
        try:
            written = self._append(shard)
        except ApplianceError as exc:
            self.fail(exc)
        else:
            written.add_done_callback(self._settle)

    def fail(self, error: ApplianceError) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def _settle(self, written: asyncio.Future[_Receipts]) -> None:
        if self.future.done():
            written.exception()  # nobody waits for it any more
        elif (error := written.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(written.result())


class OpeningLog:
    """The entries that wait for one log."""

    def __init__(self, log: str, most: int) -> None:
        self.log: Final = log
        self._most: Final = most
        self._entries = 0
        self._waiting: Final[list[_Waiting[Receipt] | _Waiting[list[Receipt]]]] = []

    def __repr__(self) -> str:
        return f"OpeningLog({self.log}, waiting={self._entries})"

    def append(self, entry: TraceEntry) -> asyncio.Future[Receipt]:
        """Accept one entry; raises and resolves like `Shard.append`, and with what keeps the log from being opened."""
        write_entry(entry)
        self._admit(1)
        waiting = _Waiting(lambda shard: shard.append(entry))
        self._waiting.append(waiting)
        return waiting.future

    def append_many(self, entries: Sequence[TraceEntry]) -> asyncio.Future[list[Receipt]]:
        """Accept several entries, all or none."""
        for entry in entries:
            write_entry(entry)
        self._admit(len(entries))
        waiting = _Waiting(lambda shard: shard.append_many(entries))
        self._waiting.append(waiting)
        return waiting.future

    def hand_over(self, shard: Shard) -> None:
        """Append to the log, now open, whatever has waited for it."""
        for waiting in self._waiting:
            waiting.hand_over(shard)

    def fail(self, error: ApplianceError) -> None:
        """Refuse what has waited: the log cannot be opened."""
        for waiting in self._waiting:
            waiting.fail(error)

    def _admit(self, count: int) -> None:
        if self._entries + count > self._most:
            raise SpoolFull(
                Reason.SPOOL_FULL,
                f"{self._entries} trace entries wait for log {self.log} to be opened, {self._most} may: "
                "send fewer requests at a time",
            )
        self._entries += count
