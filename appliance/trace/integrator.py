"""Moves durable entries from a spool into their log's tree, and has a checkpoint signed over it: every second or every so many entries.

Owns a thread. Promises that a checkpoint is published only when everything it covers is on the medium, that one which is late is said
(log, metric, readiness) and tried again until it is there, and that a tree which does not fit what was signed before stands still and
says so. Refuses new entries, through its spool, when too many wait for a checkpoint.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from appliance import metrics
from appliance.clock import Clock
from appliance.errors import (
    ApplianceError,
    CheckpointRefused,
    Reason,
    SpoolFull,
    SpoolUnavailable,
    Unavailable,
)
from appliance.log import Log
from appliance.native import LogEdge, LogGrowth, TreeRefused, prove_consistency
from appliance.trace.checkpoint import AuditKey, Checkpoint, write_note
from appliance.trace.feed import SpoolFeed
from appliance.trace.store import LogStore, Published

_LOG: Final = Log("trace")
_RETRY_EVERY: Final = 0.5
_ATTEMPTS_TO_AGREE: Final = 3


class CheckpointSigner(Protocol):
    """What integration needs of the lanes."""

    def sign(self, origin: str, size: int, root: bytes, first: int, proof: list[bytes]) -> bytes:
        """Sign a checkpoint that extends the one of size `first`; called from the integrator's thread, and ends by itself.

        Raises:
            HsmUnavailable: no lane signs now.
            CheckpointRefused: the lane has signed another last (CHECKPOINT_NOT_LAST), or this one is inconsistent with it.
        """


@dataclass(frozen=True, slots=True)
class IntegrationSettings:
    """When checkpoints are made, and what happens when they are not.

    Attributes:
        every: seconds the oldest entry waits for its checkpoint.
        entries: a checkpoint is made earlier when so many wait; also the most that one covers anew.
        unsigned: entries that may wait for a checkpoint before new ones are refused.
        overdue: seconds after which the service is not ready.
    """

    every: float = 1.0
    entries: int = 8192
    unsigned: int = 1_000_000
    overdue: float = 10.0


@dataclass(frozen=True, slots=True)
class _Written:
    """A growth of `count` entries whose files are durable, and the checkpoint over it, which may have been seen already."""

    growth: LogGrowth
    count: int
    note: bytes


class Integrator:
    """The integrator of one log."""

    def __init__(  # noqa: PLR0913 - the shard passes each part by name
        self,
        *,
        store: LogStore,
        feed: SpoolFeed,
        signer: CheckpointSigner,
        key: AuditKey,
        published: Published,
        log: str,
        settings: IntegrationSettings,
        clock: Clock,
        drop_before: Callable[[int], None],
    ) -> None:
        self.log: Final = log
        self._store: Final = store
        self._feed: Final = feed
        self._signer: Final = signer
        self._key: Final = key
        self._settings: Final = settings
        self._clock: Final = clock
        self._drop_before: Final = drop_before
        self._edge = published.edge
        self._written: _Written | None = None
        self._is_late = False
        self._age: Final = metrics.CHECKPOINT_AGE.labels(log)
        # Shared with the spool's thread and the event loop, under the condition's lock.
        self._condition: Final = threading.Condition()
        self._durable = published.size
        self._covered = published.size
        self._waiting_since: float | None = None
        self._fault: ApplianceError | None = None
        self._is_closing = False
        self._thread: Final = threading.Thread(target=self._run, name=f"tree-{log}", daemon=True)

    def __repr__(self) -> str:
        return f"Integrator({self.log}, covered={self._covered}, durable={self._durable})"

    @property
    def covered(self) -> int:
        """Entries the last published checkpoint covers."""
        return self._covered

    @property
    def fault(self) -> ApplianceError | None:
        """Why the log stands still, if it does."""
        return self._fault

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def age(self) -> float:
        """Seconds the oldest uncovered entry has waited; 0 when every entry is covered."""
        since = self._waiting_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def state_age(self) -> None:
        """Bring the age into the metrics; whoever owns the log does so every second, for our thread may be waiting for a lane."""
        self._age.set(self.age())

    def is_overdue(self) -> bool:
        """Whether a checkpoint has been missing for too long, or will not come."""
        return self._fault is not None or self.age() > self._settings.overdue

    def note_durable(self, next_index: int) -> None:
        """Learn, from the spool's thread, that entries below `next_index` are durable."""
        with self._condition:
            self._durable = next_index
            if self._waiting_since is None and next_index > self._covered:
                self._waiting_since = self._clock.monotonic()
                self._condition.notify_all()
            elif next_index - self._covered >= self._settings.entries:
                self._condition.notify_all()

    def check_admission(self) -> None:
        """Refuse entries that no checkpoint would cover.

        Raises:
            SpoolUnavailable: the log stands still.
            SpoolFull: too many wait for a checkpoint.
        """
        fault = self._fault
        if fault is not None:
            raise SpoolUnavailable(fault.reason, fault.detail)
        waiting = self._durable - self._covered
        if waiting >= self._settings.unsigned:
            raise SpoolFull(
                Reason.SPOOL_FULL,
                f"{waiting} trace entries wait for a checkpoint, {self._settings.unsigned} may: "
                "`appliance doctor` says why the audit key does not sign",
            )

    def stand_still(self, fault: ApplianceError) -> None:
        """Cover and accept nothing more; any thread may call it."""
        _LOG.error("log-stands-still", log=self.log, detail=fault.detail)
        with self._condition:
            self._fault = fault
            self._condition.notify_all()

    def close(self, timeout: float) -> bool:
        """Cover what is durable, end the thread, and tell whether everything is covered."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        is_covered = self._covered == self._durable
        if not is_covered:
            _LOG.error(
                "checkpoint-missing",
                log=self.log,
                covered=self._covered,
                durable=self._durable,
                next="the next start covers the rest",
            )
        return is_covered

    # What follows runs in the thread.

    def _run(self) -> None:
        while self._await_work():
            is_last = self._is_closing
            if not self._integrate():
                if is_last:
                    return
                self._pause()

    def _await_work(self) -> bool:
        """Wait until a checkpoint is due; False when there is nothing more to do."""
        with self._condition:
            while self._fault is None:
                waiting = self._durable - self._covered
                if waiting and (self._is_closing or waiting >= self._settings.entries):
                    return True
                if self._is_closing:
                    return False
                left = None if self._waiting_since is None else self._settings.every - self.age()
                if left is not None and left <= 0:
                    return True
                self._condition.wait(left)
            return False

    def _pause(self) -> None:
        """Wait after a failure; closing has its own attempt at once, for what failed may have been mended meanwhile."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_closing, _RETRY_EVERY)

    def _integrate(self) -> bool:
        """Make one checkpoint; tell whether it was made.

        A publication that failed may have put its checkpoint in place all the same, where readers and the next start find it: what is
        tried again is the publication alone, never the files that the checkpoint states.
        """
        try:
            written = self._written = self._written or self._write()
            self._store.publish(written.note)
        except (OSError, Unavailable) as exc:
            if isinstance(exc, SpoolUnavailable):
                self.stand_still(exc)
            else:
                self._be_late(exc)
            return False
        except (CheckpointRefused, TreeRefused) as exc:
            self.stand_still(self._store.disagreement(str(exc)))
            return False
        self._written = None
        self._note_covered(written.growth, written.count)
        self._tidy(written.growth)
        return True

    def _write(self) -> _Written:
        """Grow the tree by what is durable, have that signed, and make its files durable; no checkpoint states them yet."""
        growth, count = self._grow(self._settings.entries)
        growth, count, signature = self._sign(growth, count)
        self._store.write(growth, self._edge.size)
        checkpoint = Checkpoint(self._store.origin, growth.edge.size, growth.edge.root)
        return _Written(growth, count, write_note(checkpoint, self._key, signature))

    def _grow(self, most: int) -> tuple[LogGrowth, int]:
        entries, leaves = self._feed.take(self._durable, most)
        growth = self._edge.grow(entries)
        if growth.leaves != b"".join(leaves):
            raise self._store.disagreement(
                f"an entry from {self._edge.size} on is not the one its leaf hash in the spool is of"
            )
        return growth, len(entries)

    def _sign(self, growth: LogGrowth, count: int) -> tuple[LogGrowth, int, bytes]:
        """Have a growth signed; a crash, or another home's `run/`, may make the lane's last checkpoint another than ours."""
        first = self._edge.size
        for _ in range(_ATTEMPTS_TO_AGREE):
            edge = growth.edge
            try:
                return growth, count, self._ask(edge, first, growth.prove_from(first))
            except CheckpointRefused as refusal:
                if refusal.reason is not Reason.CHECKPOINT_NOT_LAST:
                    raise
                first = refusal.size
            if first > self._durable:
                raise self._store.disagreement(
                    f"a checkpoint of {first} entries was signed, {self._durable} are here"
                )
            if first > edge.size:
                growth, count = self._grow(first - self._edge.size)
            elif first < self._edge.size:
                self._sign_again(first)
                first = self._edge.size
        raise self._store.disagreement("the lanes do not agree on the checkpoint they signed last")

    def _sign_again(self, first: int) -> None:
        """Bring the lanes' memory up to the checkpoint that stands."""
        proof = prove_consistency(first, self._edge.size, self._store.read_tile)
        self._ask(self._edge, first, proof)

    def _ask(self, edge: LogEdge, first: int, proof: list[bytes]) -> bytes:
        return self._signer.sign(self._store.origin, edge.size, edge.root, first, proof)

    def _note_covered(self, growth: LogGrowth, count: int) -> None:
        self._edge = growth.edge
        self._feed.advance(count)
        with self._condition:
            self._covered = growth.edge.size
            is_behind = self._covered < self._durable
            # What came meanwhile has waited since some moment of this round: its beginning is not known, its end is late enough.
            self._waiting_since = self._clock.monotonic() if is_behind else None
        self.state_age()
        metrics.CHECKPOINT_SIZE.labels(self.log).set(self._covered)
        metrics.CHECKPOINTS.labels("published").inc()
        if self._is_late:
            self._is_late = False
            _LOG.info("checkpoint-published", log=self.log, covered=self._covered)

    def _tidy(self, growth: LogGrowth) -> None:
        """Remove what the checkpoint has made superfluous; what cannot be removed now does no harm."""
        try:
            self._store.drop_partials(growth)
            self._drop_before(self._covered)
        except OSError as exc:
            _LOG.warning("superfluous-files-stay", log=self.log, cause=str(exc))

    def _be_late(self, exc: OSError | Unavailable) -> None:
        self.state_age()
        metrics.CHECKPOINTS.labels("delayed").inc()
        if not self._is_late:
            self._is_late = True
            _LOG.error("checkpoint-delayed", log=self.log, covered=self._covered, cause=str(exc))
