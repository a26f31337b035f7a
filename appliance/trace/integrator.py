"""Moves durable entries from a spool into their log's tree, and has a checkpoint signed over it: every second or every so many entries.

Owns a thread. Promises that a checkpoint is published only when everything it covers is on the medium, that one which is late is said
(log, metric, readiness) and tried again until it is there, and that a tree which does not fit what was signed before stands still and
says so. Has bundles written as they fill: a checkpoint that wrote a whole second at once would make commits wait for the disk. Refuses
new entries, through its spool, when too many wait for a checkpoint.
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
from appliance.native import LogEdge, TreeRefused, prove_consistency
from appliance.trace.checkpoint import AuditKey, Checkpoint, write_note
from appliance.trace.feed import SpoolFeed
from appliance.trace.growth import Growth
from appliance.trace.store import TILE_WIDTH, LogStore, Published

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
        self._growth = Growth(published.edge)
        self._note: bytes | None = (
            None  # over the growth, whose files are durable; it may have been seen already
        )
        self._may_stage = True
        self._is_late = False
        self._age: Final = metrics.CHECKPOINT_AGE.labels(log)
        # Shared with the spool's thread and the event loop, under the condition's lock.
        self._condition: Final = threading.Condition()
        self._durable = published.size
        self._covered = published.size
        self._full_at = _bundle_end(published.size)
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
            elif (
                next_index >= self._full_at or next_index - self._covered >= self._settings.entries
            ):
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
        while (step := self._await_step()) is not None:
            is_last = self._is_closing
            if not step():
                if is_last:
                    return
                self._pause()

    def _await_step(self) -> Callable[[], bool] | None:
        """Wait until a checkpoint is due, or a bundle is full; None when there is nothing more to do."""
        with self._condition:
            while self._fault is None:
                waiting = self._durable - self._covered
                if waiting and (self._is_closing or waiting >= self._settings.entries):
                    return self._integrate
                if self._is_closing:
                    return None
                left = None if self._waiting_since is None else self._settings.every - self.age()
                if left is not None and left <= 0:
                    return self._integrate
                if self._may_stage and self._durable >= self._full_at:
                    return self._stage
                self._condition.wait(left)
            return None

    def _pause(self) -> None:
        """Wait after a failure; closing has its own attempt at once, for what failed may have been mended meanwhile."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_closing, _RETRY_EVERY)

    def _stage(self) -> bool:
        """Take the bundles that are full into the tree, and have their files written before the checkpoint is due."""
        try:
            self._take(self._durable_until() // TILE_WIDTH * TILE_WIDTH)
            self._store.stage(self._growth.full)
        except (SpoolUnavailable, TreeRefused) as exc:
            self._disagree(exc)
        except OSError:  # the checkpoint, which does without, says what is wrong if it still is
            self._may_stage = False
        return True

    def _integrate(self) -> bool:
        """Make one checkpoint; tell whether it was made.

        A publication that failed may have put its checkpoint in place all the same, where readers and the next start find it: what is
        tried again is the publication alone, never the files that the checkpoint states.
        """
        try:
            note = self._note = self._note or self._write()
            self._store.publish(note)
        except (SpoolUnavailable, CheckpointRefused, TreeRefused) as exc:
            self._disagree(exc)
            return False
        except (OSError, Unavailable) as exc:
            self._be_late(exc)
            return False
        covered, self._note, self._may_stage = self._growth, None, True
        self._growth = Growth(covered.edge)
        self._note_covered(covered.size)
        self._tidy(covered)
        return True

    def _disagree(self, exc: SpoolUnavailable | CheckpointRefused | TreeRefused) -> None:
        if not isinstance(exc, SpoolUnavailable):
            exc = self._store.disagreement(str(exc))
        self.stand_still(exc)

    def _write(self) -> bytes:
        """Have all that is durable signed, and make its files durable; no checkpoint states them yet."""
        self._take(self._durable_until())
        self._store.stage(self._growth.full)
        signature = self._sign()
        self._store.write(self._growth.files, self._growth.stated.size)
        edge = self._growth.edge
        return write_note(
            Checkpoint(self._store.origin, edge.size, edge.root), self._key, signature
        )

    def _durable_until(self) -> int:
        """Return how far the next checkpoint may go."""
        return min(self._durable, self._growth.stated.size + self._settings.entries)

    def _take(self, until: int) -> None:
        """Take the entries below `until` into the tree."""
        entries, leaves = self._feed.take(until, until - self._growth.size)
        self._growth.add(entries, leaves)
        self._feed.advance(len(entries))
        with self._condition:
            self._full_at = _bundle_end(self._growth.size)

    def _sign(self) -> bytes:
        """Have the growth signed; a crash, or another home's `run/`, may make the lane's last checkpoint another than ours."""
        stated = first = self._growth.stated.size
        for _ in range(_ATTEMPTS_TO_AGREE):
            try:
                return self._ask(self._growth.edge, first, self._growth.prove_from(first))
            except CheckpointRefused as refusal:
                if refusal.reason is not Reason.CHECKPOINT_NOT_LAST:
                    raise
                first = refusal.size
            if first > self._durable:
                raise self._store.disagreement(
                    f"a checkpoint of {first} entries was signed, {self._durable} are here"
                )
            if first > self._growth.size:
                self._take(first)
            elif first < stated:
                self._sign_again(first)
                first = stated
        raise self._store.disagreement("the lanes do not agree on the checkpoint they signed last")

    def _sign_again(self, first: int) -> None:
        """Bring the lanes' memory up to the checkpoint that stands."""
        stated = self._growth.stated
        self._ask(stated, first, prove_consistency(first, stated.size, self._store.read_tile))

    def _ask(self, edge: LogEdge, first: int, proof: list[bytes]) -> bytes:
        return self._signer.sign(self._store.origin, edge.size, edge.root, first, proof)

    def _note_covered(self, size: int) -> None:
        with self._condition:
            self._covered = size
            is_behind = self._covered < self._durable
            # What came meanwhile has waited since some moment of this round: its beginning is not known, its end is late enough.
            self._waiting_since = self._clock.monotonic() if is_behind else None
        self.state_age()
        metrics.CHECKPOINT_SIZE.labels(self.log).set(self._covered)
        metrics.CHECKPOINTS.labels("published").inc()
        if self._is_late:
            self._is_late = False
            _LOG.info("checkpoint-published", log=self.log, covered=self._covered)

    def _tidy(self, growth: Growth) -> None:
        """Remove what the checkpoint has made superfluous; what cannot be removed now does no harm."""
        try:
            self._store.drop_partials(growth.full)
            self._drop_before(self._covered)
        except OSError as exc:
            _LOG.warning("superfluous-files-stay", log=self.log, cause=str(exc))

    def _be_late(self, exc: OSError | Unavailable) -> None:
        self.state_age()
        metrics.CHECKPOINTS.labels("delayed").inc()
        if not self._is_late:
            self._is_late = True
            _LOG.error("checkpoint-delayed", log=self.log, covered=self._covered, cause=str(exc))


def _bundle_end(size: int) -> int:
    """Return how many entries a log of `size` has when its next bundle is full."""
    return (size // TILE_WIDTH + 1) * TILE_WIDTH
