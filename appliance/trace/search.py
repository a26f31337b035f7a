"""Finds entries across the logs of a spool: what to look for, and the matches of several logs merged by time."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from appliance.trace.reader import StoredEntry, log_names, read_log
from appliance.trace.record import Event, TraceEntry


class FoundEntry(msgspec.Struct, frozen=True):
    """A stored entry with what it says."""

    stored: StoredEntry
    entry: TraceEntry


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for: every given fact must hold; None does not matter.

    Attributes:
        subject: the person as the caller named it, or NameID.
        pagm: one of those in the vector.
        since, until: instants as the trace writes them (`format_instant`); `since` is included, `until` is not.
    """

    assertion_id: str | None = None
    issuer: str | None = None
    subject: str | None = None
    pagm: str | None = None
    convention: str | None = None
    verdict: Literal["accepted", "refused"] | None = None
    event: Event | None = None
    since: str | None = None
    until: str | None = None

    def pick(self, stored: Iterable[StoredEntry]) -> Iterator[FoundEntry]:
        """Yield the entries that match, in order.

        Raises:
            LogDamaged: one of them is not an entry.
        """
        # Whatever is looked for stands in the entry as this JSON string: most entries need not be decoded.
        wanted = (self.assertion_id, self.issuer, self.subject, self.pagm, self.convention)
        needles = [msgspec.json.encode(value) for value in wanted if value is not None]
        for one in stored:
            if all(needle in one.octets for needle in needles):
                found = FoundEntry(one, one.entry)
                if self._matches(found.entry):
                    yield found

    def _matches(self, entry: TraceEntry) -> bool:
        pairs = (
            (self.assertion_id, entry.assertion_id),
            (self.issuer, entry.issuer),
            (self.convention, entry.convention),
            (self.verdict, entry.verdict),
            (self.event, entry.event),
        )
        return (
            all(wanted is None or wanted == held for wanted, held in pairs)
            and (self.subject is None or self.subject in {entry.subject, entry.name_id})
            and (self.pagm is None or self.pagm in entry.pagms)
            and (self.since is None or self.since <= entry.time)
            and (self.until is None or entry.time < self.until)
        )


def merge(logs: Iterable[Iterable[FoundEntry]]) -> Iterator[FoundEntry]:
    """Merge the entries of several logs, each in its own order, by time."""
    return heapq.merge(*logs, key=lambda found: found.entry.time)


def search(logs: Iterable[Path], selection: Selection) -> Iterator[FoundEntry]:
    """Yield what matches in these log directories, by time.

    Raises:
        LogDamaged: where a log cannot be read; other logs may hold more.
    """
    return merge(selection.pick(read_log(log)) for log in logs)


def find(spool: Path, assertion_id: str) -> tuple[FoundEntry, ...]:
    """Return every entry about one vector, from all logs of a spool directory, by time.

    Raises:
        LogDamaged: where a log cannot be read.
    """
    logs = (spool / name for name in log_names(spool))
    return tuple(search(logs, Selection(assertion_id=assertion_id)))
