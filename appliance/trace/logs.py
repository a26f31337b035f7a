"""The logs one process writes: by retention class and calendar year, opened when first needed, closed when their year is over.

Promises that an entry goes to the log of its class and of the year in which it is accepted, as its convention says; that entries given
together for one log are durable together; that no log keeps the event loop waiting while it is opened, at a change of year neither; and
that a log whose year is over ends with an entry that says so and a last checkpoint.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Set as AbstractSet
from typing import Final

from appliance.clock import Clock, format_instant
from appliance.errors import ApplianceError, Reason, SpoolUnavailable
from appliance.log import Log
from appliance.trace.certificates import CertificateShelf
from appliance.trace.integrator import CheckpointSigner
from appliance.trace.names import LogName, read_log_name
from appliance.trace.opening import OpeningLog
from appliance.trace.policy import TracePolicy
from appliance.trace.privacy import Pseudonyms, protect
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.trace.refusals import RefusalLimiter, RefusalSettings
from appliance.trace.shard import Shard, ShardSettings
from appliance.trace.space import FreeSpace
from appliance.trace.spool import disk_refused

_LOG: Final = Log("trace")
_LATE_ENTRIES: Final = 10.0
"""Seconds a log stays open into the new year, for what was accepted in the old."""

_OPEN_WITHIN: Final = 10.0
"""Seconds that a log which is being opened may still take when the service stops."""

_LOOK_EVERY: Final = 30.0
"""Seconds between two looks at the room on the disk."""

_STATE_EVERY: Final = 1.0
"""Seconds between two statements of how old checkpoints are."""

Classes = Callable[[], AbstractSet[str]]
"""The retention classes that are in force now."""

PolicyOf = Callable[[str | None, str | None], TracePolicy]
"""From an entry's convention and issuer to what is said of its traces."""


class TraceLogs:
    """Every log of one writer; belongs to one event loop."""

    def __init__(  # noqa: PLR0913 - wiring passes each part by name
        self,
        *,
        writer: str,
        settings: ShardSettings,
        refusals: RefusalSettings,
        signer: CheckpointSigner,
        policy_of: PolicyOf,
        pseudonyms: Pseudonyms | None,
        clock: Clock,
    ) -> None:
        self._writer: Final = writer
        self._settings: Final = settings
        self._refusals: Final = refusals
        self._signer: Final = signer
        self._policy_of: Final = policy_of
        self._pseudonyms: Final = pseudonyms
        self._clock: Final = clock
        self._shards: Final[dict[str, Shard]] = {}
        self._opening: Final[dict[str, OpeningLog]] = {}
        self._attempts: Final[set[asyncio.Task[None]]] = set()
        self._unopened: Final[set[str]] = set()
        self._limiter: Final = RefusalLimiter(refusals, clock)
        self._closing: Final[set[asyncio.Task[None]]] = set()
        self._summary: asyncio.TimerHandle | None = None
        self._shelf: Final = CertificateShelf(settings.certificates, writer)
        self._space: Final = FreeSpace(settings.logs.parent)
        self._look: asyncio.TimerHandle | None = None
        self._ages: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"TraceLogs({self._writer}, {', '.join(map(str, self._shards.values()))})"

    @property
    def is_writable(self) -> bool:
        """Whether entries would be accepted, full or not, in every log so far; one that could not be opened accepts none."""
        is_open = not (self._is_closed or self._unopened)
        return is_open and all(each.is_writable for each in self._shards.values())

    @property
    def overdue(self) -> Sequence[str]:
        """Logs for which a checkpoint has been missing for too long."""
        return [str(shard.name) for shard in self._shards.values() if shard.is_overdue]

    async def open(self, retentions: Iterable[str]) -> None:
        """Open the logs of these classes now, so that what is wrong with them shows.

        Raises:
            SpoolUnavailable: one of them cannot be opened.
        """
        year = self._clock.now().year
        for retention in retentions:
            name = LogName(self._writer, retention, year)
            shard = await Shard.open(name, self._settings, self._signer, self._clock)
            self._shards[retention] = shard

    def watch(self, classes: Classes) -> None:
        """Look after the room on the disk, the age of checkpoints and logs that could not be opened, until closed.

        Such a log is tried again, and keeps entries from being accepted, for as long as its class is in force.
        """
        self._watch_space()
        self._state_ages(classes)

    def keep_certificate(self, certificate: bytes) -> None:
        """Keep a signer's certificate (DER) beside the logs, before an entry names it.

        Raises:
            SpoolUnavailable: the disk refuses.
        """
        try:
            self._shelf.keep(certificate)
        except OSError as exc:
            raise disk_refused(self._writer, exc) from exc

    def prepare(self, entry: TraceEntry) -> TraceEntry:
        """Return the entry as it will be written: as much of a person as the convention lets it keep.

        Raises:
            RequestTooLarge: it will not fit.
        """
        kept = protect(entry, self._policy(entry).level, self._pseudonyms)
        write_entry(kept)
        return kept

    def admits_refusal(self, peer: str) -> bool:
        """Tell whether a refusal to `peer` gets an entry of its own; the excess is stated in one entry later."""
        if self._limiter.admits(peer):
            return True
        if self._summary is None:
            loop = asyncio.get_running_loop()
            self._summary = loop.call_later(self._refusals.summary, self._summarise)
        return False

    def append(self, entry: TraceEntry) -> asyncio.Future[Receipt]:
        """Accept one prepared entry; raises and resolves like `Shard.append`, once the log is open."""
        return self._shard(self._policy(entry).retention).append(entry)

    def append_many(self, entries: Sequence[TraceEntry]) -> asyncio.Future[list[Receipt]]:
        """Accept prepared entries, at least one; those of one log become durable together or not at all."""
        retentions = [self._policy(entry).retention for entry in entries]
        if len(set(retentions)) == 1:
            return self._shard(retentions[0]).append_many(entries)
        return asyncio.ensure_future(self._append_spread(entries, retentions))

    async def aclose(self) -> None:
        """Make everything durable, cover it, and let go of the logs."""
        for timer in (self._summary, self._look, self._ages):
            if timer is not None:
                timer.cancel()
        self._summarise()  # durable as soon as their logs are closed
        self._is_closed = True
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=_OPEN_WITHIN)
        await asyncio.gather(*self._closing)
        await asyncio.gather(*(shard.aclose() for shard in self._shards.values()))

    def _watch_space(self) -> None:
        self._space.look()
        self._look = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._watch_space)

    def _state_ages(self, classes: Classes) -> None:
        for shard in self._shards.values():
            shard.state_age()
        if self._unopened:
            self._unopened.intersection_update(classes())
        for retention in self._unopened:
            self._shard(retention)
        loop = asyncio.get_running_loop()
        self._ages = loop.call_later(_STATE_EVERY, self._state_ages, classes)

    def _policy(self, entry: TraceEntry) -> TracePolicy:
        return self._policy_of(entry.convention, entry.issuer)

    def _shard(self, retention: str) -> Shard | OpeningLog:
        """Return where an entry of this class goes now."""
        if self._is_closed:
            raise SpoolUnavailable(
                Reason.SPOOL_UNAVAILABLE,
                f"the logs of {self._writer} are closed: the service stops",
            )
        year = self._clock.now().year
        shard = self._shards.get(retention)
        if shard is not None and shard.name.year >= year:
            return shard
        opening = self._opening.get(retention)
        if opening is None:
            name = LogName(self._writer, retention, year)
            opening = OpeningLog(str(name), self._settings.spool.pending_entries)
            self._opening[retention] = opening
            _begin(self._open_late(name, opening), self._attempts)
        return opening

    async def _open_late(self, name: LogName, opening: OpeningLog) -> None:
        """Open a log for the entries that wait for it, and close that of the year before."""
        try:
            following = await Shard.open(name, self._settings, self._signer, self._clock)
        except Exception as exc:  # noqa: BLE001 - whatever it was, somebody waits and it is tried again
            error = exc if isinstance(exc, ApplianceError) else _unopened(name, exc)
            if name.retention not in self._unopened:
                _LOG.error("log-not-opened", log=str(name), detail=error.detail)
            self._unopened.add(name.retention)
            opening.fail(error)
            return
        finally:
            del self._opening[name.retention]
        self._unopened.discard(name.retention)
        before = self._shards.get(name.retention)
        self._shards[name.retention] = following
        opening.hand_over(following)
        if before is not None:
            _begin(self._close_late(before), self._closing)

    async def _close_late(self, shard: Shard) -> None:
        await asyncio.sleep(_LATE_ENTRIES)
        await close_log(shard, self._clock)

    async def _append_spread(
        self, entries: Sequence[TraceEntry], retentions: Sequence[str]
    ) -> list[Receipt]:
        positions: dict[str, list[int]] = {}
        for at, retention in enumerate(retentions):
            positions.setdefault(retention, []).append(at)
        durable = await asyncio.gather(
            *(
                self._shard(retention).append_many([entries[at] for at in held])
                for retention, held in positions.items()
            )
        )
        receipts: Mapping[int, Receipt] = {
            at: receipt
            for held, group in zip(positions.values(), durable, strict=True)
            for at, receipt in zip(held, group, strict=True)
        }
        return [receipts[at] for at in range(len(entries))]

    def _summarise(self) -> None:
        self._summary = None
        for entry in self._limiter.summaries():
            try:
                self.append(entry).add_done_callback(_note_lost_summary)
            except ApplianceError as exc:
                _LOG.error(
                    "summary-not-traced", peer=entry.peer, count=entry.count, detail=exc.detail
                )


def _begin(work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _unopened(name: LogName, exc: Exception) -> SpoolUnavailable:
    """Name what nobody foresaw while a log was opened, like a machine that starts no other thread."""
    detail = f"log {name} cannot be opened ({type(exc).__name__}: {exc})"
    error = SpoolUnavailable(Reason.SPOOL_UNAVAILABLE, detail)
    error.__cause__ = exc
    return error


def _note_lost_summary(written: asyncio.Future[Receipt]) -> None:
    if not written.cancelled() and written.exception() is not None:
        _LOG.error("summary-not-traced", detail=str(written.exception()))


async def close_log(shard: Shard, clock: Clock) -> bool:
    """End a log for good: an entry that says so, a checkpoint over it, and its spool removed once that stands.

    Returns:
        Whether the log is closed; otherwise the reason stands in the diagnostic log.
    """
    await shard.rebuilt()
    entry = TraceEntry(event="log-closed", time=format_instant(clock.now()), origin=shard.origin)
    try:
        await shard.append(entry)
    except ApplianceError as exc:
        _LOG.error("log-not-closed", log=str(shard.name), detail=exc.detail)
        await shard.aclose()
        return False
    is_covered = await shard.aclose()
    if is_covered:
        _LOG.info("log-closed", log=str(shard.name), entries=shard.covered)
        try:
            shard.remove_spool()
        except OSError as exc:  # whoever closes the log again tries again
            _LOG.warning("spool-stays", log=str(shard.name), cause=str(exc))
    return is_covered


async def close_orphans(
    settings: ShardSettings,
    signer: CheckpointSigner,
    clock: Clock,
    is_alive: Callable[[LogName], bool],
) -> None:
    """Close the logs nobody writes any more: their worker is not configured, or their year is over."""
    for directory in sorted(settings.spools.glob("*")):
        name = read_log_name(directory.name)
        if name is None or is_alive(name):
            continue
        try:
            shard = await Shard.open(name, settings, signer, clock)
        except ApplianceError as exc:
            _LOG.error("log-not-closed", log=str(name), detail=exc.detail)
        else:
            await close_log(shard, clock)
