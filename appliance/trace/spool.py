"""The trace of one process on its way to the disk: entries in, receipts out, nothing acknowledged before it is durable.

Promises group commit (one thread takes whatever has gathered, writes it, synchronises it, and wakes the event loop once), entries
in the order of the calls, and every future resolved exactly once. Bounded by count and age (`SpoolFull`). When the disk fails,
everything pending and everything new is refused (`SpoolUnavailable`) until the disk proves itself again, which needs no help.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from appliance import metrics
from appliance.clock import Clock
from appliance.errors import Reason, SpoolFull, SpoolUnavailable
from appliance.log import Log
from appliance.trace.disk import Disk
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.trace.segments import SegmentWriter, write_frame

_LOG: Final = Log("trace")
_COMPANY: Final = 0.001
"""Seconds a commit waits for more entries when some gathered during the last one: a commit costs the same for one as for many."""

_REPAIR_EVERY: Final = 0.2
_CLOSE_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Bounds of one spool.

    Attributes:
        pending_entries: entries accepted and not yet durable, at most; also the largest `append_many`.
        pending_age: seconds the oldest of them may wait before new ones are refused.
        segment: octets after which a new segment begins.
    """

    pending_entries: int = 8192
    pending_age: float = 2.0
    segment: int = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class _One:
    """What one `append` waits for."""

    frames: tuple[bytes]
    future: asyncio.Future[Receipt]

    def settle(self, log: str, first: int) -> None:
        if not self.future.done():
            self.future.set_result(Receipt(log, first))


@dataclass(frozen=True, slots=True)
class _Many:
    """What one `append_many` waits for."""

    frames: list[bytes]
    future: asyncio.Future[list[Receipt]]

    def settle(self, log: str, first: int) -> None:
        if not self.future.done():
            receipts = [Receipt(log, first + at) for at in range(len(self.frames))]
            self.future.set_result(receipts)


_Waiting = _One | _Many


class Integrating(Protocol):
    """What a spool needs of its integrator."""

    def check_admission(self) -> None:
        """Refuse entries that no checkpoint would cover, by the errors of `append`."""

    def note_durable(self, next_index: int) -> None:
        """Learn that entries below `next_index` are durable; called from the spool's thread."""


class Spool:
    """The spool of one log. Its methods belong to the event loop that opened it; its thread belongs to itself."""

    def __init__(
        self,
        writer: SegmentWriter,
        log: str,
        settings: SpoolSettings,
        clock: Clock,
        integrator: Integrating | None = None,
    ) -> None:
        self.log: Final = log
        self._writer: Final = writer
        self._settings: Final = settings
        self._clock: Final = clock
        self._integrator: Final = integrator
        self._loop: Final = asyncio.get_running_loop()
        self._ended: Final[asyncio.Future[None]] = self._loop.create_future()
        self._pending = 0
        # Shared with the thread, under the condition's lock.
        self._condition: Final = threading.Condition()
        self._gathered: list[_Waiting] = []
        self._gathered_since = 0.0
        self._writing_since: float | None = None
        self._fault: OSError | None = None
        self._is_closing = False
        # A daemon: a disk that never answers must not keep the process from ending.
        self._thread: Final = threading.Thread(target=self._run, name=f"spool-{log}", daemon=True)

    @classmethod
    def open(
        cls,
        directory: Path,
        log: str,
        settings: SpoolSettings,
        clock: Clock,
        disk: Disk | None = None,
    ) -> "Spool":
        """Open, recover or create the log `directory/log`; call it from the event loop that will append.

        Raises:
            SpoolUnavailable: the log is held by another process, is damaged, or its disk refuses.
        """
        try:
            writer = SegmentWriter(directory / log, settings.segment, disk or Disk())
        except OSError as exc:
            raise disk_refused(log, exc) from exc
        if writer.recovery.torn_octets:
            _LOG.warning(
                "torn-tail-cut",
                log=log,
                index=writer.next_index,
                octets=writer.recovery.torn_octets,
            )
        spool = cls(writer, log, settings, clock)
        spool.start()
        return spool

    def start(self) -> None:
        """Begin to commit what is appended."""
        self._thread.start()

    def __repr__(self) -> str:
        state = "closing" if self._is_closing else "writable" if self.is_writable else "unavailable"
        return f"Spool({self.log}, {state}, pending={self._pending})"

    @property
    def is_writable(self) -> bool:
        """Whether an entry would be accepted, full or not: the disk works and nobody has closed the spool."""
        return self._fault is None and not self._is_closing

    def append(self, entry: TraceEntry) -> asyncio.Future[Receipt]:
        """Accept one entry; the future resolves when it is durable.

        Raises:
            RequestTooLarge: the entry is over 65,535 octets; nothing else has been looked at.
            SpoolFull: too many entries, or too old ones, wait already.
            SpoolUnavailable: the disk fails. The future raises it too, for an entry accepted before.
        """
        waiting = _One((write_frame(write_entry(entry)),), self._loop.create_future())
        self._accept(waiting)
        return waiting.future

    def append_many(self, entries: Sequence[TraceEntry]) -> asyncio.Future[list[Receipt]]:
        """Accept several entries, at least one, as one: all become durable, in order, or none; raises like `append`."""
        frames = [write_frame(write_entry(entry)) for entry in entries]
        waiting = _Many(frames, self._loop.create_future())
        self._accept(waiting)
        return waiting.future

    async def aclose(self) -> None:
        """Refuse new entries, make the accepted ones durable, let go of the log.

        Raises:
            SpoolUnavailable: the disk did not answer in time; the thread is left behind.
        """
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), _CLOSE_TIMEOUT)
        except TimeoutError:
            raise SpoolUnavailable(
                Reason.SPOOL_UNAVAILABLE,
                f"log {self.log}: the disk has not answered for {_CLOSE_TIMEOUT:.0f} s",
            ) from None

    def _accept(self, waiting: _Waiting) -> None:
        count = len(waiting.frames)
        now = self._clock.monotonic()
        if self._integrator is not None:
            self._integrator.check_admission()
        with self._condition:
            self._check_admission(count, now)
            if not self._gathered:
                self._gathered_since = now
                self._condition.notify()
            self._gathered.append(waiting)
        self._pending += count

    def _check_admission(self, count: int, now: float) -> None:
        if self._fault is not None:
            raise disk_refused(self.log, self._fault)
        if self._is_closing:
            raise SpoolUnavailable(
                Reason.SPOOL_UNAVAILABLE, f"log {self.log} is closed: the service stops"
            )
        if self._pending + count > self._settings.pending_entries:
            raise SpoolFull(
                Reason.SPOOL_FULL,
                f"{self._pending} trace entries wait for the disk, {self._settings.pending_entries} may: "
                "send fewer requests at a time",
            )
        age = now - self._oldest_since(now)
        if age > self._settings.pending_age:
            raise SpoolFull(
                Reason.SPOOL_FULL,
                f"a trace entry has waited {age:.1f} s for the disk, {self._settings.pending_age:.1f} s may pass: "
                "send fewer requests at a time",
            )

    def _oldest_since(self, now: float) -> float:
        if self._writing_since is not None:
            return self._writing_since
        return self._gathered_since if self._gathered else now

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            while batch := self._take():
                self._commit(batch)
        finally:
            with contextlib.suppress(OSError):  # whatever was acknowledged is durable already
                self._writer.close()
            with self._condition:
                self._is_closing = True
            self._post(self._end)

    def _take(self) -> list[_Waiting]:
        """Wait for entries; nothing means that the spool is closing and all is written."""
        with self._condition:
            self._writing_since = None
            if self._gathered:
                # More come than the disk takes one by one; nobody notifies us of the next ones.
                self._condition.wait_for(lambda: self._is_closing, _COMPANY)
            self._condition.wait_for(lambda: self._gathered or self._is_closing)
            taken, self._gathered = self._gathered, []
            if taken:
                self._writing_since = self._gathered_since
            return taken

    def _commit(self, batch: list[_Waiting]) -> None:
        frames = [frame for waiting in batch for frame in waiting.frames]
        began = self._clock.monotonic()
        try:
            first = self._writer.commit(frames)
        except OSError as exc:
            self._refuse_pending(batch, exc)
            self._repair()
        else:
            metrics.SPOOL_COMMIT_SECONDS.observe(self._clock.monotonic() - began)
            metrics.SPOOL_COMMIT_ENTRIES.observe(len(frames))
            with self._condition:
                self._writing_since = None  # what was written waits for the disk no more
            if self._integrator is not None:
                self._integrator.note_durable(self._writer.next_index)
            self._post(lambda: self._settle(batch, first))

    def _refuse_pending(self, batch: list[_Waiting], fault: OSError) -> None:
        with self._condition:
            self._fault = fault
            self._writing_since = None
            refused, self._gathered = batch + self._gathered, []
        _LOG.error("spool-unavailable", log=self.log, cause=str(fault), next="see to the disk")
        self._post(lambda: self._refuse(refused, fault))

    def _repair(self) -> None:
        """Try until the disk is well again or the spool is closed."""
        while not self._is_repaired():
            with self._condition:
                if self._condition.wait_for(lambda: self._is_closing, _REPAIR_EVERY):
                    return
        with self._condition:
            self._fault = None
        _LOG.info("spool-recovered", log=self.log, next_index=self._writer.next_index)

    def _is_repaired(self) -> bool:
        try:
            self._writer.repair()
        except OSError:
            return False
        return True

    def _post(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed first: nobody waits any more
            self._loop.call_soon_threadsafe(callback)

    # What follows runs in the event loop again, posted by the thread.

    def _settle(self, batch: list[_Waiting], first: int) -> None:
        for waiting in batch:
            waiting.settle(self.log, first)
            first += len(waiting.frames)
        self._forget(batch)

    def _refuse(self, batch: list[_Waiting], fault: OSError) -> None:
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(disk_refused(self.log, fault))
        self._forget(batch)

    def _forget(self, batch: list[_Waiting]) -> None:
        self._pending -= sum(len(waiting.frames) for waiting in batch)
        metrics.SPOOL_PENDING.set(self._pending)

    def _end(self) -> None:
        self._ended.set_result(None)


def disk_refused(log: str, fault: OSError) -> SpoolUnavailable:
    """Say that a log cannot be made durable, and what will mend it."""
    return SpoolUnavailable(
        Reason.SPOOL_UNAVAILABLE,
        f"log {log} cannot be made durable ({fault.strerror or fault}): see to its disk, the spool then recovers alone",
    )
